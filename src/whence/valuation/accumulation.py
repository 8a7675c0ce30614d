"""What blocks of queries add up by player and find out by query, as jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from whence.engines import Job
from whence.valuation._solve_kernels import Accumulator

IntArray = npt.NDArray[np.int64]
Block = tuple[int, int]

# Up to this many (3.5 MB), adding all is faster than finding and gathering those touched: 64 blocks
# of 19,000 players took 15 ms, and take 4.
_FEW_PLAYERS = 2**16
_BY_QUERY = ("status", "spread", "work", "value_all", "value_nothing")


class Part(NamedTuple):
    """What one block of queries adds up to, of many players without those it does not touch.

    Attributes
    ----------
    block : (int, int)
        First and last (exclusive) query.
    players : int64 (p,) or slice
        A slice of all where they are few.
    by_player : list of ndarray (p, ...)
    by_query : list of ndarray (q,)
        In the order of the fields of `Accumulator`.
    """

    block: Block
    players: IntArray | slice
    by_player: list[npt.NDArray[np.generic]]
    by_query: list[npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Accumulation(Job[Block, Part, Accumulator]):
    """Base of the work over queries; a shard is a block of them.

    Attributes
    ----------
    n_players, n_queries : int
    """

    estimates: ClassVar[bool] = True
    """Whether there are means and variances, beside what is known exactly."""

    n_players: int
    n_queries: int

    def fill(self, shard: Block, accumulator: Accumulator) -> None:
        """Add a block of queries to an accumulator."""
        raise NotImplementedError

    def run(self, shard: Block) -> Part:
        """Add up one block."""
        accumulator = self.start()
        self.fill(shard, accumulator)
        players = self._touched(accumulator)
        return Part(
            shard,
            players,
            [getattr(accumulator, name)[players] for name in (*self._sums, "appearances")],
            [getattr(accumulator, name)[slice(*shard)].copy() for name in _BY_QUERY],
        )

    def _touched(self, accumulator: Accumulator) -> IntArray | slice:
        """Players that anything is known of, or all."""
        if self.n_players <= _FEW_PLAYERS:
            return slice(None)
        found = accumulator.appearances > 0
        for name in self._sums:
            # Both columns of a row as one number: any(axis=1) takes thirty times as long.
            found |= getattr(accumulator, name).view(np.complex128)[:, 0] != 0
        return np.flatnonzero(found)

    @property
    def _sums(self) -> tuple[str, ...]:
        """What is summed by player and column."""
        return ("exact", "means", "variances") if self.estimates else ("exact",)

    def start(self) -> Accumulator:
        """Return an accumulator with nothing in it."""
        exact = np.zeros((self.n_players, 2))
        n_estimated = self.n_players if self.estimates else 0
        means, variances = np.zeros((n_estimated, 2)), np.zeros((n_estimated, 2))
        spread, work, value_all, value_nothing = (np.zeros(self.n_queries) for _ in range(4))
        return Accumulator(
            exact,
            means,
            variances,
            np.zeros(self.n_players, dtype=np.int64),
            np.zeros(self.n_queries, dtype=np.uint8),
            spread,
            work,
            value_all,
            value_nothing,
        )

    def add(self, total: Accumulator, part: Part) -> Accumulator:
        """Add a block."""
        for name, sums in zip((*self._sums, "appearances"), part.by_player):
            getattr(total, name)[part.players] += sums
        for name, values in zip(_BY_QUERY, part.by_query):
            getattr(total, name)[slice(*part.block)] = values
        return total

    def work(self, shard: Block) -> float:
        """Return the number of queries."""
        return shard[1] - shard[0]

    def unpack(self, state: tuple[npt.NDArray[np.generic], ...]) -> Accumulator:
        """Return an accumulator that was kept."""
        return Accumulator(*state)
