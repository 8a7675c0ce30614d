"""Histories of queries and of training sources as sparse rows over items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from whence.data import Interactions
from whence.evaluation.queries import Queries, positions_of_windows

if TYPE_CHECKING:
    from scipy import sparse


def incidence(train: Interactions) -> sparse.csr_array:
    """Which source has which item.

    Parameters
    ----------
    train : Interactions

    Returns
    -------
    csr_array of float64, shape (n_sources, n_items)
        1 where the session or user has the item, once or more.
    """
    rows = train.source_codes.astype(np.int64)
    has = _counts(rows, train.item_codes, (train.n_sources, train.n_items))
    has.data[:] = 1.0
    return has


def history_rows(queries: Queries, train: Interactions) -> sparse.csr_array:
    """Distinct known items of the history of each query.

    Parameters
    ----------
    queries : Queries
    train : Interactions
        Gives the history of users seen in training.

    Returns
    -------
    csr_array of float64, shape (Q, n_items)
        1 where the item is in the history.
    """
    rows = history_counts(queries, train)
    rows.data[:] = 1.0
    return rows


def history_counts(queries: Queries, train: Interactions) -> sparse.csr_array:
    """How often each known item is in the history of each query; as `history_rows`."""
    lengths = queries.history_end - queries.history_start
    rows = np.repeat(np.arange(len(queries)), lengths)
    items = queries.history_items[positions_of_windows(queries.history_start, lengths)]
    if queries.kind == "baskets":
        seen = np.flatnonzero(queries.users >= 0)
        users = queries.users[seen]
        offsets = train.sequences.offsets
        lengths = offsets[users + 1] - offsets[users]
        rows = np.concatenate([rows, np.repeat(seen, lengths)])
        own = train.sequences.items[positions_of_windows(offsets[users], lengths)]
        items = np.concatenate([items, own])
    return _counts(rows, items, (len(queries), train.n_items))


def last_items(queries: Queries) -> npt.NDArray[np.int32]:
    """Last known item of each query.

    Returns
    -------
    int32 [Q]
        -1 where there is none.
    """
    last = np.full(len(queries), -1, dtype=np.int32)
    some = queries.history_end > queries.history_start
    last[some] = queries.history_items[queries.history_end[some] - 1]
    return last


def _counts(
    rows: npt.NDArray[np.int64], items: npt.NDArray[np.int32], shape: tuple[int, int]
) -> sparse.csr_array:
    from scipy import sparse  # here: it takes long to load

    counts = sparse.csr_array((np.ones(len(items)), (rows, items)), shape=shape)
    counts.sum_duplicates()
    counts.sort_indices()
    return counts
