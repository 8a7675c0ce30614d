"""Experiments in a report: what was removed, planted, withheld or forgotten, and what that did."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.reporting.blocks import Block, Facts, Part, Picture, Section, Table
from whence.reporting.charts import compared, curves, intervals, shares
from whence.reporting.decisions import frontier_chart

if TYPE_CHECKING:
    from whence.experiments.results import ExperimentResult
    from whence.reporting.folders import Folder

_PICTURES, _MOST_METRICS, _MOST_ITEMS = 6, 6, 12
_PLAIN = (str, int, float, bool, list, tuple)


@dataclass(frozen=True)
class Found:
    """What an experiment found, from a folder or in memory.

    Attributes
    ----------
    kind : str
        Name of the experiment.
    name : str
        What the report calls it.
    settings : mapping
    files : sequence of str
        Names of its tables.
    read : callable
        From such a name to the table; None where there is none.
    where : str
        Where tables are in full, "" where that is nowhere.
    pictures : sequence of Picture
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    files: Sequence[str]
    read: Callable[[str], pl.DataFrame | None]
    where: str = ""
    pictures: Sequence[Picture] = field(default_factory=list)

    @classmethod
    def of_folder(cls, folder: Folder) -> Found:
        """What ``whence experiment`` wrote."""
        settings = folder.summary.get("settings")
        return cls(
            folder.command.partition(" ")[2],
            folder.name,
            settings if isinstance(settings, dict) else {},
            [path.name for path in sorted(folder.path.glob("*.csv"))],
            folder.table,
            f"{folder.name}/",
            _pictures(folder),
        )

    @classmethod
    def of_result(cls, result: ExperimentResult, name: str) -> Found:
        """A result in memory."""
        files = sorted(file for file in result.tables if file.endswith(".csv"))
        return cls(result.experiment, name, result.about, files, result.table)

    def table(self, name: str, *columns: str) -> pl.DataFrame | None:
        """Read a table; None where it is not there, is empty or lacks columns."""
        frame = self.read(name)
        if frame is None or not frame.height or not set(columns) <= set(frame.columns):
            return None
        return frame

    @property
    def metrics(self) -> list[str]:
        """What was measured."""
        metrics = self.settings.get("metrics")
        return [str(one) for one in metrics] if isinstance(metrics, (list, tuple)) else []


def sections(folders: Sequence[Folder]) -> list[Section]:
    """Return a section for each experiment: its charts, else its pictures; and all its tables."""
    return [
        section(Found.of_folder(folder))
        for folder in folders
        if folder.command.startswith("experiment ")
    ]


def section(found: Found) -> Section:
    """Return the section of an experiment."""
    draw = _CHARTS.get(found.kind)
    shown: Sequence[Block] = (draw(found) if draw else []) or found.pictures
    parts = [Part("Settings", [Facts(_settings(found))])]
    if shown:
        parts.append(Part("Results", shown))
    parts.append(Part("Tables", _tables(found)))
    more = "" if found.name == found.kind else f", {found.name}"
    title = f"Experiment: {found.kind.replace('-', ' ')}{more}"
    return Section(title, parts, _ABOUT.get(found.kind, ""))


def _settings(found: Found) -> list[tuple[str, Any]]:
    """What was run, as far as it is plain."""
    return [
        (name.replace("_", " "), value)
        for name, value in found.settings.items()
        if isinstance(value, _PLAIN) and len(str(value)) < 200
    ]


def _tables(found: Found) -> list[Block]:
    blocks: list[Block] = []
    for file in found.files:
        frame = found.table(file)
        if frame is not None:
            more = f"All are in {found.where}{file}." if found.where else ""
            title = file.removesuffix(".csv").replace("_", " ")
            ids = ("history", frame.columns[1]) if file == "items.csv" else ("history",)
            blocks.append(Table(title, frame.select(_shown(frame)), more, ids))
    return blocks


def _shown(frame: pl.DataFrame) -> list[str]:
    """Columns that a cell can show."""
    return [name for name, dtype in frame.schema.items() if not dtype.is_nested()]


