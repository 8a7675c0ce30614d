"""Evaluation queries: what a model is asked, and what it should have answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]

Unknown = Literal["ignore", "drop"]
Target = Literal["rest", "next"]
Protocol = Literal["prefixes", "users"]

_OWN = ("query", "position", "target", "sequence", "n_asked")
"""Columns that tables of queries have beside the ids of the data."""


def id_name_of(data: Interactions) -> str:
    """Name that the ids of sessions or users have in tables of queries."""
    return data.columns.beside(data.columns.source, _OWN)


class QueryArrays(NamedTuple):
    """Histories and targets of queries as the kernels take them; see `Queries`."""

    history_items: CodeArray
    history_start: IntArray
    history_end: IntArray
    target_items: CodeArray
    target_start: IntArray
    target_end: IntArray
    users: CodeArray


@dataclass(frozen=True)
class Queries:
    """A batch of queries in the numbering of a model's training data.

    Histories and targets are windows into flat arrays, so that the L-1 queries of one session
    share its items.

    Attributes
    ----------
    kind : {"sessions", "users", "baskets"}
        Sessions: a query is the beginning of a session. Users: a query is a user with all that
        is known of them. Baskets: a query is a user with the baskets that the model has.
    history_items : ndarray of int32
        Known items, flat. Query q has ``history_items[history_start[q]:history_end[q]]``,
        oldest first. Baskets: empty for users seen in training, whose history the model has.
    history_start, history_end : ndarray of int64, shape (Q,)
        Windows of the histories.
    target_items : ndarray of int32
        Items to be found, flat; the first of a window is the next item. An item unknown to the
        training data has a negative number of its own.
    target_start, target_end : ndarray of int64, shape (Q,)
        Windows of the targets.
    users : ndarray of int32, shape (Q,)
        Users and baskets: number of the user in the training data, -1 if unseen. Sessions: -1.
    ids : polars.DataFrame
        One row per query: the validation session and the position in it, or the user.
    n_unknown_rows : int
        Validation rows whose item is unknown to the training data.
    n_empty : int
        Queries without a known item (or user): they get an empty list and count with value 0.
    n_without_targets : int
        Users: those of the training data who have nothing to be found, and so are no query.
    n_new_users : int
        Users: those unknown to the training data who are asked by their own earlier rows.
    history_baskets : ndarray of int32, optional
        For folded-in users: the running number of the basket of each history item.
    unknown_items : polars.Series, optional
        External ids of unknown items; item number -1 - j is entry j.
    target_rows : ndarray of int64, optional
        For each of `target_items`, the row of the validation table that it comes from.
    history_features : ndarray of float32, optional
        Of models that know more of an event than its item: a row for each of `history_items`, in
        the model's numbers.
    """

    kind: str
    history_items: CodeArray
    history_start: IntArray
    history_end: IntArray
    target_items: CodeArray
    target_start: IntArray
    target_end: IntArray
    users: CodeArray
    ids: pl.DataFrame
    n_unknown_rows: int = 0
    n_empty: int = 0
    n_without_targets: int = 0
    n_new_users: int = 0
    history_baskets: CodeArray | None = None
    unknown_items: pl.Series | None = None
    target_rows: IntArray | None = None
    history_features: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def protocol(self) -> str:
        """How they were made: "prefixes", "users" or "baskets"; see `whence.make_queries`."""
        return "prefixes" if self.kind == "sessions" else self.kind

    @property
    def is_empty(self) -> npt.NDArray[np.bool_]:
        """Whether nothing is known of a query, bool [Q]; of a basket user, no number either."""
        empty: npt.NDArray[np.bool_] = self.history_start == self.history_end
        return empty & (self.users < 0) if self.kind == "baskets" else empty

    @cached_property
    def arrays(self) -> QueryArrays:
        """What the kernels take: contiguous, and of the very types."""
        return QueryArrays(
            np.ascontiguousarray(self.history_items, dtype=np.int32),
            np.ascontiguousarray(self.history_start, dtype=np.int64),
            np.ascontiguousarray(self.history_end, dtype=np.int64),
            np.ascontiguousarray(self.target_items, dtype=np.int32),
            np.ascontiguousarray(self.target_start, dtype=np.int64),
            np.ascontiguousarray(self.target_end, dtype=np.int64),
            np.ascontiguousarray(self.users, dtype=np.int32),
        )

    def block(self, start: int, stop: int) -> Queries:
        """Queries `start` to `stop`; the flat arrays are shared, the counts those of all."""
        window = slice(start, stop)
        return replace(
            self,
            history_start=self.history_start[window],
            history_end=self.history_end[window],
            target_start=self.target_start[window],
            target_end=self.target_end[window],
            users=self.users[window],
            ids=self.ids[window],
        )

    def take(self, numbers: npt.ArrayLike) -> Queries:
        """The queries of these numbers, in this order; the flat arrays are shared."""
        wanted = np.asarray(numbers, dtype=np.int64)
        return replace(
            self,
            history_start=self.history_start[wanted],
            history_end=self.history_end[wanted],
            target_start=self.target_start[wanted],
            target_end=self.target_end[wanted],
            users=self.users[wanted],
            ids=self.ids[wanted],
        )

    def count_distinct_targets(self) -> IntArray:
        """Number of distinct targets of each query, items that cannot be found included."""
        # Windows that end together are counted in one way back from their end, where the last
        # occurrence of each item counts: linear for the rests of a session, all pairs of which
        # took 15 s and .56 GB for a session of 4,000 items.
        end, of_query = np.unique(self.target_end, return_inverse=True)
        start = end.copy()
        np.minimum.at(start, of_query, self.target_start)
        sizes = end - start
        first = np.concatenate(([0], np.cumsum(sizes)))
        places = np.arange(first[-1]) + np.repeat(start - first[:-1], sizes)
        last = _next_occurrence(self.target_items)[places] >= np.repeat(end, sizes)
        counted = np.concatenate(([0], np.cumsum(last)))
        beginning = first[of_query] + self.target_start - start[of_query]
        return np.asarray(counted[first[of_query + 1]] - counted[beginning])


def _next_occurrence(items: npt.NDArray[np.integer]) -> IntArray:
    """Place at which each item is found again, int64 [n]; n where it is not."""
    n = len(items)
    order = np.argsort(items, kind="stable")
    same = items[order[1:]] == items[order[:-1]]
    found = np.full(n, n, dtype=np.int64)
    found[order[:-1][same]] = order[1:][same]
    return found


def user_queries(
    train: Interactions,
    users: npt.ArrayLike,
    ids: pl.DataFrame,
    features: npt.NDArray[np.float32] | None = None,
) -> Queries:
    """Queries of users with their training rows as history, and nothing to be found.

    Parameters
    ----------
    train : Interactions
        Of users.
    users : int array [Q]
        Numbers of users in `train`; -1 for one who is not in it, whose history is empty.
    ids : polars.DataFrame
        One row per query: the user.
    features : float32 [n_rows, width], optional
        What a model knows of each row of the training table.

    Returns
    -------
    Queries
        Of kind ``"users"``; its ``history_items`` are ``train.sequences.items``, not a copy.
    """
    codes = np.asarray(users, dtype=np.int32)
    offsets = train.sequences.offsets
    seen = codes >= 0
    none = np.zeros(len(codes), dtype=np.int64)
    start, end = np.where(seen, offsets[codes], 0), np.where(seen, offsets[codes + 1], 0)
    return Queries(
        kind="users",
        history_items=train.sequences.items,
        history_start=start,
        history_end=end,
        target_items=np.empty(0, dtype=np.int32),
        target_start=none,
        target_end=none,
        users=codes,
        ids=ids,
        n_empty=int((start == end).sum()),
        history_features=None if features is None else features[train.sequences.rows],
    )


def positions_of_windows(start: IntArray, lengths: IntArray) -> IntArray:
    """Positions ``start[i], …, start[i] + lengths[i] - 1`` of all windows, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    positions: IntArray = np.arange(total) + np.repeat(start - ends + lengths, lengths)
    return positions
