"""Values of sources: how they are spread, and in order with their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import DataError, check_int
from whence.plots.style import BLUE, GREY, INK, VERMILION, axes, say_within

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
_FEW = 30


def distribution(
    values: Any,
    *,
    ax: Axes | None = None,
    bins: int = 80,
    label: str = "value",
    noun: str = "sources",
    title: str | None = None,
) -> Axes:
    """Draw a histogram of values on a logarithmic count axis, negative values set apart.

    Parameters
    ----------
    values : data frame with a column ``score``, or array-like of float
        The values.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    bins : int, default 80
        Number of bars; zero is always the edge of one.
    label : str
        What the horizontal axis shows.
    noun : str
        What is counted, in the plural.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there is no value.
    """
    scores = _scores(values)
    check_int("bins", bins, minimum=1)
    edges = _edges(scores, bins)
    counts, _ = np.histogram(scores, edges)
    share = float(np.mean(scores < 0))
    with axes(ax) as ax:
        colours = np.where(edges[:-1] < 0, VERMILION, BLUE)
        ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colours.tolist())
        ax.axvline(0.0, color=INK, linewidth=1.0)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7)
        ax.set_xlabel(label)
        ax.set_ylabel(f"number of {noun}")
        ax.set_title(title or "Distribution of values")
        if not scores.any():
            say_within(ax, f"The value of all {len(scores):,} {noun} is 0.")
        for text, x, colour, side in (
            (f"{share:.1%} negative", 0.02, VERMILION, "left"),
            (f"{np.mean(scores > 0):.1%} positive", 0.98, BLUE, "right"),
        ):
            ax.text(x, 0.95, text, color=colour, ha=side, va="top", transform=ax.transAxes)
    return ax


def ranked(
    values: Any,
    *,
    ax: Axes | None = None,
    n: int | None = None,
    label: str = "value",
    noun: str = "sources",
    title: str | None = None,
) -> Axes:
    """Draw values from the lowest to the highest, with a band of two standard errors.

    Parameters
    ----------
    values : data frame with a column ``score`` and, if known, ``std_error``; or array-like
        The values.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    n : int, optional
        Only the n lowest and the n highest; the axis is broken between them.
    label : str
        What the vertical axis shows.
    noun : str
        What is ranked, in the plural.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If there is no value.
    """
    scores = _scores(values)
    errors = _column(values, "std_error") if "std_error" in _names(values) else None
    order = np.argsort(scores, kind="stable")
    shown = scores[order]
    band = None if errors is None else 2 * errors[order]
    broken = n is not None and 2 * check_int("n", n, minimum=1) < len(order)
    if (
        n is not None and broken
    ):  # a gap of one place, not a number, so that nothing is drawn across it
        shown = _ends(shown, n)
        band = None if band is None else _ends(band, n)
    rank = np.arange(1, len(shown) + 1)
    with axes(ax) as ax:
        if band is not None:
            ax.fill_between(
                rank, shown - band, shown + band, color=GREY, alpha=0.35, linewidth=0.0,
                label="± 2 standard errors",
            )  # fmt: skip
            ax.legend(loc="upper left")
        # A line through few points is short, and through one is none.
        marker = "o" if len(shown) <= _FEW else None
        for part, colour in ((shown < 0, VERMILION), (shown >= 0, BLUE)):
            ax.plot(
                rank, np.where(part, shown, np.nan), color=colour, linewidth=1.8, marker=marker,
                markersize=4,
            )  # fmt: skip
        ax.axhline(0.0, color=INK, linewidth=1.0)
        if len(shown) > 2 and (tails := np.abs(shown[np.abs(shown) > 0])).size:
            # Most values are near zero and a few are large: logarithmic but for the middle.
            ax.set_yscale("symlog", linthresh=float(np.quantile(tails, 0.5)))
        if broken:
            ax.axvline(len(shown) / 2 + 0.5, color=GREY, linestyle=":", linewidth=1.2)
            ax.set_xticks([])
        if not scores.any():
            say_within(ax, f"The value of all {len(scores):,} {noun} is 0.")
        ax.set_xlabel(f"{noun}, lowest value first")
        ax.set_ylabel(label)
        ax.set_title(title or "Ranked values")
    return ax


def _names(values: Any) -> list[str]:
    return list(getattr(values, "columns", ()))


def _scores(values: Any) -> FloatArray:
    scores = _column(values, "score")
    strange = int((~np.isfinite(scores)).sum())
    if strange:
        raise DataError(
            f"{strange:,} of {len(scores):,} values are not finite numbers, which cannot be drawn; "
            "leave them out."
        )
    return scores


def _column(values: Any, name: str) -> FloatArray:
    found = values[name] if _names(values) else values
    array = found.to_numpy() if isinstance(found, pl.Series) else np.asarray(found)
    array = array.astype(np.float64)
    if not array.size:
        raise DataError("There are no values to draw; give a table with at least one row.")
    return array


def _ends(values: FloatArray, n: int) -> FloatArray:
    return np.concatenate((values[:n], np.array([np.nan]), values[-n:]))


def _edges(scores: FloatArray, bins: int) -> FloatArray:
    """Edges of equal width from the lowest to the highest value, zero being one of them."""
    low, high = min(float(scores.min()), 0.0), max(float(scores.max()), 0.0)
    if low == high:
        return np.array([0.0, 1e-12])
    width = (high - low) / bins
    below, above = int(np.ceil(-low / width - 1e-9)), int(np.ceil(high / width + 1e-9))
    return np.arange(-below, above + 1, dtype=np.float64) * width
