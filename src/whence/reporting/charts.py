"""Charts of plain tables, as figures of plotly: data and layout, without plotly.

Colours are those of the page: "@1" the first, "@1/30" the same at 30% opacity, "@ink" and so on.
The page replaces them, and so the charts are right in the dark, too. Labels stand on axes of
numbers, as two events may have the same title; ``<`` and ``&`` in them are no markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl

from whence.reporting.blocks import Chart, Table, cell

_BINS = 60
_POINTS = 800
"""Points of a curve at most, however many sources there are."""
_NORMAL = 1.959964
_WIDEST = 42
"""Characters of a label at most."""


def histogram(title: str, values: Any, label: str, noun: str) -> Chart:
    """Draw how values are spread, the outermost half percent of each side gathered at its end.

    Parameters
    ----------
    title : str
    values : float array [n]
    label : str
        Of the values.
    noun : str
        What has the values, in the plural.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Chart(title, figure([], label, noun), f"There are no {noun} with a value.")
    low, high = np.quantile(values, [0.005, 0.995])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    if low < 0 < high:  # no bar is of values of both signs
        width = (high - low) / _BINS
        edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    centres = (edges[1:] + edges[:-1]) / 2
    frame = pl.DataFrame({"from": edges[:-1], "to": edges[1:], noun: counts})
    trace = {
        "type": "bar",
        "x": numbers(centres),
        "y": counts.tolist(),
        "width": float(edges[1] - edges[0]),
        "marker": {"color": ["@2" if centre < 0 else "@1" for centre in centres]},
        "hovertemplate": f"%{{x:.4g}}: %{{y:,}} {safe(noun)}<extra></extra>",
    }
    below = float((values < 0).mean())
    about = (
        f"Histogram of {len(values):,} {noun}. The median of {label} is {cell(_median(values))}, "
        f"half lie between {cell(float(np.quantile(values, 0.25)))} and "
        f"{cell(float(np.quantile(values, 0.75)))}; {below:.1%} are below zero."
    )
    layout = figure([trace], label, noun)
    layout["layout"]["bargap"] = 0.05
    return Chart(title, layout, about, Table(f"{title}, in numbers", frame))


