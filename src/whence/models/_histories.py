"""Histories of queries and of training sources as sparse rows over items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whence.data import Interactions
from whence.evaluation.queries import Queries


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
    return _binary(rows, train.item_codes, (train.n_sources, train.n_items))


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
    lengths = queries.history_end - queries.history_start
    rows = np.repeat(np.arange(len(queries)), lengths)
    items = queries.history_items[_windows(queries.history_start, lengths)]
    if queries.kind == "baskets":
        seen = np.flatnonzero(queries.users >= 0)
        users = queries.users[seen]
        offsets = train.sequences.offsets
        lengths = offsets[users + 1] - offsets[users]
        rows = np.concatenate([rows, np.repeat(seen, lengths)])
        own = train.sequences.items[_windows(offsets[users], lengths)]
        items = np.concatenate([items, own])
    return _binary(rows, items, (len(queries), train.n_items))


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


def _windows(start: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions ``start[i], …, start[i] + lengths[i] - 1`` of all windows, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    positions: npt.NDArray[np.int64] = np.arange(total) + np.repeat(start - ends + lengths, lengths)
    return positions


def _binary(
    rows: npt.NDArray[np.int64], items: npt.NDArray[np.int32], shape: tuple[int, int]
) -> sparse.csr_array:
    counts = sparse.csr_array((np.ones(len(items)), (rows, items)), shape=shape)
    counts.sum_duplicates()
    counts.sort_indices()
    counts.data[:] = 1.0
    return counts
