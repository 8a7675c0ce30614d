"""The frontier between quality and violation, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from whence.errors import ColumnError
from whence.plots.style import DASHES, SERIES, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_frontier(table: pl.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw quality against willingness violation, one line per strategy, one point per λ.

    Parameters
    ----------
    table : polars.DataFrame
        As `Disclosure.frontier` gives it; the measured quality is drawn where there is one, else
        the predicted one.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ColumnError
        If it is no such table.
    """
    y = "quality" if "quality" in table.columns else "predicted_quality"
    for name in ("strategy", "lam", "wv", y):
        if name not in table.columns:
            raise ColumnError(
                f"The table to draw has no column {name!r}; give what Disclosure.frontier returns."
            )
    with axes(ax) as ax:
        for number, strategy in enumerate(table["strategy"].unique(maintain_order=True)):
            part = table.filter(strategy=strategy).sort("wv")
            look: dict[str, Any] = {
                "color": SERIES[number % len(SERIES)],
                "linestyle": DASHES[number % len(DASHES)],
            }
            ax.plot(
                part["wv"], part[y], label=strategy.replace("_", " "), marker="o", markersize=3.5,
                linewidth=1.8, **look,
            )  # fmt: skip
        ax.set_xlabel("willingness violation per user")
        ax.set_ylabel("quality: minus the test loss" if y == "quality" else "predicted quality")
        ax.set_title(title or "What disclosure buys, over λ")
        ax.legend()
    return ax
