"""Ask a recommender the queries of a validation set and say how good its lists are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, MetricError, UnsupportedError, did_you_mean
from whence.evaluation._names import canonical_name, external_ids
from whence.evaluation.metrics import (
    DEFAULT_SUSTAINABILITY_WEIGHT,
    Metric,
    parse_metric,
    values_from_ids,
    values_from_lists,
)
from whence.evaluation.queries import Queries, Target, Unknown, make_queries

CodeArray = npt.NDArray[np.int32]
MetricLike = str | Metric | Callable[[Sequence[Any], Sequence[Any]], float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Values of metrics, over all queries and for each.

    Attributes
    ----------
    metrics : tuple of Metric
        What was computed, in the order asked for.
    per_query : polars.DataFrame
        One row per query: the columns that name it, then one per metric.
    n_queries : int
        Number of queries, all of which count in the mean.
    n_empty : int
        Queries without a known item (or user), which count with value 0.
    n_unknown_rows : int
        Validation rows whose item is unknown to the training data.

    Notes
    -----
    ``evaluation["mrr@20"]`` is one value, and ``float(evaluation)`` the value where one metric
    was asked for.
    """

    metrics: tuple[Metric, ...]
    per_query: pl.DataFrame
    n_queries: int
    n_empty: int = 0
    n_unknown_rows: int = 0

    @cached_property
    def scores(self) -> dict[str, float]:
        """Mean over all queries, by canonical name of the metric."""
        return {
            metric.name: float(np.mean(self.values(metric.name), dtype=np.float64))
            for metric in self.metrics
        }

    def values(self, metric: str | None = None) -> npt.NDArray[np.float64]:
        """Value of each query.

        Parameters
        ----------
        metric : str, optional
            May be left out where one metric was asked for.

        Returns
        -------
        float64 [n_queries]

        Raises
        ------
        MetricError
            If the metric was not evaluated, or several were and none is named.
        """
        return self.per_query[self.metric_name(metric)].to_numpy()

    def to_frame(self) -> pl.DataFrame:
        """Table of the metrics: columns ``metric``, ``value`` and ``std_error``.

        The standard error is that of the mean over queries taken as independent.
        """
        errors = [_std_error(self.values(metric.name)) for metric in self.metrics]
        return pl.DataFrame(
            {
                "metric": list(self.scores),
                "value": list(self.scores.values()),
                "std_error": pl.Series(errors, dtype=pl.Float64),
            }
        )

    def metric_name(self, metric: str | None = None) -> str:
        """Canonical name of an evaluated metric; of the only one, if none is given.

        Raises
        ------
        MetricError
            As :meth:`values`.
        """
        names = [wanted.name for wanted in self.metrics]
        if metric is None:
            if len(names) == 1:
                return names[0]
            raise MetricError(f"Say which metric: this evaluation has {', '.join(names)}.")
        if metric in names:
            return metric
        try:
            name = canonical_name(metric)
        except MetricError:
            name = str(metric)
        if name in names:
            return name
        raise MetricError(
            f"Metric {metric!r} was not evaluated.{did_you_mean(name, names)} "
            f"This evaluation has {', '.join(names)}."
        )

    def __getitem__(self, metric: str) -> float:
        return self.scores[self.metric_name(metric)]

    def __contains__(self, metric: object) -> bool:
        try:
            self.metric_name(str(metric))
        except MetricError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.metrics)

    def __float__(self) -> float:
        return self.scores[self.metric_name(None)]

    def __repr__(self) -> str:
        notes = [f"{self.n_queries} queries"]
        if self.n_empty:
            notes.append(f"{self.n_empty} of them empty")
        if self.n_unknown_rows:
            notes.append(f"{self.n_unknown_rows} rows with unknown items")
        width = max(len(name) for name in self.scores)
        lines = [f"  {name:<{width}}  {value:.6f}" for name, value in self.scores.items()]
        return "\n".join([f"Evaluation({', '.join(notes)})", *lines])


