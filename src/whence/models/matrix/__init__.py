"""Recommenders that are a matrix: weights between items, or factors of users and items."""

from whence.models.matrix.als import ALS
from whence.models.matrix.ease import EASE

__all__ = ["ALS", "EASE"]
