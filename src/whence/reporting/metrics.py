"""Models in a report: what they are, how good they are, and for whom."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.config.folders import LOG
from whence.errors import WhenceError, WhenceWarning
from whence.evaluation import Queries, make_queries
from whence.reporting.blocks import Block, Facts, Part, Section, Table, Text
from whence.reporting.charts import curves, intervals
from whence.reporting.groups import grouped, groupings
from whence.reporting.profile import counted_in

if TYPE_CHECKING:
    from whence.config import Parts
    from whence.data import Interactions
    from whence.evaluation import Evaluation
    from whence.reporting.folders import Folder

_NORMAL = 1.959964
_PLAIN = ("python", "whence")
_ABOUT = (
    "A metric is a mean over queries. Its 95% interval treats sessions or users as independent of "
    "each other, and the queries of one of them not."
)


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for the models that were trained or evaluated, and one for each search."""
    searches = [_search(one) for one in folders if one.command == "tune"]
    asked = [one for one in folders if _sets_of(one)]
    if not asked:
        return searches
    parts: list[Part] = [Part("How good they are", _comparison(asked))]
    for folder in asked:
        blocks: list[Block] = [Facts(_facts(folder))]
        log = _training(folder)
        blocks += log
        parts.append(Part(folder.name, blocks))
        parts += _groups(folder)
    return [
        Section(
            "Models and metrics",
            parts,
            _ABOUT,
        ),
        *searches,
    ]


def section_of_evaluation(evaluation: Evaluation, name: str) -> Section:
    """Return the section of an evaluation in memory."""
    frame = evaluation.to_frame().with_columns(
        low=pl.col("value") - _NORMAL * pl.col("std_error"),
        high=pl.col("value") + _NORMAL * pl.col("std_error"),
    )
    drawn = intervals(
        "Metrics", frame["metric"].to_list(), frame["value"], frame["low"], frame["high"], "value",
        table=Table("Metrics, with their 95% intervals", frame),
    )  # fmt: skip
    said = Text(repr(evaluation).partition("\n")[0].strip("<>"))
    return Section(f"Models and metrics: {name}", [Part("How good it is", [said, drawn])], _ABOUT)


def _search(folder: Folder) -> Section:
    """What ``whence tune`` has tried."""
    told = folder.summary
    blocks: list[Block] = [Facts([(name, told.get(name)) for name in ("metric", "trials", "best")])]
    trials = folder.table("trials.csv")
    if trials is not None:
        blocks.append(Table("Settings that were tried, measured on validation data", trials))
    return Section(f"Search: {folder.name}", [Part("Trials", blocks)])


