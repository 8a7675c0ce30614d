"""Explanations in a report: which events of a history recommendations are due to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.reporting.blocks import Block, Facts, Part, Section, Table, Text
from whence.reporting.charts import intervals, shares

if TYPE_CHECKING:
    from whence.explanation import Explanation
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
        facts = [
            ("model", folder.run.get("model")), ("histories", folder.summary.get("explained")),
            *((name, value) for name, value in settings.items() if value != "None"),
        ]  # fmt: skip
        where = f"All are in {folder.name}/explanations.csv."
        found.append(section(folder.name, frame, facts, folder.table("report.csv"), where))
    return found


def section(
    name: str,
    frame: pl.DataFrame,
    facts: Sequence[tuple[str, Any]],
    report: pl.DataFrame | None = None,
    where: str = "",
) -> Section:
    """Return the section of explanations of many histories.

    Parameters
    ----------
    name : str
    frame : polars.DataFrame
        One row per history and event.
    facts : sequence of (str, value)
    report : polars.DataFrame, optional
        Mean shares.
    where : str
        Where all are, for a table that is cut.
    """
    first: list[Block] = [Facts(facts)]
    if report is not None and report.height:
        first += _mean(report)
    parts = [Part("On average", first)]
    for number, ((history,), part) in enumerate(frame.group_by("history", maintain_order=True)):
        if number == _HISTORIES:
            break
        parts.append(Part(f"Recommendations for {history}", [_one(str(history), part)]))
    parts.append(Part("All shares", [Table("Share of each event", frame, where)]))
    return Section(f"Why: {name}", parts, _ABOUT)


def section_of_one(explanation: Explanation, name: str) -> Section:
    """Return the section of an explanation of one history."""
    lines: list[Block] = [Text(line) for line in explanation.summary().splitlines()]
    noun = explanation.noun
    frame = explanation.frame
    strongest = frame.sort(pl.col("score").abs(), descending=True, maintain_order=True)
    best = strongest.head(_EVENTS)
    drawn = shares(
        f"{noun.capitalize()} behind what is recommended", best["label"].to_list(), best["score"],
        best["std_error"] if "std_error" in best.columns else None,
        f"share of the {explanation.target}",
        table=Table(f"Shares of all {noun}, the strongest first", _flat(strongest), ids=("item",)),
    )  # fmt: skip
    return Section(
        f"Why: {name}",
        [
            Part("What is recommended", [*lines, Table("Recommended", explanation.items,
                                                       ids=("item",))]),
            Part("Because of", [drawn]),
        ],
        _ABOUT,
    )  # fmt: skip


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(name for name, dtype in frame.schema.items() if not dtype.is_nested())


_ABOUT = (
    "Each event of a history has a share of the score of what was recommended: what it adds to the "
    "others, on average. Shares below zero speak against the recommendation."
)


def _mean(report: pl.DataFrame) -> list[Block]:
    by, score = report.columns[0], next((c for c in report.columns if c.startswith("mean")), None)
    table = Table(f"Mean shares by {by}", report)
    if score is None:
        return [table]
    part = report.head(_EVENTS)
    error = part["std_error"].fill_null(0.0) * 1.959964 if "std_error" in part.columns else None
    low, high = (None, None) if error is None else (part[score] - error, part[score] + error)
    labels = [f"{by} {one}" if by == "recency" else str(one) for one in part[by]]
    return [
        intervals(
            f"Mean share by {by}",
            labels,
            part[score],
            low,
            high,
            score.replace("_", " "),
            table=table,
        )
    ]


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
