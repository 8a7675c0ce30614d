"""Traces in a report: which training examples taught a model, and who opposed a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from whence.attribution import Attribution
from whence.reporting.blocks import Block, Facts, Part, Section, Table, Text
from whence.reporting.charts import shares
from whence.reporting.values import value_parts

if TYPE_CHECKING:
    from whence.reporting.folders import Folder

_SHOWN = 12
ASKED = "queries.parquet"
"""Proponents and opponents of single predictions, as ``whence trace`` writes them."""


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each trace."""
    found = []
    for folder in folders:
        if folder.command != "trace":
            continue
        parts: list[Part] = []
        path = folder.path / "influence.parquet"
        if path.is_file():
            values = Attribution.load(path)
            facts = Facts([("run", folder.run.get("run")), ("method", values.title)])
            parts = value_parts(values, None)
            parts[0] = Part(parts[0].title, [facts, *parts[0].blocks])
        asked, items = folder.table(ASKED), folder.table("items.csv")
        if asked is not None:
            parts += _asked(asked)
        if items is not None:
            parts += _items(items)
        about = (
            "How much training on each part of the data pushed the predictions up (proponents) or "
            "down (opponents), summed over the steps of training, or by the curvature at its end."
        )
        found.append(Section(f"Who taught it: {folder.name}", parts, about))
    return found


def _asked(frame: pl.DataFrame) -> list[Part]:
    parts = []
    for (query,), part in frame.group_by("query", maintain_order=True):
        lines: list[Block] = [Text(f"What was asked: {part['asked'][0]}.")]
        shown = part.drop("query", "asked")
        best = pl.concat([
            shown.filter(side="proponent").head(_SHOWN),
            shown.filter(side="opponent").head(_SHOWN),
        ])  # fmt: skip
        label = next(name for name in ("target", "example", "score") if name in best.columns)
        labels = [str(one) for one in best[label]]
        lines.append(
            shares(
                f"Proponents and opponents of prediction {query}", labels, best["score"], None,
                "influence", table=Table(f"Training examples for and against {query}", shown),
            )
        )  # fmt: skip
        parts.append(Part(f"Prediction {query}", lines))
    return parts


def _items(frame: pl.DataFrame) -> list[Part]:
    parts = []
    label = "title" if "title" in frame.columns else frame.columns[1]
    for (name,), part in frame.group_by("of", maintain_order=True):
        part = part.drop("of")
        n = min(_SHOWN, part.height // 2) or part.height
        best = pl.concat([part.head(n), part.tail(n)]) if n < part.height else part
        parts.append(
            Part(
                f"What taught it {name}",
                [
                    shares(
                        f"For and against {name}", [str(one) for one in best[label]],
                        best["score"], None, "influence",
                        table=Table(f"Influence on {name}, the highest first", part),
                    )
                ],
            )
        )  # fmt: skip
    return parts