def evaluate(
    model: Any,
    data: Any,
    metrics: MetricLike | Sequence[MetricLike] = "mrr@20",
    *,
    sustainable_items: Any = None,
    sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
    relevant: str | None = None,
    unknown: Unknown = "ignore",
    target: Target = "rest",
    train: Any = None,
    threads: int | None = None,
) -> Evaluation:
    """Evaluate a recommender on validation data.

    Every query counts alike: U = (1/Q) Σ_q metric(list of q), where a query left without a known
    item has an empty list and the value 0.

    Parameters
    ----------
    model : fitted recommender, or any object with ``recommend(queries, k)``
        An object that is not Whence's is asked all queries at once: a list of histories (lists of
        item ids, oldest first) for sessions, a list of user ids for baskets. It returns a list of
        lists of item ids, best first, or a tuple ``(items, scores)`` of such lists.
    data : Interactions, dataframe or Queries
        Validation data; `unknown` and `target` do not apply to Queries.
    metrics : str, Metric, callable, or a sequence of them
        As :func:`~whence.evaluation.metrics.parse_metric` takes them.
    sustainable_items, sustainability_weight, relevant
        As in :func:`~whence.evaluation.metrics.parse_metric`.
    unknown : {"ignore", "drop"}
        What to do with items unknown to the training data, see
        :func:`~whence.evaluation.queries.make_queries`.
    target : {"rest", "next"}
        Sessions: whether the whole rest of the session is the target or the next item only.
    train : Interactions or dataframe, optional
        For an object that is not Whence's: what it was trained on, so that items it cannot know
        are treated as unknown. Without it every item of `data` counts as known.
    threads : int, optional
        Number of threads; the values do not depend on it.

    Returns
    -------
    Evaluation

    Raises
    ------
    MetricError
        If a metric cannot be understood or computed.
    DataError
        If the validation data fits the training data badly or leaves no query.
    UnsupportedError
        If the model has no way to recommend, or returns something else than lists of items.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.Popularity().fit(data.train)
    >>> result = whence.evaluate(model, data.validation, ["mrr@20", "recall@20"])
    >>> list(result.scores)
    ['mrr@20', 'recall@20']
    """
    wanted = _parse_all(metrics, sustainable_items, sustainability_weight, relevant)
    k = max(metric.k for metric in wanted)
    if hasattr(model, "recommend_codes"):
        vocabulary: Vocabulary = model.vocabulary
        queries = _as_queries(model, data, unknown, target)
        lists, _ = model.recommend_codes(queries, k, threads=threads)
    else:
        known = _known_to_foreign(model, data, train)
        queries = _as_queries(known, data, unknown, target)
        lists, vocabulary = _foreign_lists(model, queries, known.vocabulary, k)
    if len(queries) == 0:
        raise DataError("There is no query to evaluate: give validation data with queries.")
    resolved = tuple(metric.for_kind(queries.kind) for metric in wanted)
    for metric in resolved:
        if metric.name in queries.ids.columns:
            raise MetricError(
                f"A metric cannot have the name of a column of ids, '{metric.name}': "
                f"give it another name with Metric.custom(function, k=…, name=…)."
            )
    values = {metric.name: _values(metric, lists, queries, vocabulary) for metric in resolved}
    return Evaluation(
        metrics=resolved,
        per_query=queries.ids.with_columns(**{n: pl.Series(v) for n, v in values.items()}),
        n_queries=len(queries),
        n_empty=queries.n_empty,
        n_unknown_rows=queries.n_unknown_rows,
    )


def _parse_all(
    metrics: Any, sustainable_items: Any, sustainability_weight: float, relevant: str | None
) -> list[Metric]:
    """Metrics in the order given, repetitions left out."""
    given = [metrics] if isinstance(metrics, (str, Metric)) or callable(metrics) else list(metrics)
    if not given:
        raise MetricError("There is no metric to evaluate: name at least one, such as 'mrr@20'.")
    if sustainable_items is not None and not isinstance(sustainable_items, Sequence):
        # An iterator would be used up by the first metric.
        sustainable_items = tuple(external_ids(sustainable_items))
    parsed: dict[str, Metric] = {}
    for item in given:
        metric = parse_metric(
            item,
            sustainable_items=sustainable_items,
            sustainability_weight=sustainability_weight,
            relevant=relevant,
        )
        if parsed.setdefault(metric.name, metric) != metric:
            raise MetricError(
                f"Two different metrics are called '{metric.name}': give one of them another "
                f"name with Metric.custom(function, k=…, name=…)."
            )
    return list(parsed.values())


def _as_queries(known: Any, data: Any, unknown: Unknown, target: Target) -> Queries:
    if isinstance(data, Queries):
        return data
    return make_queries(known, data, unknown=unknown, target=target)


