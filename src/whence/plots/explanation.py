"""Explanations of one answer: shares over the history, step by step, by cell, and of many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.ticker import MaxNLocator

from whence.errors import DataError, ParameterError
from whence.plots.cells import heatmap as heatmap
from whence.plots.rows import (
    as_frame,
    grow,
    largest,
    list_beside,
    names_of,
    places_of,
    strongest,
    write_rows,
)
from whence.plots.style import BLUE, GREY, INK, SERIES, VERMILION, axes, say_within
from whence.plots.words import all_texts, fonts, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
_MOST = 250
"""Rows of a picture; more would be larger than a file of pixels can be."""
_NOTHING = "Every share is 0: nothing of the history changes this answer."


def bars(
    table: Any,
    *,
    items: Any = None,
    ax: Axes | None = None,
    label: str = "share",
    noun: str = "events",
    title: str | None = None,
    n: int | None = None,
) -> Axes:
    """Draw the share of each event over the history, the oldest at the top.

    Parameters
    ----------
    table : data frame
        Columns ``label`` and ``score``, and ``std_error`` where known: drawn as two standard
        errors.
    items : data frame, optional
        The recommended items, best first, listed beside the bars: ``item``, or ``title``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    label : str
        What the horizontal axis shows.
    noun : str
        What the bars are, in the plural.
    title : str, optional
        Heading.
    n : int, optional
        Only the n bars of the largest share in absolute value, still in order; at most 250.

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
    frame = as_frame(table, "label", "score")
    n = min(_MOST if n is None else n, _MOST)
    left_out = max(0, frame.height - n)
    frame = largest(frame, n)
    score = frame["score"].to_numpy()
    place = np.arange(len(score))
    listed = None if items is None else names_of(items)
    with axes(ax, all_texts(frame["label"], listed)) as ax:
        grow(ax, len(score), 8.0 if items is None else 9.5)
        errors = 2 * frame["std_error"].to_numpy() if "std_error" in frame.columns else None
        ax.barh(
            place, score, color=np.where(score < 0, VERMILION, BLUE).tolist(), height=0.74,
            xerr=errors, error_kw={"ecolor": INK, "elinewidth": 0.9},
        )  # fmt: skip
        ax.axvline(0.0, color=INK, linewidth=1.0)
        write_rows(ax, short(frame["label"], places_of(frame)))
        ax.set_xlabel(label)
        if not score.any():
            say_within(ax, _NOTHING)
        order = f"{noun}, oldest first" if noun in ("events", "groups") else noun
        ax.set_ylabel(order + (f" ({left_out} smaller not shown)" if left_out else ""))
        ax.set_title(title or "Shares of the history")
        if listed is not None:
            list_beside(ax, listed)
    return ax


def maskings(
    tables: Mapping[str, Any],
    *,
    ax: Axes | None = None,
    label: str = "share",
    title: str | None = None,
) -> Axes:
    """Draw the shares of the same events under several maskings side by side.

    Parameters
    ----------
    tables : mapping from str to data frame
        By name of the masking, each with columns ``label`` and ``score``, and the same rows;
        ``std_error`` where known is drawn as two standard errors.
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
    DataError
        If there is no table, or two have other rows.
    """
    frames = {name: as_frame(table, "label", "score") for name, table in tables.items()}
    if not frames:
        raise DataError("There is nothing to draw; give the table of at least one masking.")
    first = next(iter(frames.values()))
    if any(not frame["label"].equals(first["label"]) for frame in frames.values()):
        raise DataError("The tables have other rows; explain the same history under each masking.")
    n_all = first.height
    kept = strongest([frame["score"].to_numpy() for frame in frames.values()], _MOST)
    first, frames = first[kept], {name: frame[kept] for name, frame in frames.items()}
    names = first["label"]
    place = np.arange(len(names))
    height = 0.8 / len(frames)
    with axes(ax, all_texts(names)) as ax:
        grow(ax, round(len(names) * (0.5 + 0.35 * len(frames))))
        for number, (name, frame) in enumerate(frames.items()):
            errors = 2 * frame["std_error"].to_numpy() if "std_error" in frame.columns else None
            shift = (number - (len(frames) - 1) / 2) * height
            ax.barh(
                place + shift, frame["score"], color=SERIES[number % len(SERIES)],
                height=0.9 * height, label=f"masking {name}", xerr=errors,
                error_kw={"ecolor": INK, "elinewidth": 0.9},
            )  # fmt: skip
        ax.axvline(0.0, color=INK, linewidth=1.0)
        write_rows(ax, short(names, places_of(first)))
        ax.set_xlabel(label)
        if not any(frame["score"].to_numpy().any() for frame in frames.values()):
            say_within(ax, _NOTHING)
        left_out = "" if len(kept) == n_all else f" ({n_all - len(kept)} not shown)"
        ax.set_ylabel(f"events, oldest first{left_out}")
        ax.legend(loc="best")
        ax.set_title(title or "The same history under several maskings")
    return ax


