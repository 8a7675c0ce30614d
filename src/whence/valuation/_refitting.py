"""Fitting a recommender again on part of its training data, and what its lists are then worth."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data import Interactions, Vocabulary
from whence.engines import ListJob
from whence.errors import NotFittedError, UnsupportedError
from whence.evaluation import Metric, Queries
from whence.evaluation.evaluate import value_of
from whence.models import Recommender
from whence.models.base import require
from whence.valuation.sources import Sources, players_of_rows

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Refits:
    """The metric of a model as a function of the players that it is fitted on.

    Attributes
    ----------
    model : object
        Copied, fitted or not, for every fit; itself left alone.
    train : Interactions
        All training data, which gives the numbering.
    as_table : bool
        Whether `model.fit` takes a table of the caller's type rather than Interactions.
    queries : Queries
        What every refitted model is asked.
    metric : Metric
        What its lists are worth.
    sources : Sources
        The players.
    threads : int or None
        For the models that use them.
    """

    model: Any
    train: Interactions
    as_table: bool
    queries: Queries
    metric: Metric
    sources: Sources
    threads: int | None

    @cached_property
    def players(self) -> IntArray:
        """Player that each row belongs to."""
        return players_of_rows(self.train, self.sources)

    @cached_property
    def with_rows(self) -> IntArray:
        """Players that have any rows; the others cannot make a difference."""
        counts = np.bincount(self.players, minlength=len(self.sources))
        players: IntArray = np.flatnonzero(counts)
        return players

    def value(self, coalition: IntArray) -> float:
        """Metric after fitting on the rows of some players, given by number."""
        present = np.zeros(len(self.sources), dtype=bool)
        present[coalition] = True
        part = self.train.keep_rows(present[self.players])
        if part.n_rows == 0:
            # Nothing to fit on: every list is empty.
            return self._measure(_Silent(self.train.vocabulary), self.queries)
        fitted = _fit_copy(self.model, part.native() if self.as_table else part)
        return self._measure(fitted, self._reachable(part))

    def _reachable(self, part: Interactions) -> Queries:
        """The queries; a foreign model is not asked about users that are gone."""
        if hasattr(self.model, "recommend_codes") or self.queries.kind == "sessions":
            return self.queries
        there = np.zeros(part.n_sources + 1, dtype=bool)  # the last one is for users unseen, -1
        there[part.source_codes] = True
        users = np.where(there[self.queries.users], self.queries.users, np.int32(-1))
        return replace(self.queries, users=users)

    def _measure(self, model: Any, queries: Queries) -> float:
        return value_of(model, queries, self.metric, train=self.train, threads=self.threads)


@dataclass(frozen=True)
class Coalitions(ListJob[int, float]):
    """Values of coalitions in their order; a shard is the number of one of them."""

    lasting = ("refits",)
    alone = True

    refits: Refits

    def members(self, number: int) -> IntArray:
        """Players of a coalition."""
        raise NotImplementedError

    def run(self, shard: int) -> float:
        """Fit, and measure."""
        return self.refits.value(self.members(shard))


@dataclass(frozen=True)
class Listed(Coalitions):
    """Coalitions from a list."""

    listed: list[IntArray]

    def members(self, number: int) -> IntArray:
        """Players of a coalition."""
        return self.listed[number]


@dataclass(frozen=True)
class WithoutOne(Coalitions):
    """Everyone but one player, whose number the shard is; everyone for -1."""

    def members(self, number: int) -> IntArray:
        """Players of a coalition."""
        everyone = np.arange(len(self.refits.sources))
        rest: IntArray = everyone[everyone != number]
        return rest


@dataclass(frozen=True)
class Prefixes(Coalitions):
    """The players of an order up to a place; none is wanted after the first near `until`."""

    order: IntArray
    until: float
    near: float

    def members(self, number: int) -> IntArray:
        """Players of a coalition."""
        members: IntArray = self.order[: number + 1]
        return members

    def is_complete(self, total: list[float]) -> bool:
        """Return whether what the rest adds is given up."""
        return self.near > 0 and bool(total) and abs(self.until - total[-1]) <= self.near


@dataclass(frozen=True)
class _Silent:
    """A model that never recommends anything."""

    vocabulary: Vocabulary

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        shape = (len(queries), k)
        return np.full(shape, -1, dtype=np.int32), np.zeros(shape)


def _fit_copy(model: Any, train: Any) -> Any:
    """Fit a copy of a model; `fit` may return the fitted model or change its object."""
    twin = type(model)(**model.params) if isinstance(model, Recommender) else copy.deepcopy(model)
    fitted = twin.fit(train)
    return fitted if hasattr(fitted, "recommend") else twin


def training_data(model: Any, train: Any, method: str) -> tuple[Interactions, bool]:
    """Find the training data, and whether the model is to be given tables.

    Raises
    ------
    UnsupportedError
        If the model cannot be fitted or asked.
    NotFittedError
        If there is no training data.
    """
    for verb in ("fit", "recommend"):
        if not callable(getattr(model, verb, None)):
            raise UnsupportedError(
                f"{method} fits a recommender again and asks it, but this {type(model).__name__} "
                f"has no method {verb}; give an object with fit(train) and recommend(queries, k)."
            )
    if isinstance(model, Recommender):
        require(model, "refit", method)
    given = getattr(model, "train_", None) if train is None else train
    if given is None:
        raise NotFittedError(
            f"{method} fits the model again on parts of its training data, but this "
            f"{type(model).__name__} does not keep any; pass it as attribute(model, data, "
            "train=...)."
        )
    kinds: tuple[str, ...] = getattr(model, "kinds", ())
    data = Interactions.from_frame(given, kind=kinds[0] if len(kinds) == 1 else None)
    as_table = not isinstance(given, Interactions) and not hasattr(model, "recommend_codes")
    return data, as_table
