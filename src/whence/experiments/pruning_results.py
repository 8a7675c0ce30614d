"""What the prune experiment found: what was chosen and gained, the frontier, the lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from whence.data import Interactions
from whence.evaluation import Queries
from whence.experiments.intervals import paired
from whence.experiments.removing import NOTHING, RANDOM, askers_of
from whence.experiments.results import ExperimentResult, curves_of, with_interval

_OF_ITEMS = ("order", "title", "sustainable", "before", "after", "change")
_OF_LISTS = ("order", "history", "before", "after")


@dataclass(frozen=True)
class PruneResult(ExperimentResult):
    """What the prune experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per seed, order, share and set of data ("choice" or "test"), with the metrics.
        Orders that begin with "random" have as many rows removed at random as were chosen.
    gains : polars.DataFrame
        What `to_frame` returns.
    frontier : polars.DataFrame
        One row per order and share on test data, where there is an aim: the mean of each metric
        over the seeds, and its change from nothing removed with its 95% interval (``_change``,
        ``_change_low``, ``_change_high``).
    items : polars.DataFrame
        How often each item is recommended to the test queries, before and after what was chosen,
        in the mean over the seeds, by order; those that changed most first.
    lists : polars.DataFrame
        The lists of the first seed for each test query, before and after, by order.
    values : polars.DataFrame
        Values of the sources by each seed and method.
    settings : dict
        What was run.
    """

    experiment = "prune"
    tables: ClassVar = {
        "table.csv": "to_frame", "choice.csv": "choices", "frontier.csv": "frontier",
        "items.csv": "items", "fits.csv": "rows", "lists.parquet": "lists",
        "values.parquet": "values",
    }  # fmt: skip

    rows: pl.DataFrame
    gains: pl.DataFrame
    frontier: pl.DataFrame
    items: pl.DataFrame
    lists: pl.DataFrame
    values: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<PruneResult of {len(self.settings['orders'])} orders>"

    def to_frame(self) -> pl.DataFrame:
        """What removing the chosen share is worth on test data.

        Returns
        -------
        polars.DataFrame
            One row per order and metric: the mean ``share`` that was chosen, the metric ``before``
            and ``after``, ``gained``, and ``above_random``, the difference from as many rows
            removed at random, with their 95% intervals over seeds and over who asks.
        """
        return self.gains

    def choices(self, metric: str | None = None) -> pl.DataFrame:
        """Mean of a metric over the seeds on the choice part, by share, with a band.

        Parameters
        ----------
        metric : str, optional
            All by default.

        Returns
        -------
        polars.DataFrame
            As of `RemovalResult.curves`.
        """
        return pl.concat(
            curves_of(self.rows, self.settings["orders"], one, "choice")
            for one in ([metric] if metric else self.settings["metrics"])
        )

    def to_markdown(self) -> str:
        """A table for each metric, and what is recommended more and less often."""
        lines = []
        for metric in self.settings["metrics"]:
            lines += [
                f"| {metric} on test data | removed | before | after | gained (95%) "
                "| above as many rows at random (95%) |",
                "|---|---:|---:|---:|---|---|",
            ]
            for row in self.gains.filter(pl.col("metric") == metric).iter_rows(named=True):
                cells = [row["order"], f"{row['share']:.1%}"]
                cells += [f"{row[name]:.4f}" for name in ("before", "after")]
                cells += [with_interval(row, name) for name in ("gained", "above_random")]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        aim = self.settings["aim"]
        if aim is not None:
            lines += self._frontier_lines(self.settings["metrics"][0], aim)
        return "\n".join(lines)

    def _frontier_lines(self, first: str, aim: str) -> list[str]:
        lines = [
            f"| frontier on test data | removed | {first} | change (95%) | {aim} | change (95%) |",
            "|---|---:|---:|---|---:|---|",
        ]
        for row in self.frontier.iter_rows(named=True):
            cells = [row["order"], f"{row['share']:.1%}"]
            for name in (first, aim):
                cells += [f"{row[name]:.4f}", with_interval(row, f"{name}_change")]
            lines.append("| " + " | ".join(cells) + " |")
        return [*lines, ""]

    def plot(self, ax: Any = None) -> Any:
        """Draw the frontier between the first metric and the aim, or the curves of the choice.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence import plots
        from whence.plots.experiments import plot_exchange

        first, aim = self.settings["metrics"][0], self.settings["aim"]
        if aim is not None:
            return plot_exchange(self.frontier, first, aim, ax=ax)
        return plots.removal_curve(
            self.choices(first), by="order", ax=ax, label=f"{first} on the choice part",
            title="How much to remove is chosen here",
        )  # fmt: skip


