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

KINDS = ("mean", "item", "log_probability")


@dataclass(frozen=True)
class Target:
    """What was asked for.

    Attributes
    ----------
    kind : {"mean", "item", "log_probability", "metric"}
    item : id, optional
        Whose score, probability or place is explained; not of the mean.
    metric : Metric, optional
    """

    kind: str
    item: Any = None
    metric: Metric | None = None

    @property
    def label(self) -> str:
        """For people and metadata."""
        if self.kind == "mean":
            return "mean score of the recommended items"
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
    kind, number, gains, candidates
        What else it needs: the item, the metric at each rank, the items ranked against it.
    """

    items: IntArray | None
    weights: FloatArray | None = None
    kind: str = "mean"
    number: int = -1
    gains: FloatArray = field(default_factory=lambda: np.empty(0))
    candidates: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))

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
        return self.gains[self.rank(scores)]

    def rank(self, scores: npt.NDArray[np.floating[Any]]) -> IntArray:
        """Rank from 0 of the item among the candidates, at most the number of gains; ties lose."""
        own = scores[:, self.number, None]
        ahead = ((scores >= own) & self.candidates).sum(axis=1)
        rank: IntArray = np.minimum(ahead, max(len(self.gains) - 1, 0))
        return rank


def parse_target(target: Any) -> Target:
    """Understand ``"mean"``, ``("item", id)``, ``("log_probability", id)``, ``("mrr@10", id)``.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    if isinstance(target, Target):
        return target
    if target == "mean":
        return Target("mean")
    if not (isinstance(target, (tuple, list)) and len(target) == 2):
        wants = isinstance(target, str) and (target in KINDS or "@" in target)
        raise ParameterError(
            f"target {target!r} needs an item: say target=({target!r}, item)."
            if wants
            else "target must be 'mean', ('item', id), ('log_probability', id) or (metric, id), "
            f"such as ('mrr@10', id); not {target!r}."
        )
    kind, item = target
    if isinstance(kind, str) and kind in ("item", "log_probability"):
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


def scalar_of(target: Target, asker: Asker, history: History, frozen: IntArray) -> Scalar:
    """The scalar of a target for one history."""
    if target.kind == "mean":
        return Scalar(frozen, np.full(len(frozen), 1.0 / len(frozen)))
    number = asker.item_number(target.item)
    if target.kind == "item":
        return Scalar(np.array([number]), np.ones(1), "item")
    if target.kind == "log_probability":
        return Scalar(None, kind="log_probability", number=number)
    assert target.metric is not None
    gains = gains_by_rank(target.metric)
    candidates = recommendable(asker, history)
    candidates[number] = False
    return Scalar(None, None, "metric", number, gains, candidates)


def rank_scalar(asker: Asker, history: History, number: int, k: int) -> Scalar:
    """1 where an item is among the k best of the items that may be recommended, else 0."""
    candidates = recommendable(asker, history)
    candidates[number] = False
    return Scalar(None, None, "metric", number, np.append(np.ones(k), 0.0), candidates)


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
    best = numbers[np.argsort(-scores[numbers], kind="stable")[:k]]
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
