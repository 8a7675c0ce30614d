"""Pictures of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.plots.style import BLUE, DASHES, GREY, SERIES, axes

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


def plot_exchange(table: pl.DataFrame, first: str, aim: str, *, ax: Axes | None = None) -> Any:
    """Draw what is to be had of one metric against another, a line for each order.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``order``, ``share``, and the two metrics; the changes of both with their ends
        (``_change_low``, ``_change_high``), null where nothing is removed.
    first, aim : str
        The metrics, across and up.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    orders = table["order"].unique(maintain_order=True).to_list()
    with axes(ax) as ax:
        base = table.filter(pl.col("share") == 0.0).row(0, named=True)
        for number, order in enumerate(orders):
            colour = SERIES[number % len(SERIES)]
            dashes = DASHES[(number + number // len(SERIES)) % len(DASHES)]
            own = table.filter(pl.col("order") == order).sort("share")
            ax.plot(own[first], own[aim], color=colour, linestyle=dashes, label=order)
            for row in own.filter(pl.col("share") > 0).iter_rows(named=True):
                ax.plot(row[first], row[aim], "o", color=colour, markersize=4)
                for across, name in ((True, first), (False, aim)):
                    low, high = row[f"{name}_change_low"], row[f"{name}_change_high"]
                    if low is None:
                        continue
                    ends = (base[name] + low, base[name] + high)
                    still = (row[aim],) * 2 if across else (row[first],) * 2
                    ax.plot(
                        *((ends, still) if across else (still, ends)), color=colour, linewidth=0.8,
                        alpha=0.5,
                    )  # fmt: skip
            last = own.row(-1, named=True)
            ax.annotate(f"{last['share']:.0%}", (last[first], last[aim]), color=colour, fontsize=8)
        ax.plot(base[first], base[aim], "s", color=GREY, label="nothing removed")
        ax.set_xlabel(first)
        ax.set_ylabel(aim)
        ax.set_title(f"{aim} against {first} on test data")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return ax


def plot_growth(table: pl.DataFrame, size: str, *, ax: Axes | None = None) -> Any:
    """Draw how CPU seconds grow with a size, both axes logarithmic.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``step``, `size`, and ``cpu_seconds`` with ``_low`` and ``_high`` (null for no
        interval).
    size : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    with axes(ax) as ax:
        for number, step in enumerate(table["step"].unique(maintain_order=True)):
            own = table.filter(pl.col("step") == step).sort(size)
            colour = SERIES[number % len(SERIES)]
            ax.plot(own[size], own["cpu_seconds"], "o-", color=colour, label=step, markersize=4)
            for row in own.drop_nulls("cpu_seconds_low").iter_rows(named=True):
                low = max(row["cpu_seconds_low"], row["cpu_seconds"] / 10)
                ends = (low, row["cpu_seconds_high"])
                ax.plot((row[size],) * 2, ends, color=colour, linewidth=1.5, alpha=0.5)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(size.removeprefix("n_"))
        ax.set_ylabel("CPU seconds, one thread")
        ax.set_title("How the work grows")
        ax.legend()
        return ax


def plot_detection(table: pl.DataFrame, *, ax: Axes | None = None) -> Any:
    """Draw the average precision of methods for each attack, with its interval.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``attack``, ``method``, ``average_precision`` and its ``_low`` and ``_high`` (null
        for no interval).
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    methods = table["method"].unique(maintain_order=True).to_list()
    attacks = table["attack"].unique(maintain_order=True).to_list()
    with axes(ax) as ax:
        for nth, attack in enumerate(attacks):
            color = SERIES[nth % len(SERIES)]
            shift = (nth + 1) / (len(attacks) + 1) - 0.5
            for row in table.filter(pl.col("attack") == attack).iter_rows(named=True):
                place = methods.index(row["method"]) + shift
                if row["average_precision_low"] is not None:
                    ends = (row["average_precision_low"], row["average_precision_high"])
                    ax.plot(ends, (place, place), color=color, linewidth=1.5)
                ax.plot(row["average_precision"], place, "o", color=color, markersize=4)
            ax.plot([], [], "o", color=color, markersize=4, label=attack)
        ax.set_yticks(range(len(methods)), methods)
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set_xlim(-0.02, 1.02)
        ax.set_xlabel("average precision, and its 95% interval")
        ax.legend(frameon=False)
        return ax


def plot_orders(
    table: pl.DataFrame,
    orders: Sequence[str],
    label: str,
    *,
    by: str = "masking",
    ax: Axes | None = None,
) -> Any:
    """Draw a measure of several methods or orders, with its interval, in a colour for each case.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``order``, ``mean``, ``low`` and ``high`` (null for no interval), and that of the
        cases.
    orders : sequence of str
        From top to bottom; those that the table lacks are left out.
    label : str
        What the horizontal axis shows.
    by : str
        Column of the cases.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    cases = table[by].unique(maintain_order=True).to_list()
    present = set(table["order"].to_list())
    shown = [name for name in orders if name in present]
    apart = 0.5 / max(len(cases), 1)
    with axes(ax) as ax:
        for number, case in enumerate(cases):
            colour = SERIES[number % len(SERIES)]
            rows = table.filter(pl.col(by) == case)
            shift = (number - (len(cases) - 1) / 2) * apart
            places = [shown.index(name) + shift for name in rows["order"]]
            for place, low, high in zip(places, rows["low"], rows["high"]):
                if low is not None:
                    ax.plot((low, high), (place, place), color=colour, linewidth=2.0)
            name = f"masking {case}" if by == "masking" else case
            ax.plot(rows["mean"], places, "o", color=colour, label=name)
        ax.set_yticks(range(len(shown)), [name.replace("_", " ") for name in shown])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.set_xlabel(f"{label}, and its 95% interval")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=max(len(cases), 1))
        return ax
