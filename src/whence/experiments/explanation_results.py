"""What the fidelity experiment measured: tables with paired intervals, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import check_choice
from whence.experiments.results import ExperimentResult, t_interval
from whence.explanation.fidelity import MEASURES

CONTROLS = ("random", "recency", "popularity")
COSTS = ("relative_l2", "seconds")
# What tables call a measure, and which way a faithful explanation moves it.
HEADS = {
    "deletion_auc": "deletion AUC ↓",
    "insertion_auc": "insertion AUC ↑",
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "still_recommended": "still recommended ↓",
    "relative_l2": "error against exact",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class ExplanationFidelityResult(ExperimentResult):
    """How faithful the orders of several methods are, beside controls.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per masking, history and order (a method or a control): the measures of
        `whence.explanation.fidelity`; of methods, ``relative_l2`` against exact shares,
        ``seconds`` and ``n_values`` (how often the model was asked).
    settings : dict
        What was run; ``accuracy``: recall@10 of the model on the last item of each user, where it
        was fitted; ``left_out``: why a method was left out under a masking.
    """

    experiment = "explanation-fidelity"
    tables: ClassVar = {"table.csv": "to_frame", "rows.csv": "rows"}

    rows: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<ExplanationFidelityResult of {self.rows.height:,} rows>"

    @property
    def maskings(self) -> list[str]:
        """Labels of the maskings."""
        return self.rows["masking"].unique(maintain_order=True).to_list()

    def orders(self, masking: str) -> list[str]:
        """Methods and then controls under a masking."""
        found = self.rows.filter(pl.col("masking") == masking)["order"].unique().to_list()
        named = [*self.settings["methods"], *CONTROLS]
        return [name for name in named if name in found]

    def to_frame(self) -> pl.DataFrame:
        """Mean of each order, and its difference from each control, with intervals.

        Returns
        -------
        polars.DataFrame
            One row per masking, measure and order: ``n_histories``, ``mean``, ``low``, ``high``,
            and ``vs_random``, ``vs_random_low``, ``vs_random_high``, likewise ``recency`` and
            ``popularity``: 95% intervals by Student's t over histories, differences in pairs. The
            measures ``relative_l2`` and ``seconds`` are of methods only.
        """
        table = []
        for masking in self.maskings:
            for measure in (*MEASURES, *COSTS):
                values = self._by_order(masking, measure)
                for order, own in values.items():
                    low, high = t_interval(own)
                    row: dict[str, Any] = {
                        "masking": masking,
                        "measure": measure,
                        "order": order,
                        "n_histories": len(own),
                        "mean": float(own.mean()),
                        "low": low,
                        "high": high,
                    }
                    for control in CONTROLS:
                        if control in values and control != order:
                            difference = own - values[control]
                            low, high = t_interval(difference)
                            row[f"vs_{control}"] = float(difference.mean())
                            row[f"vs_{control}_low"] = low
                            row[f"vs_{control}_high"] = high
                    table.append(row)
        return pl.DataFrame(table, infer_schema_length=None)

    def to_markdown(self, against: Sequence[str] = CONTROLS) -> str:
        """Means, and differences from controls with their 95% intervals, as Markdown.

        Parameters
        ----------
        against : sequence of {"random", "recency", "popularity"}
            Controls that differences are taken from, a table for each.
        """
        for control in against:
            check_choice("against", control, CONTROLS)
        frame = self.to_frame()
        parts = []
        for masking in self.maskings:
            cells = {
                (row["measure"], row["order"]): row
                for row in frame.filter(pl.col("masking") == masking).iter_rows(named=True)
            }
            orders = self.orders(masking)
            methods = [order for order in orders if order not in CONTROLS]
            n = max(row["n_histories"] for row in cells.values())
            parts.append(f"Masking {masking}, {n:,} histories: means")
            parts.append(
                _table(orders, (*MEASURES, *COSTS), lambda row: f"{row['mean']:.4g}", cells)
            )
            for control in against:
                if control in orders:
                    parts.append(f"Masking {masking}: differences from {control} (95%)")
                    parts.append(
                        _table(methods, MEASURES, lambda row, c=control: _difference(row, c), cells)
                    )
        for what, why in self.settings["left_out"].items():
            parts.append(f"Left out ({what}): {why}")
        return "\n\n".join(parts)

    def plot(self, measure: str = "deletion_auc", ax: Any = None) -> Any:
        """Mean of a measure for each method and control, with its interval, by masking.

        Parameters
        ----------
        measure : str
            One of the measures of `whence.explanation.fidelity`.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.plots.experiments import plot_orders

        check_choice("measure", measure, MEASURES)
        frame = self.to_frame().filter(pl.col("measure") == measure)
        named = [*self.settings["methods"], *CONTROLS]
        return plot_orders(frame, named, f"{HEADS[measure]}: mean over histories", ax=ax)

    def _by_order(self, masking: str, measure: str) -> dict[str, npt.NDArray[np.float64]]:
        here = self.rows.filter(pl.col("masking") == masking)
        found = {}
        for order in self.orders(masking):
            values = here.filter(pl.col("order") == order)[measure].drop_nulls()
            if len(values):
                found[order] = values.cast(pl.Float64).to_numpy()
        return found


def _table(orders: Sequence[str], measures: Sequence[str], text: Any, cells: Any) -> str:
    shown = [name for name in measures if any((name, order) in cells for order in orders)]
    lines = [
        "| order | " + " | ".join(HEADS[name] for name in shown) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for order in orders:
        row = [cells.get((name, order)) for name in shown]
        lines.append(
            f"| {order} | " + " | ".join("" if one is None else text(one) for one in row) + " |"
        )
    return "\n".join(lines)


def _difference(row: dict[str, Any], control: str) -> str:
    value, low, high = (row[f"vs_{control}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    interval = "" if low is None else f" ({low:+.3f} to {high:+.3f})"
    return f"{value:+.3f}{interval}"
