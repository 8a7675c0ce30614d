"""Experiments in a report: what was removed, planted, withheld or forgotten, and what that did."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.reporting.blocks import Block, Facts, Part, Picture, Section, Table
from whence.reporting.charts import curves, intervals
from whence.reporting.decisions import frontier_chart

if TYPE_CHECKING:
    from whence.reporting.folders import Folder

_PICTURES = 6
_PLAIN = (str, int, float, bool, list, tuple)


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each experiment: its charts, else its pictures; and all its tables."""
    found = []
    for folder in folders:
        kind, _, name = folder.command.partition(" ")
        if kind != "experiment":
            continue
        drawn = _CHARTS.get(name, lambda folder: [])(folder)
        shown = drawn or _pictures(folder)
        parts = [Part("Settings", [Facts(_settings(folder))])]
        if shown:
            parts.append(Part("Results", shown))
        parts.append(Part("Tables", _tables(folder)))
        title = f"Experiment: {name.replace('-', ' ')}, {folder.name}"
        found.append(Section(title, parts, _ABOUT.get(name, "")))
    return found


def _settings(folder: Folder) -> list[tuple[str, Any]]:
    """What was run, as far as it is plain."""
    settings = folder.summary.get("settings")
    if not isinstance(settings, dict):
        return []
    return [
        (name.replace("_", " "), value)
        for name, value in settings.items()
        if isinstance(value, _PLAIN) and len(str(value)) < 200
    ]


def _tables(folder: Folder) -> list[Block]:
    blocks: list[Block] = []
    for path in sorted(folder.path.glob("*.csv")):
        frame = folder.table(path.name)
        if frame is not None and frame.height:
            blocks.append(Table(path.stem.replace("_", " "), frame, f"All are in {path}."))
    return blocks


def _pictures(folder: Folder) -> list[Block]:
    return [
        Picture(
            f"{path.stem.replace('_', ' ').replace('-at-', '@')} of {folder.name}",
            base64.b64encode(path.read_bytes()).decode("ascii"),
        )
        for path in sorted(folder.path.glob("*.png"))[:_PICTURES]
    ]


def _removal(folder: Folder) -> list[Block]:
    """The metric as more and more is removed, and what lies between the curves."""
    frame = folder.table("curves.csv")
    if frame is None or not {"order", "fraction", "value", "low", "high"} <= set(frame.columns):
        return []
    metric = _first_metric(folder)
    return [
        curves(
            f"{metric} on test data as training data are removed", frame, "fraction", "value",
            "order", low="low", high="high", labels=("share removed", metric), share=True,
        ),
        *_with_intervals(folder, ("order", "metric")),
    ]  # fmt: skip


def _prune(folder: Folder) -> list[Block]:
    """What removing the chosen share is worth; the frontier, where there is an aim."""
    blocks = _with_intervals(folder, ("order", "metric"))
    frame, metric = folder.table("frontier.csv"), _first_metric(folder)
    aim = folder.summary.get("settings", {}).get("aim")
    if frame is not None and {aim, metric, "order"} <= set(frame.columns):
        title = f"{aim} against {metric} on test data, over the share removed"
        blocks.insert(0, curves(title, frame, str(aim), metric, "order", labels=(aim, metric)))
    return blocks


def _first_metric(folder: Folder) -> str:
    settings = folder.summary.get("settings")
    metrics = settings.get("metrics") if isinstance(settings, dict) else None
    return str(metrics[0]) if metrics else "metric"


def _disclosure(folder: Folder) -> list[Block]:
    frame = folder.table("table.csv")
    needed = {"strategy", "wv", "quality"}
    if frame is None or not needed <= set(frame.columns):
        return []
    return [frontier_chart(frame)]


def _corruption(folder: Folder) -> list[Block]:
    """How well each method finds what was planted, and what cleaning brings back."""
    return _with_intervals(folder, ("attack", "method"))


def _forgetting(folder: Folder) -> list[Block]:
    frame = folder.table("table.csv")
    if frame is None or not {"measure", "model", "mean"} <= set(frame.columns):
        return []
    blocks: list[Block] = []
    for (measure,), part in frame.group_by("measure", maintain_order=True):
        if part.height < 2:
            continue
        labels = [_label(row, ("request", "epochs", "model")) for row in part.iter_rows(named=True)]
        blocks.append(
            intervals(
                str(measure).capitalize(), labels, part["mean"],
                part["low"], part["high"],
                str(measure),
            )
        )  # fmt: skip
    return blocks


def _with_intervals(folder: Folder, names: Sequence[str]) -> list[Block]:
    """A chart of each column of the table that has intervals; `names` say what a row is of."""
    frame = folder.table("table.csv")
    if frame is None:
        return []
    blocks: list[Block] = []
    names = [name for name in names if name in frame.columns]
    for column in [name for name in frame.columns if f"{name}_low" in frame.columns]:
        part = frame.drop_nulls(column)
        if not part.height:
            continue
        labels = [_label(row, names) for row in part.iter_rows(named=True)]
        value = part[column].cast(pl.Float64)
        low, high = (part[f"{column}_{end}"].cast(pl.Float64) for end in ("low", "high"))
        blocks.append(
            intervals(
                column.replace("_", " ").capitalize(), labels, value, low,
                high, column.replace("_", " "),
            )
        )  # fmt: skip
    return blocks


def _label(row: dict[str, Any], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {row[name]}" if isinstance(row[name], int) else str(row[name])
        for name in names
        if row.get(name) not in (None, "")
    )


_CHARTS: dict[str, Callable[[Any], list[Block]]] = {
    "removal": _removal,
    "prune": _prune,
    "disclosure": _disclosure,
    "corruption": _corruption,
    "forgetting": _forgetting,
}
_ABOUT = {
    "removal": "The metric of models fitted on less and less of the training data. Where values "
    "are right, the quality rises or stays as the lowest go, and falls as the highest go.",
    "prune": "The share to remove is chosen on one part of the data and reported on another.",
    "corruption": "What was planted is looked for, and left out: how much of it is found, and what "
    "that brings back of the metric on test data.",
    "forgetting": "A model that has forgotten beside one trained without the data.",
    "opponents": "Whether it helps to leave out the training examples that oppose predictions.",
    "fidelity": "Whether values predict what happens without the data.",
    "disclosure": "What withheld data are worth, over seeds and weights of violations.",
    "explanation-fidelity": "Whether explanations are true to the model: its score as the events "
    "that they name are taken away.",
}
