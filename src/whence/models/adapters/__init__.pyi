"""Recommenders of other libraries: where each is from."""

from .cornac import (
    CornacModel as CornacModel,
)
from .implicit import (
    ImplicitModel as ImplicitModel,
)
from .recbole import (
    RecBoleModel as RecBoleModel,
)
from .torch_module import (
    TorchModel as TorchModel,
)
from .wrapped import (
    Wrapped as Wrapped,
)

__all__ = [
    "CornacModel",
    "ImplicitModel",
    "RecBoleModel",
    "TorchModel",
    "Wrapped",
]
