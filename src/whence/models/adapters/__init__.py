"""Recommenders of other libraries, as recommenders of Whence.

Those that need torch are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from whence.models.adapters.cornac import CornacModel
from whence.models.adapters.implicit import ImplicitModel
from whence.models.adapters.wrapped import Wrapped

if TYPE_CHECKING:
    from whence.models.adapters.recbole import RecBoleModel
    from whence.models.adapters.torch_module import TorchModel

_HOMES = {
    "RecBoleModel": "whence.models.adapters.recbole",
    "TorchModel": "whence.models.adapters.torch_module",
}

__all__ = ["CornacModel", "ImplicitModel", "RecBoleModel", "TorchModel", "Wrapped"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
