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
    """The metric as more and more is removed, a line for each order of removal."""
    frame = folder.table("curves.csv")
    if frame is None:
        return []
    by = next((name for name in ("order", "ranking", "method") if name in frame.columns), None)
    if by is None or not {"fraction", "value"} <= set(frame.columns):
        return []
    kinds = [name for name in ("metric", "data") if name in frame.columns]
    blocks: list[Block] = []
    for names, part in frame.group_by(kinds, maintain_order=True) if kinds else [((), frame)]:
        said = dict(zip(kinds, names))
        metric = str(said.get("metric", "metric"))
        title = f"{metric} as training data are removed"
        title += f", on {said['data']} data" if "data" in said else ""
        blocks.append(
            curves(
                title, part.drop(kinds), "fraction", "value", by,
                low="low" if "low" in part.columns else None,
                high="high" if "high" in part.columns else None,
                labels=("share removed", metric), share=True,
            )
        )  # fmt: skip
    return blocks


def _disclosure(folder: Folder) -> list[Block]:
    frame = folder.table("table.csv")
    needed = {"strategy", "wv", "quality"}
    if frame is None or not needed <= set(frame.columns):
        return []
    return [frontier_chart(frame)]


def _corruption(folder: Folder) -> list[Block]:
    """How well each method finds what was planted, and what cleaning brings back."""
    frame = folder.table("table.csv")
    if frame is None:
        return []
    columns = [name for name in frame.columns if f"{name}_low" in frame.columns]
    return _columns_with_intervals(frame, columns, ("attack", "method"))


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


def _columns_with_intervals(
    frame: pl.DataFrame, columns: Sequence[str], names: Sequence[str]
) -> list[Block]:
    blocks: list[Block] = []
    names = [name for name in names if name in frame.columns]
    for column in columns:
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
    "prune": _removal,
    "disclosure": _disclosure,
    "corruption": _corruption,
    "forgetting": _forgetting,
}
_ABOUT = {
    "removal": "The metric of models fitted on less and less of the training data. Where values "
    "are right, the quality rises or stays as the lowest go, and falls as the highest go.",
    "corruption": "What was planted is looked for, and left out: how much of it is found, and what "
    "that brings back of the metric on test data.",
    "forgetting": "A model that has forgotten beside one trained without the data.",
    "opponents": "Whether it helps to leave out the training examples that oppose predictions.",
    "fidelity": "Whether values predict what happens without the data.",
    "disclosure": "What withheld data are worth, over seeds and weights of violations.",
    "explanation-fidelity": "Whether explanations are true to the model: its score as the events "
    "that they name are taken away.",
}