def tables_of(
    chosen_on: Sequence[Mapping[str, Any]],
    tested: Sequence[Mapping[str, Any]],
    chosen: Mapping[tuple[int, str], float],
    names: Sequence[str],
    metrics: Sequence[str],
    asked: Queries,
    train: Interactions,
    sustainable: pl.Series | None,
) -> dict[str, pl.DataFrame]:
    """Tables of what was measured on the choice part and on test data."""
    known = ("seed", "order", "share", "n_removed", "n_rows_removed")
    rows = [
        {**{key: one[key] for key in known}, "data": data, **one["scores"]}
        for data, parts in (("choice", chosen_on), ("test", tested))
        for one in parts
    ]
    by_place = {(one["seed"], one["order"], one["share"]): one for one in tested}
    seeds = list(dict.fromkeys(seed for seed, _ in chosen))
    counts = askers_of(asked)

    def at(seed: int, name: str, share: float) -> Mapping[str, Any]:
        return by_place[(seed, name, share) if share else (seed, NOTHING, 0.0)]

    def changes(first: Sequence[Any], second: Sequence[Any], name: str, metric: str) -> Any:
        number = metrics.index(metric)
        sums = np.stack([a["sums"][number] - b["sums"][number] for a, b in zip(first, second)])
        return paired(name, sums, counts, of_lists=metric in first[0]["of_lists"])

    before = [at(seed, NOTHING, 0.0) for seed in seeds]
    gains, frontier, items, lists = [], [], [], []
    for name in names:
        after = [at(seed, name, chosen[seed, name]) for seed in seeds]
        random = [by_place[seed, f"{RANDOM} {name}", chosen[seed, name]] for seed in seeds]
        for metric in metrics:
            row: dict[str, Any] = {
                "order": name,
                "metric": metric,
                "share": float(np.mean([chosen[seed, name] for seed in seeds])),
                "before": float(np.mean([one["scores"][metric] for one in before])),
                "after": float(np.mean([one["scores"][metric] for one in after])),
            }
            row |= changes(after, before, "gained", metric)
            gains.append(row | changes(after, random, "above_random", metric))
        shares = sorted({share for _, order, share in by_place if order == name})
        for share in (0.0, *shares):
            if any(share and (seed, name, share) not in by_place for seed in seeds):
                continue
            there = [at(seed, name, share) for seed in seeds]
            row = {"order": name, "share": share}
            for metric in metrics:
                row[metric] = float(np.mean([one["scores"][metric] for one in there]))
                if share:
                    row |= changes(there, before, f"{metric}_change", metric)
            frontier.append(row)
        if all("listed" in one for one in after):
            items.append(_items(name, before, after, train, sustainable))
            lists.append(_lists(name, before[0], after[0], asked, train))
    return {
        "rows": pl.DataFrame(rows, infer_schema_length=None),
        "gains": pl.DataFrame(gains, infer_schema_length=None),
        "frontier": pl.DataFrame(frontier, infer_schema_length=None),
        "items": pl.concat(items) if items else pl.DataFrame(),
        "lists": pl.concat(lists) if lists else pl.DataFrame(),
    }


def _items(
    name: str,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    train: Interactions,
    sustainable: pl.Series | None,
) -> pl.DataFrame:
    """How often each item is recommended, before and after."""
    ids, titles = train.item_ids, train.item_titles
    table = pl.DataFrame(
        {
            "order": [name] * len(ids),
            train.columns.beside(train.columns.item, _OF_ITEMS): ids,
            **({} if titles is None else {"title": titles}),
            **(
                {}
                if sustainable is None
                else {"sustainable": ids.is_in(sustainable.cast(ids.dtype).implode())}
            ),
            "before": np.mean([one["listed"] for one in before], axis=0),
            "after": np.mean([one["listed"] for one in after], axis=0),
        }
    )
    change = pl.col("after") - pl.col("before")
    return table.with_columns(change=change).sort(
        change.abs(), descending=True, maintain_order=True
    )


def _lists(
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    asked: Queries,
    train: Interactions,
) -> pl.DataFrame:
    """The lists of each query, before and after, best first."""
    ids = train.item_ids
    flat = asked.history_items
    history = [
        ids.gather(flat[start:end]) for start, end in zip(asked.history_start, asked.history_end)
    ]

    def listed(items: Any) -> pl.Series:
        return pl.Series([ids.gather(row[row >= 0]) for row in items])

    named = {column: f"{column}_" for column in asked.ids.columns if column in _OF_LISTS}
    table = pl.DataFrame({"order": [name] * len(asked)}).hstack(asked.ids.rename(named))
    return table.with_columns(
        history=pl.Series(history),
        before=listed(before["lists"]),
        after=listed(after["lists"]),
    )  # fmt: skip
