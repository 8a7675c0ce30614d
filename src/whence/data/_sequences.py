"""Interactions grouped by the session or user they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sequences:
    """Rows grouped by source, in order of time within a source.

    The rows of source ``s`` are at ``offsets[s]:offsets[s + 1]`` of the other arrays.

    Attributes
    ----------
    offsets : int64 array [n_sources + 1]
    items : int32 array [n_rows]
        Item numbers.
    rows : int64 array [n_rows]
        Row numbers in `Interactions.frame`.
    baskets : int32 array [n_rows] or None
        Running number 0, 1, ... of the basket within its source; None for sessions.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    rows: NDArray[np.int64]
    baskets: NDArray[np.int32] | None


def rank_by_recency(
    source_codes: NDArray[np.int32], moments: NDArray[np.int64], n_sources: int
) -> NDArray[np.int64]:
    """Return the rank of each source by its last moment, given in canonical order; -1 without."""
    last = np.full(n_sources, -1, dtype=np.int64)
    # Canonical order is by moment, so the last assignment to a source is its largest one.
    last[source_codes] = moments
    order = np.argsort(last, kind="stable")
    rank = np.empty(n_sources, dtype=np.int64)
    rank[order] = np.arange(n_sources) - np.count_nonzero(last < 0)
    rank[last < 0] = -1
    rank.flags.writeable = False
    return rank


def group_by_source(
    source_codes: NDArray[np.int32],
    item_codes: NDArray[np.int32],
    rows: NDArray[np.int64],
    basket_codes: NDArray[np.int32] | None,
    n_sources: int,
) -> Sequences:
    """Group rows, given in canonical order, by source."""
    order = np.argsort(source_codes, kind="stable")
    counts = np.bincount(source_codes, minlength=n_sources)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    baskets = None
    if basket_codes is not None:
        codes = basket_codes[order]
        # A user's rows of one basket are adjacent here, as the canonical order is by basket.
        begins = np.ones(len(codes), dtype=np.int64)
        begins[1:] = codes[1:] != codes[:-1]
        running = np.cumsum(begins) - 1
        first = running[offsets[:-1][counts > 0]]
        baskets = (running - np.repeat(first, counts[counts > 0])).astype(np.int32)
    # Rows that are in order of time already, as those of logs are, are the places themselves.
    is_ordered = len(rows) == 0 or not (rows[1:] < rows[:-1]).any()
    sequences = Sequences(offsets, item_codes[order], order if is_ordered else rows[order], baskets)
    for array in (offsets, sequences.items, sequences.rows, baskets):
        if array is not None:
            array.flags.writeable = False
    return sequences
