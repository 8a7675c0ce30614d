"""Explanations in a report: which events of a history recommendations are due to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from whence.reporting.blocks import Block, Facts, Part, Section, Table
from whence.reporting.charts import intervals, shares

if TYPE_CHECKING:
    from whence.reporting.folders import Folder

_HISTORIES, _EVENTS = 6, 20


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each folder of explanations."""
    found = []
    for folder in folders:
        frame = folder.table("explanations.parquet") if folder.command == "explain" else None
        if frame is None:
            continue
        settings = folder.summary.get("parameters") or {}
        first: list[Block] = [
            Facts([
                ("model", folder.run.get("model")), ("histories", folder.summary.get("explained")),
                *((name, value) for name, value in settings.items() if value != "None"),
            ])
        ]  # fmt: skip
        report = folder.table("report.csv")
        if report is not None and report.height:
            first += _mean(report)
        parts = [Part("On average", first)]
        for number, ((name,), part) in enumerate(frame.group_by("history", maintain_order=True)):
            if number == _HISTORIES:
                break
            parts.append(Part(f"Recommendations for {name}", [_one(str(name), part)]))
        parts.append(Part("All shares", [Table("Share of each event", frame,
                          f"All are in {folder.name}/explanations.csv.")]))  # fmt: skip
        about = (
            "Each event of a history has a share of the score of what was recommended: what it "
            "adds to the others, on average. Shares below zero speak against the recommendation."
        )
        found.append(Section(f"Why: {folder.name}", parts, about))
    return found


def _mean(report: pl.DataFrame) -> list[Block]:
    by, score = report.columns[0], next((c for c in report.columns if c.startswith("mean")), None)
    table = Table(f"Mean shares by {by}", report)
    if score is None:
        return [table]
    part = report.head(_EVENTS)
    error = part["std_error"].fill_null(0.0) * 1.959964 if "std_error" in part.columns else None
    low, high = (None, None) if error is None else (part[score] - error, part[score] + error)
    labels = [f"{by} {one}" if by == "recency" else str(one) for one in part[by]]
    return [intervals(f"Mean share by {by}", labels, part[score], low, high, score, table=table)]


def _one(name: str, part: pl.DataFrame) -> Block:
    strongest = part.sort(pl.col("score").abs(), descending=True, maintain_order=True)
    best = strongest.head(_EVENTS)
    errors = best["std_error"] if "std_error" in best.columns else None
    return shares(
        f"Events behind what {name} is recommended", best["label"].to_list(), best["score"],
        errors, "share of the score",
        table=Table(f"Shares of all events of {name}, the strongest first",
                    strongest.drop("history")),
    )  # fmt: skip