def _pictures(folder: Folder) -> list[Picture]:
    return [
        Picture(
            f"{path.stem.replace('_', ' ').replace('-at-', '@')} of {folder.name}",
            base64.b64encode(path.read_bytes()).decode("ascii"),
        )
        for path in sorted(folder.path.glob("*.png"))[:_PICTURES]
    ]


def _curves(found: Found, file: str, title: str) -> list[Block]:
    """A metric against the share removed, a chart for each metric and set of data."""
    frame = found.table(file, "order", "fraction", "value", "low", "high")
    if frame is None:
        return []
    if "metric" not in frame.columns:  # as earlier versions wrote it
        first = (found.metrics or ["metric"])[0]
        frame = frame.with_columns(metric=pl.lit(first), data=pl.lit("test"))
    blocks: list[Block] = [
        curves(
            title.format(metric=metric, data=data), part, "fraction", "value", "order", low="low",
            high="high", labels=("share removed", str(metric)), share=True,
        )
        for (metric, data), part in frame.group_by("metric", "data", maintain_order=True)
    ]  # fmt: skip
    return blocks[: 2 * _MOST_METRICS]


def _removal(found: Found) -> list[Block]:
    """The metrics as more and more is removed, and what lies between the curves."""
    title = "{metric} on {data} data as training data are removed"
    return [*_curves(found, "curves.csv", title), *_compared(found, "order")]


def _prune(found: Found) -> list[Block]:
    """What removing the chosen share is worth; how it was chosen; the frontier of an aim."""
    blocks: list[Block] = []
    frame, metric, aim = found.table("frontier.csv"), found.metrics[:1], found.settings.get("aim")
    if frame is not None and metric and {aim, metric[0], "order"} <= set(frame.columns):
        title = f"{aim} against {metric[0]} on test data, over the share removed"
        hover = "%{x:.4f}, %{y:.4f}: %{text} removed<extra>%{fullData.name}</extra>"
        drawn = curves(
            title, frame, metric[0], str(aim), "order", labels=(metric[0], str(aim)), along="share"
        )
        for trace in drawn.figure["data"]:
            part = frame.filter(pl.col("order") == trace["name"])
            trace |= {"text": [f"{one:.1%}" for one in part["share"]], "hovertemplate": hover}
        blocks.append(drawn)
    blocks += _compared(found, "order")
    blocks += _curves(found, "choice.csv", "{metric} on the {data} part, by the share removed")
    items = found.table("items.csv", "order", "change")
    if items is not None:
        blocks += _items(items)
    return blocks


def _items(frame: pl.DataFrame) -> list[Block]:
    """Items that are recommended more and less often."""
    label = "title" if "title" in frame.columns else frame.columns[1]
    blocks: list[Block] = []
    for (order,), part in frame.group_by("order", maintain_order=True):
        changed = part.filter(pl.col("change") != 0)
        if not changed.height:
            continue
        most = changed.sort(pl.col("change").abs(), descending=True, maintain_order=True)
        most = most.head(_MOST_ITEMS).sort("change", descending=True, maintain_order=True)
        names = [
            f"{name}, sustainable" if is_sustainable else str(name)
            for name, is_sustainable in zip(
                most[label], most["sustainable"] if "sustainable" in most.columns else [False] * 99
            )
        ]
        title = f"Items that are recommended more or less often: {order}"
        table = Table(f"{title}, the most changed first", changed, ids=(frame.columns[1],))
        blocks.append(shares(title, names, most["change"], None, "lists more or less", table=table))
    return blocks


def _corruption(found: Found) -> list[Block]:
    """How well each method finds what was planted, and what cleaning brings back."""
    return _compared(found, "attack", "method")


def _opponents(found: Found) -> list[Block]:
    """What each arm is worth, beside nothing and as many at random."""
    return _compared(found, "arm")


