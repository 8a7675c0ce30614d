"""Recommenders: one protocol, many models."""

from whence.models.base import Recommender, load_model
from whence.models.knn import TIFUKNN, VMISKNN, ItemKNN
from whence.models.popularity import Popularity

__all__ = ["TIFUKNN", "VMISKNN", "ItemKNN", "Popularity", "Recommender", "load_model"]
