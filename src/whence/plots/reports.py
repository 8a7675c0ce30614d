"""How much of histories matters, and what stands in for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.figure import Figure

from whence.plots.rows import as_frame, grow, names_of, write_rows
from whence.plots.style import BLUE, GREY, INK, SERIES, STYLE, VERMILION, axes
from whence.plots.words import all_texts, fonts, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 6
_MOST_PLACES = 200


def pruning_curve(
    curves: Any, table: Any = None, *, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw the joint share of all events up to each place, and where tolerances cut.

    Parameters
    ----------
    curves : data frame
        ``recency`` and ``older``, the share of the whole, of one or of several histories; of
        several the mean over those that are so long is drawn, with the middle half.
    table : data frame, optional
        ``tolerance`` and ``kept``, whose mean is marked.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(curves, "recency", "older").filter(pl.col("recency") < _MOST_PLACES)
    by_place = (
        frame.group_by("recency")
        .agg(
            pl.col("older").mean(),
            pl.col("older").quantile(0.25).alias("low"),
            pl.col("older").quantile(0.75).alias("high"),
            pl.len().alias("n"),
        )
        .sort("recency")
    )
    place = -by_place["recency"].to_numpy()
    with axes(ax) as ax:
        if by_place["n"].max() > 1:  # type: ignore[operator]
            ax.fill_between(
                place, by_place["low"], by_place["high"], color=BLUE, alpha=0.2, linewidth=0,
                label="middle half of the histories",
            )  # fmt: skip
        ax.plot(place, by_place["older"], color=BLUE, label="all events up to this one, together")
        ax.axhline(0.0, color=INK, linewidth=1.0)
        if table is not None:
            cuts = (
                as_frame(table, "tolerance", "kept")
                .group_by("tolerance")
                .agg(pl.col("kept").mean())
            )
            for number, (tolerance, kept) in enumerate(cuts.sort("tolerance").iter_rows()):
                at = 0.5 - kept
                ax.axvline(at, color=VERMILION, linewidth=1.0, linestyle=":")
                # Labels of cuts that are close by stand below one another.
                ax.annotate(
                    f"{tolerance:.3g}: {kept:.3g} left", (at, 0.98 - 0.06 * (number % 5)),
                    (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                    color=VERMILION, fontsize=8, va="top",
                )  # fmt: skip
        ax.legend(loc="center left")
        ax.set_xlabel("place of the event; 0 is the last one")
        ax.set_ylabel("share of the whole")
        ax.set_title(title or "How much the older events have together")
    return ax


def pruned_lengths(table: Any, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw how many events each tolerance leaves of histories, on average.

    Parameters
    ----------
    table : data frame
        ``tolerance`` (null: without pruning), ``mean``, and ``std_error``, drawn as two of them.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, "tolerance", "mean")
    names = ["none" if t is None else f"{t:.3g}" for t in frame["tolerance"]]
    errors = None
    if "std_error" in frame.columns:
        errors = 2 * frame["std_error"].fill_null(0.0).to_numpy()
    place = np.arange(frame.height)
    with axes(ax) as ax:
        ax.bar(
            place, frame["mean"], color=[GREY if t is None else BLUE for t in frame["tolerance"]],
            width=0.7, yerr=errors, error_kw={"ecolor": INK, "elinewidth": 0.9},
        )  # fmt: skip
        ax.set_xticks(place, names)
        ax.grid(axis="x", visible=False)
        ax.set_xlabel("tolerance: share that the events left out may have together")
        ax.set_ylabel("events left (mean)")
        ax.set_title(title or "What pruning leaves of histories")
    return ax


def stand_ins(
    table: Any, shares: Any, *, ax: Axes | None = None, n: int = _MOST_LINES,
    title: str | None = None,
) -> Axes:  # fmt: skip
    """Draw the shares of events against the score of the item that stands in for them.

    Parameters
    ----------
    table : data frame
        ``quantile`` and ``better``: whether the stand-in is as good as the history.
    shares : data frame
        ``quantile``, ``event``, ``label`` and ``score``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    n : int, default 6
        Lines of colour: the events of the largest mean absolute share; the others are grey.
    title : str, optional
        Heading.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(shares, "quantile", "label", "score")
    rows = as_frame(table, "quantile", "better")
    players = [part for _, part in frame.group_by(frame.columns[2], maintain_order=True)]
    strength = [-float(part["score"].abs().mean() or 0.0) for part in players]  # type: ignore[arg-type]
    strongest = set(np.argsort(strength, kind="stable")[: min(n, len(SERIES))].tolist())
    with axes(ax, all_texts(frame["label"])) as ax:
        colours = iter(SERIES)
        names = short([part["label"][0] for part in players])
        for number, part in enumerate(players):
            own = number in strongest
            ax.plot(
                part["quantile"], part["score"], marker="o", markersize=3,
                color=next(colours) if own else GREY, alpha=1.0 if own else 0.35,
                linewidth=1.6 if own else 0.9, label=names[number] if own else None,
            )  # fmt: skip
        ax.axhline(0.0, color=INK, linewidth=1.0)
        for number, at in enumerate(rows.filter(pl.col("better"))["quantile"]):
            ax.axvline(at, color=VERMILION, linewidth=4, alpha=0.15,
                       label="as good as the history" if not number else None)  # fmt: skip
        ax.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), prop={"family": fonts(), "size": 8}
        )
        ax.set_xlabel("score of the stand-in among all items: 0 the lowest, 1 the highest")
        ax.set_ylabel("share")
        ax.set_title(title or "Shares under one stand-in after another")
    return ax


