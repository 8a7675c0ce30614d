"""Experiments: remove, retrain, compare, with controls and intervals."""
