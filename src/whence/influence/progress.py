"""Progress of a pass: a bar on standard error, or the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[float, float, str], None]


@contextmanager
def reporter(progress: Any) -> Iterator[Report]:
    """Give ``report(done, total, message)``: silent, the caller's function, or a bar for True."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda done, total, message: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def show(done: float, total: float, message: str) -> None:
            bar.update(task, completed=done, total=total, description=message)

        yield show
