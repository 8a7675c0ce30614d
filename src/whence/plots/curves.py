"""Curves over a number of removed or inspected sources, one line per ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib.ticker import PercentFormatter

from whence.errors import ColumnError, did_you_mean
from whence.plots.style import DASHES, GREY, SERIES, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WITHIN = 5
"""Lines whose names fit beside them; those of more are beside the picture."""


def removal_curve(
    table: Any,
    *,
    ax: Axes | None = None,
    x: str = "fraction",
    y: str = "value",
    by: str = "ranking",
    chosen: float | None = None,
    label: str | None = None,
    title: str | None = None,
) -> Axes:
    """Draw what becomes of a metric as more and more sources are removed.

    Parameters
    ----------
    table : data frame
        Columns `x` (share or number removed), `y` (the metric), optionally `by` (one line for
        each of its values) and ``low`` and ``high`` (a band around the line).
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    x, y, by : str
        Names of the columns.
    chosen : float, optional
        Where a choice was made, marked by a vertical line.
    label : str, optional
        What the vertical axis shows; `y` by default.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ColumnError
        If a column is missing.
    """
    frame = _table(table, x, y)
    with axes(ax) as ax:
        for part, name, look in _lines(frame, by):
            part = part.sort(x)
            ax.plot(part[x], part[y], label=name, marker="o", markersize=3.5, **look)
            if {"low", "high"} <= set(part.columns):
                ax.fill_between(
                    part[x], part["low"], part["high"], color=look["color"], alpha=0.18, linewidth=0
                )
        if chosen is not None:
            ax.axvline(chosen, color=GREY, linestyle=":", linewidth=1.4, label="chosen")
        if x == "fraction":
            ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_xlabel("share removed" if x == "fraction" else "number removed")
        ax.set_ylabel(label or y)
        ax.set_title(title or "After removing sources")
        n_lines = len(ax.get_legend_handles_labels()[0])
        if n_lines > _MOST_WITHIN:
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        elif n_lines:
            ax.legend()
    return ax


def detection_curve(
    table: Any,
    *,
    ax: Axes | None = None,
    x: str = "n_inspected",
    y: str = "recall",
    by: str = "ranking",
    n_corrupted: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the share of corrupted sources found against the number inspected.

    Parameters
    ----------
    table : data frame
        As `whence.curation.detection_curve` gives it: columns `x`, `y` (``"recall"`` or
        ``"precision"``) and `by`.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    x, y, by : str
        Names of the columns.
    n_corrupted : int, optional
        Number of corrupted sources, marked by a vertical line.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ColumnError
        If a column is missing.
    """
    frame = _table(table, x, y)
    with axes(ax) as ax:
        for part, name, look in _lines(frame, by):
            part = part.sort(x)
            ax.plot(part[x], part[y], label=name, **look)
        if n_corrupted is not None:
            ax.axvline(n_corrupted, color=GREY, linestyle=":", linewidth=1.4, label="corrupted")
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_ylim(0.0, 1.02)
        ax.set_xlim(left=0)
        ax.set_xlabel("sources inspected, most suspicious first")
        ax.set_ylabel({"recall": "corrupted sources found"}.get(y, y))
        ax.set_title(title or "Finding corrupted sources")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="lower right" if y == "recall" else "upper right")
    return ax


def _table(table: Any, *needed: str) -> pl.DataFrame:
    names = [str(name) for name in table.columns]
    for name in needed:
        if name not in names:
            raise ColumnError(
                f"The table to draw has no column {name!r}; its columns are "
                f"{', '.join(map(repr, names))}.{did_you_mean(name, names)}"
            )
    if isinstance(table, pl.DataFrame):
        return table
    return pl.DataFrame({name: np.asarray(table[name]) for name in names})


def _lines(
    frame: pl.DataFrame, by: str
) -> Iterator[tuple[pl.DataFrame, str | None, dict[str, Any]]]:
    """Give each line's rows, name and look; order of first appearance, look by position."""
    if by not in frame.columns:
        yield frame, None, {"color": SERIES[0], "linewidth": 1.8}
        return
    for number, name in enumerate(frame[by].unique(maintain_order=True)):
        look = {
            "color": SERIES[number % len(SERIES)],
            # Another step after each round of colours, so that no two lines look alike.
            "linestyle": DASHES[(number + number // len(SERIES)) % len(DASHES)],
            "linewidth": 1.8,
        }
        yield frame.filter(pl.col(by) == name), str(name), look
