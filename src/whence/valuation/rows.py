"""Leave-one-out values of items and of single interactions, exactly as refitting gives them.

Deleting a click may take an item from its session, a shared item from its similarity to a query,
or its last timestamp and with it its place among the most recent; deleting an interaction of a
basket changes its user's vector, as a neighbour and in their own queries. Per query only the
sessions and users that can matter are looked at (`_vmis_rows_kernels`, `_tifu_variant_kernels`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from whence import _native
from whence.errors import UnsupportedError
from whence.models import VMISKNN
from whence.valuation import _tifu_items_kernels, _tifu_rows_kernels, _vmis_rows_kernels
from whence.valuation._deletions import (
    clicks_of,
    variants_without_items,
    variants_without_rows,
    vectors_of,
)
from whence.valuation.accumulation import Accumulation, Block
from whence.valuation.base import Question
from whence.valuation.families import make_games
from whence.valuation.games import FIXED
from whence.valuation.sources import INTERACTION, ITEM

FINE = (ITEM, INTERACTION)
_KERNELS: dict[str, Callable[..., None]] = {
    kernel.__name__: kernel
    for kernel in (
        _vmis_rows_kernels.leave_out_clicks,
        _vmis_rows_kernels.leave_out_items,
        _tifu_rows_kernels.leave_out_interactions,
        _tifu_items_kernels.leave_out_items_of_users,
    )
}


@dataclass(frozen=True)
class LeaveRowsOut(Accumulation):
    """Leave-one-out values of items or rows.

    Attributes
    ----------
    kernel : str
        Name of what adds the values of queries [first, last), and writes what they are worth with
        everything.
    arrays : tuple
        What it takes.
    """

    estimates = False

    kernel: str
    arrays: tuple[Any, ...]

    def fill(self, shard: Block, sums: _native.Sums) -> None:
        """Add the values of a block of queries."""
        exact, value_all = np.zeros((self.n_players, 2)), np.zeros(self.n_queries)
        _KERNELS[self.kernel](*shard, *self.arrays, exact, value_all)
        for column in (0, 1):
            players = np.flatnonzero(exact[:, column])
            columns = np.full(len(players), column)
            sums.add_exact(players, columns, np.ascontiguousarray(exact[players, column]))
        for query in range(*shard):
            sums.note_values(query, value_all[query], 0.0)


def leave_rows_out(question: Question) -> LeaveRowsOut:
    """Value items or interactions by what the metric loses without them.

    For baskets the second column are the values through the queries of users whose own history
    they are deleted from.

    Raises
    ------
    UnsupportedError
        If the metric is a Python function, or the model not known.
    """
    by, model, queries = question.sources.by, question.model, question.queries
    if question.metric.function is not None:
        raise UnsupportedError(
            f"LeaveOneOut(by={by!r}) takes the metrics of Whence, not a Python function; use "
            f"RetrainingLeaveOneOut(by={by!r})."
        )
    games = make_games(model, queries, question.metric, FIXED, "LeaveOneOut")
    arrays: tuple[Any, ...]
    if isinstance(model, VMISKNN):
        kernel = _vmis_rows_kernels.leave_out_clicks
        if by == ITEM:
            kernel = _vmis_rows_kernels.leave_out_items
        arrays = games.queries.arrays, clicks_of(model), games.utility
    else:
        kernel, variants = _tifu_rows_kernels.leave_out_interactions, variants_without_rows
        if by == ITEM:
            kernel = _tifu_items_kernels.leave_out_items_of_users
            variants = variants_without_items
        vectors: Any = games.arrays
        arrays = games.queries.arrays, vectors_of(vectors), variants(model), games.utility
    return LeaveRowsOut(len(question.sources), len(queries), kernel.__name__, arrays)
