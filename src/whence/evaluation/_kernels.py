"""Compiled loops of the evaluation: ranks into metric values, and resampling of differences.

Plain functions over arrays; the shapes stand in the docstrings. What the numbers mean is said in
:mod:`whence.evaluation.metrics` and :mod:`whence.evaluation.comparison`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.evaluation._modes import ADDITIVE, BEST


@njit(nogil=True, cache=True)
def rank_values(lists, items, start, end, lowest, highest, first_only, mode, gains):
    """Metric of each list before the per-query factor, and the number of distinct targets.

    Parameters
    ----------
    lists : int32 [Q, K]
        Recommended items, best first; -1 ends a list, another negative number is an item that
        no target can equal.
    items : int32 [n]
        Targets of all queries; negative numbers are distinct items unknown to the training.
    start, end : int64 [Q]
        The targets of query q are ``items[start[q]:end[q]]``.
    lowest, highest : int
        Bounds (inclusive) of every target and every non-negative recommended item.
    first_only : bool
        Whether only the first target counts.
    mode : int
        ``ADDITIVE``, ``BEST`` or ``AVERAGE_PRECISION``.
    gains : float64 [K + 1]
        Gain of a hit at rank 1 .. K; not used by ``AVERAGE_PRECISION``.

    Returns
    -------
    values : float64 [Q]
    distinct : int64 [Q]
    """
    n_queries, width = lists.shape
    values = np.zeros(n_queries, dtype=np.float64)
    distinct = np.zeros(n_queries, dtype=np.int64)
    # Per item: 2q + 1 while it is a target of query q yet to be hit, 2q + 2 once it has been hit.
    # Nothing needs clearing between queries, and a repeated recommendation is credited once.
    mark = np.zeros(highest - lowest + 1, dtype=np.int64)
    for q in range(n_queries):
        last = end[q]
        if first_only and last > start[q] + 1:
            last = start[q] + 1
        for position in range(start[q], last):
            slot = items[position] - lowest
            if mark[slot] != 2 * q + 1:
                mark[slot] = 2 * q + 1
                distinct[q] += 1
        hits = 0
        value = 0.0
        for rank in range(1, width + 1):
            item = lists[q, rank - 1]
            if item == -1:
                break
            if item < 0 or mark[item - lowest] != 2 * q + 1:
                continue
            mark[item - lowest] = 2 * q + 2
            hits += 1
            if mode == ADDITIVE:
                value += gains[rank]
            elif mode == BEST:
                value = max(value, gains[rank])
            else:
                value += hits / rank
        values[q] = value
    return values, distinct


@njit(nogil=True, cache=True)
def graded_values(lists, items, ratings, start, end, lowest, highest, discounts):
    """Discounted ratings of each list, and of the targets in the best order.

    Parameters
    ----------
    lists, items, start, end, lowest, highest
        As in :func:`rank_values`.
    ratings : float64 [n]
        Of each target; of a repeated one the last counts.
    discounts : float64 [K + 1]
        Factor of the rating at rank 1 .. K; ranks of the best order go as far.

    Returns
    -------
    values, best : float64 [Q]
    """
    n_queries, width = lists.shape
    longest = len(discounts) - 1
    values = np.zeros(n_queries, dtype=np.float64)
    best = np.zeros(n_queries, dtype=np.float64)
    mark = np.zeros(highest - lowest + 1, dtype=np.int64)  # as in rank_values
    rating = np.zeros(highest - lowest + 1, dtype=np.float64)
    for q in range(n_queries):
        own = np.empty(end[q] - start[q], dtype=np.float64)
        distinct = 0
        for position in range(end[q] - 1, start[q] - 1, -1):
            slot = items[position] - lowest
            if mark[slot] != 2 * q + 1:
                mark[slot] = 2 * q + 1
                rating[slot] = ratings[position]
                own[distinct] = ratings[position]
                distinct += 1
        ordered = np.sort(own[:distinct])[::-1]
        for rank in range(1, min(distinct, longest) + 1):
            best[q] += ordered[rank - 1] * discounts[rank]
        for rank in range(1, width + 1):
            item = lists[q, rank - 1]
            if item == -1:
                break
            if item < 0 or mark[item - lowest] != 2 * q + 1:
                continue
            mark[item - lowest] = 2 * q + 2
            values[q] += rating[item - lowest] * discounts[rank]
    return values, best


@njit(nogil=True, cache=True)
def count_seen(history, history_start, history_end, targets, start, end, n_items):
    """Number of targets that are in the history of their query.

    Parameters
    ----------
    history : int32 [m]
        Known items; those of query q are ``history[history_start[q]:history_end[q]]``.
    history_start, history_end : int64 [Q]
    targets : int32 [n]
        Those of query q are ``targets[start[q]:end[q]]``; negative ones are in no history.
    start, end : int64 [Q]
    n_items : int
        More than any number in `history`.

    Returns
    -------
    int
    """
    count = 0
    mark = np.zeros(n_items, dtype=np.int64)
    stamp = 0
    first = last = -1
    for q in range(len(start)):
        # The beginnings of a session grow, so that only what is new is marked.
        if history_start[q] != first or history_end[q] < last or stamp == 0:
            first = last = history_start[q]
            stamp += 1
        for position in range(last, history_end[q]):
            mark[history[position]] = stamp
        last = history_end[q]
        for position in range(start[q], end[q]):
            item = targets[position]
            if 0 <= item < n_items and mark[item] == stamp:
                count += 1
    return count


@njit(nogil=True, cache=True)
def sustainable_shares(lists, sustainable):
    """Sustainable items of each list over its length; 0 for an empty list.

    Parameters
    ----------
    lists : int32 [Q, K]
        As in :func:`rank_values`.
    sustainable : bool [n_items]

    Returns
    -------
    float64 [Q]
    """
    shares = np.zeros(len(lists), dtype=np.float64)
    for q in range(len(lists)):
        length = 0
        count = 0
        for item in lists[q]:
            if item == -1:
                break
            length += 1
            if item >= 0 and sustainable[item]:
                count += 1
        if length > 0:
            shares[q] = count / length
    return shares


@njit(nogil=True, cache=True)
def _splitmix(state):
    """Next output of SplitMix64 (Steele, Lea and Flood, 2014) for a uint64 state."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def bootstrap_means(sums, sizes, seed, n):
    """Means of `n` resamples, with replacement, of groups of paired differences.

    Parameters
    ----------
    sums, sizes : float64 [G]
        Sum of the differences of each group, and how many there are in it.
    seed : uint64
    n : int
        Number of resamples; each is keyed by (seed, its number).

    Returns
    -------
    float64 [n]
    """
    gamma = np.uint64(0x9E3779B97F4A7C15)
    groups = np.uint64(len(sums))
    means = np.empty(n, dtype=np.float64)
    for replicate in range(n):
        state = _splitmix(seed + gamma * np.uint64(replicate + 1))
        total = 0.0
        size = 0.0
        for _ in range(len(sums)):
            state += gamma
            # Multiply-shift of the upper 32 bits: uniform to within G / 2^32.
            g = ((_splitmix(state) >> np.uint64(32)) * groups) >> np.uint64(32)
            total += sums[g]
            size += sizes[g]
        means[replicate] = total / size
    return means


