"""What is explained: a scalar of the model's answer, with its items frozen beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import DataError, ParameterError, UnsupportedError, check_choice
from whence.evaluation import Metric, parse_metric
from whence.evaluation.metrics import values_from_lists
from whence.evaluation.queries import Queries
from whence.explanation._askers import Asker
from whence.explanation._histories import History

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

KINDS = ("mean", "item", "log_probability", "versus", "rank")


@dataclass(frozen=True)
class Target:
    """What was asked for.

    Attributes
    ----------
    kind : {"mean", "item", "log_probability", "versus", "rank", "metric"}
    item : id, optional
        Whose score, probability or place is explained; not of the mean.
    metric : Metric, optional
    other : id, optional
        Of ``"versus"``: the item whose score is taken off.
    """

    kind: str
    item: Any = None
    metric: Metric | None = None
    other: Any = None

    @property
    def label(self) -> str:
        """For people and metadata."""
        if self.kind == "mean":
            return "mean score of the recommended items"
        if self.kind == "versus":
            return f"score of item {self.item!r} less that of item {self.other!r}"
        if self.kind == "rank":
            return f"rank of item {self.item!r}, counted negative"
        names = {"item": "score", "log_probability": "log-probability"}
        what = names[self.kind] if self.metric is None else self.metric.name
        return f"{what} of item {self.item!r}"


@dataclass(frozen=True)
class Scalar:
    """A number from the scores of one answer.

    Attributes
    ----------
    items : int64 [n] or None
        Items whose scores it needs; None: all.
    weights : float64 [n] or None
        Their weights, where it is a weighted sum.
    kind, number, gains, candidates, floor
        What else it needs: the item, the metric at each rank, the items ranked against it, and the
        score that is not enough for any rank.
    """

    items: IntArray | None
    weights: FloatArray | None = None
    kind: str = "mean"
    number: int = -1
    gains: FloatArray = field(default_factory=lambda: np.empty(0))
    candidates: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    floor: float = -np.inf

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value of one answer: a number."""
        return ()

    def of(self, scores: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Values float64 [B] of scores [B, n]."""
        if self.weights is not None:
            linear: FloatArray = scores.astype(np.float64, copy=False) @ self.weights
            return linear
        own = scores[:, self.number].astype(np.float64)
        if self.kind == "log_probability":
            top = scores.max(axis=1, keepdims=True)
            total = np.exp(scores - top).sum(axis=1, dtype=np.float64)
            log_probability: FloatArray = own - top[:, 0] - np.log(total)
            return log_probability
        ahead = self.ahead(scores)
        if self.kind == "rank":
            place: FloatArray = -1.0 - ahead.astype(np.float64)
            return place
        last = len(self.gains) - 1
        return self.gains[np.where(own > self.floor, np.minimum(ahead, last), last)]

    def ahead(self, scores: npt.NDArray[np.floating[Any]]) -> IntArray:
        """How many of the candidates are before the item, int64 [B]; ties lose."""
        own = scores[:, self.number, None]
        ahead: IntArray = ((scores >= own) & self.candidates).sum(axis=1)
        return ahead


@dataclass(frozen=True)
class Scores(Scalar):
    """The scores of some items, each a value of its own."""

    kind: str = "scores"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values of one answer."""
        assert self.items is not None
        return (len(self.items),)

    def of(self, scores: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Scores [B, k] as they are."""
        own: FloatArray = scores.astype(np.float64, copy=False)
        return own


def parse_target(target: Any) -> Target:
    """Understand what `whence.Explainer` takes as a target.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, str) and target == "mean":
        return Target("mean")
    given = target if isinstance(target, (tuple, list)) else ()
    if len(given) == 3 and isinstance(given[0], str) and given[0] == "versus":
        return _versus(given[1], given[2])
    if len(given) != 2 or given[0] == "versus":
        raise _not_a_target(target)
    kind, item = given
    if isinstance(kind, str) and kind in ("item", "log_probability", "rank"):
        return Target(kind, item)
    if isinstance(kind, str) and "@" not in kind:
        check_choice("target", kind, (*KINDS[1:], "mrr@k", "ndcg@k", "hitrate@k"))
    metric = parse_metric(kind)
    if not metric.of_lists or metric.mode == "custom" or metric.needs_sustainable_items:
        raise UnsupportedError(
            f"The metric {metric.name} does not follow from the place of one item, so it cannot be "
            "a target; choose a ranking metric such as mrr@10 or ndcg@10."
        )
    return Target("metric", item, metric)


def _versus(item: Any, other: Any) -> Target:
    if item == other:
        raise ParameterError(
            f"target=('versus', …) compares two items, and both are {item!r}; give another."
        )
    return Target("versus", item, other=other)


def _not_a_target(target: Any) -> ParameterError:
    name = target if isinstance(target, str) else None
    if isinstance(target, (tuple, list)) and target and isinstance(target[0], str):
        name = target[0]
    if name == "versus":
        return ParameterError(
            f"target {target!r} needs two items: say target=('versus', item, other)."
        )
    if name is not None and (name in KINDS[1:] or "@" in name):
        return ParameterError(f"target {target!r} needs an item: say target=({name!r}, item).")
    return ParameterError(
        "target must be 'mean', ('item', id), ('versus', id, other), ('log_probability', id), "
        f"('rank', id) or (metric, id), such as ('mrr@10', id); not {target!r}."
    )


def scalar_of(target: Target, asker: Asker, history: History, frozen: IntArray) -> Scalar:
    """The scalar of a target for one history."""
    if target.kind == "mean":
        return Scalar(frozen, np.full(len(frozen), 1.0 / len(frozen)))
    number = asker.item_number(target.item)
    if target.kind == "item":
        return Scalar(np.array([number]), np.ones(1), "item")
    if target.kind == "versus":
        both = np.array([number, asker.item_number(target.other)])
        return Scalar(both, np.array([1.0, -1.0]), "versus")
    if target.kind == "log_probability":
        return Scalar(None, kind="log_probability", number=number)
    candidates = recommendable(asker, history)
    candidates[number] = False
    if target.kind == "rank":
        return Scalar(None, kind="rank", number=number, candidates=candidates)
    assert target.metric is not None
    return Scalar(None, None, "metric", number, gains_by_rank(target.metric), candidates)


def rank_scalar(asker: Asker, history: History, number: int, k: int) -> Scalar:
    """1 where an item is among the k best of the items that may be recommended, else 0."""
    candidates = recommendable(asker, history)
    candidates[number] = False
    inside = np.append(np.ones(k), 0.0)
    return Scalar(None, None, "metric", number, inside, candidates, asker.floor)


def recommendable(asker: Asker, history: History) -> npt.NDArray[np.bool_]:
    """Items that are neither in the history nor without any training data, bool [n_items]."""
    allowed = np.ones(asker.n_items, dtype=np.bool_)
    if asker.counts is not None:
        allowed[asker.counts == 0] = False
    allowed[asker.items_in(history)] = False
    return allowed


def freeze(
    asker: Asker, history: History, scores: npt.NDArray[np.floating[Any]], k: int
) -> tuple[IntArray, FloatArray]:
    """The k items with the best scores that are not in the history, and their scores.

    Raises
    ------
    DataError
        If a score is not a number, or nothing can be recommended.
    """
    if np.isnan(scores).any():
        raise not_a_number(asker)
    allowed = recommendable(asker, history) & (scores > asker.floor)
    numbers = np.flatnonzero(allowed)
    if not len(numbers):
        raise DataError(
            f"{asker.name} recommends nothing for this history that is not in it already, so there "
            "is nothing to explain; give another history."
        )
    # Of ties the lower numbers are first, as those of a stable sort of all scores would be.
    losses = -scores[numbers]
    if len(numbers) > k:
        near = np.flatnonzero(losses <= np.partition(losses, k - 1)[k - 1])
        numbers, losses = numbers[near], losses[near]
    best = numbers[np.argsort(losses, kind="stable")[:k]]
    return best, scores[best].astype(np.float64)


def not_a_number(asker: Asker) -> DataError:
    """The error for scores that are not finite."""
    return DataError(
        f"{asker.name} gave a score that is not a finite number (NaN or infinite), so there is "
        "nothing to divide among the events; fit it again with a lower learning rate, or check it."
    )


def gains_by_rank(metric: Metric) -> FloatArray:
    """Value of a metric with a single target at rank 0, 1, …, k - 1, and 0 beyond."""
    k = metric.k
    lists = np.tile(np.arange(1, k + 1, dtype=np.int32), (k, 1))
    np.fill_diagonal(lists, 0)
    queries = Queries(
        kind="sessions",
        history_items=np.zeros(1, dtype=np.int32),
        history_start=np.zeros(k, dtype=np.int64),
        history_end=np.ones(k, dtype=np.int64),
        target_items=np.zeros(1, dtype=np.int32),
        target_start=np.zeros(k, dtype=np.int64),
        target_end=np.ones(k, dtype=np.int64),
        users=np.full(k, -1, dtype=np.int32),
        ids=pl.DataFrame({"query": np.arange(k)}),
    )
    return np.append(values_from_lists(metric, lists, queries), 0.0)
