"""Progress of long work: a bar on a terminal, lines elsewhere, or the caller's own function."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Report: TypeAlias = Callable[[float, float, str], None]
"""``report(done, total, message)``, in units of the work's own."""
Progress: TypeAlias = "bool | Report"

_SECONDS = 10.0
"""Between lines where standard error is no terminal."""


@contextmanager
def reporter(progress: Progress, title: str = "") -> Iterator[Report]:
    """Give a function ``report(done, total, message)``.

    Parameters
    ----------
    progress : bool or callable
        False: silent. True: on a terminal a bar on standard error, gone when the work is done;
        elsewhere a line every ten seconds. A callable is called as it is.
    title : str
        What the work is, before the message.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield _silent
    elif sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield lines(title)


def part_of(report: Report, number: int, of: int) -> Report:
    """Report the progress of one of several equal parts as progress of all."""

    def tell(done: float, total: float, message: str) -> None:
        report(number + (done / total if total else 0.0), of, message)

    return tell


def lines(title: str = "", seconds: float = _SECONDS) -> Report:
    """Return a report that writes a line with numbers every few seconds."""
    began = told = time.monotonic()

    def report(done: float, total: float, message: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < seconds:
            return
        told = now
        share = f"{done / total:.0%}" if total else f"{done:g}"
        words = [title, f"{share} after {now - began:.0f} s", message]
        print(", ".join(word for word in words if word), file=sys.stderr, flush=True)

    return report


def _silent(done: float, total: float, message: str) -> None:
    """Say nothing."""


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task: Any = bar.add_task(title, total=None, message="")

        def report(done: float, total: float, message: str) -> None:
            bar.update(task, completed=done, total=total, message=message)

        yield report
