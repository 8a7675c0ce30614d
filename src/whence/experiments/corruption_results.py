"""What the corruption experiment found: tables with intervals over seeds, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.experiments.results import ExperimentResult, t_interval, with_interval

FloatArray = npt.NDArray[np.float64]

CONTROLS = ("random", "length", "popularity", "loss")
"""What every method has to beat; length and popularity by the better of both directions."""
NOTHING, PLANTED = "nothing left out", "planted left out"
"""The models that learned from everything, and from nothing that was planted."""


@dataclass(frozen=True)
class CorruptionResult(ExperimentResult):
    """What the corruption experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per attack, seed and method: ``average_precision``, ``precision`` and ``recall``
        (among as many as are corrupted), ``auc``; where it was cleaned by the method, the ``share``
        left out and the metrics on test data.
    settings : dict
        What was run.
    """

    experiment = "corruption"
    tables: ClassVar = {"table.csv": "to_frame", "findings.csv": "rows"}

    rows: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<CorruptionResult of {self.rows.height:,} rows>"

    def to_frame(self) -> pl.DataFrame:
        """How well each method finds what was planted, and what cleaning by it recovers.

        Returns
        -------
        polars.DataFrame
            One row per attack and method. Means over seeds with 95% intervals by Student's t
            (``_low``, ``_high``): ``average_precision``; ``above_controls``, its difference, in
            pairs, from the control of the highest mean; ``precision``, ``recall``; for each metric
            the test value and its difference from that of the model that learned from everything
            (``gained``), and of what the attack costs the share that is won back (``recovered``;
            null where its cost cannot be told from 0).
        """
        rows = []
        for (attack,), part in self.rows.group_by("attack", maintain_order=True):
            control = self._control(part)
            for method in part["method"].unique(maintain_order=True):
                row: dict[str, Any] = {"attack": attack, "method": method}
                found = _of(part, method, "average_precision")
                if method not in (NOTHING, PLANTED):
                    row |= _interval("average_precision", found)
                    if control is not None and method != control:
                        other = _of(part, control, "average_precision")
                        row |= _interval("above_controls", found - other)
                    for name in ("precision", "recall"):
                        row[name] = float(_of(part, method, name).mean())
                for metric in self.settings["metrics"]:
                    row |= _recovered(part, method, metric)
                shares = _of(part, method, "share")
                row["share"] = float(shares.mean()) if len(shares) else None
                rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)

    def _control(self, part: pl.DataFrame) -> str | None:
        """The control of the highest mean average precision."""
        means = {
            name: float(_of(part, name, "average_precision").mean())
            for name in CONTROLS
            if len(_of(part, name, "average_precision"))
        }
        return max(means, key=means.__getitem__) if means else None

    def to_markdown(self) -> str:
        """The table of `to_frame` as Markdown, one for each attack."""
        lines = []
        metric = self.settings["metrics"][0]
        for (attack,), part in self.to_frame().group_by("attack", maintain_order=True):
            lines += [
                f"| {attack} | average precision | above the best control (95%) | recall "
                f"| {metric} | gained (95%) | recovered (95%) | left out |",
                "|---|---:|---|---:|---:|---|---|---:|",
            ]
            for row in part.iter_rows(named=True):
                cells = [
                    row["method"],
                    _number(row.get("average_precision"), "{:.3f}"),
                    with_interval(row, "above_controls", "{:+.3f}"),
                    _number(row.get("recall"), "{:.2f}"),
                    _number(row.get(metric), "{:.4f}"),
                    with_interval(row, f"{metric}_gained", "{:+.4f}"),
                    with_interval(row, f"{metric}_recovered", "{:.0%}"),
                    _number(row.get("share"), "{:.0%}"),
                ]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Average precision of each method, a row of bars for each attack.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.plots.experiments import plot_detection

        return plot_detection(self.to_frame().drop_nulls("average_precision"), ax=ax)


def _of(part: pl.DataFrame, method: str, name: str) -> FloatArray:
    """Values of a method by seed, in the order of the seeds; empty where it has none."""
    if name not in part.columns:
        return np.empty(0)
    column = part.filter(pl.col("method") == method).sort("seed")[name].drop_nulls()
    return column.cast(pl.Float64).to_numpy()


def _interval(name: str, values: FloatArray) -> dict[str, Any]:
    low, high = t_interval(values)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def _recovered(part: pl.DataFrame, method: str, metric: str) -> dict[str, Any]:
    """A metric on test data, what was gained, and which share of the cost of the attack that is."""
    values = _of(part, method, metric)
    if not len(values):
        return {}
    found: dict[str, Any] = {metric: float(values.mean())}
    if method == NOTHING:
        return found
    dirty, clean = _of(part, NOTHING, metric), _of(part, PLANTED, metric)
    gained, cost = values - dirty, clean - dirty
    found |= _interval(f"{metric}_gained", gained)
    low, _ = t_interval(cost)
    if method != PLANTED and low is not None and low > 0:
        # A ratio of means; its interval by the delta method.
        ratio = gained.mean() / cost.mean()
        low, high = t_interval((gained - ratio * cost) / cost.mean())
        found[f"{metric}_recovered"] = float(ratio)
        found[f"{metric}_recovered_low"] = ratio + low
        found[f"{metric}_recovered_high"] = ratio + high
    return found


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
