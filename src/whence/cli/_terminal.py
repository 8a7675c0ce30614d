"""What a person sees: tables on standard output, progress and complaints on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_WIDEST = 2_000
Report = Callable[[float, float, str], None]


def say(text: str = "") -> None:
    """Print lines of plain text."""
    print(text)


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr)


def heading(text: str) -> None:
    """Print a line that stands out on a terminal."""
    Console(highlight=False, soft_wrap=True).print(Text(text, style="bold"))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    text: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Print a table, aligned to the right but for `text` and a first column not of `numbers`."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        left = column in text or (position == 0 and column not in numbers)
        shown.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # in a file or a pipe nothing is to be cut off
        console.width = _WIDEST
        console.width = max(80, console.measure(shown).maximum)
    console.print(shown)


@contextmanager
def progress(description: str) -> Iterator[Report | bool]:
    """Give what a method takes as ``progress``: a bar on a terminal, else False."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield False
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[message]}", style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None, message="")

        def report(done: float, total: float, message: str = "") -> None:
            bar.update(task, completed=done, total=total, message=message)

        yield report


def number(value: float | None) -> str:
    """Format a value of a metric, or of a source, for a table."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.3e}"
