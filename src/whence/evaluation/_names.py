"""How metrics and lists of sustainable items are written: the grammar, apart from the meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from whence.errors import MetricError, did_you_mean
from whence.registry import Registry

CustomFunction = Callable[[Sequence[Any], Sequence[Any]], float]
"""``function(recommended, targets) -> value``, of one query, with the caller's own ids."""
Function = TypeVar("Function", bound=CustomFunction)

RANKING_NAMES = ("mrr", "hitrate", "precision", "recall", "f1", "dcg", "ndcg", "map")
GRADED_NAMES = ("dcg", "ndcg")
"""The names of the metrics in which a hit can count by its rating."""
SUSTAINABLE_NAMES = ("st", "sustainablemrr", "sustainablendcg")
CATALOGUE_NAMES = ("coverage", "gini", "averagepopularity")
WHOLE_NAMES = ("auc", "rmse", "mae")
"""The names of the metrics that look at more than a list and so are written without ``@K``."""

LONGEST_LIST = 10_000_000
"""The greatest K, above any catalogue whose lists could be held."""

METRIC_NAMES = RANKING_NAMES + SUSTAINABLE_NAMES + CATALOGUE_NAMES + WHOLE_NAMES
"""The names of the metrics, without ``@K``."""

_ALIASES = {
    "f1score": "f1",
    "hit": "hitrate",
    "hits": "hitrate",
    "hr": "hitrate",
    "hit_rate": "hitrate",
    "hitratio": "hitrate",
    "sustainabilitycoverage": "st",
    "itemcoverage": "coverage",
    "catalogcoverage": "coverage",
    "giniindex": "gini",
    "popularity": "averagepopularity",
    "gauc": "auc",
}

METRICS: Registry[CustomFunction] = Registry("metric", group="whence.metrics")
"""Metrics that are functions, by their names without ``@K``; see `register_metric`."""


def register_metric(name: str) -> Callable[[Function], Function]:
    """Make a function a metric that is chosen by name; a decorator.

    Other packages may name their function in an entry point of the group ``whence.metrics``.

    Parameters
    ----------
    name : str
        Without ``@K``, which follows where the metric is used: ``"first@10"``. The function is
        ``function(recommended, targets) -> float`` for one query: lists of external ids, at most
        K recommended ones, best first, and the targets in their order, with repetitions.

    Raises
    ------
    MetricError
        If Whence has a metric of this name, or it cannot be told from a length.
    ParameterError
        If another function has it.

    Examples
    --------
    >>> @register_metric("first")
    ... def first(recommended, targets):
    ...     return float(recommended[:1] == targets[:1])
    >>> from whence.evaluation import parse_metric
    >>> parse_metric("first@5").name
    'first@5'
    """
    plain = name.strip().lower() if isinstance(name, str) else name
    if not isinstance(plain, str) or not plain or "@" in plain:
        raise MetricError(f"A metric is named by a text without '@', not {name!r}.")
    if plain in METRIC_NAMES or plain in _ALIASES:
        raise MetricError(f"Whence has a metric {plain!r} already; choose another name.")

    def register(function: Function) -> Function:
        METRICS.add(plain, function)
        return function

    return register


def canonical_name(text: str) -> str:
    """``"name@K"`` in lower case, or ``"name"`` where there is no K, without aliases and spaces.

    Raises
    ------
    MetricError
        If the name is unknown, or K is missing or no whole number of at least 1.
    """
    base, k = split_name(text)
    return f"{base}@{k}" if k else base


def split_name(text: Any) -> tuple[str, int]:
    """Base name and K of ``name@K``; K is 0 for a metric without one."""
    if not isinstance(text, str):
        raise MetricError(
            f"A metric must be a name such as 'mrr@20' or a function, not {type(text).__name__}."
        )
    base, at, length = (part.strip().lower() for part in text.partition("@"))
    base = _ALIASES.get(base, base)
    if base not in METRIC_NAMES and base not in METRICS:
        hint = did_you_mean(base, [*METRIC_NAMES, *METRICS, *_ALIASES])
        of_lists = [name for name in METRIC_NAMES if name not in WHOLE_NAMES] + METRICS.names()
        raise MetricError(
            f"Unknown metric {text!r}.{hint} Choose one of {', '.join(of_lists)}, with '@' and "
            f"the length of the list, such as 'mrr@20', or {', '.join(WHOLE_NAMES[:-1])} or "
            f"{WHOLE_NAMES[-1]} without."
        )
    if base in WHOLE_NAMES:
        if at:
            raise MetricError(
                f"Metric {text!r} does not depend on the length of a list: write it '{base}'."
            )
        return base, 0
    if not at or not length:
        raise MetricError(
            f"Metric {text!r} does not say how many recommendations count: "
            f"write it with '@K', such as '{base}@20'."
        )
    if not re.fullmatch(r"-?\d{1,4000}", length):
        raise MetricError(
            f"Metric {text!r} must have a whole number after '@', such as '{base}@20'."
        )
    return base, check_k(int(length), text)


def check_k(k: Any, name: str) -> int:
    """Length of the list as an int, at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise MetricError(f"The K of metric {name!r} must be a whole number, not {k!r}.")
    if k < 1:
        raise MetricError(f"The K of metric {name!r} must be at least 1: use for example 20.")
    if k > LONGEST_LIST:
        raise MetricError(
            f"The K of metric {name if len(name) < 80 else name[:76] + ' ...'!r} must be at most "
            f"{LONGEST_LIST:,}: use for example 20."
        )
    return int(k)


def no_sustainable_items(name: str) -> MetricError:
    """Error for a metric that needs the list of sustainable items and has none."""
    return MetricError(
        f"Metric '{name}' needs to know which items are sustainable: "
        f"give their ids as sustainable_items=[…], with at least one."
    )


def external_ids(values: Any) -> tuple[Any, ...]:
    """Python ids from an iterable, a series or a one-column dataframe of any library."""
    columns = getattr(values, "columns", None)
    if columns is not None:
        if len(columns) != 1:
            raise MetricError(
                f"sustainable_items is a table with {len(columns)} columns: "
                f"pass the column of item ids alone."
            )
        # pyarrow hands out the columns themselves, the others their names.
        values = columns[0] if hasattr(columns[0], "to_pylist") else values[columns[0]]
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise MetricError(
            f"sustainable_items must be a list of item ids, not {type(values).__name__}: "
            f"write sustainable_items=[…]."
        )
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, method):
            return tuple(getattr(values, method)())
    return tuple(values)
