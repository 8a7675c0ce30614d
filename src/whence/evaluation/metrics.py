"""Ranking metrics at K: their names, their exact definitions, their values per query.

A metric of one query looks at the ranks at which a recommendation list hits the query's targets.
With the gain g(r) of a hit at rank r and n distinct targets, of which the list may hit several:

============= ============ ================================= =============================
name          gain g(r)    value of hits at r_1 < r_2 < …    factor
============= ============ ================================= =============================
``mrr``       1 / r        largest gain                      1
``hitrate``   1            largest gain                      1
``precision`` 1            Σ g(r_i)                          1 / K
``recall``    1            Σ g(r_i)                          1 / n
``f1``        1            Σ g(r_i)                          2 / (K + n)
``dcg``       1/log2(r+1)  Σ g(r_i)                          1
``ndcg``      1/log2(r+1)  Σ g(r_i)                          1 / Σ_{r ≤ min(K, n)} g(r)
``map``       none         Σ i / r_i                         1 / min(K, n)
============= ============ ================================= =============================

With ``gain="rating"`` a hit of ``dcg`` and ``ndcg`` counts by the rating of the item, linearly, and
``ndcg`` is divided by the value of the best possible order (:mod:`whence.evaluation.graded`).

``mrr`` and ``hitrate`` are of the next item alone for sessions and of the first relevant item for
users and baskets, unless ``relevant`` says otherwise. ``st`` is the share of sustainable items in
the list; ``sustainablemrr`` and ``sustainablendcg`` are (1 - w) times the ranking metric plus w
times ``st``, with w = 0.2 unless ``sustainability_weight`` says otherwise.

Other metrics need more than the list of one query. ``averagepopularity`` is the mean number of
training interactions of a list's items; ``coverage`` and ``gini`` are of the lists of all queries
together (:mod:`whence.evaluation.catalogue`); ``auc`` is of the whole ranking
(:mod:`whence.evaluation.ranking`); ``rmse`` and ``mae`` are of predicted ratings
(:mod:`whence.evaluation.ratings`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.errors import DataError, MetricError
from whence.evaluation._modes import MODES
from whence.evaluation._names import (
    SUSTAINABLE_NAMES,
    CustomFunction,
    check_k,
    no_sustainable_items,
)

if TYPE_CHECKING:
    from whence.data.interactions import Vocabulary
    from whence.evaluation.queries import Queries

DEFAULT_K = 20
DEFAULT_SUSTAINABILITY_WEIGHT = 0.2


@dataclass(frozen=True)
class Metric:
    """What to compute from a recommendation list of at most `k` items and the targets.

    Made by :func:`~whence.evaluation.parsing.parse_metric` or, from a function, by :meth:`custom`.

    Attributes
    ----------
    name : str
        Canonical name, lower case, such as ``"mrr@20"``.
    base : str
        The name without ``@K``; ``"custom"`` for a function.
    k : int
        Length of the recommendation list; 0 for a metric that is not of a list.
    mode : str
        How the ranks of the hits become a value: ``"additive"``, ``"best"``,
        ``"average_precision"``, ``"none"`` if they do not matter, ``"graded"`` if ratings matter,
        too, or ``"custom"``. The name of a metric that needs more than the list of one query, such
        as ``"auc"``.
    first_only : bool
        Whether only the next item, i.e. the first target, counts.
    rank_weight, sustainability_weight : float
        Value = ``rank_weight`` · ranking part + ``sustainability_weight`` · ``st``.
    relevant : {"next", "any"} or None
        Which targets ``mrr`` and ``hitrate`` look for; None until :meth:`for_kind` decides.
    sustainable_items : tuple or None
        External ids of the sustainable items.
    function : callable or None
        Of a custom metric: ``function(recommended, targets) -> float``.
    """

    name: str
    base: str
    k: int
    mode: str
    first_only: bool = False
    rank_weight: float = 1.0
    sustainability_weight: float = 0.0
    relevant: str | None = None
    sustainable_items: tuple[Any, ...] | None = None
    function: CustomFunction | None = None

    @classmethod
    def custom(
        cls, function: CustomFunction, k: int = DEFAULT_K, name: str | None = None
    ) -> Metric:
        """A metric that calls a Python function for each query (the slower path).

        Parameters
        ----------
        function : callable
            ``function(recommended, targets) -> float``: lists of external ids, the recommended
            ones best first (at most `k`), the targets in their order with repetitions.
        k : int
            Length of the recommendation list.
        name : str, optional
            Default: the function's name.

        Raises
        ------
        MetricError
            If `function` is not callable or `k` is below 1.
        """
        if not callable(function):
            raise MetricError(
                f"A custom metric must be a function of (recommended, targets), "
                f"not {type(function).__name__}: pass a callable that returns a number."
            )
        own = getattr(function, "__name__", "custom")
        label = name or f"{'custom' if own == '<lambda>' else own.lower()}@{k}"
        return cls(label, "custom", check_k(k, label), "custom", function=function)

    @property
    def ranking(self) -> str:
        """Name of the ranking part: ``"mrr"`` for ``sustainablemrr``, ``"none"`` for ``st``."""
        return "none" if self.base == "st" else self.base.removeprefix("sustainable")

    @property
    def of_lists(self) -> bool:
        """Whether the list and the targets of a query are all that its value depends on."""
        return self.mode in MODES or self.mode == "custom"

    @property
    def per_query(self) -> bool:
        """Whether each query has a value; not so for ``coverage`` and ``gini``."""
        return self.mode not in ("coverage", "gini")

    @property
    def needs_sustainable_items(self) -> bool:
        """Whether the value depends on the list of sustainable items."""
        return self.base in SUSTAINABLE_NAMES

    def for_kind(self, kind: str) -> Metric:
        """The same metric with ``relevant`` decided for a kind of queries.

        Only ``mrr`` and ``hitrate`` (and ``sustainablemrr``) depend on it: ``"next"`` for
        ``"sessions"``, ``"any"`` for ``"users"`` and ``"baskets"``, unless the metric was made
        with one of them.
        """
        if self.relevant is not None:
            return self
        return with_relevant(self, "next" if kind == "sessions" else "any")

    @property
    def gain(self) -> str:
        """What a hit counts: ``"binary"``, all alike, or ``"rating"``."""
        return "rating" if self.mode == "graded" else "binary"

    def gains(self) -> npt.NDArray[np.float64]:
        """Gain of a hit by its rank.

        Returns
        -------
        float64 [k + 1]
            Index r is rank r; index 0, not in the list, is 0. All 0 for ``map``, ``st``, custom.
        """
        ranks = np.arange(1, self.k + 1, dtype=np.float64)
        gains = np.zeros(self.k + 1, dtype=np.float64)
        if self.ranking == "mrr":
            gains[1:] = 1.0 / ranks
        elif self.ranking in ("dcg", "ndcg"):
            gains[1:] = 1.0 / np.log2(ranks + 1.0)
        elif self.ranking in ("hitrate", "precision", "recall", "f1"):
            gains[1:] = 1.0
        return gains

    def scale(self, n_targets: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Factor of each query's hits.

        Parameters
        ----------
        n_targets : int [...]
            Number of **distinct** targets of each query, unknown items included.

        Returns
        -------
        float64 [...]
            The module's table says which; 0 where there is no target.
        """
        n = np.asarray(n_targets, dtype=np.int64)
        factor = np.ones(n.shape, dtype=np.float64)
        reachable = np.minimum(np.maximum(n, 1), self.k)
        if self.ranking == "precision":
            factor /= self.k
        elif self.ranking == "recall":
            factor /= np.maximum(n, 1)
        elif self.ranking == "f1":
            factor *= 2.0 / (self.k + n)
        elif self.ranking == "ndcg":
            factor /= np.cumsum(self.gains())[reachable]
        elif self.ranking == "map":
            factor /= reachable
        return np.where(n > 0, factor, 0.0)

    def sustainable_codes(self, vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
        """Which items of the training data are sustainable.

        Parameters
        ----------
        vocabulary : Vocabulary
            Of the training data.

        Returns
        -------
        bool [n_items]
            All False for a metric that does not need to know.

        Raises
        ------
        MetricError
            If none of the sustainable items occurs in the training data, ids of another type
            included.
        """
        mask = np.zeros(len(vocabulary.items), dtype=np.bool_)
        if not self.needs_sustainable_items:
            return mask
        ids = self.sustainable_items or ()
        if not ids:
            raise no_sustainable_items(self.name)
        try:
            codes = vocabulary.item_codes(ids)
        except DataError as error:
            raise MetricError(f"The sustainable items cannot be looked up. {error}") from error
        mask[codes[codes >= 0]] = True
        if not mask.any():
            raise MetricError(
                f"None of the {len(ids)} sustainable items (such as {ids[0]!r}) occurs in the "
                f"training data, whose items look like {vocabulary.items[0]!r}: check that both "
                f"use the same ids."
            )
        return mask


def values_from_lists(
    metric: Metric,
    lists: npt.NDArray[np.int32],
    queries: Queries,
    sustainable: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float64]:
    """Value of a metric for each query, from recommendation lists.

    Parameters
    ----------
    metric : Metric
        Not a custom one, see :func:`values_from_ids`.
    lists : int32 [Q, >= 1]
        Item numbers, best first; -1 ends a list, another negative number is an item unknown to
        the training data. Only the first ``metric.k`` count; a repeated item counts once, and
        takes its place.
    queries : Queries
        The Q queries, with their targets.
    sustainable : bool [n_items], optional
        From :meth:`Metric.sustainable_codes`; necessary for the metrics that use ``st``.

    Returns
    -------
    float64 [Q]
    """
    metric = metric.for_kind(queries.kind)
    if metric.mode == "custom":
        raise MetricError(
            f"Metric '{metric.name}' is a Python function over external ids: use values_from_ids."
        )
    if not metric.of_lists:
        raise MetricError(
            f"Metric '{metric.name}' is not of the list of one query: get it from evaluate."
        )
    lists = np.ascontiguousarray(lists[:, : metric.k], dtype=np.int32)
    values = np.zeros(len(lists), dtype=np.float64)
    if metric.mode != "none" and metric.rank_weight != 0.0:
        given = queries.arrays
        items = given.target_items
        hits, n_distinct = kernels.rank_values(
            lists,
            items,
            given.target_start,
            given.target_end,
            int(min(items.min(initial=0), 0)),
            int(max(items.max(initial=0), lists.max(initial=0))),
            metric.first_only,
            MODES[metric.mode],
            metric.gains(),
        )
        values += metric.rank_weight * (metric.scale(n_distinct) * hits)
    if metric.needs_sustainable_items and metric.sustainability_weight != 0.0:
        if sustainable is None:
            raise no_sustainable_items(metric.name)
        values += metric.sustainability_weight * kernels.sustainable_shares(lists, sustainable)
    return values


def values_from_ids(
    metric: Metric, recommended: Sequence[Any], targets: Sequence[Any], first: int = 0
) -> npt.NDArray[np.float64]:
    """Value of a custom metric for each query, from lists of external ids.

    Parameters
    ----------
    metric : Metric
        With a ``function``.
    recommended, targets : sequences of Q sequences
        External ids; only the first ``metric.k`` recommended ones are shown to the function.
    first : int
        Number of the first query, for messages.

    Returns
    -------
    float64 [Q]

    Raises
    ------
    MetricError
        If the function returns something that is not a finite number.
    """
    if metric.function is None:
        raise MetricError(f"Metric '{metric.name}' is not a function: use values_from_lists.")
    values = np.empty(len(recommended), dtype=np.float64)
    for q, (items, wanted) in enumerate(zip(recommended, targets)):
        value = metric.function(items[: metric.k], wanted)
        try:
            values[q] = value
        except (TypeError, ValueError):
            values[q] = math.nan
        if not math.isfinite(values[q]):
            raise MetricError(
                f"The custom metric '{metric.name}' returned {value!r} for query {first + q}: it "
                "must return a finite number for every query, empty lists included."
            )
    return values


def with_relevant(metric: Metric, relevant: str) -> Metric:
    """The metric with ``"next"`` or ``"any"`` for those that depend on it."""
    next_only = relevant == "next" and metric.ranking in ("mrr", "hitrate")
    # With one target the best gain is the only gain.
    mode = "additive" if next_only else metric.mode
    return replace(metric, relevant=relevant, first_only=next_only, mode=mode)
