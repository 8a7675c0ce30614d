"""Pictures of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from whence.plots.style import BLUE, GREY, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_arms(table: pl.DataFrame, metric: str, *, ax: Axes | None = None) -> Any:
    """Draw how each arm differs from the one in which nothing was changed.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``arm``, ``vs_none``, and ``vs_none_low``, ``vs_none_high`` (null for no interval).
    metric : str
        For the label.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    with axes(ax) as ax:
        ax.axvline(0.0, color=GREY, linewidth=1.0)
        for place, row in enumerate(table.iter_rows(named=True)):
            if row["vs_none_low"] is not None:
                ends = (row["vs_none_low"], row["vs_none_high"])
                ax.plot(ends, (place, place), color=BLUE, linewidth=2.0)
            ax.plot(row["vs_none"], place, "o", color=BLUE)
        ax.set_yticks(range(table.height), table["arm"].to_list())
        ax.set_ylim(table.height - 0.5, -0.5)
        ax.set_xlabel(f"change of {metric} on test data, and its 95% interval")
        return ax
