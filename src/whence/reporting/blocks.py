"""What a report is made of: sections of texts, facts, tables, charts and pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

MOST_ROWS = 500
"""Rows that a table of a report shows at most."""
_LONGEST = 400
"""Characters of a cell that are shown at most."""


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Parameters
    ----------
    text : str
    kind : {"plain", "note"}
        A note says what is to be minded.
    """

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and what they are, in two columns."""

    rows: Sequence[tuple[str, Any]]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The rows as text, without those of nothing."""
        return [(name, cell(value)) for name, value in self.rows if value not in (None, "")]


@dataclass(frozen=True)
class Table:
    """A table that can be sorted and searched.

    Parameters
    ----------
    caption : str
        What it shows.
    frame : polars.DataFrame
    more : str
        Where the rest is, if it is cut.
    ids : collection of str
        Columns of ids, whose numbers are written as they are.
    """

    caption: str
    frame: pl.DataFrame
    more: str = ""
    ids: Collection[str] = ()

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Names, and whether they are numbers."""
        return [(name, dtype.is_numeric()) for name, dtype in self.frame.schema.items()]

    @property
    def rows(self) -> list[list[tuple[str, str | None]]]:
        """Text of each cell, and the number that it is sorted by."""
        is_id = [name in self.ids for name in self.frame.columns]
        return [
            [
                (str(value) if plain else cell(value), _order(value))
                for value, plain in zip(row, is_id)
            ]
            for row in self.frame.head(MOST_ROWS).iter_rows()
        ]

    @property
    def left_out(self) -> str:
        """Say which rows are not shown; "" where all are."""
        n = self.frame.height
        if n <= MOST_ROWS:
            return ""
        where = f" {self.more}" if self.more else ""
        return f"The first {MOST_ROWS:,} of {n:,} rows.{where}"


@dataclass(frozen=True)
class Chart:
    """A chart, with the same in words and in numbers.

    Parameters
    ----------
    title : str
    figure : mapping
        ``data`` and ``layout`` of plotly; "@1" is the first colour of the page, "@1/30" the same
        at 30% opacity; see `whence.reporting.charts`.
    about : str
        What is to be seen, for those who do not see it.
    table : Table, optional
        The numbers.
    height : int
        Pixels.
    """

    title: str
    figure: Mapping[str, Any]
    about: str
    table: Table | None = None
    height: int = 340


@dataclass(frozen=True)
class Picture:
    """A picture file, as a command drew it.

    Parameters
    ----------
    title : str
    data : str
        Base64 of a PNG file.
    """

    title: str
    data: str


Block = Text | Facts | Table | Chart | Picture


@dataclass(frozen=True)
class Part:
    """Blocks under a heading of their own."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A chapter of a report.

    Parameters
    ----------
    title : str
    parts : sequence of Part
    about : str
        A sentence or two on how to read it.
    """

    title: str
    parts: Sequence[Part] = field(default_factory=list)
    about: str = ""

    @property
    def anchor(self) -> str:
        """Its name in addresses."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def cell(value: Any) -> str:
    """Return a value as a table shows it.

    Examples
    --------
    >>> cell(0.123456), cell(1234567), cell(2.3e-7), cell(None), cell(["a", "b"])
    ('0.1235', '1,234,567', '2.3e-07', '', 'a · b')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(one)}" for name, one in value.items())
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, (list, tuple)):
        return cell(" · ".join(cell(one) for one in value))
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e5 and value == int(value):
        return f"{int(value):,}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 else f"{value:.4g}"


def _order(value: Any) -> str | None:
    """The number by which a cell is sorted; None of texts, which are sorted as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return "" if isinstance(value, float) and math.isnan(value) else repr(value)
