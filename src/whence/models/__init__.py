"""Recommenders: one protocol, many models.

All but the nearest neighbours and popularity are loaded when they are first used, and so are the
packages that some of them need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import whence.engines.compiling  # noqa: F401 (before any kernel)
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
    from whence.models.matrix.bpr import BPRMF
    from whence.models.matrix.mf import BiasedMF
    from whence.models.neural import GRU4Rec, LSTMRec, SASRec
    from whence.models.neural.neumf import NeuMF
    from whence.models.neural.rbm import RBM
    from whence.models.neural.wide_deep import WideDeep
    from whence.models.training import Checkpoint, load_checkpoints

_HOMES = {
    "ALS": "whence.models.matrix",
    "BPRMF": "whence.models.matrix.bpr",
    "BiasedMF": "whence.models.matrix.mf",
    "Checkpoint": "whence.models.training",
    "CornacModel": "whence.models.adapters",
    "EASE": "whence.models.matrix",
    "GRU4Rec": "whence.models.neural",
    "ImplicitModel": "whence.models.adapters",
    "LSTMRec": "whence.models.neural",
    "MarkovChain": "whence.models.markov",
    "NeuMF": "whence.models.neural.neumf",
    "RBM": "whence.models.neural.rbm",
    "RecBoleModel": "whence.models.adapters",
    "SASRec": "whence.models.neural",
    "TorchModel": "whence.models.adapters",
    "WideDeep": "whence.models.neural.wide_deep",
    "Wrapped": "whence.models.adapters",
    "load_checkpoints": "whence.models.training",
}

__all__ = [
    "ALS",
    "BPRMF",
    "EASE",
    "RBM",
    "TIFUKNN",
    "VMISKNN",
    "BiasedMF",
    "Checkpoint",
    "CornacModel",
    "GRU4Rec",
    "ImplicitModel",
    "ItemKNN",
    "LSTMRec",
    "MarkovChain",
    "NeuMF",
    "Popularity",
    "RecBoleModel",
    "Recommender",
    "SASRec",
    "TorchModel",
    "WideDeep",
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
