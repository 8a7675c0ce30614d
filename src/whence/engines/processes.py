"""Processes of this machine: for work that one process can do only in turn.

Torch has one random state in a process, so that models whose training draws numbers cannot be
trained in several threads of one. Each worker is a fresh interpreter that is handed the job once.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator, Sequence
from typing import Any

from whence.engines.jobs import ENGINES, Engine, Job, Part, Shard
from whence.engines.runs import Run
from whence.engines.threads import results_in_order
from whence.errors import UnsupportedError

_job: Any = None
"""That of this worker."""


class Processes(Engine):
    """Processes of this machine, each with one thread.

    A script that uses it starts its work below ``if __name__ == "__main__":``, as always with
    processes of Python.
    """

    def parts(
        self, job: Job[Shard, Part, Any], shards: Sequence[Shard], run: Run
    ) -> Generator[Part, None, None]:
        """Yield the part of each shard; see `Engine.parts`.

        Raises
        ------
        UnsupportedError
            If the job cannot be handed to another process.
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        workers = min(run.n_threads, len(shards))
        if workers <= 1:
            yield from map(job.run, shards)
            return
        try:
            handed = pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UnsupportedError(
                f"This work cannot be handed to other processes ({error}); give objects and "
                "functions that a module defines, or take engine='threads'."
            ) from error
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(handed,)
        )
        yield from results_in_order(pool, _run, shards, workers)


def _begin(handed: bytes) -> None:
    global _job
    os.environ["OMP_NUM_THREADS"] = "1"
    _job = pickle.loads(handed)


def _run(shard: Any) -> Any:
    return _job.run(shard)


ENGINES.add("processes", Processes())
