"""Leave-one-out values of items and of single interactions, exactly as refitting gives them.

Deleting a click may take an item from its session, a shared item from its similarity to a query,
or its last timestamp and with it its place among the most recent; deleting an interaction of a
basket changes its user's vector, as a neighbour and in their own queries. Per query only the
sessions and users that can matter are looked at (`src/native/click_deletions.cpp`,
`user_deletions.cpp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whence import _native
from whence.errors import UnsupportedError
from whence.models import VMISKNN
from whence.valuation._deletions import (
    clicks_of,
    variants_without_items,
    variants_without_rows,
)
from whence.valuation.accumulation import Accumulation, Block
from whence.valuation.base import Question
from whence.valuation.families import make_games
from whence.valuation.games import FIXED
from whence.valuation.sources import INTERACTION, ITEM

FINE = (ITEM, INTERACTION)


@dataclass(frozen=True)
class LeaveRowsOut(Accumulation):
    """Leave-one-out values of items or rows.

    Attributes
    ----------
    kernel : str
        Name of what adds the values of queries [first, last), and notes what they are worth with
        everything.
    arrays : tuple
        What it takes.
    """

    estimates = False

    kernel: str
    arrays: tuple[Any, ...]

    def fill(self, shard: Block, sums: _native.Sums) -> None:
        """Add the values of a block of queries."""
        getattr(_native, self.kernel)(*shard, *self.arrays, sums)


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
        kernel = "leave_out_items" if by == ITEM else "leave_out_clicks"
        arrays = clicks_of(model), games.utility
    else:
        kernel, variants = "leave_out_interactions", variants_without_rows
        if by == ITEM:
            kernel, variants = "leave_out_items_of_users", variants_without_items
        arrays = games.arrays, variants(model), games.utility
    arrays = games.queries.arrays, *arrays
    return LeaveRowsOut(len(question.sources), len(queries), kernel, arrays)