def means(table: Any, *, ax: Axes | None = None, title: str | None = None, n: int = 20) -> Axes:
    """Draw the mean absolute share of each feature, item or group, the largest at the top.

    Parameters
    ----------
    table : data frame
        As ``Explanations.report()`` gives it: a first column of names, ``mean_abs``, and
        ``std_error``, drawn as two of them; ``title`` where there is one.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Heading.
    n : int, default 20
        Bars.

    Returns
    -------
    matplotlib Axes
    """
    frame = as_frame(table, "mean_abs", "std_error").head(n)
    names = names_of(frame.rename({frame.columns[0]: "item"}))
    with axes(ax, all_texts(names)) as ax:
        grow(ax, frame.height)
        ax.barh(
            np.arange(frame.height), frame["mean_abs"], color=BLUE, height=0.74,
            xerr=2 * frame["std_error"].fill_null(0.0).to_numpy(),
            error_kw={"ecolor": INK, "elinewidth": 0.9},
        )  # fmt: skip
        write_rows(ax, short(names))
        ax.set_xlabel("mean absolute share")
        ax.set_ylabel(frame.columns[0])
        ax.set_title(title or f"How much each {frame.columns[0]} matters")
    return ax


def groups(
    table: Any,
    *,
    names: tuple[str, str] = ("first", "second"),
    ax: Axes | None = None,
    title: str | None = None,
    n: int = 25,
) -> Axes:
    """Draw the part that each group of events has, of one model or of two side by side.

    Parameters
    ----------
    table : data frame
        As ``Explanations.by_group()`` or ``compare()`` give it.
    names : tuple of str
        Of the two models.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Heading.
    n : int, default 25
        Groups.

    Returns
    -------
    matplotlib Axes
    """
    two = "difference" in as_frame(table, "group", "low", "high").columns
    frame = as_frame(table, "group").head(n)
    labels = ["none" if one is None else str(one) for one in frame["group"]]
    place = np.arange(frame.height)
    with axes(ax, labels) as ax:
        grow(ax, round(frame.height * (1.6 if two else 1.0)))
        if two:
            for number, (column, name) in enumerate(zip(("first", "second"), names)):
                ax.barh(
                    place + (number - 0.5) * 0.38, frame[column], height=0.36,
                    color=(GREY, BLUE)[number], label=name,
                )  # fmt: skip
            sure = (frame["low"] > 0) | (frame["high"] < 0)
            for row in np.flatnonzero(sure.fill_null(False).to_numpy()):
                one = frame.row(int(row), named=True)
                ax.annotate(
                    f"{one['difference']:+.3f}", (max(one["first"], one["second"]), row), (4, 0),
                    textcoords="offset points", va="center", fontsize=8, color=INK,
                )  # fmt: skip
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0),
                      title="figures: differences\nthat are sure (95%)")  # fmt: skip
        else:
            part = frame["part"].to_numpy()
            low, high = (
                frame[name].fill_null(frame["part"]).to_numpy() for name in ("low", "high")
            )
            ax.barh(place, part, height=0.74, color=BLUE, xerr=np.stack([part - low, high - part]),
                    error_kw={"ecolor": INK, "elinewidth": 0.9})  # fmt: skip
        write_rows(ax, short(labels))
        ax.set_xlabel("part of the absolute shares of a history")
        ax.set_title(title or ("What two models rely on" if two else "What it relies on"))
    return ax


def panels(drawn: Sequence[tuple[Callable[[Axes], Any], int]]) -> Figure:
    """Draw pictures below each other in one figure, unknown to pyplot; each with its rows."""
    heights = [max(3.8, min(1.4 + 0.24 * n_rows, 60.0)) for _, n_rows in drawn]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.5, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(drawn), 1, height_ratios=heights)
        for number, (draw, _) in enumerate(drawn):
            draw(figure.add_subplot(grid[number]))
    return figure
