"""Progress of long work: a bar on standard error, or the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[float, float, str], None]


@contextmanager
def reporter(progress: Any) -> Iterator[Report]:
    """Give a function ``report(done, total, message)``.

    Parameters
    ----------
    progress : bool or callable
        False: silent. True: a bar on standard error, gone when the work is done. A callable is
        called as it is.
    """
    if not progress:
        yield _silent
    elif callable(progress):
        yield progress
    else:
        with _bar() as report:
            yield report


def _silent(done: float, total: float, message: str) -> None:
    """Say nothing."""


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("")

        def report(done: float, total: float, message: str) -> None:
            bar.update(task, completed=done, total=total, description=message)

        yield report
