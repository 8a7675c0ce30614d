"""Leave-one-out values of items and of single interactions, exactly as refitting gives them.

Deleting a click may take an item from its session, a shared item from its similarity to a query,
or its last timestamp and with it its place among the most recent; deleting an interaction of a
basket changes its user's vector, as a neighbour and in their own queries. Per query only the
sessions and users that can matter are looked at (`_vmis_rows_kernels`, `_tifu_variant_kernels`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from whence.attribution import Attribution
from whence.engines import map_ordered
from whence.errors import UnsupportedError
from whence.models import VMISKNN
from whence.valuation import _tifu_items_kernels, _tifu_rows_kernels, _vmis_rows_kernels
from whence.valuation._deletions import (
    clicks_of,
    variants_without_items,
    variants_without_rows,
    vectors_of,
)
from whence.valuation._tifu_kernels import Users
from whence.valuation.base import Question
from whence.valuation.games import FIXED, make_games
from whence.valuation.progress import reporter
from whence.valuation.rounds import cut
from whence.valuation.sources import INTERACTION, ITEM, identifying_columns

if TYPE_CHECKING:
    from whence.valuation.leave_one_out import LeaveOneOut

FloatArray = npt.NDArray[np.float64]
# Adds the values of queries [first, last), and writes what they are worth with everything.
LeaveOut = Callable[[int, int, FloatArray, FloatArray], None]

FINE = (ITEM, INTERACTION)


def leave_rows_out(method: LeaveOneOut, question: Question) -> Attribution:
    """Value items or interactions by what the metric loses without them.

    Returns
    -------
    Attribution
        Columns: the item, or the row, its session or user and its item; ``score``; for baskets
        ``own_score``, through the queries of users whose own history it is deleted from.

    Raises
    ------
    UnsupportedError
        If the metric is a Python function, or the model not known.
    """
    if question.metric.function is not None:
        raise UnsupportedError(
            f"LeaveOneOut(by={question.sources.by!r}) takes the metrics of Whence, not a Python "
            f"function; use RetrainingLeaveOneOut(by={question.sources.by!r})."
        )
    n_queries = len(question.queries)
    leave_out = _compiled(question)
    values, value_all = _run(method, question, leave_out, cut(n_queries))
    values /= n_queries

    def one_query(query: int) -> Attribution:
        part, full = _run(method, question, leave_out, [(query, query + 1)])
        shown = np.flatnonzero(np.abs(part).sum(axis=1))
        columns = {
            name: ids.gather(shown)
            for name, ids in identifying_columns(question.train, question.sources).items()
        }
        some = replace(question.sources, ids=question.sources.ids.gather(shown))
        return method._answer(
            replace(question, sources=some),
            {**columns, **_columns(question, part[shown])},
            value_all=float(full[query]),
            value_nothing=0.0,
            query=question.queries.ids.row(query, named=True),
        )

    return method._answer(
        question,
        {**identifying_columns(question.train, question.sources), **_columns(question, values)},
        recompute=one_query,
        value_all=float(value_all.mean()),
        value_nothing=0.0,
    )


def _columns(question: Question, values: FloatArray) -> dict[str, Any]:
    if question.queries.kind == "sessions":
        return {"score": values[:, 0]}
    return {"score": values[:, 0], "own_score": values[:, 1]}


def _compiled(question: Question) -> LeaveOut:
    """The kernel for the model and the sources, with its arrays."""
    model = question.model
    games = make_games(model, question.queries, question.metric, FIXED, "LeaveOneOut")
    queries, utility = games.queries.arrays, games.utility
    items = question.sources.by == ITEM
    if isinstance(model, VMISKNN):
        clicks = clicks_of(model)
        of_sessions = (
            _vmis_rows_kernels.leave_out_items if items else _vmis_rows_kernels.leave_out_clicks
        )

        def sessions(first: int, last: int, values: FloatArray, value_all: FloatArray) -> None:
            of_sessions(first, last, queries, clicks, utility, values, value_all)

        return sessions
    vectors = vectors_of(cast(Users, games.arrays))
    variants = variants_without_items(model) if items else variants_without_rows(model)
    of_users = (
        _tifu_items_kernels.leave_out_items_of_users
        if items
        else _tifu_rows_kernels.leave_out_interactions
    )

    def users(first: int, last: int, values: FloatArray, value_all: FloatArray) -> None:
        of_users(first, last, queries, vectors, variants, utility, values, value_all)

    return users


def _run(
    method: LeaveOneOut, question: Question, leave_out: LeaveOut, blocks: list[tuple[int, int]]
) -> tuple[FloatArray, FloatArray]:
    """Sum of the values over blocks of queries, (n_sources, 2), and the value of each query."""
    shape = (len(question.sources), 2)
    total, value_all = np.zeros(shape), np.zeros(len(question.queries))

    def task(block: tuple[int, int]) -> FloatArray:
        part = np.zeros(shape)
        leave_out(*block, part, value_all)
        return part

    with reporter(method.progress) as report:
        for done, part in enumerate(map_ordered(task, blocks, method.threads), start=1):
            total += part
            report(done, len(blocks), "leaving one out")
    return total, value_all
