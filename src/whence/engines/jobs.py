"""The one seam through which work runs: a job, cut into shards, done by an engine.

What an engine is given can be handed to another process: a job is a frozen dataclass at module
level, its shards and parts are plain values and arrays. Parts are added up in the order of the
shards, whatever finished first, so that results do not depend on the engine, on the number of
threads, or on interruptions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from whence.engines.progress import reporter
from whence.engines.threads import map_ordered
from whence.errors import ParameterError
from whence.registry import Registry

if TYPE_CHECKING:
    from whence.engines.checkpoints import Checkpoints
    from whence.engines.runs import Run

Shard = TypeVar("Shard")
Part = TypeVar("Part")
Total = TypeVar("Total")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a job.

    Attributes
    ----------
    total
        Of the parts that were added by then; None if it came while one was being added.
    """

    def __init__(self, total: Any) -> None:
        super().__init__()
        self.total = total


class Job(ABC, Generic[Shard, Part, Total]):
    """Work that falls into shards, whose parts add up to a total.

    Subclasses are frozen dataclasses at module level: what the shards share are their fields.
    """

    lasting: ClassVar[tuple[str, ...]] = ()
    """Names of fields that further jobs have, too, and that never change: other machines get them
    once."""

    @property
    def alone(self) -> bool:
        """Whether a process does one shard at a time.

        Either the work of a shard uses threads itself, or it needs what a process has one of, such
        as the random state of torch.
        """
        return False

    @abstractmethod
    def run(self, shard: Shard) -> Part:
        """Do the work of one shard; nothing else is changed by it."""

    @abstractmethod
    def start(self) -> Total:
        """Return the total before any part is added."""

    @abstractmethod
    def add(self, total: Total, part: Part) -> Total:
        """Return the total with one more part; called in the order of the shards."""

    def work(self, shard: Shard) -> float:
        """Return how much work a shard is, relative to others: for the progress."""
        return 1.0

    def is_complete(self, total: Total) -> bool:
        """Return whether the shards that are left are not wanted; asked after each part."""
        return False

    def pack(self, total: Total) -> Any:
        """Return a total as arrays, numbers, texts, and lists and dicts of them."""
        return total

    def unpack(self, state: Any) -> Total:
        """Return the total that `pack` was given."""
        total: Total = state
        return total


class ListJob(Job[Shard, Part, list[Part]]):
    """A job whose total is the list of its parts, in the order of the shards."""

    def start(self) -> list[Part]:
        """Nothing is done."""
        return []

    def add(self, total: list[Part], part: Part) -> list[Part]:
        """One more is."""
        total.append(part)
        return total


class Engine(ABC):
    """Where the shards of a job are worked on."""

    def check(self, run: Run) -> None:
        """Refuse what a run says if this engine cannot do it, before any work begins.

        Raises
        ------
        ParameterError
        """
        if run.address is not None:
            raise ParameterError(
                "An address is that of a Ray cluster; give engine='ray' with it, or leave it out."
            )

    @abstractmethod
    def parts(
        self, job: Job[Shard, Part, Any], shards: Sequence[Shard], run: Run
    ) -> Generator[Part, None, None]:
        """Yield the part of each shard, in the order of the shards."""


class Threads(Engine):
    """Threads of this process, over kernels that release the interpreter lock."""

    def parts(
        self, job: Job[Shard, Part, Any], shards: Sequence[Shard], run: Run
    ) -> Generator[Part, None, None]:
        """Yield the part of each shard; see `Engine.parts`."""
        return map_ordered(job.run, shards, 1 if job.alone else run.threads)


ENGINES: Registry[Engine] = Registry("engine", group="whence.engines")
ENGINES.add("threads", Threads())


def run(
    job: Job[Shard, Part, Total],
    shards: Sequence[Shard],
    run: Run,
    *,
    message: str = "",
    kept: Checkpoints | None = None,
    stage: str = "work",
) -> Total:
    """Do a job.

    Parameters
    ----------
    job : Job
    shards : sequence
        Cut in the same way whatever the number of threads; see `cut`.
    run : Run
        With its engine, threads and progress.
    message : str
        What is done, for the progress.
    kept : Checkpoints, optional
        Where the total is kept every few seconds, and when the work is broken off.
    stage : str
        Name of this job among those that share `kept`.

    Returns
    -------
    The total.

    Raises
    ------
    Interrupted
        On Ctrl-C, with what was done by then.
    """
    total, done = job.start(), 0
    before = None if kept is None else kept.load(stage)
    if before is not None:
        total, done = job.unpack(before["total"]), int(before["done"])
        if done and job.is_complete(total):
            return total
    works = [job.work(shard) for shard in shards]
    all_work, worked = sum(works), sum(works[:done])
    whole = True  # not in the middle of adding a part
    parts = ENGINES[run.engine].parts(job, shards[done:], run)
    with reporter(run.progress) as report:
        try:
            report(worked, all_work, message)
            for part in parts:
                whole = False
                total = job.add(total, part)
                worked += works[done]
                done += 1
                whole = True
                if kept is not None and kept.is_due:
                    kept.save(stage, {"done": done, "total": job.pack(total)})
                report(worked, all_work, message)
                if job.is_complete(total):
                    break
        except BaseException as error:
            if kept is not None and whole and done:
                kept.save(stage, {"done": done, "total": job.pack(total)})
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(total if whole else None) from error
            raise
        finally:
            parts.close()  # what has not been started is not wanted any more
    return total


def cut(work: npt.ArrayLike, shards: int) -> list[tuple[int, int]]:
    """Cut a row of tasks into shards of about equal work.

    Parameters
    ----------
    work : float [n]
        Of each task, 0 or more.
    shards : int
        How many at most.

    Returns
    -------
    list of (int, int)
        First and last (exclusive) number of the tasks of each shard; none is empty.

    Examples
    --------
    >>> cut([1, 1, 1, 1, 4], 2)
    [(0, 4), (4, 5)]
    """
    amounts = np.asarray(work, dtype=np.float64)
    n = len(amounts)
    if n == 0:
        return []
    before = np.concatenate(([0.0], np.cumsum(amounts)))
    if before[-1] == 0:
        before = np.arange(n + 1.0)
    shards = int(np.clip(shards, 1, n))
    edges = np.searchsorted(before, before[-1] * np.arange(1, shards) / shards)
    edges = np.unique(np.concatenate(([0], edges, [n])))
    return [(int(a), int(b)) for a, b in pairwise(edges)]
