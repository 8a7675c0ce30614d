"""Leave-one-out values: exactly what refitting without a source would change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence import _native, engines
from whence.attribution import Attribution
from whence.engines import Checkpoints, Run
from whence.valuation.accumulation import Accumulation, Block
from whence.valuation.base import Question, Valuation
from whence.valuation.families import check_games, make_games
from whence.valuation.games import ALL, ONE_MORE, Games, Plan
from whence.valuation.rounds import cut
from whence.valuation.rows import FINE, leave_rows_out
from whence.valuation.sources import identifying_columns

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOut(Accumulation):
    """Leave-one-out values of the games of queries."""

    estimates = False

    lasting = ("games",)

    games: Games
    plan: Plan

    def fill(self, shard: Block, sums: _native.Sums) -> None:
        """Add the values of a block of queries."""
        self.games.leave_out(shard, self.plan, sums)


class LeaveOneOut(Valuation, name="leave-one-out", title="Leave-one-out values", aliases=("loo",)):
    """Leave-one-out values of training sessions, users, items or interactions.

    The value of a source is the metric of the model minus the metric of the model refitted
    without it, exactly: the next candidate takes the free place. Nothing is refitted; per query
    only the sources that take part in its list are looked at.

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`. With ``by="item"`` all interactions with an item are removed together,
        with ``by="interaction"`` each row of the training data alone.

    Notes
    -----
    For baskets, a user is removed as a neighbour of others (``score``) and from their own queries
    (``own_score``), which then get an empty list; refitting gives the sum.

    Deleting rows may also change a session's similarity and its place among the most recent, or a
    user's vector; all of that is followed. ``own_score`` then is what the queries of the users
    whose rows they are lose. The idf weights of ``VMISKNN(idf=True)`` stay those of all the data.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=300, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> values = whence.LeaveOneOut("mrr@20").attribute(model, data.validation)
    >>> worst = values.ids[int(values.order()[0])]
    >>> queries = whence.make_queries(model, data.validation)
    >>> refitted = whence.VMISKNN(k=50, m=100).fit(data.train.without([worst]))
    >>> change = float(whence.evaluate(model, queries)) - float(whence.evaluate(refitted, queries))
    >>> bool(abs(change - values.scores.min()) < 1e-12)
    True
    """

    fine = True

    def check_model(self, model: Any) -> None:
        """Refuse a model whose games are unknown; see `Attributor.check_model`."""
        check_games(model, type(self).__name__)

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Attribution:
        """Value the training data of a fitted model.

        Parameters
        ----------
        model : VMISKNN or TIFUKNN
            A fitted model.
        data : Interactions, data frame or Queries
            The evaluation set.
        run : Run, optional
            How the work is done. In its folder is kept what is done.

        Returns
        -------
        Attribution
            Columns: id, ``score`` and, for baskets, ``own_score``. For interactions the id is
            ``row``, the row number in the caller's table, and the row's session or user and its
            item stand beside it.

        Raises
        ------
        UnsupportedError
            If Whence does not know the games of this model.
        """
        question = self._ask(model, data, run)
        job = leave_rows_out(question) if question.sources.by in FINE else self._games(question)
        with Checkpoints(question.run, self._identity(question)) as kept:
            totals = engines.run(
                job,
                cut(np.ones(job.n_queries)),
                question.run,
                message="leaving one out",
                kept=kept,
                stage="blocks",
            )
        return self._answer(
            question,
            self._columns(question, totals.exact / job.n_queries),
            recompute=lambda query: self._one_query(job, question, query),
            value_all=float(totals.value_all.mean()),
            value_nothing=float(totals.value_nothing.mean()),
        )

    def _games(self, question: Question) -> Accumulation:
        group_of = question.sources.group_of
        games = make_games(
            question.model,
            question.queries,
            question.metric,
            ALL if len(group_of) else ONE_MORE,
            "LeaveOneOut",
        )
        plan = Plan(
            exact_limit=0,
            seed=0,
            antithetic=False,
            shared=False,
            group_of=group_of,
            own_player=question.queries.kind == "baskets",
            fresh=True,
        )
        return LeaveOut(len(question.sources), len(question.queries), games, plan)

    def _columns(self, question: Question, values: FloatArray) -> dict[str, Any]:
        columns = {**identifying_columns(question.train, question.sources), "score": values[:, 0]}
        if question.queries.kind == "baskets":
            columns["own_score"] = values[:, 1]
        return columns

    def _one_query(self, job: Accumulation, question: Question, query: int) -> Attribution:
        run = question.run.changed(progress=False, folder=None, resume=False)
        totals = engines.run(job, [(query, query + 1)], run)
        shown = np.flatnonzero(np.abs(totals.exact).sum(axis=1))
        columns = pl.DataFrame(self._columns(question, totals.exact))[shown]
        some = replace(question.sources, ids=question.sources.ids.gather(shown))
        return self._answer(
            replace(question, sources=some),
            columns.to_dict(),
            value_all=float(totals.value_all[query]),
            value_nothing=float(totals.value_nothing[query]),
            query=question.queries.ids.row(query, named=True),
        )
