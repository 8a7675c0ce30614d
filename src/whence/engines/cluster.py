"""Ray: the same work by the processors of many machines, or by processes of this one.

A shard is worked on wherever there is room, and what it found comes back to be added up here, in
the order of the shards. What is lost with a process or a machine is done again.
"""

from __future__ import annotations

import copy
import os
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from whence.engines._connection import connected
from whence.engines._sending import pack, unpack
from whence.engines.jobs import ENGINES, Engine, Job, Part, Shard, cut
from whence.engines.threads import at_most, map_ordered
from whence.errors import ParameterError, UnsupportedError, WhenceWarning

if TYPE_CHECKING:
    from whence.engines.runs import Run

_TASKS_EACH, _TASKS_EACH_ALONE = 4, 16
"""Tasks for each place, where shards suffice: a lost one costs less, and all end together."""
_WAITING = 3
"""Tasks for each place that are begun before the first of them is needed."""


class RayCluster(Engine):
    """Ray, on the machines of a cluster or on this one.

    A task is some shards, worked on by the threads of a node: as many tasks run on a node at once
    as their threads fit its processors.
    """

    def check(self, run: Run) -> None:
        """See `Engine.check`.

        Raises
        ------
        UnsupportedError
            If Ray is not installed.
        """
        if find_spec("ray") is None:
            raise UnsupportedError(
                "engine='ray' needs Ray, which is not installed; pip install 'whence[ray]'."
            )
        if run.address is not None and "://" in run.address:
            raise ParameterError(
                f"address is host:port of a cluster that this machine is part of, or 'auto', not "
                f"{run.address!r}; start the work on one of its machines."
            )

    def parts(
        self, job: Job[Shard, Part, Any], shards: Sequence[Shard], run: Run
    ) -> Generator[Part, None, None]:
        """Yield the part of each shard; see `Engine.parts`.

        Raises
        ------
        EngineError
            If the cluster cannot be reached, its machines differ, or they cannot do the work.
        UnsupportedError
            If the job cannot be handed to another process.
        """
        if not len(shards):
            return
        connection = connected(run.address)
        threads, places = connection.places(run.threads)
        task = _Task(connection, job, threads)
        told: set[str] = set()
        waiting: deque[tuple[tuple[int, int], Any]] = deque()
        try:
            for bounds in tasks_of(job, shards, threads, places):
                waiting.append((bounds, task.begin(shards[slice(*bounds)])))
                if len(waiting) > _WAITING * places:
                    yield from task.end(*waiting.popleft(), len(shards), told)
            while waiting:
                yield from task.end(*waiting.popleft(), len(shards), told)
        finally:
            connection.cancel([reference for _, reference in waiting])


def machines(address: str | None) -> str:
    """What a cluster is made of, in words; it is reached, or started, for that.

    Raises
    ------
    EngineError
        If it cannot be.
    """
    return connected(address).machines


def tasks_of(
    job: Job[Shard, Any, Any], shards: Sequence[Shard], threads: int, places: int
) -> list[tuple[int, int]]:
    """First and last (exclusive) shard of each task.

    Parameters
    ----------
    job : Job
    shards : sequence
    threads : int
        That work on the shards of a task.
    places : int
        For tasks, on all nodes together.
    """
    if job.alone:
        each = int(np.clip(len(shards) // places, 1, _TASKS_EACH_ALONE))
    else:
        each = int(np.clip(len(shards) // (2 * threads * places), 1, _TASKS_EACH))
    return cut([job.work(shard) for shard in shards], each * places)


class _How(NamedTuple):
    """How shards are worked on in a worker.

    Attributes
    ----------
    names : tuple of str
        Fields of the job that are sent by themselves.
    keys : list of str
        Of these, and of the job.
    threads : int
    torch_threads : int or None
        Those of torch, which rounds by them; None if the driver has not loaded it.
    path : list of str
        Where the driver finds modules; a worker looks there, too.
    """

    names: tuple[str, ...]
    keys: list[str]
    threads: int
    torch_threads: int | None
    path: list[str]


class _Task:
    """What is done to some shards of a job, somewhere else."""

    def __init__(self, connection: Any, job: Job[Any, Any, Any], threads: int) -> None:
        rest = copy.copy(job)
        for name in job.lasting:
            object.__setattr__(rest, name, None)
        self._connection = connection
        self._sent = [connection.lasting(getattr(job, name)) for name in job.lasting]
        self._sent.append(connection.put(rest))
        torch: Any = sys.modules.get("torch")
        torch_threads = None if torch is None else torch.get_num_threads()
        keys = [reference.hex() for reference in self._sent]
        self._how = _How(job.lasting, keys, threads, torch_threads, sys.path)

    def begin(self, shards: Sequence[Any]) -> Any:
        """Ask for the parts of some shards."""
        return self._connection.submit(
            self._how.threads, work, self._how, list(shards), *self._sent
        )

    def end(self, bounds: tuple[int, int], answer: Any, n: int, told: set[str]) -> list[Any]:
        """Wait for the parts of some shards, of n in all, and pass on what there is to be said."""
        first, last = bounds[0] + 1, bounds[1]
        which = f"Part {first}" if first == last else f"Parts {first} to {last}"
        found = self._connection.get(answer, f"{which} of {n} of the work")
        parts, said, failed = unpack(found, own=True)
        for message, place, line in said:
            if str(message) not in told:
                told.add(str(message))
                warnings.warn_explicit(message, type(message), place, line)
        if failed is not None:
            error, where = failed
            raise error from _ElsewhereError(where)
        return list(parts)


class _ElsewhereError(Exception):
    """Where in a worker an error was raised."""


# In a worker

_held: dict[str, Any] = {}
"""What this process was sent for the job that it works on, by key."""


def work(how: _How, shards: list[Any], *sent: Any) -> list[Any]:
    """Work on some shards, in a worker; the parts, the warnings and the error, packed."""
    sys.path.extend(place for place in how.path if place not in sys.path)
    parts: list[Any] = []
    failed = None
    with ExitStack() as stack:
        stack.enter_context(at_most(how.threads))
        heard = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("default", WhenceWarning)
        if how.torch_threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(how.torch_threads)  # should it be loaded later
        try:
            job = _job(how, sent)
            torch: Any = sys.modules.get("torch")
            if torch is not None and how.torch_threads is not None:
                torch.set_num_threads(how.torch_threads)
            parts += map_ordered(job.run, shards, 1 if job.alone else how.threads)
        except Exception as error:
            failed = error, traceback.format_exc()
    said = [
        (one.message, one.filename, one.lineno)
        for one in heard
        if isinstance(one.message, WhenceWarning)
    ]
    return pack((parts, said, failed))


def _job(how: _How, sent: Sequence[Any]) -> Any:
    for key in set(_held) - set(how.keys):
        del _held[key]
    for key, packed in zip(how.keys, sent):
        if key not in _held:
            _held[key] = unpack(packed)
    *fields, job = (_held[key] for key in how.keys)
    for name, value in zip(how.names, fields):
        object.__setattr__(job, name, value)
    return job


ENGINES.add("ray", RayCluster())
