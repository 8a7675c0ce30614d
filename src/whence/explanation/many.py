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

    from whence.explanation.grouping import Groups

_BY = ("recency", "item", "feature")
_DRAWN_BY = ("recency", "feature", "item")


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
            history, 1 for the one before it, and so on; null for what is no single event, such as
            a group, a feature or the events that pruning has joined.
        """
        parts = []
        for name, explanation in zip(self.ids, self._all):
            frame = explanation.frame
            parts.append(
                frame.select(pl.lit(name).alias("history"), _recency(explanation), *frame.columns)
            )
        return pl.concat(parts, how="diagonal_relaxed")

    def report(self, by: str = "recency") -> pl.DataFrame:
        """Mean absolute and mean share over histories.

        Parameters
        ----------
        by : {"recency", "item", "feature"}
            How many events before the end, for what is a single event (or a cell of one); which
            item; or which feature.

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
        check_choice("by", by, _BY)
        frame = self.to_frame()
        known = self._known(frame)
        if by not in known:
            others = f"take by={' or '.join(map(repr, known))}, or " if known else ""
            raise ParameterError(
                f"These explanations of {self._all[0].noun} have no {by}; {others}explain at "
                "another level."
            )
        score = pl.col("score")
        if {"event", "feature"} <= set(frame.columns):  # cells: single ones, not the grouped rest
            frame = frame.drop_nulls(["event", "feature"])
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

    def by_group(self, by: Groups) -> pl.DataFrame:
        """What part of the absolute shares of a history each group of events has, on average.

        Parameters
        ----------
        by : str, mapping or callable
            A column of `to_frame`, such as "recency" or "feature"; a mapping from items to groups,
            such as genres, or from names of histories to one group per event of the history as it
            was given, such as times of day; or a function of a row of `to_frame` as a dictionary.

        Returns
        -------
        polars.DataFrame
            ``group`` (null: what has none), ``part`` (the parts of all groups add up to 1),
            ``std_error`` and the 95% interval ``low`` to ``high`` over histories, ``net`` (the part
            with signs: what speaks for it less what speaks against), and ``n`` histories; by
            recency in order, else the largest first. A history without such an event counts as 0.

        Raises
        ------
        ParameterError
            If there is no such column.
        DataError
            If all shares are 0.
        """
        from whence.explanation.grouping import by_group

        return by_group(self.to_frame(), by)

    def compare(self, other: Explanations, by: Groups = "recency") -> pl.DataFrame:
        """What another model relies on more, or less, on the same histories.

        Scores of two models have other units, so that parts of the absolute shares are compared,
        history by history.

        Parameters
        ----------
        other : Explanations
            Of the other model; histories of the same names are compared.
        by : str, mapping or callable
            As in `by_group`.

        Returns
        -------
        polars.DataFrame
            ``group``, mean part of each of the two (``first``, ``second``), ``difference`` (second
            less first), ``std_error`` and the 95% interval ``low`` to ``high`` of it over
            histories, and ``n``; by recency in order, else the largest difference first.

        Raises
        ------
        DataError
            If they have no history in common.
        """
        from whence.explanation.grouping import compared

        return compared(self.to_frame(), other.to_frame(), by)

    def plot(self, ax: Axes | None = None, kind: str | None = None, **options: Any) -> Axes:
        """Draw what the explanations say together.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"recency", "beeswarm", "feature", "item"}, optional
            Mean absolute share by recency, the default where single events have shares; every share
            as a point: by recency where there are events, else by feature, item or label; or mean
            absolute shares of features (the default of level "feature") or items.
        **options
            Passed on to the function of `whence.plots.explanation`.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ParameterError
            If `kind` is "recency" and no single event has a share, or there are no features.
        """
        from whence.plots import explanation as plots

        frame = self.to_frame()
        known = self._known(frame)
        if kind is None:
            usual = "feature" if self._all[0].source == "feature" else "beeswarm"
            kind = "recency" if "recency" in known else usual
        check_choice("kind", kind, ("recency", "beeswarm", "feature", "item"))
        if kind in ("feature", "item"):
            from whence.plots.reports import means

            return means(self.report(kind), ax=ax, **options)
        if kind == "beeswarm":
            by = next((name for name in _DRAWN_BY if name in known), "label")
            return plots.beeswarm(frame, ax=ax, **{"by": by, **options})
        if "recency" not in known:
            raise ParameterError(
                f"kind='recency' draws the shares of single events, but these explanations are of "
                f"{self._all[0].noun}; take kind='beeswarm', or explain events."
            )
        return plots.recency(self.report("recency"), ax=ax, **options)

    def _known(self, frame: pl.DataFrame) -> list[str]:
        """What the players can be told apart by: those of recency, item and feature."""
        return [name for name in _BY if name in frame.columns and frame[name].count()]

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


def _recency(explanation: Explanation) -> pl.Expr:
    """How many events come after each player that is a single event."""
    columns = explanation.frame.columns
    if "event" not in columns:
        return pl.lit(None, dtype=pl.Int64).alias("recency")
    if "n_events" in columns:
        after = pl.len() - 1 - pl.int_range(pl.len())
        single = pl.col("n_events") == 1
        return pl.when(single).then(after).cast(pl.Int64).alias("recency")
    last = int(explanation.metadata["n_events"]) - 1
    single = pl.col("feature").is_not_null()
    return pl.when(single).then(last - pl.col("event")).cast(pl.Int64).alias("recency")
