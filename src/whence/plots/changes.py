"""Pictures of predicted against actual changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.plots.style import GREY, SERIES, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_changes(changes: pl.DataFrame, what: str, *, ax: Axes | None = None) -> Any:
    """Draw actual changes against predicted ones, and the line on which they agree.

    Parameters
    ----------
    changes : polars.DataFrame
        Columns ``predicted``, ``actual`` and ``kind``; each kind has its own colour.
    what : str
        What changes, for the labels.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    with axes(ax) as ax:
        values = changes.select("predicted", "actual").to_numpy()
        ends = np.array([values.min(initial=0.0), values.max(initial=0.0)])
        ax.plot(ends, ends, color=GREY, linewidth=1.0, label="equal")
        for kind, colour in zip(changes["kind"].unique(maintain_order=True), SERIES):
            part = changes.filter(pl.col("kind") == kind)
            ax.plot(
                part["predicted"], part["actual"], "o", color=colour, markersize=4, alpha=0.7,
                label=kind,
            )  # fmt: skip
        ax.set_xlabel(f"predicted {what}")
        ax.set_ylabel(f"actual {what}")
        ax.legend()
        return ax
