"""Who taught a prediction: the training examples that did most for it, and against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.plots.rows import as_frame, grow, write_rows
from whence.plots.style import BLUE, INK, VERMILION, axes, say_within
from whence.plots.words import all_texts, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KNOWN = ("rank", "score", "example", "place", "place_score", "target", "sequence")


def examples(
    table: Any,
    *,
    asked: str | None = None,
    ax: Axes | None = None,
    label: str = "influence",
    title: str | None = None,
) -> Axes:
    """Draw training examples in the order of the table: what each taught, and how much that did.

    Parameters
    ----------
    table : data frame
        As `Influence.proponents` and `Influence.opponents` give it: ``score``, and ``target`` (what
        was taught) or ``example`` (its number), and whose it is.
    asked : str, optional
        What was predicted, for the heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    label : str
        What the horizontal axis shows.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ColumnError
        If a column is missing.
    DataError
        If there is no row.
    """
    frame = as_frame(table, "score", *(() if "target" in _columns(table) else ("example",)))
    score = frame["score"].to_numpy()
    place = np.arange(len(score))
    texts = all_texts(frame["target"] if "target" in frame.columns else None)
    with axes(ax, [*texts, asked or ""]) as ax:
        grow(ax, len(score), 9.0)
        ax.barh(place, score, height=0.74, color=np.where(score < 0, VERMILION, BLUE).tolist())
        ax.axvline(0.0, color=INK, linewidth=1.0)
        write_rows(ax, _rows(frame))
        ax.set_xlabel(label)
        ax.set_ylabel("training examples")
        if not score.any():
            say_within(ax, "Every influence is 0: no example of the training data matters here.")
        what = f" {short([asked])[0]}" if asked else ""
        ax.set_title(title or f"Who taught it{what}")
    return ax


def _columns(table: Any) -> list[str]:
    return [str(name) for name in table.columns]


def _rows(frame: pl.DataFrame) -> list[str]:
    """What each example taught, and in brackets of whom; its number where that is not known."""
    if "target" not in frame.columns:
        return [f"example {number}" for number in frame["example"]]
    names = short(frame["target"])
    whose = [name for name in frame.columns if name not in _KNOWN]
    if not whose:
        return names
    of = short(frame[whose[0]])
    what = whose[0].removesuffix("_id")
    # The marks keep the bracket on the right of titles that are written from the right to the left.
    return [f"\u200e{name}\u200e ({what} {one})" for name, one in zip(names, of)]
