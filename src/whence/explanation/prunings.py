"""How much of histories matters: what pruning leaves of them, over tolerances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
from whence._words import counted
from whence.engines import ListJob, Run
from whence.engines import run as run_job
from whence.errors import ParameterError, check_list
from whence.explanation._problems import Problem
from whence.explanation._pruning import joint_shares, n_joined
from whence.explanation.explainer import Explainer, prepared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
TOLERANCES = (0.01, 0.025, 0.05, 0.1)
OF_PRUNING = ("k", "target", "groups", "masking", "seed", "threads")
"""Parameters of `whence.Explainer` that pruning depends on."""


class PruningStatistics(ShownAsTable):
    """What pruning leaves of histories, as `pruning_statistics` gives it.

    Attributes
    ----------
    curves : polars.DataFrame
        One row per history and place: ``history``, ``recency`` (events after the place), ``older``
        and ``newer``, the shares of the events up to the place and of those after it, as parts of
        the whole.
    table : polars.DataFrame
        One row per history and tolerance: ``history``, ``n_events``, ``tolerance``, ``kept``.
    """

    def __init__(self, curves: pl.DataFrame, table: pl.DataFrame) -> None:
        self.curves, self.table = curves, table

    def __repr__(self) -> str:
        return f"<PruningStatistics of {counted(self.table['history'].n_unique(), 'histories')}>"

    def to_frame(self) -> pl.DataFrame:
        """How many of the latest events each tolerance keeps of each history."""
        return self.table

    def _shown(self) -> pl.DataFrame:
        return self.statistics()

    def statistics(self) -> pl.DataFrame:
        """Length of the histories that is left by each tolerance.

        Returns
        -------
        polars.DataFrame
            ``tolerance`` (null: without pruning), ``mean`` number of events left, its ``std_error``
            over histories (null of a single one), ``std``, ``share`` of all events, and ``n``.
        """
        whole = self.table.unique("history", maintain_order=True)
        whole = whole.with_columns(
            tolerance=pl.lit(None, dtype=pl.Float64), kept=pl.col("n_events")
        )
        kept = pl.col("kept")
        return (
            pl.concat([whole, self.table])
            .group_by("tolerance", maintain_order=True)
            .agg(
                kept.mean().alias("mean"),
                (kept.std() / pl.len().sqrt()).alias("std_error"),
                kept.std().alias("std"),
                (kept.sum() / pl.col("n_events").sum()).alias("share"),
                pl.len().alias("n"),
            )
        )

    def plot(self, ax: Axes | None = None, kind: str | None = None, **options: Any) -> Axes:
        """Draw how much of histories matters.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"curve", "lengths"}, optional
            The joint share of all events up to each place, of a single history the default; or
            the mean number of events left by each tolerance, of several the default.
        **options
            Passed on to the function of `whence.plots.reports`.

        Returns
        -------
        matplotlib Axes
        """
        from whence.errors import check_choice
        from whence.plots import reports as plots

        single = self.table["history"].n_unique() == 1
        kind = ("curve" if single else "lengths") if kind is None else kind
        check_choice("kind", kind, ("curve", "lengths"))
        if kind == "curve":
            return plots.pruning_curve(self.curves, self.table, ax=ax, **options)
        return plots.pruned_lengths(self.statistics(), ax=ax, **options)


@dataclass(frozen=True)
class _Joining(ListJob[int, FloatArray]):
    """Joint shares of the events up to each place, history by history."""

    problems: Sequence[Problem]

    def run(self, shard: int) -> FloatArray:
        game = self.problems[shard].game
        if game.n == 1:
            return np.array([game.gap])
        return joint_shares(game)


def pruning_statistics(
    model: Any,
    histories: Iterable[Any] | Mapping[Any, Any],
    *,
    tolerances: Sequence[float] = TOLERANCES,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> PruningStatistics:
    """How many of the latest events are left of histories by each tolerance of ``prune=``.

    Two values per event are asked, whatever the number of tolerances.

    Parameters
    ----------
    model, histories, run, items, titles
        As in `whence.explain_many`.
    tolerances : sequence of float
        Shares of the whole between 0 and 1 that the events left out may have together.
    **settings
        Parameters of `whence.Explainer`: k, target, groups, masking, seed and threads.

    Returns
    -------
    PruningStatistics

    Raises
    ------
    ParameterError, DataError, UnsupportedError
        As in `whence.explain_many`.
    """
    wanted = check_list("tolerances", tolerances, "numbers")
    if not wanted or not all(isinstance(t, (int, float)) and 0 <= t <= 1 for t in wanted):
        raise ParameterError(
            f"tolerances must be shares from 0 to 1, such as [0.01, 0.05]; not {tolerances!r}."
        )
    allowed = OF_PRUNING
    for name in settings:
        if name not in allowed:
            raise ParameterError(
                f"pruning_statistics() has no {name}; it takes {', '.join(allowed)}, and explain() "
                "the others."
            )
    explainer = Explainer(**settings)
    with prepared(explainer, model, histories, run=run, items=items, titles=titles) as found:
        problems, names, run = found
        shares = run_job(_Joining(problems), range(len(problems)), run, message="histories")
    curves, rows = [], []
    for name, share in zip(names, shares):
        n, whole = len(share), abs(share[-1]) or 1.0
        curves.append(
            pl.DataFrame(
                {
                    "history": [name] * n,
                    "recency": np.arange(n)[::-1],
                    "older": share / whole,
                    "newer": (share[-1] - share) / whole,
                }
            )
        )
        rows += [(name, n, float(t), n - n_joined(share, t)) for t in sorted(wanted)]
    columns = ["history", "n_events", "tolerance", "kept"]
    return PruningStatistics(pl.concat(curves), pl.DataFrame(rows, schema=columns, orient="row"))
