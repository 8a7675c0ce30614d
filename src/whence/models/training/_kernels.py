"""Compiled assembly of batches: padded windows, and negatives that depend on no order."""

from __future__ import annotations

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True, inline="always")
def _mixed(state):
    """Output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = state + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def padded_windows(items, start, end, length, padding):
    """The last `length` items before each end, left-aligned.

    Parameters
    ----------
    items : int32 [N]
    start, end : int64 [B]
        Windows into `items`; at most the last `length` of each are taken.
    length : int
    padding : int
        Fills the places after the end.

    Returns
    -------
    windows : int64 [B, length]
    lengths : int64 [B]
    """
    n = len(start)
    windows = np.full((n, length), padding, dtype=np.int64)
    lengths = np.empty(n, dtype=np.int64)
    for row in range(n):
        first = max(start[row], end[row] - length)
        lengths[row] = end[row] - first
        for place in range(lengths[row]):
            windows[row, place] = items[first + place]
    return windows, lengths


@njit(nogil=True, cache=True)
def sample_negatives(seed, epoch, numbers, sources, offsets, owned, n_items, n_negatives):
    """Items that a source does not have, uniformly, with replacement.

    A draw is a function of (seed, epoch, example, place), so it is the same in any batch.

    Parameters
    ----------
    seed, epoch : uint64
    numbers : int64 [B]
        Numbers of the examples.
    sources : int64 [B]
        Whose items are not negatives.
    offsets : int64 [n_sources + 1]
        Windows of the sources in `owned`.
    owned : int32 [nnz]
        Distinct items of each source, ascending.
    n_items : int
    n_negatives : int

    Returns
    -------
    int64 [B, n_negatives]
    """
    out = np.empty((len(numbers), n_negatives), dtype=np.int64)
    stream = _mixed(_mixed(seed) ^ epoch)
    for row in range(len(numbers)):
        own = owned[offsets[sources[row]] : offsets[sources[row] + 1]]
        state = _mixed(stream ^ np.uint64(numbers[row]))
        for place in range(n_negatives):
            while True:
                state += _GOLDEN
                high = _mixed(state) >> np.uint64(32)
                item = np.int64((high * np.uint64(n_items)) >> np.uint64(32))
                at = np.searchsorted(own, item)
                if at == len(own) or own[at] != item:
                    break
            out[row, place] = item
    return out
