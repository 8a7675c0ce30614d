"""The registry of models, by itself, as it is asked for names before any model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.registry import Registry

if TYPE_CHECKING:
    from whence.models.base import Recommender

MODELS: Registry[type[Recommender]] = Registry(
    "model",
    homes=("whence.models.knn", "whence.models", "whence.models.matrix", "whence.models.neural"),
    group="whence.models",
)
"""Models by their short names, as configurations and the command line have them."""
