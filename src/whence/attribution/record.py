"""The record of a run: all that is needed to obtain an attribution again."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata as packages
from typing import Any

import numpy as np

OWN_COLUMNS = (
    "row", "score", "std_error", "own_score", "own_std_error", "n_queries", "rank", "corrupted",
)  # fmt: skip
"""Columns of tables of values that are not of ids; see `whence.data.Columns.beside`."""

BACKENDS = ("polars", "pandas", "pyarrow")
"""Kinds of data frame that a caller is given back."""


def describe_run(
    method: str,
    *,
    title: str | None = None,
    by: str,
    source: str,
    metric: str | None = None,
    model: object | None = None,
    params: Mapping[str, Any] | None = None,
    seed: int | None = None,
    train: object | None = None,
    validation: object | None = None,
    elapsed_seconds: float | None = None,
    n_queries: int | None = None,
    n_empty_queries: int | None = None,
    n_unknown_rows: int | None = None,
    value_all: float | None = None,
    value_nothing: float | None = None,
    stopped: str = "exact",
    relative_error: float | None = None,
    efficiency: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Build the metadata of an `Attribution`: all that is needed to obtain it again.

    Parameters
    ----------
    method : str
        Name of the method, such as ``"shapley"``.
    title : str, optional
        Its values, for people.
    by, source : str
        What a source is, and the column that identifies it.
    metric : str, optional
        Name of the metric, such as ``"mrr@20"``.
    model : object, optional
        The recommender; its class name and its ``params`` are kept.
    params : mapping, optional
        Parameters of the method.
    seed : int, optional
        Seed of the random numbers.
    train, validation : Interactions, optional
        Their ``fingerprint`` is kept.
    elapsed_seconds : float, optional
        Wall clock time.
    n_queries, n_empty_queries, n_unknown_rows : int, optional
        Evaluation queries, those without a known item, and validation rows with unknown items.
    value_all, value_nothing : float, optional
        Metric with every source present, and with none.
    stopped : {"exact", "tolerance", "max_permutations", "interrupted"}
        Why the method came to an end.
    relative_error : float, optional
        Mean standard error relative to the mean absolute value.
    efficiency : bool
        Whether the scores add up to ``value_all - value_nothing``.
    **more
        Anything else worth keeping, JSON-able.

    Returns
    -------
    dict
        Plain Python values only, with the versions of the packages involved added.
    """
    described = {
        "method": method,
        "title": title,
        "metric": metric,
        "model": None if model is None else type(model).__name__,
        "model_params": dict(getattr(model, "params", None) or {}),
        "params": dict(params or {}),
        "by": by,
        "source": source,
        "seed": seed,
        "versions": versions(),
        "fingerprint": {
            "train": getattr(train, "fingerprint", None),
            "validation": getattr(validation, "fingerprint", None),
        },
        "elapsed_seconds": elapsed_seconds,
        "n_queries": n_queries,
        "n_empty_queries": n_empty_queries,
        "n_unknown_rows": n_unknown_rows,
        "value_all": value_all,
        "value_nothing": value_nothing,
        "stopped": stopped,
        "relative_error": relative_error,
        "efficiency": efficiency,
        **more,
    }
    plain: dict[str, Any] = plain_values(described)
    return plain


_TEXT, _MAPPING, _NUMBER, _COUNT = (str,), (Mapping,), (int, float), (int,)
_KINDS: dict[str, tuple[type, ...]] = {
    "method": _TEXT, "title": _TEXT, "metric": _TEXT, "model": _TEXT, "by": _TEXT,
    "source": _TEXT, "stopped": _TEXT, "model_params": _MAPPING, "params": _MAPPING,
    "versions": _MAPPING, "fingerprint": _MAPPING, "elapsed_seconds": _NUMBER,
    "value_all": _NUMBER, "value_nothing": _NUMBER, "relative_error": _NUMBER,
    "n_queries": _COUNT, "n_empty_queries": _COUNT, "n_unknown_rows": _COUNT,
    "n_cut": _COUNT,
}  # fmt: skip


def wrong_entry(metadata: Mapping[str, Any], needed: Iterable[str] = ()) -> str | None:
    """Say which entry of metadata cannot be one of `describe_run`; None where all can.

    Parameters
    ----------
    metadata : mapping
        As it was read from a file.
    needed : iterable of str
        Entries that must be there, and not null.
    """
    for name in needed:
        if metadata.get(name) is None:
            return f"has no {name!r}"
    for name, kinds in _KINDS.items():
        value = metadata.get(name)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            return f"has {value!r} as its {name!r}"
    return None


def versions() -> dict[str, str]:
    """Return the versions of Whence, Python and the packages its numbers depend on."""
    return dict(_versions())


@cache  # reading them takes longer than a small attribution
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("whence", "numpy", "polars"):
        try:
            found[package] = packages.version(package)
        except packages.PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "unknown"
    return found


def plain_values(value: Any) -> Any:
    """Turn NumPy numbers, arrays, tuples and sets into what JSON can hold, keeping the rest."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_values(entry) for entry in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain_values(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such numbers
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
