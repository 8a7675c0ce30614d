"""Queries in blocks: each block's rows by themselves, and then all of them in one array."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.engines import Job, Run, run

Rows = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class RowsJob(Job[tuple[int, int], tuple[int, Rows], Rows]):
    """Arrays with a row for each of n queries, which are worked on in blocks."""

    n: int

    @abstractmethod
    def rows(self, start: int, stop: int) -> Rows:
        """Rows of queries `start` to `stop` (exclusive) of each of the arrays."""

    def run(self, shard: tuple[int, int]) -> tuple[int, Rows]:
        """See `Job`."""
        return shard[0], self.rows(*shard)

    def start(self) -> Rows:
        """See `Job`."""
        return ()

    def add(self, total: Rows, part: tuple[int, Rows]) -> Rows:
        """See `Job`."""
        first, arrays = part
        if not total:
            total = tuple(np.empty((self.n, *one.shape[1:]), one.dtype) for one in arrays)
        for whole, rows in zip(total, arrays):
            whole[first : first + len(rows)] = rows
        return total

    def work(self, shard: tuple[int, int]) -> float:
        """See `Job`."""
        return float(shard[1] - shard[0])


def in_blocks(job: RowsJob, size: int, threads: int | None) -> Rows:
    """Do a job in blocks of queries.

    Parameters
    ----------
    job : RowsJob
    size : int
        Queries per block.
    threads : int or None
        Every core if None.

    Returns
    -------
    tuple of arrays
        Each with job.n rows.
    """
    if job.n <= size:
        return job.rows(0, job.n)
    starts = range(0, job.n, size)
    return run(job, [(one, min(one + size, job.n)) for one in starts], Run(threads=threads))