def _sets_of(folder: Folder) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics by model and set of data."""
    if folder.command in ("value", "demo"):
        return {}
    several = folder.summary.get("results")
    if isinstance(several, list):
        return {
            str(one.get("model", number)): {k: v for k, v in one.items() if isinstance(v, dict)}
            for number, one in enumerate(several, 1)
        }
    found = counted_in(folder)
    return {folder.name: found} if found else {}


def _comparison(folders: Sequence[Folder]) -> list[Block]:
    rows = []
    for folder in folders:
        for model, sets in _sets_of(folder).items():
            for name, found in sets.items():
                for metric, value in found["scores"].items():
                    error = (found.get("std_errors") or {}).get(metric)
                    half = None if error is None else _NORMAL * error
                    rows.append({
                        "run": model, "set": name, "metric": metric, "value": value,
                        "low": None if half is None else value - half,
                        "high": None if half is None else value + half,
                        "queries": found.get("n_queries"), "asked": found.get("protocol"),
                    })  # fmt: skip
    frame = pl.DataFrame(rows, infer_schema_length=None).unique(maintain_order=True)
    blocks: list[Block] = []
    for (metric,), part in frame.group_by("metric", maintain_order=True):
        labels = [f"{run}, {name}" for run, name in part.select("run", "set").iter_rows()]
        has = part["low"].count() > 0
        blocks.append(
            intervals(
                str(metric), labels, part["value"], part["low"] if has else None,
                part["high"] if has else None, str(metric),
            )
        )  # fmt: skip
    blocks.append(Table("All metrics, with their 95% intervals", frame))
    for folder in folders:
        differences = folder.table("differences.csv") if folder.command == "evaluate" else None
        if differences is not None:
            blocks.append(
                Table(f"Differences in pairs on the same queries, of {folder.name}", differences)
            )
    return blocks


def _facts(folder: Folder) -> list[tuple[str, Any]]:
    versions = folder.run.get("versions", {})
    facts: list[tuple[str, Any]] = [("written by", f"whence {folder.command}")]
    model = folder.run.get("model")
    if isinstance(model, dict):
        facts += [(f"model {name}", value) for name, value in model.items()]
    else:
        facts.append(("model", model))
    if folder.config is not None:
        named = folder.config.model.model_dump(mode="json", exclude_none=True, exclude={"name"})
        facts += [(name.replace("_", " "), value) for name, value in named.items()]
    facts.append(("seed", folder.run.get("seed")))
    trained = folder.summary.get("training")
    if isinstance(trained, dict):
        facts += [("epochs", trained.get("epochs")), ("seconds of training", trained["seconds"])]
    facts.append(("versions", {k: v for k, v in versions.items() if k in _PLAIN}))
    return facts


def _training(folder: Folder) -> list[Block]:
    """The course of training, by epoch."""
    path = folder.path / LOG
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        rows.append({"epoch": entry.get("epoch"), "what": "loss", "value": entry.get("loss")})
        rows += [
            {"epoch": entry.get("epoch"), "what": name, "value": value}
            for name, value in (entry.get("metrics") or {}).items()
        ]
    frame = pl.DataFrame(rows, schema={"epoch": pl.Int64, "what": pl.String, "value": pl.Float64})
    blocks: list[Block] = []
    if frame["epoch"].n_unique() > 1:
        loss, others = frame.filter(what="loss"), frame.filter(pl.col("what") != "loss")
        blocks.append(curves("Loss by epoch", loss, "epoch", "value", "what"))
        if others.height:
            title = "Metrics on validation data, by epoch"
            blocks.append(curves(title, others, "epoch", "value", "what"))
    return blocks


def _groups(folder: Folder) -> list[Part]:
    """Metrics by group of those who ask and of what was to be found."""
    parts = folder.parts
    if parts is None:
        return []
    for name in ("test", "validation"):
        data = getattr(parts, name)
        table = folder.table(f"{name}-queries.parquet")
        counts = counted_in(folder).get(name)
        if data is None or table is None or counts is None:
            continue
        queries = _queries(folder, parts, name, counts)
        if queries is None or not queries.ids.to_series(0).equals(table.to_series(0)):
            return [
                Part(
                    f"{folder.name}: for whom",
                    [Text("The queries cannot be told from the data any more, so that metrics by "
                          "group are left out.", "note")],
                )
            ]  # fmt: skip
        metric = next(iter(counts["scores"]))
        if metric not in table.columns:
            return []
        return [_by_group(folder, parts.train, name, metric, table, queries)]
    return []


def _queries(folder: Folder, parts: Parts, name: str, counts: Mapping[str, Any]) -> Queries | None:
    """The queries that were asked, made again."""
    config = folder.config
    if config is None:
        return None
    protocol = counts.get("protocol")
    history = parts.validation if name == "test" and protocol == "users" else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            return make_queries(
                parts.train,
                getattr(parts, name),
                unknown=config.data.unknown_of_queries,
                target=config.data.target,
                protocol=None if protocol == "baskets" else protocol,
                history=history,
                max_prefixes=config.evaluation.max_prefixes,
            )
    except WhenceError:
        return None


def _by_group(
    folder: Folder, train: Interactions, name: str, metric: str, table: pl.DataFrame,
    queries: Queries,
) -> Part:  # fmt: skip
    values = table[metric].to_numpy()
    clusters = table.to_series(0).rank("dense").to_numpy().astype(np.int64) - 1
    blocks: list[Block] = []
    for title, groups in groupings(train, queries).items():
        frame = grouped(values, groups, clusters)
        if frame.height < 2:
            continue
        blocks.append(
            intervals(
                f"{metric} by {title}",
                [f"{group} ({n:,})" for group, n in frame.select("group", "queries").iter_rows()],
                frame["mean"], frame["low"],
                frame["high"], f"{metric} (number of queries)",
                table=Table(f"{metric} on {name} data by {title}, with 95% intervals", frame),
            )
        )  # fmt: skip
    return Part(f"{folder.name}: {metric} on {name} data, for whom", blocks)
