"""Acting on values: find corrupted sources, remove harmful ones, withhold; see what that changes.

What rests on influence functions needs torch and is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from whence.curation.detection import detection_curve, detection_report, find_corrupted
from whence.curation.pruning import best_fraction, prune, prune_curve

_OF_DISCLOSURE = (
    "Comparison",
    "Disclosure",
    "DisclosurePlan",
    "DisclosureProblem",
    "plot_frontier",
    "simulate_willingness",
    "willingness_by_category",
)

__all__ = [
    "Comparison",
    "Disclosure",
    "DisclosurePlan",
    "DisclosureProblem",
    "best_fraction",
    "detection_curve",
    "detection_report",
    "find_corrupted",
    "plot_frontier",
    "prune",
    "prune_curve",
    "simulate_willingness",
    "willingness_by_category",
]


def __getattr__(name: str) -> Any:
    if name not in _OF_DISCLOSURE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module("whence.curation.disclosure"), name)
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
