"""The passes over the training examples, as jobs whose shards are chunks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from whence.engines import Job
from whence.influence.comparison import Comparison, QueryGradients, Scores
from whence.influence.screening import Limits, Near, Screen

FloatArray = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]
Part = TypeVar("Part")
Total = TypeVar("Total")
SIDES = {"top": 1.0, "bottom": -1.0}


@dataclass(frozen=True)
class Pass(Job[int, tuple[int, Part], Total]):
    """A pass over the training examples; a shard is the first number of a chunk of them."""

    lasting = ("comparison",)

    comparison: Comparison

    def work(self, shard: int) -> float:
        """Return the number of examples."""
        return len(self.comparison.numbers(shard))


@dataclass(frozen=True)
class _ScoresOfExamples(Pass[FloatArray, FloatArray]):
    """One number for each training example."""

    def start(self) -> FloatArray:
        return np.zeros(self.comparison.n)

    def add(self, total: FloatArray, part: tuple[int, FloatArray]) -> FloatArray:
        first, values = part
        total[first : first + len(values)] = values
        return total


@dataclass(frozen=True)
class SumsOverQueries(_ScoresOfExamples):
    """Scores of the training examples, summed over all queries: float64 [n]."""

    directions: list[Any]

    def run(self, shard: int) -> tuple[int, FloatArray]:
        """Score one chunk."""
        return shard, self.comparison.along(self.directions, shard)


@dataclass(frozen=True)
class ScoresOfTerms(Pass[FloatArray, FloatArray]):
    """Scores of the terms of the examples' losses: float64 [terms].

    Attributes
    ----------
    offsets : int64 [n + 1]
        Terms of the examples.
    directions : list or None
        Of the queries' sum, as `Comparison.along` takes them; None: of each example itself.
    """

    offsets: npt.NDArray[np.int64]
    directions: list[Any] | None

    def run(self, shard: int) -> tuple[int, FloatArray]:
        """Score one chunk."""
        numbers = self.comparison.numbers(shard)
        if self.directions is None:
            return shard, self.comparison.own_terms(numbers)
        return shard, self.comparison.along_terms(self.directions, numbers)

    def start(self) -> FloatArray:
        """Return zeros."""
        return np.zeros(int(self.offsets[-1]))

    def add(self, total: FloatArray, part: tuple[int, FloatArray]) -> FloatArray:
        """Put a chunk in its place."""
        first, values = part
        begin = int(self.offsets[first])
        total[begin : begin + len(values)] = values
        return total


@dataclass(frozen=True)
class OwnScores(_ScoresOfExamples):
    """Scores of the training examples for themselves: float64 [n]."""

    def run(self, shard: int) -> tuple[int, FloatArray]:
        """Score one chunk."""
        return shard, self.comparison.own(shard)


@dataclass(frozen=True)
class ScoresOfPairs(_ScoresOfExamples):
    """Scores of the training examples for some queries, added up: float64 [n]."""

    queries: QueryGradients

    def run(self, shard: int) -> tuple[int, FloatArray]:
        """Score one chunk."""
        return shard, self.comparison.multiplied(self.queries, shard).sums


@dataclass(frozen=True)
class Matrix(Pass[npt.NDArray[Any], npt.NDArray[Any]]):
    """Scores of all pairs of training examples with some queries.

    Attributes
    ----------
    queries : QueryGradients
    out : float [n, Q]
        Where they go: memory, or a file, which is its own state.
    """

    queries: QueryGradients
    out: npt.NDArray[Any]

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs."""
        return {**vars(self), "out": None}

    def run(self, shard: int) -> tuple[int, npt.NDArray[Any]]:
        """Score one chunk, float [m, Q]."""
        return shard, self.comparison.multiplied(self.queries, shard).values

    def start(self) -> npt.NDArray[Any]:
        """Return where they go."""
        return self.out

    def add(self, total: npt.NDArray[Any], part: tuple[int, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Write a chunk."""
        first, values = part
        total[first : first + len(values)] = values
        return total

    def pack(self, total: npt.NDArray[Any]) -> None:
        """See to it that the file has them."""
        if isinstance(total, np.memmap):
            total.flush()

    def unpack(self, state: None) -> npt.NDArray[Any]:
        """Return the file."""
        return self.out


@dataclass(frozen=True)
class Strongest(Pass["Scores | Near", Arrays]):
    """The training examples with the largest and smallest scores for each of some queries.

    The total has ``scores`` [n], sums over the queries, and unordered lists [Q, length]:
    ``top_scores`` and ``top_examples``, and ``bottom_...`` with scores times -1.

    Attributes
    ----------
    queries : QueryGradients
    limits : Limits
        They rise while the lists fill. What a worker has may be older: it finds more pairs then,
        of which the same go into the lists.
    screen : Screen or None
    """

    queries: QueryGradients
    limits: Limits
    screen: Screen | None

    def run(self, shard: int) -> tuple[int, Scores | Near]:
        """Score one chunk."""
        if self.screen is None:
            return shard, self.comparison.multiplied(self.queries, shard)
        return shard, self.comparison.screened(self.queries, self.screen, shard)

    def start(self) -> Arrays:
        """Return empty lists."""
        return empty_lists(self.comparison.n, len(self.limits.top), self.limits.n)

    def add(self, total: Arrays, part: tuple[int, Scores | Near]) -> Arrays:
        """Take a chunk into the lists."""
        first, block = part
        total["scores"][first : first + len(block)] = block.sums
        for side, sign in SIDES.items():
            block.keep(sign, first, total[f"{side}_scores"], total[f"{side}_examples"])
        self.limits.rise(total["top_scores"], total["bottom_scores"])
        return total

    def unpack(self, state: Arrays) -> Arrays:
        """Take up lists that were kept."""
        self.limits.rise(state["top_scores"], state["bottom_scores"])
        return state


def empty_lists(n_examples: int, n_queries: int, length: int) -> Arrays:
    """Return the total of `Strongest` before anything is scored."""
    lists: Arrays = {"scores": np.zeros(n_examples)}
    for side in SIDES:
        lists[f"{side}_scores"] = np.full((n_queries, length), -np.inf)
        lists[f"{side}_examples"] = np.full((n_queries, length), -1, dtype=np.int64)
    return lists
