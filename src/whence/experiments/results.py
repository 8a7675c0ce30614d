"""Results of experiments: what they have in common, and those about opponents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable


class ExperimentResult(ShownAsTable):
    """Base of the results of experiments.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    tables : mapping of str to str
        Name of a file to the attribute or method that has its table.
    """

    experiment: ClassVar[str]
    tables: ClassVar[Mapping[str, str]]

    def table(self, name: str) -> pl.DataFrame | None:
        """The table of a file; None where there is none of that name."""
        held = getattr(self, self.tables[name]) if name in self.tables else None
        found: pl.DataFrame | None = held() if callable(held) else held
        return found

    @property
    def about(self) -> Mapping[str, Any]:
        """What was run."""
        known = vars(self)
        found: Mapping[str, Any] = known.get("settings") or known["metadata"]
        return found


@dataclass(frozen=True)
class OpponentsResult(ExperimentResult):
    """What the opponents experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per seed and arm: ``n_left_out``, ``planted_share`` and the metrics on test data.
    settings : dict
        What was run, with the metrics of a list by popularity.
    """

    experiment = "opponents"
    tables: ClassVar = {"table.csv": "to_frame", "fits.csv": "rows"}

    rows: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<OpponentsResult of {self.rows.height:,} rows>"

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics."""
        return list(self.settings["popularity"])

    def to_frame(self) -> pl.DataFrame:
        """Mean of each arm, and its difference from "none" and from "random", with intervals.

        Returns
        -------
        polars.DataFrame
            One row per arm and metric: ``mean``, ``vs_none``, ``vs_none_low``, ``vs_none_high``,
            ``vs_random``, ... (95% intervals by Student's t over seeds, paired), and
            ``planted_share`` where something was planted.
        """
        rows = []
        for metric in self.metrics:
            values = self._by_arm(metric)
            for arm, own in values.items():
                row: dict[str, Any] = {"metric": metric, "arm": arm, "mean": float(own.mean())}
                for other in ("none", "random"):
                    if other in values:
                        difference = own - values[other]
                        low, high = t_interval(difference)
                        row[f"vs_{other}"] = float(difference.mean())
                        row[f"vs_{other}_low"], row[f"vs_{other}_high"] = low, high
                shares = self.rows.filter(pl.col("arm") == arm)["planted_share"].drop_nulls()
                row["planted_share"] = None if shares.is_empty() else shares.cast(float).mean()
                rows.append(row)
            mean = self.settings["popularity"][metric]
            rows.append({"metric": metric, "arm": "popularity", "mean": mean})
        return pl.DataFrame(rows, infer_schema_length=None)

    def to_markdown(self) -> str:
        """The table of `to_frame` as Markdown."""
        lines = []
        frame = self.to_frame()
        for metric in self.metrics:
            lines += [
                f"| {metric} | mean | difference from none (95%) | from random (95%) | planted |",
                "|---|---:|---|---|---:|",
            ]
            for row in frame.filter(pl.col("metric") == metric).iter_rows(named=True):
                cells = [row["arm"], f"{row['mean']:.4f}"]
                cells += [
                    "" if row["arm"] == other else with_interval(row, f"vs_{other}")
                    for other in ("none", "random")
                ]
                share = row.get("planted_share")
                cells.append("" if share is None else f"{share:.0%}")
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines)

    def plot(self, metric: str | None = None, ax: Any = None) -> Any:
        """Differences from "none" with their intervals, one bar per arm.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.plots.experiments import plot_arms

        metric = self.metrics[0] if metric is None else metric
        frame = self.to_frame().filter(
            (pl.col("metric") == metric) & pl.col("arm").is_in(["none", "popularity"]).not_()
        )
        return plot_arms(frame, metric, ax=ax)

    def _by_arm(self, metric: str) -> dict[str, npt.NDArray[np.float64]]:
        arms = self.rows["arm"].unique(maintain_order=True).to_list()
        return {
            arm: self.rows.filter(pl.col("arm") == arm)[metric].cast(float).to_numpy()
            for arm in arms
        }


def t_interval(values: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    """95% interval of a mean by Student's t; None with fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return None, None
    middle = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return middle - half, middle + half


def curves_of(rows: pl.DataFrame, orders: Sequence[str], metric: str, data: str) -> pl.DataFrame:
    """Mean of a metric over the seeds along each order of removal, with a band.

    Parameters
    ----------
    rows : polars.DataFrame
        One row per seed, order, share and set of data; the order "nothing" has one point.
    orders : sequence of str
    metric, data : str

    Returns
    -------
    polars.DataFrame
        ``metric``, ``data``, ``order``, ``fraction``, ``value``, ``low`` and ``high``: the 95%
        interval over seeds by Student's t (equal to the value with one seed).
    """
    part = rows.filter(pl.col("data") == data)
    base = part.filter(pl.col("order") == "nothing")
    found = []
    for order in orders:
        own = pl.concat([base, part.filter(pl.col("order") == order)])
        for (share,), at in own.group_by("share", maintain_order=True):
            values = at.sort("seed")[metric].cast(pl.Float64).to_numpy()
            value = float(values.mean())
            low, high = t_interval(values)
            found.append({
                "metric": metric, "data": data, "order": order, "fraction": share, "value": value,
                "low": value if low is None else low, "high": value if high is None else high,
            })  # fmt: skip
    return pl.DataFrame(found, infer_schema_length=None)


def with_interval(row: dict[str, Any], name: str, form: str = "{:+.4f}") -> str:
    """A value with its interval, as text; "" where there is none."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return ""
    interval = "" if low is None else f" ({form.format(low)} to {form.format(high)})"
    return form.format(value) + interval