def waterfall(
    table: Any,
    start: float,
    end: float,
    *,
    ax: Axes | None = None,
    n: int = 15,
    title: str | None = None,
) -> Axes:
    """Draw how shares add up from the value of nothing to the value of everything.

    Parameters
    ----------
    table : data frame
        Columns ``label`` and ``score``.
    start, end : float
        Value with every player masked, and with all of them.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    n : int, default 15
        Bars; the smallest shares are put together in one.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, "label", "score")
    score = frame["score"].to_numpy()
    order = np.argsort(-np.abs(score), kind="stable")
    n = min(n, _MOST)
    kept = np.sort(order if len(order) <= n else order[: n - 1])
    labels, steps = frame["label"].gather(kept).to_list(), list(score[kept])
    places = places_of(frame[kept])
    if len(order) > n:
        rest = np.setdiff1d(order, kept)
        labels, steps = [f"{len(rest)} others", *labels], [float(score[rest].sum()), *steps]
        places = None if places is None else [None, *places]
    ends = start + np.cumsum(steps)
    begins = np.concatenate(([start], ends[:-1]))
    if abs(ends[-1] - end) > 1e-6 * max(abs(start), abs(end), 1.0):  # shares that do not add up
        labels.append("not divided")
        places = None if places is None else [*places, None]
        begins, ends = np.append(begins, ends[-1]), np.append(ends, end)
        steps.append(end - begins[-1])
    with axes(ax, labels) as ax:
        grow(ax, len(labels))
        place = np.arange(len(labels))
        colours = np.where(np.array(steps) < 0, VERMILION, BLUE).tolist()
        ax.barh(place, ends - begins, left=begins, color=colours, height=0.74)
        for row in place[:-1]:
            ax.plot([ends[row]] * 2, [row, row + 1], color=GREY, linewidth=0.9)
        sides = ("left", "right") if start <= end else ("right", "left")
        for value, text, at, side in (
            (start, "nothing", -1.0, sides[0]),
            (end, "everything", len(labels), sides[1]),
        ):
            ax.axvline(value, color=GREY, linestyle=":", linewidth=1.2)
            ax.annotate(f"{text} {value:.3g}", (value, at), (4 if side == "left" else -4, 0),
                        textcoords="offset points", color=INK, fontsize=8.5, ha=side, va="center",
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        if not np.any(steps):
            say_within(ax, _NOTHING)
        ax.set_yticks(place, short(labels, places), fontfamily=fonts())
        ax.set_ylim(len(labels) + 0.6, -1.6)
        ax.use_sticky_edges = False
        ax.margins(x=0.08)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("value")
        ax.set_title(title or "From nothing to everything")
    return ax


def recency(
    table: Any, *, ax: Axes | None = None, n: int | None = None, title: str | None = None
) -> Axes:
    """Draw the mean absolute share by how many events ago.

    Parameters
    ----------
    table : data frame
        As ``Explanations.report("recency")`` gives it: ``recency``, ``mean_abs``, ``std_error``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    n : int, optional
        Only the n latest places.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, "recency", "mean_abs").sort("recency").head(n or 10**9)
    with axes(ax) as ax:
        errors = None
        if "std_error" in frame.columns:
            errors = 2 * frame["std_error"].fill_null(0.0).to_numpy()
        ax.bar(frame["recency"], frame["mean_abs"], color=BLUE, yerr=errors,
               error_kw={"ecolor": INK, "elinewidth": 0.9})  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        first = int(frame["recency"][0])
        ax.set_xlim(first - 0.6, max(int(frame["recency"][-1]), first + 3) + 0.6)
        if not frame["mean_abs"].to_numpy().any():
            say_within(ax, "Every share is 0: nothing of the histories changes these answers.")
        ax.set_xlabel("events before the last one")
        ax.set_ylabel("mean absolute share")
        ax.grid(axis="x", visible=False)
        ax.set_title(title or "How far back it matters")
    return ax


def beeswarm(
    table: Any,
    *,
    ax: Axes | None = None,
    by: str = "recency",
    n: int = 20,
    title: str | None = None,
) -> Axes:
    """Draw every share of many explanations as a point, those of one row side by side.

    Parameters
    ----------
    table : data frame
        As ``Explanations.to_frame()`` gives it: ``score`` and the column named by `by`.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    by : str
        What a row is: ``recency``, ``label``, ``item``, ``feature``.
    n : int, default 20
        Rows: the latest, or those of the largest mean absolute share.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, by, "score").drop_nulls(by)
    if n < 1:
        raise ParameterError(f"n must be at least 1, not {n}.")
    strength = frame.group_by(by, maintain_order=True).agg(pl.col("score").abs().mean())
    strength = strength.sort(by if by == "recency" else "score", descending=by != "recency")
    rows = strength[by].head(min(n, _MOST)).to_list()
    with axes(ax, rows) as ax:
        grow(ax, len(rows))
        for place, name in enumerate(rows):
            score = frame.filter(pl.col(by) == name)["score"].to_numpy()
            ax.scatter(score, place + _spread(score), s=9, linewidths=0, alpha=0.75,
                       color=np.where(score < 0, VERMILION, BLUE).tolist())  # fmt: skip
        ax.axvline(0.0, color=INK, linewidth=1.0)
        write_rows(ax, short(rows))
        ax.set_ylabel("events before the last one" if by == "recency" else by)
        ax.set_xlabel("share")
        ax.set_title(title or "Every share")
    return ax


def _spread(score: FloatArray, bins: int = 60) -> FloatArray:
    """Offsets that keep points of nearly the same score apart, within ±0.4."""
    width = float(np.ptp(score)) or 1.0
    bin_of = np.floor((score - score.min()) / width * bins).astype(np.int64)
    order = np.argsort(bin_of, kind="stable")
    counts = np.bincount(bin_of)
    inside = np.arange(len(score)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = np.empty(len(score))
    step[order] = np.where(inside % 2, 1, -1) * ((inside + 1) // 2)
    spread: FloatArray = 0.4 * step / max(float(np.abs(step).max()), 8.0)
    return spread