def _values(
    metric: Metric, lists: CodeArray, queries: Queries, vocabulary: Vocabulary
) -> npt.NDArray[np.float64]:
    """Value of each query."""
    if metric.function is None:
        sustainable = metric.sustainable_codes(vocabulary)
        return values_from_lists(metric, lists, queries, sustainable)
    items = np.array([*vocabulary.items.to_list(), None], dtype=object)
    recommended = [items[row[row >= 0]].tolist() for row in lists[:, : metric.k]]
    targets = external_targets(queries, vocabulary)
    return values_from_ids(metric, recommended, targets)


def external_targets(queries: Queries, vocabulary: Vocabulary) -> list[list[Any]]:
    """Targets of each query as external ids; None for an unknown item whose id was not kept."""
    items = np.array([*vocabulary.items.to_list(), None], dtype=object)
    unknown = queries.unknown_items
    strangers = np.array([None] if unknown is None else [*unknown.to_list(), None], dtype=object)
    targets = []
    for start, end in zip(queries.target_start, queries.target_end):
        codes = queries.target_items[start:end]
        other = np.minimum(-1 - np.minimum(codes, -1), len(strangers) - 1)
        targets.append(np.where(codes >= 0, items[codes], strangers[other]).tolist())
    return targets


def _known_to_foreign(model: Any, data: Any, train: Any) -> Interactions:
    """What says which items are known to an object that is not Whence's."""
    if not callable(getattr(model, "recommend", None)):
        raise UnsupportedError(
            f"{type(model).__name__} cannot be evaluated: it needs a method recommend(queries, k) "
            f"that returns a list of item ids for each query."
        )
    if train is None:
        train = getattr(model, "train_", None)
    if train is None and isinstance(data, Queries):
        raise DataError(
            f"Queries hold item numbers, which mean nothing to {type(model).__name__} without the "
            f"training data: pass train=…, or the validation data itself."
        )
    kind = data.kind if isinstance(data, (Interactions, Queries)) else None
    return Interactions.from_frame(data if train is None else train, kind=kind)


def _foreign_lists(
    model: Any, queries: Queries, vocabulary: Vocabulary, k: int
) -> tuple[CodeArray, Vocabulary]:
    """Lists of an object that speaks external ids, and the vocabulary with the items it added.

    Returns
    -------
    lists : int32 [Q, k]
        Item numbers, padded with -1. Items outside the vocabulary get numbers after it.
    vocabulary : Vocabulary
    """
    lists = np.full((len(queries), k), -1, dtype=np.int32)
    if queries.kind == "baskets":
        asked = np.flatnonzero(queries.users >= 0)
        questions = vocabulary.sources.gather(queries.users[asked]).to_list()
    else:
        asked = np.flatnonzero(queries.history_end > queries.history_start)
        items = np.array(vocabulary.items.to_list(), dtype=object)[queries.history_items]
        questions = [
            items[queries.history_start[q] : queries.history_end[q]].tolist() for q in asked
        ]
    if not questions:
        return lists, vocabulary
    rows = _rows(model, model.recommend(questions, k), len(questions))
    lengths = np.array([min(len(row), k) for row in rows])
    flat = pl.Series("item", [item for row in rows for item in row[:k]], strict=True)
    codes = vocabulary.item_codes(flat)
    strange = codes < 0
    if strange.any():
        added = flat.filter(pl.Series(strange)).unique(maintain_order=True)
        added = added.cast(vocabulary.items.dtype)
        vocabulary = Vocabulary(pl.concat([vocabulary.items, added]), vocabulary.sources)
        codes = vocabulary.item_codes(flat)
    inside = np.arange(k) < lengths[:, None]
    block = np.full((len(rows), k), -1, dtype=np.int32)
    block[inside] = codes
    lists[asked] = block
    return lists, vocabulary


def _rows(model: Any, result: Any, n: int) -> list[list[Any]]:
    """One list of item ids per query, from ``(items, scores)`` or the items alone."""
    items = result[0] if isinstance(result, tuple) and len(result) == 2 else result
    try:
        rows = [row.tolist() if hasattr(row, "tolist") else list(row) for row in items]
    except TypeError:
        rows = []
    if len(rows) != n:
        raise UnsupportedError(
            f"{type(model).__name__}.recommend(queries, k) must return one list of item ids for "
            f"each of the {n} queries, or a tuple (items, scores) of such lists; it returned "
            f"{type(result).__name__}{f' of {len(rows)} lists' if rows else ''}."
        )
    return rows


def _std_error(values: npt.NDArray[np.float64]) -> float | None:
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
