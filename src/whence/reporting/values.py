"""Values of training data in a report: spread, both ends with their content, single queries."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.errors import ParameterError, WhenceWarning
from whence.reporting.blocks import Block, Facts, Part, Section, Table, Text
from whence.reporting.charts import curves, histogram, intervals, ranked, shares
from whence.reporting.content import id_columns, names_of, with_content
from whence.reporting.groups import binned, grouped

if TYPE_CHECKING:
    from whence.attribution import Attribution
    from whence.data import Interactions
    from whence.reporting.folders import Folder

_ENDS = 50
_SHOWN = 10


def sections(folders: Sequence[Folder], queries: Sequence[int] | int) -> list[Section]:
    """Return a section for the values of each folder.

    Parameters
    ----------
    folders : sequence of Folder
    queries : sequence of int, or int
        Whose responsibility is shown: numbers of queries, or how many, chosen evenly among those
        that were answered well.
    """
    found = []
    for folder in folders:
        if folder.values is None:
            continue
        data = None if folder.parts is None else folder.parts.train
        parts = value_parts(folder.values, data)
        parts += _detection(folder)
        if folder.parts is not None and (not isinstance(queries, int) or queries > 0):
            parts += _responsibility(folder, queries)
        found.append(Section(f"Values: {folder.name}", parts, about(folder.values)))
    return found


def about(values: Attribution) -> str:
    """How values are to be read."""
    metric = values.metadata.get("metric")
    return (
        f"What each of the {values.noun} is worth to {metric or 'the outcome'}: above zero it "
        "helps, below zero it harms. Within two standard errors of zero it may be noise."
    )


def value_parts(values: Attribution, data: Interactions | None) -> list[Part]:
    """Return what there is to show of values, with the content of their sources."""
    metric = str(values.metadata.get("metric") or "outcome")
    label, noun = f"value ({metric})", values.noun
    lines: list[Block] = [Text(line) for line in values.summary().splitlines()]
    lines.append(Facts(_facts(values)))
    spread: list[Block] = [
        histogram(f"Distribution of {noun} by value", values.totals, label, noun),
        ranked(
            f"{noun.capitalize()} in order of value", values.totals, values.total_errors, label,
            noun,
        ),
    ]  # fmt: skip
    if data is not None and values.column == data.columns.source:
        spread += _by_length(values, data, label)
    order = values.order()
    n = min(_ENDS, len(order))
    ends: list[Block] = []
    for title, rows in (("Most valuable", order[::-1][:n]), ("Least valuable", order[:n])):
        frame = with_content(values, rows, data)
        caption = f"{title} {noun}, {n:,} of {len(order):,}"
        ends.append(Table(caption, frame, ids=id_columns(values, data)))
    return [Part("Summary", lines), Part("Distribution", spread), Part("Both ends", ends)]


def _facts(values: Attribution) -> list[tuple[str, Any]]:
    about = values.metadata
    return [
        ("method", values.title), ("metric", about.get("metric")), ("model", about.get("model")),
        ("parameters of the model", about.get("model_params")),
        ("queries", about.get("n_queries")), ("seed", about.get("seed")),
        ("metric with all", about.get("value_all")),
        ("metric with none", about.get("value_nothing")),
        ("relative error", about.get("relative_error")), ("seconds", about.get("elapsed_seconds")),
    ]  # fmt: skip


def _by_length(values: Attribution, data: Interactions, label: str) -> list[Block]:
    """Mean value by how long sources are."""
    codes = data.vocabulary.source_codes(values.ids)
    lengths = np.diff(data.sequences.offsets)[np.maximum(codes, 0)].astype(np.float64)
    groups = binned(lengths)
    frame = grouped(values.totals, groups, np.arange(len(values), dtype=np.int64))
    if frame.height < 2:
        return []
    negative = [
        float((values.totals[(groups == name).fill_null(False).to_numpy()] < 0).mean())
        for name in frame["group"]
    ]
    frame = frame.with_columns(negative=pl.Series(negative)).drop("queries")
    title = "Mean value by length"
    return [
        intervals(
            title, [f"{name} rows" for name in frame["group"]], frame["mean"], frame["low"],
            frame["high"], label, table=Table(f"{title}, with the share below zero", frame),
        )
    ]  # fmt: skip


def _detection(folder: Folder) -> list[Part]:
    """Of a demonstration: what was found, and the metric as more and more is removed."""
    parts = []
    detection, removal = folder.table("detection.csv"), folder.table("removal.csv")
    if folder.command != "demo":
        return []
    if detection is not None:
        parts.append(Part("Detection", [Table("Corrupted sessions among the lowest", detection)]))
    if removal is not None:
        metric = str(folder.values.metadata["metric"]) if folder.values else ""
        drawn = curves(
            "The metric as the lowest values are removed", removal, "fraction", "value", "ranking",
            labels=("share removed", metric), share=True,
        )  # fmt: skip
        parts.append(Part("Removal", [drawn]))
    return parts


def _responsibility(folder: Folder, queries: Sequence[int] | int) -> list[Part]:
    """Which sources a few single answers are due to; of models whose games are known."""
    found = Responsibility.of(folder)
    if found is None:
        return []
    numbers = found.chosen(queries) if isinstance(queries, int) else list(queries)
    blocks: list[Block] = []
    for number in numbers:
        blocks += found.blocks(number)
    return [Part("Responsibility for single answers", blocks)] if blocks else []


class Responsibility:
    """Which sources single answers of a model are due to.

    Parameters
    ----------
    model : fitted recommender
    method : Attributor
    asked : Queries
        Of the validation data.
    """

    def __init__(self, model: Any, method: Any, asked: Any) -> None:
        self.model, self.method, self.asked = model, method, asked

    @classmethod
    def of(cls, folder: Folder) -> Responsibility | None:
        """Return that of the model that a folder's values are of; None where it is not quick."""
        from whence.evaluation import make_queries

        config, parts = folder.config, folder.parts
        quick = config is not None and config.model.name in ("vmis", "tifu")
        if config is None or parts is None or parts.validation is None or not quick:
            return None
        method = config.build_method(parts)
        if "unknown" not in method.parameter_types():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            model = config.build_model().fit(parts.train)
            asked = make_queries(
                model, parts.validation, unknown=config.data.unknown_of_queries,
                target=config.data.target, max_prefixes=config.evaluation.max_prefixes,
            )  # fmt: skip
        return cls(model, method, asked)

    def chosen(self, n: int) -> list[int]:
        """Return the numbers of some queries, evenly spread over those answered well."""
        from whence.evaluation import evaluate

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            found = evaluate(self.model, self.asked, self.method.metric)
        good = np.flatnonzero(found.values() > 0)
        if not len(good):
            return []
        places = np.linspace(0, len(good) - 1, min(n, len(good))).astype(np.int64)
        return [int(number) for number in good[places]]

    def blocks(self, number: int) -> list[Block]:
        """Return what there is to show of a query.

        Raises
        ------
        ParameterError
            If there is no such query.
        """
        if not 0 <= number < len(self.asked):
            raise ParameterError(
                f"There is no query {number}: there are {len(self.asked):,}, numbered from 0."
            )
        train, asked = self.model.train_, self.asked
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            values = self.method.attribute(self.model, asked.take([number]))
        rows = np.flatnonzero(values.totals != 0)
        order = rows[np.argsort(-np.abs(values.totals[rows]), kind="stable")]
        history = asked.history_items[asked.history_start[number] : asked.history_end[number]]
        targets = asked.target_items[asked.target_start[number] : asked.target_end[number]]
        about = ", ".join(f"{k} {v}" for k, v in asked.ids.row(number, named=True).items())
        before = " · ".join(names_of(train, history[-_SHOWN:])) or "its own baskets"
        after = " · ".join(names_of(train, targets[targets >= 0][:3])) or "an unknown item"
        metric = values.metadata.get("metric")
        said = (
            f"Query {number:,} ({about}): after {before}, what followed was {after}. "
            f"{metric} of this answer is {values.metadata.get('value_all', 0):.4f}."
        )
        if not len(order):
            return [Text(f"{said} No training data have a share in it.")]
        table = Table(
            f"Shares of {metric} of query {number:,}", with_content(values, order[:100], train),
            ids=id_columns(values, train),
        )  # fmt: skip
        best = order[:_SHOWN]
        labels = [f"{values.column} {one}" for one in values.ids.gather(best)]
        errors = None if values.std_errors is None else values.std_errors[best]
        title = f"{values.noun.capitalize()} that query {number:,} is due to"
        return [
            Text(said),
            shares(title, labels, values.totals[best], errors, f"share of {metric}", table=table),
        ]
