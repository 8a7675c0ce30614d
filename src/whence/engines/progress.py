"""Progress of long work: a bar on a terminal, lines elsewhere, or the caller's own function."""

from __future__ import annotations

import sys
import threading
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
        with lines(title) as report:
            yield report


def part_of(report: Report, number: int, of: int) -> Report:
    """Report the progress of one of several equal parts as progress of all."""

    def tell(done: float, total: float, message: str) -> None:
        report(number + (done / total if total else 0.0), of, message)

    return tell


@contextmanager
def lines(title: str = "", seconds: float = _SECONDS) -> Iterator[Report]:
    """Write a line with numbers every few seconds, also where the work reports nothing.

    Parameters
    ----------
    title : str
        What the work is.
    seconds : float
        Between lines.
    """
    began, over = time.monotonic(), threading.Event()
    state = ("", "")

    def report(done: float, total: float, message: str) -> None:
        nonlocal state
        state = f"{done / total:.0%}" if total else f"{done:g}", message

    def tell() -> None:
        while not over.wait(seconds):
            share, message = state
            passed = f"{share} after {time.monotonic() - began:.0f} s".strip()
            words = [title, passed, message]
            print(", ".join(word for word in words if word), file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield report
    finally:
        over.set()
        teller.join()


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
