"""Recommenders of other libraries, as recommenders of Whence."""

from whence.models.adapters.cornac import CornacModel
from whence.models.adapters.implicit import ImplicitModel
from whence.models.adapters.wrapped import Wrapped

__all__ = ["CornacModel", "ImplicitModel", "Wrapped"]
