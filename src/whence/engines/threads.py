"""Threads over kernels that release the interpreter lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from whence.errors import check_int

Task = TypeVar("Task")
Result = TypeVar("Result")

_most: int | None = None
"""Threads that this process is to use where none are asked for."""


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Let this process use so many threads where none are asked for."""
    global _most
    before, _most = _most, threads
    try:
        yield
    finally:
        _most = before


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use: the one asked for, else one for every core allowed.

    Raises
    ------
    ParameterError
        If `threads` is below 1.
    """
    if threads is not None:
        return check_int("threads", threads, minimum=1)
    if _most is not None:
        return _most
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def map_ordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], threads: int | None = None
) -> Generator[Result, None, None]:
    """Yield ``function(task)`` for every task, in the order of the tasks.

    Results come in a fixed order whatever the number of threads, so that a reduction over them
    gives the same floating-point numbers. A bounded number of tasks is in flight; leaving the
    generator (an exception, Ctrl-C) cancels those not yet started.
    """
    workers = thread_count(threads)
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(task)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="whence")
    yield from results_in_order(pool, function, tasks, workers)


def results_in_order(
    pool: Executor, function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Generator[Result, None, None]:
    """Yield what a pool makes of every task, in their order, with few of them in flight."""
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
