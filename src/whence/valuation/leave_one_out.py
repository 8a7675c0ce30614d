"""Leave-one-out values: exactly what refitting without a source would change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.attribution import Attribution
from whence.engines import map_ordered
from whence.evaluation.metrics import DEFAULT_SUSTAINABILITY_WEIGHT
from whence.valuation._solve_kernels import Accumulator, Plan
from whence.valuation.base import Progress, Question, Valuation
from whence.valuation.games import ALL, ONE_MORE, Games, make_games
from whence.valuation.progress import reporter
from whence.valuation.rounds import cut
from whence.valuation.rows import FINE, leave_rows_out


class LeaveOneOut(Valuation):
    """Leave-one-out values of training sessions, users, items or interactions.

    The value of a source is the metric of the model minus the metric of the model refitted
    without it, exactly: the next candidate takes the free place. Nothing is refitted; per query
    only the sources that take part in its list are looked at.

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`. With ``by="item"`` all interactions with an item are removed together,
        with ``by="interaction"`` each row of the training data alone.
    progress : bool or callable
        Show a progress bar, or call ``progress(done, total, message)``.

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

    method = "leave-one-out"
    fine = True

    def __init__(
        self,
        metric: Any = "mrr@20",
        *,
        by: str | None = None,
        sustainable_items: Iterable[Any] | None = None,
        sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
        relevant: str | None = None,
        unknown: str = "ignore",
        target: str = "rest",
        threads: int | None = None,
        progress: Progress = False,
    ) -> None:
        self.metric = metric
        self.by = by
        self.sustainable_items = sustainable_items
        self.sustainability_weight = sustainability_weight
        self.relevant = relevant
        self.unknown = unknown
        self.target = target
        self.threads = threads
        self.progress = progress

    def attribute(self, model: Any, validation: Any) -> Attribution:
        """Value the training data of a fitted model.

        Parameters
        ----------
        model : VMISKNN or TIFUKNN
            A fitted model.
        validation : Interactions, data frame or Queries
            The evaluation set.

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
        question = self._ask(model, validation)
        if question.sources.by in FINE:
            return leave_rows_out(self, question)
        grouped = len(question.sources.group_of) > 0
        games = make_games(
            model, question.queries, question.metric, ALL if grouped else ONE_MORE, "LeaveOneOut"
        )
        n_queries = len(question.queries)
        accumulator = self._accumulate(games, question, cut(n_queries))
        values = accumulator.exact / n_queries
        columns: dict[str, Any] = {"score": values[:, 0]}
        if question.queries.kind == "baskets":
            columns["own_score"] = values[:, 1]
        return self._answer(
            question,
            columns,
            recompute=lambda query: self._one_query(games, question, query),
            value_all=float(accumulator.value_all.mean()),
            value_nothing=float(accumulator.value_nothing.mean()),
        )

    def _accumulate(
        self, games: Games, question: Question, blocks: list[tuple[int, int]]
    ) -> Accumulator:
        n_queries, n_players = len(question.queries), len(question.sources)
        own = question.queries.kind == "baskets"
        plan = Plan(0, np.uint64(0), False, False, question.sources.group_of, own, True)
        by_query = [np.zeros(n_queries) for _ in range(4)]
        status = np.zeros(n_queries, dtype=np.uint8)
        total = np.zeros((n_players, 2))
        nothing = np.zeros((0, 2))

        def task(block: tuple[int, int]) -> npt.NDArray[np.float64]:
            part = np.zeros((n_players, 2))
            accumulator = Accumulator(
                part, nothing, nothing, np.zeros(n_players, dtype=np.int64), status, *by_query
            )
            games.leave_out(*block, plan, accumulator)
            return part

        with reporter(self.progress) as report:
            for done, part in enumerate(map_ordered(task, blocks, self.threads), start=1):
                total += part
                report(done, len(blocks), "leaving one out")
        return Accumulator(
            total, nothing, nothing, np.zeros(n_players, dtype=np.int64), status, *by_query
        )

    def _one_query(self, games: Games, question: Question, query: int) -> Attribution:
        from dataclasses import replace

        accumulator = self._accumulate(games, question, [(query, query + 1)])
        shown = np.flatnonzero(np.abs(accumulator.exact).sum(axis=1))
        columns: dict[str, Any] = {"score": accumulator.exact[shown, 0]}
        if question.queries.kind == "baskets":
            columns["own_score"] = accumulator.exact[shown, 1]
        some = replace(question.sources, ids=question.sources.ids.gather(shown))
        return self._answer(
            replace(question, sources=some),
            columns,
            value_all=float(accumulator.value_all[query]),
            value_nothing=float(accumulator.value_nothing[query]),
            query=question.queries.ids.row(query, named=True),
        )
