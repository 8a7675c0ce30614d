"""Experiments: remove, retrain, compare, with controls and intervals."""

from whence.experiments.opponents import OpponentsExperiment
from whence.experiments.results import OpponentsResult

__all__ = ["OpponentsExperiment", "OpponentsResult"]