@njit(nogil=True, cache=True)
def sign_flip_sums(sums, seed, n):
    """Sums of `n` random sign flips of the group sums.

    Parameters
    ----------
    sums : float64 [G]
    seed : uint64
    n : int
        Number of draws; each is keyed by (seed, its number).

    Returns
    -------
    float64 [n]
    """
    gamma = np.uint64(0x9E3779B97F4A7C15)
    flipped = np.empty(n, dtype=np.float64)
    for replicate in range(n):
        state = _splitmix(seed + gamma * np.uint64(replicate + 1))
        bits = np.uint64(0)
        total = 0.0
        for g in range(len(sums)):
            if g % 64 == 0:
                state += gamma
                bits = _splitmix(state)
            total += sums[g] if bits & np.uint64(1) else -sums[g]
            bits >>= np.uint64(1)
        flipped[replicate] = total
    return flipped


@njit(nogil=True, cache=True)
def all_sign_flip_sums(sums):
    """Sums of every sign flip of the group sums, for few groups.

    Parameters
    ----------
    sums : float64 [G]

    Returns
    -------
    float64 [2 ** G]
    """
    n = 1 << len(sums)
    flipped = np.empty(n, dtype=np.float64)
    for pattern in range(n):
        total = 0.0
        for g in range(len(sums)):
            total += sums[g] if (pattern >> g) & 1 else -sums[g]
        flipped[pattern] = total
    return flipped
