"""Nearest-neighbour recommenders."""

from whence.models.knn.itemknn import ItemKNN
from whence.models.knn.tifu import TIFUKNN
from whence.models.knn.vmis import VMISKNN

__all__ = ["TIFUKNN", "VMISKNN", "ItemKNN"]
