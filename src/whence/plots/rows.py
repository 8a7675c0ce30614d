"""Rows of pictures of explanations: how many, which, and what is written beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from whence.errors import ColumnError, DataError
from whence.plots.style import INK
from whence.plots.words import fonts, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
_PER_ROW = 0.24  # inches


def names_of(items: Any) -> pl.Series:
    """Titles of items, ids where there is none."""
    frame = as_frame(items)
    ids = frame["item"].cast(pl.String) if "item" in frame.columns else pl.Series([""])
    if "title" not in frame.columns:
        return ids
    return frame["title"].cast(pl.String).zip_with(frame["title"].is_not_null(), ids)


def list_beside(ax: Axes, names: pl.Series) -> None:
    """Write the recommended items, best first, to the right of the axes."""
    lines = short(names, range(1, len(names) + 1))
    for text, below, options in (
        ("Recommended", 0, {"fontsize": 9, "fontweight": "bold"}),
        ("\n".join(lines), 16, {"fontsize": 8.5, "linespacing": 1.5}),
    ):
        ax.annotate(text, (1.03, 1.0), (0, -below), xycoords="axes fraction", va="top",
                    textcoords="offset points", color=INK, **options)  # fmt: skip


def grow(ax: Axes, n_rows: int, least: float = 8.0) -> None:
    """Make a new figure high enough for its rows; leave the caller's alone."""
    figure = ax.figure
    if len(figure.axes) == 1 and isinstance(figure, Figure):
        width, height = figure.get_size_inches()
        figure.set_size_inches(max(width, least), max(height, 1.4 + _PER_ROW * n_rows))


def write_rows(ax: Axes, labels: list[str]) -> None:
    """Write what the rows are, the first at the top; few rows do not fill the height."""
    n_rows, least = len(labels), 4
    space = max(0.0, (least - n_rows) / 2)
    ax.set_yticks(range(n_rows), labels, fontfamily=fonts())
    ax.set_ylim(n_rows - 0.4 + space, -0.6 - space)
    ax.grid(axis="y", visible=False)


def places_of(frame: pl.DataFrame) -> list[int | None] | None:
    """Number of each event in the history, as tables have it; None where rows are no events."""
    if "event" not in frame.columns or not frame.schema["event"].is_integer():
        return None
    places: list[int | None] = frame["event"].to_list()
    if "n_events" in frame.columns:  # several together have none
        places = [at if n == 1 else None for at, n in zip(places, frame["n_events"])]
    return places


def largest(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """The n rows of the largest share in absolute value, still in order."""
    return frame[strongest([frame["score"].to_numpy()], n)]


def strongest(scores: list[FloatArray], n: int) -> npt.NDArray[np.int64]:
    """Places of the n rows of the largest share in absolute value in any table, in order."""
    strength = np.max(np.abs(scores), axis=0)
    return np.sort(np.argsort(-strength, kind="stable")[:n])


def as_frame(table: Any, *needed: str) -> pl.DataFrame:
    """Return any data frame as one of polars that has the columns needed, and rows.

    Raises
    ------
    ColumnError
        If a column is missing.
    DataError
        If there is no row.
    """
    frame = (
        table
        if isinstance(table, pl.DataFrame)
        else pl.DataFrame({str(name): table[name].to_numpy() for name in table.columns})
    )
    for name in needed:
        if name not in frame.columns:
            raise ColumnError(
                f"The table to draw has no column {name!r}; its columns are "
                f"{', '.join(map(repr, frame.columns))}."
            )
    if not frame.height:
        raise DataError("There is nothing to draw; give a table with at least one row.")
    return frame
