"""What blocks of queries add up by player and find out by query, as jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from whence import _native
from whence.engines import Job

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Block = tuple[int, int]

SAMPLED, EXACT, CONSTANT = 0, 1, 2
"""What became of a query."""


class Totals(NamedTuple):
    """What all queries add up to, by player, and what is found out, by query.

    Attributes
    ----------
    exact, means, variances : float64 (n_players, 2)
        Sums over queries of exact values, of estimates, and of the variances of the estimates;
        column 0 as a neighbour, column 1 in the player's own queries.
    appearances : int64 (n_players,)
        In how many queries the player is a candidate.
    status : uint8 (Q,); spread, work, value_all, value_nothing : float64 (Q,)
        Fate of the query; trace of the variance of one replicate, and work of all; values with
        everyone and with nobody.
    """

    exact: FloatArray
    means: FloatArray
    variances: FloatArray
    appearances: IntArray
    status: npt.NDArray[np.uint8]
    spread: FloatArray
    work: FloatArray
    value_all: FloatArray
    value_nothing: FloatArray


_BY_QUERY = Totals._fields[4:]


class Part(NamedTuple):
    """What one block of queries adds up to, of the players that it touches.

    Attributes
    ----------
    block : (int, int)
        First and last (exclusive) query.
    cells : int64 (p,)
        Of a table of players by columns: twice the player, and the column.
    by_cell : dict of float64 (p,)
    appearances : int64 (p,)
    by_query : dict of ndarray (q,)
        By the fields of `Totals`.
    """

    block: Block
    cells: IntArray
    by_cell: dict[str, FloatArray]
    appearances: IntArray
    by_query: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Accumulation(Job[Block, Part, Totals]):
    """Base of the work over queries; a shard is a block of them.

    Attributes
    ----------
    n_players, n_queries : int
    """

    estimates: ClassVar[bool] = True
    """Whether there are means and variances, beside what is known exactly."""

    n_players: int
    n_queries: int

    def fill(self, shard: Block, sums: _native.Sums) -> None:
        """Add up a block of queries."""
        raise NotImplementedError

    def run(self, shard: Block) -> Part:
        """Add up one block."""
        sums = _native.Sums(*shard)
        self.fill(shard, sums)
        cells, exact, means, variances, appearances = sums.by_cell()
        by_cell = {"exact": exact}
        if self.estimates:
            by_cell |= {"means": means, "variances": variances}
        return Part(shard, cells, by_cell, appearances, dict(zip(_BY_QUERY, sums.by_query())))

    def start(self) -> Totals:
        """Return totals of nothing."""
        n_estimated = self.n_players if self.estimates else 0
        spread, work, value_all, value_nothing = (np.zeros(self.n_queries) for _ in range(4))
        return Totals(
            np.zeros((self.n_players, 2)),
            np.zeros((n_estimated, 2)),
            np.zeros((n_estimated, 2)),
            np.zeros(self.n_players, dtype=np.int64),
            np.zeros(self.n_queries, dtype=np.uint8),
            spread,
            work,
            value_all,
            value_nothing,
        )

    def add(self, total: Totals, part: Part) -> Totals:
        """Add a block."""
        for name, sums in part.by_cell.items():
            _native.add_to_cells(getattr(total, name).reshape(-1), part.cells, sums)
        first = part.cells % 2 == 0
        total.appearances[part.cells[first] // 2] += part.appearances[first]
        for name, values in part.by_query.items():
            getattr(total, name)[slice(*part.block)] = values
        return total

    def work(self, shard: Block) -> float:
        """Return the number of queries."""
        return shard[1] - shard[0]

    def unpack(self, state: tuple[npt.NDArray[Any], ...]) -> Totals:
        """Return totals that were kept."""
        return Totals(*state)
