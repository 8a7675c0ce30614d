"""Explanations of many histories, and what they say together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whence._html import ShownAsTable
from whence.data.files import atomic_path
from whence.engines import map_ordered
from whence.errors import DataError, DataWarning, ParameterError, check_choice
from whence.explanation._explain import explanation_of
from whence.explanation._problems import as_asker, pose, solve
from whence.explanation._settings import Settings
from whence.explanation.result import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Players up to which "auto" is exact when there are many histories.
_AUTO = {"recurrent": 12, "others": 8}


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
        return f"<Explanations of {len(self):,} histories{what}>"

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
            The column named by `by`, ``mean_abs``, ``std_error`` of it, ``mean`` and ``n`` (the
            number of players averaged over); by recency in order, else the largest first.

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
            .group_by(by, maintain_order=True)
            .agg(
                score.abs().mean().alias("mean_abs"),
                (score.abs().std() / pl.len().sqrt()).alias("std_error"),
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
        path = Path(path)
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


def explain_many(
    model: Any,
    histories: Iterable[Any] | Mapping[Any, Any],
    *,
    k: int = 10,
    target: Any = "mean",
    level: str = "event",
    groups: Any = None,
    cells: Any = None,
    masking: Any = "remove",
    method: str = "auto",
    budget: int | None = None,
    tolerance: float = 0.05,
    prune: float | None = None,
    order: int = 1,
    n_steps: int = 64,
    seed: int = 42,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Explanations:
    """Explain many histories; see `whence.explain`.

    Recommendations are frozen in batches, and histories explained side by side. The result does not
    depend on the number of threads: each history has its own stream of random numbers.

    Parameters
    ----------
    model, k, target, level, groups, cells, masking, budget, prune, order, n_steps, seed
        As in `whence.explain`; so are `items` and `titles`.
    histories : iterable of histories, or mapping from names to histories
    method : str, default "auto"
        As in `whence.explain`, but "auto" is exact up to 12 players for recurrent networks and 8
        for others.
    tolerance : float, default 0.05
        As in `whence.explain`.
    progress : bool
        Show a bar on standard error.
    threads : int, optional
        All cores by default; one for models of other libraries.

    Returns
    -------
    Explanations

    Raises
    ------
    DataError, ParameterError, UnsupportedError
        As in `whence.explain`; the message names the history.
    """
    settings = Settings.checked(
        k=k, target=target, level=level, groups=groups, masking=masking, method=method,
        budget=budget, tolerance=tolerance, prune=prune, seed=seed, order=order, n_steps=n_steps,
        cells=cells,
    )  # fmt: skip
    named = histories if isinstance(histories, Mapping) else None
    ids = list(named) if named is not None else None
    given = list(named.values()) if named is not None else list(histories)
    ids = list(range(len(given))) if ids is None else ids
    if not given:
        raise DataError("There is no history to explain; give at least one.")
    asker = as_asker(model, items, level)
    with asker.quiet():
        problems = _posed(asker, given, ids, settings)
        _tell(problems)
        _ = asker.cell, asker.counts, asker.titles  # made once, before threads want them

        def one(number: int) -> Explanation:
            started = time.perf_counter()
            with asker.quiet():
                game, how, estimate = solve(problems[number], number, _AUTO)
                seconds = time.perf_counter() - started
                return explanation_of(problems[number], game, how, estimate, titles, seconds, model)

        workers = 1 if asker.single_thread else threads
        found = map_ordered(one, range(len(problems)), workers)
        return Explanations(_watched(found, len(problems), progress), ids)


def _posed(asker: Any, given: list[Any], ids: list[Any], settings: Settings) -> list[Any]:
    try:
        return pose(asker, given, settings)
    except DataError:
        for name, history in zip(ids, given):  # say which
            try:
                pose(asker, [history], settings)
            except DataError as error:
                raise DataError(f"History {name!r}: {error}") from error
        raise


def _tell(problems: list[Any]) -> None:
    for what, count in (
        ("with events before the model's window", sum(p.history.n_cut > 0 for p in problems)),
        ("with items unknown to the model", sum(bool(p.history.unknown) for p in problems)),
    ):
        if count:
            warnings.warn(
                f"{count:,} of {len(problems):,} histories are {what}, which are left out.",
                DataWarning,
                stacklevel=3,
            )


def _watched(found: Iterator[Explanation], total: int, progress: bool) -> Iterator[Explanation]:
    if not progress:
        yield from found
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(found, "histories", total=total, console=Console(stderr=True), transient=True)