def _fidelity(found: Found) -> list[Block]:
    """How well each method predicts retraining."""
    frame = found.table("scores.csv", "about", "method", "runs", "outcome", "kind", "score")
    if frame is None:
        return []
    method = pl.when(pl.col("runs") > 1).then(
        pl.format("{}, {} runs", "method", "runs")
    ).otherwise(pl.col("method"))  # fmt: skip
    frame = frame.with_columns(method=method)
    return [
        compared(
            f"{kind}, {about}", part, "method", "outcome", "score", low="low", high="high",
            label=str(kind),
        )
        for (about, kind), part in frame.group_by("about", "kind", maintain_order=True)
    ]  # fmt: skip


def _explanation_fidelity(found: Found) -> list[Block]:
    """Each measure of the orders of events, beside the controls."""
    frame = found.table("table.csv", "masking", "measure", "order", "mean", "low", "high")
    if frame is None:
        return []
    return [
        compared(
            str(measure).replace("_", " ").capitalize(), part, "masking", "order", "mean",
            low="low", high="high", label=str(measure).replace("_", " "),
        )
        for (measure,), part in frame.group_by("measure", maintain_order=True)
    ]  # fmt: skip


def _scaling(found: Found) -> list[Block]:
    """CPU seconds and memory against each size, the others being the largest, with one thread."""
    frame = found.table("table.csv", "step", "n_clicks", "n_queries", "threads", "cpu_seconds")
    if frame is None:
        return []
    blocks: list[Block] = []
    largest = {name: frame[name].max() for name in ("n_clicks", "n_queries")}
    ones = {"threads": 1}
    for size, said in (("n_clicks", "clicks"), ("n_queries", "queries"), ("threads", "threads")):
        fixed = {key: value for key, value in {**largest, **ones}.items() if key != size}
        part = frame.filter(*(pl.col(key) == value for key, value in fixed.items()))
        if part[size].n_unique() < 2:
            continue
        columns = ("cpu_seconds", "memory_mb") if size != "threads" else ("seconds",)
        for column in columns:
            if not part[column].count():
                continue
            # Nothing takes less than no time; on an axis of powers, not even that.
            least = 0.0 if column == "memory_mb" else pl.col(column) / 100
            shown = part.drop_nulls(column).with_columns(
                pl.max_horizontal(pl.col(f"{column}_low"), least).alias(f"{column}_low")
            )
            drawn = curves(
                f"{_SPOKEN[column]} against {said}", shown, size, column, "step",
                low=f"{column}_low", high=f"{column}_high", labels=(said, _SPOKEN[column]),
            )  # fmt: skip
            if column != "memory_mb":
                drawn.figure["layout"]["yaxis"]["type"] = "log"
                drawn.figure["layout"]["xaxis"]["type"] = "log"
            blocks.append(drawn)
    return blocks


_SPOKEN = {"cpu_seconds": "CPU seconds", "seconds": "Seconds", "memory_mb": "Memory (MB)"}


def _disclosure(found: Found) -> list[Block]:
    """Quality against violation, in the mean over the seeds, and how much better than controls."""
    blocks: list[Block] = []
    rows = found.table("runs.csv", "strategy", "matched", "lam_share", "start", "wv", "quality")
    if rows is not None:
        own = rows.filter(pl.col("matched").fill_null("") == "")
        for (start,), part in own.group_by("start", maintain_order=True):
            means = part.group_by("strategy", "lam_share", maintain_order=True).agg(
                pl.col("wv", "quality").cast(pl.Float64).mean()
            )
            title = f"What disclosure buys, over the weight of violations ({start} start)"
            blocks.append(frontier_chart(means, title))
    table = found.table("table.csv", "lam_share", "strategy", "than", "difference", "±")
    if table is not None:
        difference, half = pl.col("difference"), pl.col("±")
        table = table.with_columns(
            than=pl.concat_str("than", "matched", separator=" of equal ", ignore_nulls=True)
            .str.strip_suffix(" of equal "),
            low=difference - half, high=difference + half,
        )  # fmt: skip
        blocks += [
            compared(
                f"Difference of the reward from other strategies, λ {share:g} times λ_ref", part,
                "than", "strategy", "difference", low="low", high="high",
            )
            for (share,), part in table.group_by("lam_share", maintain_order=True)
        ]  # fmt: skip
    return blocks


