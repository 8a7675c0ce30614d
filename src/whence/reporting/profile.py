"""The data in a report: how much there is, what is odd about it, how it is spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.reporting.blocks import Block, Chart, Part, Section, Table, Text
from whence.reporting.charts import figure, histogram, numbers
from whence.reporting.content import titled

if TYPE_CHECKING:
    from whence.config import Parts
    from whence.data import Interactions
    from whence.reporting.folders import Folder

_MOST = 100
_COUNTED = {
    "n_empty_queries": "queries with nothing known to the model, which count as 0",
    "n_unknown_rows": "rows with an item that is unknown to the training data",
    "n_without_targets": "users with nothing to be found, who are not asked",
    "n_new_users": "users unknown to the training data, asked by their own earlier rows",
    "n_seen_targets": "targets that were in the history already",
}


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each set of data that the folders speak of."""
    groups: dict[str, list[Folder]] = {}
    for folder in folders:
        if folder.parts is not None:
            groups.setdefault(folder.parts.train.fingerprint, []).append(folder)
    several = len(groups) > 1
    return [
        _section(group, f"Data of {', '.join(f.name for f in group)}" if several else "Data")
        for group in groups.values()
    ]


def _section(folders: Sequence[Folder], title: str) -> Section:
    parts = max((f.parts for f in folders if f.parts), key=_completeness)
    named = {"training": parts.train, "validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in named.items() if part is not None}
    blocks: list[Block] = [Table("Counts", _counts(data))]
    blocks += [Text(note, "note") for note in parts.notes]
    if parts.split:
        blocks.append(Text(f"One file was split by Whence ({parts.split})."))
    out = _left_out(folders)
    odd: list[Block] = [Table("What is counted, left out, or counts as nothing", out)]
    more = [Part("What is left out", odd)] if out.height else []
    spread = Part("How it is spread", _spread(parts.train))
    return Section(title, [Part("How much there is", blocks), *more, spread], _ABOUT)


def section_of_data(data: Interactions, name: str) -> Section:
    """Return the section of a table in memory."""
    counts = Table("Counts", _counts({"training": data}).rename({"training": "number"}))
    parts = [Part("How much there is", [counts]), Part("How it is spread", _spread(data))]
    return Section(f"Data: {name}", parts, _ABOUT)


_ABOUT = (
    "What the model learned from and was measured on. Repeated rows and rows of equal time are "
    "kept; where they are many, check how the data came about."
)


def _completeness(parts: Parts) -> int:
    return sum(part is not None for part in (parts.validation, parts.test))


def _counts(data: Mapping[str, Interactions]) -> pl.DataFrame:
    """One row per count, one column per part of the data."""
    described = {name: part.describe() for name, part in data.items()}
    names = list(dict.fromkeys(key for one in described.values() for key in one if key != "kind"))
    rows = [
        {
            "": name.replace("_", " "),
            **{part: _shown(one.get(name)) for part, one in described.items()},
        }
        for name in names
    ]
    train = data["training"]
    if len(data) == 1:
        return pl.DataFrame(rows)
    for what, known, ids in (
        (train.columns.item, train.vocabulary.items, "item"),
        (train.columns.source, train.vocabulary.sources, "source"),
    ):
        row: dict[str, Any] = {"": f"{what} not in the training data", "training": ""}
        for name, part in data.items():
            if name != "training":
                own = part.vocabulary.items if ids == "item" else part.vocabulary.sources
                unknown = ~own.cast(pl.String).is_in(known.cast(pl.String).implode())
                row[name] = _shown(int(unknown.sum()))
        rows.append(row)
    return pl.DataFrame(rows)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _left_out(folders: Sequence[Folder]) -> pl.DataFrame:
    """What evaluations and values counted, one row per folder, set and kind."""
    rows = []
    for folder in folders:
        for name, counts in counted_in(folder).items():
            rows += [
                {"run": folder.name, "set": name, "what": words, "number": int(counts[key])}
                for key, words in _COUNTED.items()
                if counts.get(key)
            ]
            if counts.get("per") == "source":
                rows.append(
                    {
                        "run": folder.name,
                        "set": name,
                        "what": "sessions or users, each of which counts alike",
                        "number": int(counts.get("n_queries") or 0),
                    }
                )
    return pl.DataFrame(
        rows, schema={"run": pl.String, "set": pl.String, "what": pl.String, "number": pl.Int64}
    )


def counted_in(folder: Folder) -> dict[str, dict[str, Any]]:
    """Return what a folder counted, by set of data."""
    found = folder.summary
    if folder.command == "value":
        return {"validation": found}
    if folder.command == "demo":
        return {"validation": found.get("values", {})}
    sets = found.get("results", found)
    if not isinstance(sets, dict):
        return {}
    return {name: one for name, one in sets.items() if isinstance(one, dict) and "scores" in one}


def _spread(train: Interactions) -> list[Block]:
    lengths = np.bincount(train.source_codes, minlength=train.n_sources)
    lengths = lengths[lengths > 0]
    noun = "users" if train.by_user or train.kind == "baskets" else "sessions"
    blocks: list[Block] = [
        histogram(f"Length of {noun}", lengths, f"rows per {noun[:-1]}", noun),
        _popularity(train),
    ]
    over_time = _over_time(train)
    if over_time is not None:
        blocks.append(over_time)
    counts = np.bincount(train.item_codes, minlength=train.n_items)
    best = np.argsort(-counts, kind="stable")[:_MOST]
    frame = titled(train, best).with_columns(rows=pl.Series(counts[best]))
    share = pl.Series(counts[best] / max(train.n_rows, 1))
    blocks.append(
        Table("Most popular items", frame.with_columns(share=share), ids=(train.columns.item,))
    )
    return blocks


def _popularity(train: Interactions) -> Chart:
    """Which share of the rows the most popular items have."""
    counts = np.sort(np.bincount(train.item_codes, minlength=train.n_items))[::-1]
    reached = np.concatenate([[0.0], np.cumsum(counts) / max(counts.sum(), 1)])
    shares = np.linspace(0, 1, 101)
    values = np.interp(shares, np.linspace(0, 1, len(reached)), reached)
    trace = {
        "type": "scatter", "mode": "lines", "x": numbers(shares), "y": numbers(values),
        "line": {"color": "@1", "width": 2}, "fill": "tozeroy", "fillcolor": "@1/20",
        "hovertemplate": "%{x:.0%} of the items have %{y:.1%} of the rows<extra></extra>",
    }  # fmt: skip
    drawn = figure([trace], "share of the items, the most popular first", "share of the rows")
    for axis in ("xaxis", "yaxis"):
        drawn["layout"][axis]["tickformat"] = ".0%"
    table = pl.DataFrame({"share of items": shares, "share of rows": values})
    about = (
        f"The most popular tenth of the items has {values[10]:.0%} of the rows, the most popular "
        f"half {values[50]:.0%}."
    )
    return Chart("Popularity of items", drawn, about, Table("Popularity, in numbers", table))


def _over_time(train: Interactions) -> Chart | None:
    """Rows over time, in equal stretches."""
    column = train.columns.time
    if column is None:
        return None
    times = train.frame[column]
    is_date = times.dtype.is_temporal()
    moments = (times.cast(pl.Datetime("us")).cast(pl.Int64) if is_date else times).to_numpy()
    moments = moments.astype(np.float64)
    if moments.min() == moments.max():
        return None
    counts, edges = np.histogram(moments, 60)
    starts: list[Any] = numbers(edges[:-1])
    if is_date:
        starts = [
            str(one)
            for one in pl.Series(edges[:-1].astype(np.int64))
            .cast(pl.Datetime("us"))
            .dt.truncate("1s")
        ]
    trace = {"type": "bar", "x": starts, "y": counts.tolist(), "marker": {"color": "@1"},
             "hovertemplate": "%{x}: %{y:,} rows<extra></extra>"}  # fmt: skip
    drawn = figure([trace], column, "rows")
    first, last = str(times.min()), str(times.max())
    about = f"Rows over time, from {first} to {last} in {len(counts)} equal stretches."
    table = Table("Rows over time, in numbers", pl.DataFrame({column: starts, "rows": counts}))
    return Chart("Rows over time", drawn, about, table)
