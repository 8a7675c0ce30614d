"""Disclosure and forgetting in a report: what users withhold at which price, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.reporting.blocks import Block, Facts, Part, Section, Table, Text
from whence.reporting.charts import curves, intervals

if TYPE_CHECKING:
    from whence.curation.forgetting.forgetting import Forgotten
    from whence.reporting.folders import Folder


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each disclosure, and one for each model that has forgotten."""
    found = []
    for folder in folders:
        if folder.command == "disclose":
            found.append(Section(f"Disclosure: {folder.name}", _disclosure(folder), _DISCLOSURE))
        elif folder.command == "forget":
            found.append(Section(f"Forgetting: {folder.name}", _forgetting(folder), _FORGETTING))
    return found


_DISCLOSURE = (
    "Which interactions users let the model be trained on: quality is what they get out of it, "
    "violation what it costs them against their will, both measured on models trained anew."
)
_FORGETTING = (
    "What is left of withdrawn data in a model that has forgotten them, beside a model trained "
    "without them. What lies within the distance of two starts is no worse than training afresh."
)


def _disclosure(folder: Folder) -> list[Part]:
    about = folder.summary
    plan = folder.table("plan.csv")
    facts: list[tuple[str, Any]] = [
        (name, about.get(name)) for name in ("strategy", "lam", "lam_ref", "seed")
    ]
    if plan is not None:
        n = int(plan["disclosed"].sum())
        facts += [("disclosed", f"{n:,} of {plan.height:,} interactions ({n / plan.height:.1%})")]
    parts = [Part("The plan", [Facts(facts)])]
    compared, differences = folder.table("comparison.csv"), folder.table("differences.csv")
    if compared is not None:
        labels = [
            f"{row['strategy']}, as large as {row['to']}" if row["to"] else row["strategy"]
            for row in compared.iter_rows(named=True)
        ]
        blocks: list[Block] = []
        for name in ("reward", "quality"):
            half = compared[f"{name} ±"]
            value = compared[name]
            blocks.append(
                intervals(f"{name.capitalize()} per user", labels, value, value - half,
                          value + half, name)
            )  # fmt: skip
        blocks.append(Table("Strategies, retrained and measured on test data", compared))
        if differences is not None:
            blocks.append(Table("Differences of the reward, in pairs by seed", differences))
        parts.append(Part("Retrained on what is left", blocks))
    frontier = folder.table("frontier.csv")
    if frontier is not None:
        parts.append(Part("Frontier", [frontier_chart(frontier)]))
    return parts


def frontier_chart(
    frame: pl.DataFrame, title: str = "What disclosure buys, over the weight of violations"
) -> Block:
    """Draw quality against violation, a line per strategy, a point per weight."""
    y = "quality" if "quality" in frame.columns else "predicted_quality"
    return curves(
        title, frame, "wv", y, "strategy",
        labels=("violation per user", y.replace("_", " ")),
    )  # fmt: skip


def _forgetting(folder: Folder) -> list[Part]:
    from whence.config.folders import read_json

    parts = []
    path = folder.path / "forgotten.json"
    if path.is_file():
        told = read_json(path)
        facts = [(str(k).replace("_", " "), v) for k, v in told.items() if k != "text"]
        parts.append(Part("Certificate", [Text(str(told.get("text", ""))), Facts(facts)]))
    audit = folder.table("audit.csv")
    if audit is None:
        text = "No audit was made: whence forget --audit compares with a model trained without."
        return [*parts, Part("Audit", [Text(text, "note")])]
    return [*parts, _audit(audit)]


def section_of_audit(frame: pl.DataFrame, name: str) -> Section:
    """Return the section of an audit in memory."""
    return Section(f"Forgetting: {name}", [_audit(frame)], _FORGETTING)


def section_of_forgotten(forgotten: Forgotten, name: str) -> Section:
    """Return the section of a model in memory that has forgotten."""
    facts = Facts([
        ("certificate", forgotten.certificate.kind), ("rows", forgotten.n_rows),
        ("of whom nothing is left", forgotten.n_sources), ("seconds", forgotten.seconds),
    ])  # fmt: skip
    part = Part("Certificate", [Text(forgotten.certificate.text), facts])
    return Section(f"Forgetting: {name}", [part], _FORGETTING)


def _audit(frame: pl.DataFrame) -> Part:
    return Part("Audit", [*_measures(frame), Table("All figures", frame)])


def _measures(frame: pl.DataFrame) -> list[Block]:
    """A chart for each measure, a point for each model."""
    blocks: list[Block] = []
    for (measure,), part in frame.group_by("measure", maintain_order=True):
        if measure == "seconds" or part.height < 2:
            continue
        title = str(measure) if "@" in str(measure) else str(measure).capitalize()
        blocks.append(
            intervals(
                title, part["model"].to_list(), part["value"], part["low"], part["high"],
                str(measure),
            )
        )  # fmt: skip
    return blocks
