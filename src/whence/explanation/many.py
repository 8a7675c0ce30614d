"""Explanations of many histories, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whence._html import ShownAsTable
from whence._words import counted
from whence.data.files import atomic_path
from whence.errors import ParameterError, check_choice, check_path
from whence.explanation.result import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_n_histories = pl.col("history").n_unique()
_clustered = (
    pl.when(_n_histories > 1)
    .then((pl.col("square").sum().clip(0.0) * _n_histories / (_n_histories - 1)).sqrt() / pl.len())
    .otherwise(None)
)


class Explanations(ShownAsTable, Sequence[Explanation]):
    """Explanations of several histories, as `whence.explain_many` gives them.

    Attributes
    ----------
    ids : list
        Names of the histories.
    """

    def __init__(self, explanations: Iterable[Explanation], ids: Sequence[Any]) -> None:
        self._all = list(explanations)
        self.ids = list(ids)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return Explanations(self._all[position], self.ids[position])
        return self._all[position]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._all)

    def __repr__(self) -> str:
        what = f", {self._all[0].title}" if self._all else ""
        return f"<Explanations of {counted(len(self), 'histories')}{what}>"

    def to_frame(self) -> pl.DataFrame:
        """All shares in one table, one row per history and player.

        Returns
        -------
        polars.DataFrame
            ``history``, the columns of each explanation, and ``recency``: 0 for the last event of a
            history, 1 for the one before it, and so on.
        """
        parts = []
        for name, explanation in zip(self.ids, self._all):
            frame = explanation.frame
            last = frame.height - 1
            parts.append(
                frame.select(
                    pl.lit(name).alias("history"),
                    (last - pl.int_range(pl.len())).alias("recency"),
                    *frame.columns,
                )
            )
        return pl.concat(parts, how="diagonal_relaxed")

    def report(self, by: str = "recency") -> pl.DataFrame:
        """Mean absolute and mean share over histories.

        Parameters
        ----------
        by : {"recency", "item", "feature"}
            How many events before the end; which item; or which feature.

        Returns
        -------
        polars.DataFrame
            The column named by `by`, ``mean_abs``, ``std_error`` of it (with histories taken as
            independent; null for a single one), ``mean`` and ``n`` (the number of players averaged
            over); by recency in order, else the largest first.

        Raises
        ------
        ParameterError
            If there is no such column in these explanations.
        """
        check_choice("by", by, ("recency", "item", "feature"))
        frame = self.to_frame()
        if by not in frame.columns or (by == "recency" and "event" not in frame.columns):
            raise ParameterError(
                f"These explanations of {self._all[0].noun} have no {by}; choose another by, or "
                "explain at another level."
            )
        score = pl.col("score")
        table = (
            frame.filter(pl.col(by).is_not_null())
            .with_columns(rest=score.abs() - score.abs().mean().over(by))
            # Of a history, whose shares are not independent of each other, the residuals add up.
            .with_columns(square=pl.col("rest") * pl.col("rest").sum().over(by, "history"))
            .group_by(by, maintain_order=True)
            .agg(
                score.abs().mean().alias("mean_abs"),
                _clustered.alias("std_error"),
                score.mean().alias("mean"),
                pl.len().alias("n"),
            )
        )
        if by == "recency":
            return table.sort("recency")
        if "title" in frame.columns and by == "item":
            names = frame.select("item", "title").unique("item")
            table = table.join(names, on="item", how="left", maintain_order="left")
        return table.sort("mean_abs", descending=True, maintain_order=True)

    def plot(self, ax: Axes | None = None, kind: str = "recency", **options: Any) -> Axes:
        """Draw what the explanations say together.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"recency", "beeswarm"}
            Mean absolute share by recency; or every share as a point, by recency.
        **options
            Passed on to the function of `whence.plots.explanation`.

        Returns
        -------
        matplotlib Axes
        """
        from whence.plots import explanation as plots

        check_choice("kind", kind, ("recency", "beeswarm"))
        if kind == "recency":
            return plots.recency(self.report("recency"), ax=ax, **options)
        return plots.beeswarm(self.to_frame(), ax=ax, **options)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the table of `to_frame` to a Parquet or CSV file.

        Raises
        ------
        OutputExistsError
            If the file is there and `overwrite` is false.
        ParameterError
            If the name ends in neither ``.parquet`` nor ``.csv``.
        """
        path = check_path("path", path)
        if path.suffix not in (".parquet", ".csv"):
            raise ParameterError(
                f"Explanations are written to a .parquet or .csv file, not to {path.name!r}; "
                "change the ending."
            )
        with atomic_path(path, overwrite=overwrite) as temporary:
            frame = self.to_frame()
            if path.suffix == ".csv":
                frame.write_csv(temporary)
            else:
                frame.write_parquet(temporary)
        return path
