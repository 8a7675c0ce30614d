"""Whence: where a recommender system's behaviour comes from.

The public names are loaded when they are first used, so that ``import whence`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES: dict[str, tuple[str, ...]] = {
    "whence.data": (
        "Dropped",
        "Interactions",
        "filter_core",
        "filter_length",
        "filter_ratings",
        "k_fold",
        "load",
        "make_baskets",
        "make_sessions",
        "read_interactions",
        "split_last",
        "split_leave_one_out",
        "split_random",
        "split_rows",
        "split_temporal",
        "split_time",
        "write_interactions",
    ),
    "whence.models": (
        "ALS",
        "BPRMF",
        "BiasedMF",
        "Checkpoint",
        "CornacModel",
        "EASE",
        "GRU4Rec",
        "ImplicitModel",
        "ItemKNN",
        "LSTMRec",
        "MarkovChain",
        "NeuMF",
        "Popularity",
        "RBM",
        "RecBoleModel",
        "Recommender",
        "SASRec",
        "TIFUKNN",
        "TorchModel",
        "VMISKNN",
        "WideDeep",
        "Wrapped",
        "load_checkpoints",
        "load_model",
    ),
    "whence.evaluation": ("Evaluation", "Metric", "Queries", "compare", "evaluate", "make_queries"),
    "whence.attribution": ("Attribution",),
    "whence.valuation": (
        "Banzhaf",
        "BetaShapley",
        "LengthValue",
        "LeaveOneOut",
        "PopularityValue",
        "RandomValue",
        "RetrainingLeaveOneOut",
        "RetrainingShapley",
        "Shapley",
    ),
    "whence.influence": (
        "TRAK",
        "Influence",
        "InfluenceFunction",
        "TracIn",
        "TracInRandomProjection",
        "to_optimum",
    ),
    "whence.explanation": (
        "Counterfactual",
        "Explainer",
        "Explanation",
        "Explanations",
        "explain",
        "explain_many",
    ),
    "whence.experiments": (
        "DisclosureExperiment",
        "ExplanationFidelityExperiment",
        "FidelityExperiment",
        "OpponentsExperiment",
    ),
    "whence.curation": (
        "Disclosure",
        "DisclosurePlan",
        "DisclosureProblem",
        "detection_report",
        "find_corrupted",
        "prune",
        "simulate_willingness",
        "willingness_by_category",
    ),
    "whence.engines": ("Run",),
    "whence.illoominate": (
        "data_loo_values",
        "data_shapley_values",
        "train_and_evaluate_for_sbr",
        "train_and_evaluate_for_sbr_files",
    ),
    "whence.errors": ("WhenceError",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'whence' has no attribute {name!r}")
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