def ranked(title: str, values: Any, errors: Any | None, label: str, noun: str) -> Chart:
    """Draw values in their order, with a band of the 95% interval where there are errors.

    Parameters
    ----------
    title : str
    values : float array [n]
    errors : float array [n] or None
        Standard errors.
    label, noun : str
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(_POINTS, len(order))).astype(np.int64))
    shown = values[order][places]
    traces = []
    columns: dict[str, Any] = {"rank": places + 1, label: shown}
    if errors is not None:
        half = _NORMAL * np.asarray(errors, dtype=np.float64)[order][places]
        columns |= {"low": shown - half, "high": shown + half}
        traces += band(numbers(places + 1), numbers(shown - half), numbers(shown + half), 1)
    traces.append(
        {
            "type": "scatter", "mode": "lines", "x": numbers(places + 1), "y": numbers(shown),
            "line": {"color": "@1", "width": 2},
            "hovertemplate": "rank %{x:,}: %{y:.4g}<extra></extra>",
        }
    )  # fmt: skip
    about = (
        f"The values of {len(values):,} {noun} from the lowest, {cell(float(values.min()))}, to "
        f"the highest, {cell(float(values.max()))}."
    )
    drawn = figure(traces, f"{noun}, in order of value", label)
    low, high = np.quantile(values, [0.002, 0.998])  # a few extreme ones would flatten the rest
    if low < high and (high - low) < 0.5 * (values.max() - values.min()):
        drawn["layout"]["yaxis"]["range"] = numbers([low, high])
        about += " The few most extreme ones are beyond the chart until one zooms out."
    return Chart(title, drawn, about, Table(f"{title}, in numbers", pl.DataFrame(columns)))


def curves(
    title: str,
    frame: pl.DataFrame,
    x: str,
    y: str,
    series: str,
    *,
    low: str | None = None,
    high: str | None = None,
    labels: tuple[str, str] | None = None,
    share: bool = False,
    along: str | None = None,
) -> Chart:
    """Draw a line for each series, with a band between `low` and `high`.

    Parameters
    ----------
    title : str
    frame : polars.DataFrame
        One row per point.
    x, y, series : str
        Columns.
    low, high : str, optional
        Columns of the ends of intervals.
    labels : tuple of str, optional
        Of the axes.
    share : bool
        Whether x is a share, shown in percent.
    along : str, optional
        Column by which the points of a line follow each other; `x` if absent.
    """
    traces: list[dict[str, Any]] = []
    said = []
    for number, (name, part) in enumerate(
        frame.sort(along or x, maintain_order=True).group_by(series, maintain_order=True), start=1
    ):
        colour = (number - 1) % 6 + 1
        xs, ys = numbers(part[x]), numbers(part[y])
        if low and high and part[low].count():
            traces += band(xs, numbers(part[low]), numbers(part[high]), colour)
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": xs, "y": ys,
                "name": safe(name[0]), "showlegend": True,
                "line": {"color": f"@{colour}", "dash": DASHES[(number - 1) % len(DASHES)]},
                "marker": {"size": 5},
                "hovertemplate": "%{x:.3~g}: %{y:.4f}<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
        if part.height:
            said.append(f"{name[0]}: from {cell(part[y][0])} to {cell(part[y][-1])}")
    drawn = figure(traces, *(labels or (x, y)))
    drawn["layout"] |= LEGEND
    if share:
        drawn["layout"]["xaxis"]["tickformat"] = ".0%"
    return Chart(title, drawn, f"{'; '.join(said)}.", Table(f"{title}, in numbers", frame), 400)


def intervals(
    title: str,
    labels: Sequence[str],
    values: Any,
    low: Any | None,
    high: Any | None,
    label: str,
    *,
    table: Table | None = None,
) -> Chart:
    """Draw a point and its interval for each label, one below the other.

    Parameters
    ----------
    title : str
    labels : sequence of str, length n
    values, low, high : float array [n]
    label : str
        Of the values.
    table : Table, optional
        The numbers, if they are more than these.
    """
    values = np.asarray(values, dtype=np.float64)
    places = list(range(len(labels)))
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(values),
        "y": places,
        "marker": {"size": 9, "color": "@1"},
        "text": [short(text) for text in labels],
        "hovertemplate": "%{text}: %{x:.4g}<extra></extra>",
    }
    columns: dict[str, Any] = {"": list(labels), label: values}
    if low is not None and high is not None:
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        trace["error_x"] = {
            "type": "data", "symmetric": False, "array": numbers(high - values),
            "arrayminus": numbers(values - low), "color": "@1", "thickness": 1.5,
        }  # fmt: skip
        columns |= {"low": low, "high": high}
    about = "; ".join(f"{name} {cell(float(v))}" for name, v in list(zip(labels, values))[:12])
    drawn = figure([trace], label, "")
    drawn["layout"]["yaxis"] |= named(labels)
    table = table or Table(f"{title}, in numbers", pl.DataFrame(columns))
    return Chart(title, drawn, f"{about}.", table, rows_high(len(labels)))


def compared(
    title: str,
    frame: pl.DataFrame,
    row: str,
    series: str,
    value: str,
    *,
    low: str | None = None,
    high: str | None = None,
    label: str | None = None,
) -> Chart:
    """Draw a point and its interval for each row and series, the series of a row close together.

    Parameters
    ----------
    title : str
    frame : polars.DataFrame
        One row per point.
    row, series, value : str
        Columns: what stands on the left, what has a colour and a symbol, and the value.
    low, high : str, optional
        Columns of the ends of intervals.
    label : str, optional
        Of the values.
    """
    rows = [str(one) for one in frame[row].unique(maintain_order=True)]
    names = frame[series].unique(maintain_order=True).to_list()
    traces = []
    for number, name in enumerate(names):
        part = frame.filter(pl.col(series) == name)
        values = part[value].cast(pl.Float64).to_numpy()
        offset = 0.7 * ((number + 0.5) / len(names) - 0.5)
        trace = {
            "type": "scatter", "mode": "markers", "name": safe(name), "x": numbers(values),
            "y": [rows.index(str(one)) + offset for one in part[row]],
            "text": [short(one) for one in part[row]],
            "marker": {"size": 8, "color": f"@{number % 6 + 1}",
                       "symbol": SYMBOLS[number % len(SYMBOLS)]},
            "hovertemplate": "%{text}: %{x:.4g}<extra>%{fullData.name}</extra>",
        }  # fmt: skip
        if low and high and part[low].count():
            ends = [part[end].cast(pl.Float64).to_numpy() for end in (low, high)]
            trace["error_x"] = {
                "type": "data", "symmetric": False, "array": numbers(ends[1] - values),
                "arrayminus": numbers(values - ends[0]), "thickness": 1.5,
            }  # fmt: skip
        traces.append(trace)
    drawn = figure(traces, label or value.replace("_", " "), "")
    drawn["layout"] |= LEGEND
    drawn["layout"]["yaxis"] |= named(rows) | {"range": [len(rows) - 0.5, -0.5]}
    best = frame.drop_nulls(value).sort(value, descending=True, maintain_order=True)
    about = "; ".join(
        f"{row} {one[row]}: highest {one[series]} {cell(one[value])}"
        for one in best.unique(row, keep="first", maintain_order=True).iter_rows(named=True)
    )
    height = 130 + max(26, 15 * len(names)) * len(rows)
    return Chart(title, drawn, f"{about}.", Table(f"{title}, in numbers", frame), height)


def shares(
    title: str,
    labels: Sequence[str],
    scores: Any,
    errors: Any | None,
    label: str,
    *,
    table: Table | None = None,
) -> Chart:
    """Draw bars to the right for what speaks for something, to the left for what speaks against.

    Parameters
    ----------
    title : str
    labels : sequence of str, length n
    scores : float array [n]
    errors : float array [n] or None
        Standard errors.
    label : str
        Of the scores.
    table : Table, optional
        The numbers, if they are more than these.
    """
    scores = np.asarray(scores, dtype=np.float64)
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(scores),
        "y": list(range(len(labels))),
        "marker": {"color": ["@2" if score < 0 else "@1" for score in scores]},
        "text": [short(text) for text in labels],
        "textposition": "none",
        "hovertemplate": "%{text}: %{x:+.4g}<extra></extra>",
    }
    columns: dict[str, Any] = {"": list(labels), label: scores}
    if errors is not None:
        half = _NORMAL * np.nan_to_num(np.asarray(errors, dtype=np.float64))
        columns["std_error"] = errors
        if half.max(initial=0.0) > 1e-9 * np.abs(scores).max(initial=1e-300):
            trace["error_x"] = {"type": "data", "array": numbers(half), "color": "@ink"}
    order = np.argsort(-np.abs(scores), kind="stable")[:5]
    about = "; ".join(f"{labels[one]} {scores[one]:+.3g}" for one in order)
    drawn = figure([trace], label, "")
    drawn["layout"]["yaxis"] |= named(labels)
    drawn["layout"]["bargap"] = 0.25
    table = table or Table(f"{title}, in numbers", pl.DataFrame(columns))
    return Chart(title, drawn, f"The largest: {about}.", table, rows_high(len(labels)))


def figure(traces: Sequence[Mapping[str, Any]], x: str, y: str) -> dict[str, Any]:
    """Return a figure with two axes and their labels."""
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {"title": {"text": safe(x)}, "automargin": True},
            "yaxis": {"title": {"text": safe(y)}, "automargin": True},
            "showlegend": False,
        },
    }


def band(xs: list[Any], low: list[Any], high: list[Any], colour: int) -> list[dict[str, Any]]:
    """Return the traces of an area between two lines."""
    line = {"type": "scatter", "mode": "lines", "x": xs, "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**line, "y": low, "showlegend": False},
        {**line, "y": high, "showlegend": False, "fill": "tonexty",
         "fillcolor": f"@{colour}/20"},
    ]  # fmt: skip


def named(labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis of numbers with labels, the first at the top."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [short(text) for text in labels],
        "range": [len(labels) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
    }


def rows_high(n: int) -> int:
    """Height of a chart of n rows, in pixels."""
    return 110 + 26 * max(n, 2)


def short(text: object) -> str:
    """Return a label that does not fill the chart."""
    said = str(text)
    return safe(said if len(said) <= _WIDEST else f"{said[: _WIDEST - 1]}…")


def safe(text: object) -> str:
    """Return a text in which plotly finds no markup."""
    return escape(str(text), quote=False)


def numbers(values: Any) -> list[Any]:
    """Return numbers as JSON has them, with null for those that are none."""
    array = np.asarray(values, dtype=np.float64)
    return [float(f"{one:.7g}") if np.isfinite(one) else None for one in array]


def _median(values: Any) -> float:
    return float(np.median(values))


LEGEND = {
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    "showlegend": True,
}
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star")  # seven, of six
DASHES = ("solid", "dash", "dashdot", "dot", "longdash")  # five, of six colours
