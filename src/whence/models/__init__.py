"""Recommenders: one protocol, many models.

All but the nearest neighbours and popularity are loaded when they are first used, and so are the
packages that some of them need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from whence.models.base import Recommender
from whence.models.files import load_model
from whence.models.knn import TIFUKNN, VMISKNN, ItemKNN
from whence.models.popularity import Popularity

if TYPE_CHECKING:
    from whence.models.adapters import (
        CornacModel,
        ImplicitModel,
        RecBoleModel,
        TorchModel,
        Wrapped,
    )
    from whence.models.markov import MarkovChain
    from whence.models.matrix import ALS, EASE
    from whence.models.neural import GRU4Rec, LSTMRec, SASRec
    from whence.models.training import Checkpoint, load_checkpoints

_HOMES = {
    "ALS": "whence.models.matrix",
    "Checkpoint": "whence.models.training",
    "CornacModel": "whence.models.adapters",
    "EASE": "whence.models.matrix",
    "GRU4Rec": "whence.models.neural",
    "ImplicitModel": "whence.models.adapters",
    "LSTMRec": "whence.models.neural",
    "MarkovChain": "whence.models.markov",
    "RecBoleModel": "whence.models.adapters",
    "SASRec": "whence.models.neural",
    "TorchModel": "whence.models.adapters",
    "Wrapped": "whence.models.adapters",
    "load_checkpoints": "whence.models.training",
}

__all__ = [
    "ALS",
    "EASE",
    "TIFUKNN",
    "VMISKNN",
    "Checkpoint",
    "CornacModel",
    "GRU4Rec",
    "ImplicitModel",
    "ItemKNN",
    "LSTMRec",
    "MarkovChain",
    "Popularity",
    "RecBoleModel",
    "Recommender",
    "SASRec",
    "TorchModel",
    "Wrapped",
    "load_checkpoints",
    "load_model",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from whence.errors import UnsupportedError

        raise UnsupportedError(
            f"{name} needs torch, which is not installed; install it with "
            "pip install 'whence[torch]'."
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
