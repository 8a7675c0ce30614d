"""What the removal experiment found: curves with bands, what lies between them, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from whence.errors import ColumnError, did_you_mean
from whence.experiments.results import ExperimentResult, curves_of, with_interval


@dataclass(frozen=True)
class RemovalResult(ExperimentResult):
    """What the removal experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per seed, order, share and set of data: ``n_removed`` sources, ``n_rows_removed``
        and the metrics. The order "nothing" has one point.
    areas : polars.DataFrame
        What `to_frame` returns.
    values : polars.DataFrame
        Values of the sources by each seed and method.
    settings : dict
        What was run.
    """

    experiment = "removal"
    tables: ClassVar = {
        "table.csv": "to_frame", "curves.csv": "curves", "fits.csv": "rows",
        "values.parquet": "values",
    }  # fmt: skip

    rows: pl.DataFrame
    areas: pl.DataFrame
    values: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<RemovalResult of {self.rows.height:,} measurements>"

    def to_frame(self) -> pl.DataFrame:
        """What lies between the curves on test data, in the mean over the shares that are removed.

        Returns
        -------
        polars.DataFrame
            One row per order and metric: ``change``, the mean difference of the curve from the
            model that nothing was removed from, and ``above_random``, from the curve of a random
            order, each with its 95% interval (``_low``, ``_high``) over seeds and over the
            sessions or users that ask.
        """
        return self.areas

    def curves(self, metric: str | None = None, data: str | None = None) -> pl.DataFrame:
        """Mean of a metric over the seeds along each order, with a band.

        Parameters
        ----------
        metric : str, optional
            All by default.
        data : {"test", "validation"}, optional
            Both by default.

        Returns
        -------
        polars.DataFrame
            Columns ``metric``, ``data``, ``order``, ``fraction``, ``value``, and ``low`` and
            ``high``: the 95% interval over seeds by Student's t (equal to the value with one seed).

        Raises
        ------
        ColumnError
            If the metric or the data were not measured.
        """
        metrics, sets = self.settings["metrics"], ["test", "validation"]
        for wanted, known in ((metric, metrics), (data, sets)):
            if wanted is not None and wanted not in known:
                raise ColumnError(
                    f"{wanted!r} was not measured; there is {', '.join(map(str, known))}."
                    f"{did_you_mean(wanted, known)}"
                )
        return pl.concat(
            curves_of(self.rows, self.settings["orders"], one, part)
            for one in ([metric] if metric else metrics)
            for part in ([data] if data else sets)
        )

    def to_markdown(self) -> str:
        """A table for each metric: the curve on test data at a few shares, and `to_frame`."""
        lines = []
        for metric in self.settings["metrics"]:
            curves = self.curves(metric, "test")
            shares = _few(curves["fraction"].unique().sort().to_list())
            digits = next((d for d in range(6) if _told_apart(shares, d)), 6)
            shown = " | ".join(f"{share:.{digits}%}" for share in shares)
            lines += [
                f"| {metric} on test data, removed: | {shown} | mean change (95%) "
                "| above random order (95%) |",
                "|---|" + "---:|" * len(shares) + "---|---|",
            ]
            for row in self.areas.filter(pl.col("metric") == metric).iter_rows(named=True):
                own = curves.filter(pl.col("order") == row["order"])
                cells = [row["order"]]
                cells += [
                    f"{own.filter(pl.col('fraction') == share)['value'][0]:.4f}" for share in shares
                ]
                cells += [with_interval(row, name) for name in ("change", "above_random")]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines)

    def plot(self, metric: str | None = None, data: str = "test", ax: Any = None) -> Any:
        """Draw the curves with their bands.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence import plots

        metric = self.settings["metrics"][0] if metric is None else metric
        return plots.removal_curve(
            self.curves(metric, data), by="order", ax=ax, label=f"{metric} on {data} data",
            title=f"{metric} as training data are removed, and its band over seeds",
        )  # fmt: skip


def _told_apart(shares: Sequence[float], digits: int) -> bool:
    return len({f"{share:.{digits}%}" for share in shares}) == len(shares)


def _few(shares: Sequence[float], n: int = 5) -> list[float]:
    """At most so many of the shares, evenly spread, the last among them."""
    last = len(shares) - 1
    places = sorted({round(last * k / (n - 1)) for k in range(n)})
    return [shares[place] for place in places]
