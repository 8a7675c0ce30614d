"""Queries ranked block by block, wherever the engine of a run does that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence import engines
from whence.engines import Job, Run
from whence.evaluation.queries import Queries
from whence.evaluation.ranking import Ranking, rank_catalogue

Block = tuple[int, int]
Part = tuple[int, npt.NDArray[np.int32], npt.NDArray[np.float64] | None]
Total = tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]

_QUERIES = 2048


@dataclass(frozen=True)
class _Ranked(Job[Block, Part, Total]):
    """Lists and areas of queries; see `rank_catalogue`. A shard is a block of the queries."""

    lasting = ("model",)
    alone = True  # the models use the threads

    model: Any
    queries: Queries
    k: int
    auc: bool
    eligible: npt.NDArray[np.bool_] | None

    def run(self, shard: Block) -> Part:
        found = rank_catalogue(
            self.model, self.queries.block(*shard), self.k, auc=self.auc, eligible=self.eligible
        )
        return shard[0], found.lists, found.auc

    def start(self) -> Total:
        n = len(self.queries)
        return np.full((n, self.k), -1, dtype=np.int32), np.zeros(n)

    def add(self, total: Total, part: Part) -> Total:
        (lists, areas), (first, rows, values) = total, part
        lists[first : first + len(rows)] = rows
        if values is not None:
            areas[first : first + len(values)] = values
        return total

    def work(self, shard: Block) -> float:
        return shard[1] - shard[0]


def rank_by(
    run: Run,
    model: Any,
    queries: Queries,
    k: int,
    auc: bool,
    eligible: npt.NDArray[np.bool_] | None,
) -> Ranking:
    """Rank all items for each query, as `rank_catalogue` does, by the engine of a run."""
    n = len(queries)
    blocks = [(first, min(first + _QUERIES, n)) for first in range(0, n, _QUERIES)]
    job = _Ranked(model, queries, k, auc, eligible)
    lists, areas = engines.run(job, blocks, run, message="queries")
    return Ranking(queries, lists, areas if auc else None)
