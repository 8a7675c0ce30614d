"""Because you liked: for each recommended item the events that carry most of its score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.engines import ListJob, Run
from whence.engines import run as run_job
from whence.errors import ParameterError, check_int
from whence.explanation._problems import Problem
from whence.explanation._reasons import STREAM, of_list, reasons, shares_by_item
from whence.explanation.explainer import Explainer, prepared

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Sharing(ListJob[int, tuple[FloatArray, FloatArray | None]]):
    """Shares of the events in the score of each recommended item, history by history."""

    problems: Sequence[Problem]
    seed: int

    def run(self, shard: int) -> tuple[FloatArray, FloatArray | None]:
        return shares_by_item(self.problems[shard], (self.seed, shard, STREAM))


def because(
    model: Any,
    histories: Iterable[Any] | Mapping[Any, Any],
    *,
    n: int = 1,
    recommended: Mapping[Any, Sequence[Any]] | None = None,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> pl.DataFrame:
    """For each recommended item, the events of the history that carry most of its score.

    The score of every recommended item is divided among the events by Shapley values, all items at
    once: from every set of events of short histories (10 of recurrent networks, 7 of others), else
    from 24 random orders, each with its reverse.

    Parameters
    ----------
    model, histories, run, items, titles
        As in `whence.explain_many`.
    n : int
        Reasons per item, at most; only events that speak for it are reasons.
    recommended : mapping from names of histories to lists of item ids, optional
        Items that reasons are given for; by default the model's k best for each history that are
        not in it.
    **settings
        Parameters of `whence.Explainer`: k, groups, masking, seed and threads.

    Returns
    -------
    polars.DataFrame
        ``history``, ``rank`` (from 1), ``item``, ``title`` where there are titles, ``score``,
        ``reason`` (from 1), ``event`` (the place in the history, from 0), ``because`` (its item, or
        the name of its group), ``because_title``, ``share``, and ``std_error``, which is 0 where
        the share is exact. An item for which nothing speaks has one row without a reason.

    Raises
    ------
    ParameterError
        If an argument makes no sense here.
    DataError, UnsupportedError
        As in `whence.explain`.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> table = whence.because(model, [data.train.item_ids.to_list()[:3]], k=2)
    >>> table.columns
    ['history', 'rank', 'item', 'score', 'reason', 'event', 'because', 'share', 'std_error']
    """
    check_int("n", n, minimum=1)
    allowed = ("k", "groups", "masking", "seed", "threads")
    for name in settings:
        if name not in allowed:
            raise ParameterError(
                f"because() divides the score of each item, and has no {name}; it takes "
                f"{', '.join(allowed)}, and explain() the others."
            )
    with prepared(Explainer(**settings), model, histories, run=run, items=items, titles=titles) as (
        problems,
        names,
        run,
    ):
        if recommended is not None:
            problems = [of_list(one, recommended[name]) for name, one in zip(names, problems)]
        job = _Sharing(problems, run.seed or 0)
        shares = run_job(job, range(len(problems)), run, message="histories")
    parts = [
        reasons(problem, name, phi, errors, n)
        for name, problem, (phi, errors) in zip(names, problems, shares)
    ]
    return pl.concat(parts, how="diagonal_relaxed")
