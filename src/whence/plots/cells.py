"""A picture of cells: features of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

from whence.errors import DataError
from whence.plots.rows import as_frame, grow
from whence.plots.style import BLUE, ON_PALE, ON_STRONG, VERMILION, axes, say_within
from whence.plots.words import all_texts, fonts, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 250
"""Rows of a picture; more would be larger than a file of pixels can be."""
_UPRIGHT = 10
"""Letters of a name that stand beside each other below the columns."""
_DIVERGING = LinearSegmentedColormap.from_list("whence", [VERMILION, "#FFFFFF", BLUE])


def heatmap(table: Any, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw shares of cells: events down, features across.

    Parameters
    ----------
    table : data frame
        Columns ``event``, ``item``, ``feature`` and ``score``; a ``title`` is shown in place of the
        item. Rows of an event without a feature
        are its other features, rows of a feature without an event are that feature at the other
        events, and what has neither is named below the picture, by ``label`` where there is one.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, "event", "item", "feature", "score")
    cells = frame.filter(pl.col("event").is_not_null() | pl.col("feature").is_not_null())
    single = frame.drop_nulls(["event", "feature"])
    if not single.height:
        raise DataError("There are no cells to draw; explain with level='cell'.")
    if "title" in frame.columns:
        cells = cells.with_columns(item=pl.coalesce("title", pl.col("item").cast(pl.String)))
    item_of = dict(cells.drop_nulls("event").select("event", "item").iter_rows())
    totals = dict.fromkeys(sorted(item_of), 0.0)
    for event, score in single.select("event", pl.col("score").abs()).iter_rows():
        totals[event] += score
    left_out = max(0, len(totals) - _MOST)
    events: list[Any] = sorted(sorted(totals, key=lambda event: -totals[event])[:_MOST])
    features: list[Any] = single["feature"].unique(maintain_order=True).to_list()
    features += [None] if cells["feature"].null_count() else []
    events += [None] if cells["event"].null_count() else []
    grid = np.full((len(events), len(features)), np.nan)
    for event, feature, score in cells.select("event", "feature", "score").iter_rows():
        if event in events and feature in features:
            grid[events.index(event), features.index(feature)] = score
    rest = frame.filter(pl.col("event").is_null() & pl.col("feature").is_null())
    largest = float(np.nanmax(np.abs(grid))) or 1.0
    names = [item_of[event] for event in events if event is not None]
    across = short(["other features" if one is None else one for one in features])
    with axes(ax, all_texts(cells["item"], cells["feature"])) as ax:
        grow(ax, len(events) + 1, 4.4 + 0.8 * len(features))
        image = ax.imshow(
            grid, cmap=_DIVERGING, norm=TwoSlopeNorm(0.0, -largest, largest), aspect="auto"
        )
        ax.set_xticks(range(len(features)), across, fontfamily=fonts())
        if max(map(len, across)) > _UPRIGHT:
            for label in ax.get_xticklabels():
                label.set(rotation=30, ha="right")
        down = short(names, [event for event in events if event is not None])
        down += ["other events"] if None in events else []
        ax.set_yticks(range(len(events)), down, fontfamily=fonts())
        ax.grid(visible=False)
        for row, column in zip(*np.nonzero(~np.isnan(grid))):
            value = grid[row, column]
            ax.text(column, row, f"{value:+.2g}", ha="center", va="center", fontsize=8,
                    color=ON_STRONG if abs(value) > 0.6 * largest else ON_PALE)  # fmt: skip
        if rest.height:
            ax.set_xlabel("; ".join(
                f"{name}: {score:+.3g}"
                for name, score in zip(short(_rest_names(rest)), rest["score"])
            ))  # fmt: skip
        ax.figure.colorbar(image, ax=ax, label="share", fraction=0.05, aspect=30)
        ax.set_ylabel("events, oldest first" + (f" ({left_out} not shown)" if left_out else ""))
        if not np.nan_to_num(grid).any():
            say_within(ax, "Every share is 0: nothing of the history changes this answer.")
        ax.set_title(title or "Shares of cells")
    return ax


def _rest_names(rest: pl.DataFrame) -> list[str]:
    """Names of what is neither of one event nor of one feature."""
    if "label" in rest.columns:
        return rest["label"].to_list()
    return ["all other cells together"] * rest.height