def _forgetting(found: Found) -> list[Block]:
    frame = found.table("table.csv", "measure", "model", "mean")
    if frame is None:
        return []
    blocks: list[Block] = []
    for (measure,), part in frame.group_by("measure", maintain_order=True):
        if part.height < 2:
            continue
        labels = [_label(row, ("request", "epochs", "model")) for row in part.iter_rows(named=True)]
        blocks.append(
            intervals(
                _heading(str(measure)), labels, part["mean"], part["low"], part["high"],
                str(measure),
            )
        )  # fmt: skip
    return blocks


def _compared(found: Found, row: str, series: str = "") -> list[Block]:
    """A chart of each column of the table that has intervals, and of each metric where it has some.

    `row` names the column of what stands on the left, `series` that of what has a colour.
    """
    table = found.table("table.csv", row)
    if table is None:
        return []
    frames = {"": table}
    if "metric" in table.columns and table["metric"].n_unique() > 1:
        frames = {f" ({name[0]})": part for name, part in _by(table, "metric")}
    blocks: list[Block] = []
    for of, frame in frames.items():
        for column in [name for name in frame.columns if f"{name}_low" in frame.columns]:
            part = frame.drop_nulls(column)
            if not part.height:
                continue
            title = _TITLES.get(column, _heading(column)) + of
            ends = {"low": f"{column}_low", "high": f"{column}_high"}
            if series in part.columns and part[series].n_unique() > 1 < part[row].n_unique():
                own = part.select(row, series, column, *ends.values())
                blocks.append(compared(title, own, row, series, column, **ends))
                continue
            keys = [name for name in (row, series) if name in part.columns]
            labels = [_label(one, keys) for one in part.iter_rows(named=True)]
            value, low, high = (part[name].cast(pl.Float64) for name in (column, *ends.values()))
            blocks.append(intervals(title, labels, value, low, high, column.replace("_", " ")))
    return blocks


def _heading(name: str) -> str:
    """A column or measure as a title; names of metrics stay as they are written."""
    said = name.replace("_", " ")
    return said if "@" in said else said.capitalize()


def _by(frame: pl.DataFrame, column: str) -> Any:
    return frame.group_by(column, maintain_order=True)


_TITLES = {
    "vs_none": "Difference from leaving nothing out",
    "vs_random": "Difference from leaving as many out at random",
    "above_random": "Difference from as much removed at random",
    "above_controls": "Average precision above that of the best control",
    "change": "Change from nothing removed, in the mean over the shares",
    "gained": "Gained by removing what was chosen",
}


def _label(row: dict[str, Any], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} {row[name]}" if isinstance(row[name], int) else str(row[name])
        for name in names
        if row.get(name) not in (None, "")
    )


_CHARTS: dict[str, Callable[[Found], list[Block]]] = {
    "removal": _removal,
    "prune": _prune,
    "corruption": _corruption,
    "scaling": _scaling,
    "opponents": _opponents,
    "fidelity": _fidelity,
    "explanation-fidelity": _explanation_fidelity,
    "disclosure": _disclosure,
    "forgetting": _forgetting,
}
_ABOUT = {
    "removal": "The metric of models fitted on less and less of the training data. Where values "
    "are right, the quality rises or stays as the lowest go, and falls as the highest go.",
    "prune": "The share to remove is chosen on one part of the data and reported on another.",
    "corruption": "What was planted is looked for, and left out: how much of it is found, and what "
    "that brings back of the metric on test data.",
    "scaling": "Time and memory of fitting, evaluating and valuing, one size varied at a time.",
    "forgetting": "A model that has forgotten beside one trained without the data.",
    "opponents": "Whether it helps to leave out the training examples that oppose predictions.",
    "fidelity": "Whether values predict what happens without the data.",
    "disclosure": "What withheld data are worth, over seeds and weights of violations.",
    "explanation-fidelity": "Whether explanations are true to the model: its score as the events "
    "that they name are taken away.",
}
