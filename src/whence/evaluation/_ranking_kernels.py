"""Compiled loops that rank scores: lists, areas under the curve, and sampled negatives.

Plain functions over arrays; the shapes stand in the docstrings. What the numbers mean is said in
:mod:`whence.evaluation.ranking`. A list holds items with a score above `floor` only, in the order
(score descending, items that are no target before targets, item number ascending), so that a tie
is never in the model's favour.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.evaluation._kernels import _splitmix


@njit(nogil=True, cache=True)
def best_lists(scores, targets, start, end, floor, k):
    """The best items of each row.

    Parameters
    ----------
    scores : float32 or float64 [Q, n_items]
    targets : int32 [n]
        Targets of all queries; those of query q are ``targets[start[q]:end[q]]``. Negative
        numbers are items that cannot be found.
    start, end : int64 [Q]
    floor : float
        Items with a score of this or below are left out.
    k : int

    Returns
    -------
    int32 [Q, k]
        Item numbers, best first, padded with -1.
    """
    n_queries, n_items = scores.shape
    lists = np.full((n_queries, k), -1, dtype=np.int32)
    mark = np.zeros(n_items, dtype=np.int64)
    heap = np.empty(k, dtype=np.float64)
    items = np.empty(k, dtype=np.int32)
    wanted = np.empty(k, dtype=np.bool_)
    for q in range(n_queries):
        for position in range(start[q], end[q]):
            if targets[position] >= 0:
                mark[targets[position]] = q + 1
        size = 0
        for item in range(n_items):
            score = scores[q, item]
            # Most items end here: below the floor, or below the worst of a full list.
            if not score > floor or (size == k and score < heap[0]):
                continue
            size = _offer(heap, wanted, items, size, score, mark[item] == q + 1, item)
        _drain(heap, wanted, items, size, lists[q])
    return lists


@njit(nogil=True, cache=True)
def best_candidates(scores, owner, target, negatives, start, end, floor, k):
    """The best of a target and its negatives, for each target.

    Parameters
    ----------
    scores : float32 or float64 [Q, n_items]
    owner : int64 [E]
        Row of `scores` of each target.
    target : int32 [E]
        Item number; negative for an item that cannot be found.
    negatives : int32 [n]
        Those of target e are ``negatives[start[e]:end[e]]``, distinct and not the target.
    start, end : int64 [E]
    floor : float
    k : int

    Returns
    -------
    lists : int32 [E, k]
        Item numbers, best first, padded with -1.
    above : float64 [E]
        Share of the negatives that may be recommended and that the target is scored above, ties
        counting half; 0 for a target that must not be recommended.
    """
    n_targets = len(owner)
    lists = np.full((n_targets, k), -1, dtype=np.int32)
    above = np.zeros(n_targets, dtype=np.float64)
    heap = np.empty(k, dtype=np.float64)
    items = np.empty(k, dtype=np.int32)
    wanted = np.empty(k, dtype=np.bool_)
    for e in range(n_targets):
        row = scores[owner[e]]
        own = -np.inf
        size = 0
        if target[e] >= 0:
            own = max(np.float64(row[target[e]]), floor)
            if own > floor:
                size = _offer(heap, wanted, items, size, own, True, target[e])
        others = 0
        twice = 0
        for position in range(start[e], end[e]):
            score = max(np.float64(row[negatives[position]]), floor)
            if score > floor:
                size = _offer(heap, wanted, items, size, score, False, negatives[position])
            if score > -np.inf:
                others += 1
                twice += 2 * (own > score) + (own == score)
        if others > 0:
            above[e] = twice / (2 * others)
        _drain(heap, wanted, items, size, lists[e])
    return lists, above


@njit(nogil=True, cache=True)
def areas(scores, targets, start, end, history, history_start, history_end, floor):
    """Area under the ROC curve of each row: how often a target is scored above another item.

    Items that must not be recommended are left out; targets among them lose every comparison.
    With a finite `floor` the items at or below it tie with each other, those of the history apart,
    which must not be recommended.

    Parameters
    ----------
    scores, targets, start, end, floor
        As in :func:`best_lists`.
    history : int32 [m]
        Known items; those of query q are ``history[history_start[q]:history_end[q]]``.
    history_start, history_end : int64 [Q]

    Returns
    -------
    float64 [Q]
        0 where there is nothing to compare.
    """
    n_queries, n_items = scores.shape
    lowest = 0
    longest = 0
    for q in range(n_queries):
        longest = max(longest, end[q] - start[q])
        for position in range(start[q], end[q]):
            lowest = min(lowest, targets[position])
    mark = np.zeros(n_items - lowest, dtype=np.int64)
    found = np.empty(longest, dtype=np.float64)
    values = np.zeros(n_queries, dtype=np.float64)
    for q in range(n_queries):
        seen, wanted = 2 * q + 1, 2 * q + 2
        for position in range(history_start[q], history_end[q]):
            mark[history[position]] = seen
        distinct = 0
        n_found = 0
        for position in range(start[q], end[q]):
            item = targets[position]
            before = mark[item]  # a negative number is a place at the end
            if before == wanted:
                continue
            mark[item] = wanted
            distinct += 1
            if item >= 0:
                score = np.float64(scores[q, item])
                if score > floor or (floor > -np.inf and before != seen):
                    found[n_found] = max(score, floor)
                    n_found += 1
        ordered = np.sort(found[:n_found])
        others = 0
        twice = 0
        for item in range(n_items):
            score = np.float64(scores[q, item])
            if mark[item] == wanted:
                continue
            if not score > floor:
                if floor == -np.inf or mark[item] == seen:
                    continue
                score = floor
            others += 1
            below = np.searchsorted(ordered, score, side="left")
            up_to = np.searchsorted(ordered, score, side="right")
            twice += 2 * (n_found - up_to) + (up_to - below)
        if others > 0 and distinct > 0:
            values[q] = twice / (2.0 * distinct * others)
    return values


@njit(nogil=True, cache=True)
def count_left(excluded, start, end, n_items):
    """Number of items that negatives may be drawn from, int64 [Q]; see `draw_negatives`."""
    mark = np.zeros(n_items, dtype=np.int64)
    left = np.full(len(start), n_items, dtype=np.int64)
    for q in range(len(start)):
        for position in range(start[q], end[q]):
            item = excluded[position]
            if item >= 0 and mark[item] != q + 1:
                mark[item] = q + 1
                left[q] -= 1
    return left


@njit(nogil=True, cache=True)
def draw_negatives(excluded, start, end, counts, first, n_items, n, stream):
    """Items drawn uniformly, without replacement, for each target of each query.

    Parameters
    ----------
    excluded : int32 [m]
        Items not to be drawn for query q: ``excluded[start[q]:end[q]]``; negative ones are none.
        At least `n` items are left.
    start, end : int64 [Q]
    counts : int64 [Q]
        Number of targets of each query.
    first : int
        Number of the first target; each target is keyed by (stream, its number).
    n_items, n : int
    stream : uint64

    Returns
    -------
    int32 [sum of counts, n]
    """
    gamma = np.uint64(0x9E3779B97F4A7C15)
    drawn = np.empty((counts.sum(), n), dtype=np.int32)
    mark = np.zeros(n_items, dtype=np.int64)
    allowed = np.empty(n_items, dtype=np.int32)
    stamp = 0
    e = 0
    for q in range(len(start)):
        stamp += 1
        closed = stamp
        left = n_items
        for position in range(start[q], end[q]):
            item = excluded[position]
            if item >= 0 and mark[item] != closed:
                mark[item] = closed
                left -= 1
        for _ in range(counts[q]):
            state = _splitmix(stream + gamma * np.uint64(first + e + 1))
            if 2 * n > left:
                # Hardly an item would be new: shuffle all that are allowed, as far as needed.
                size = 0
                for item in range(n_items):
                    if mark[item] != closed:
                        allowed[size] = item
                        size += 1
                for place in range(n):
                    state += gamma
                    other = place + _below(state, left - place)
                    allowed[place], allowed[other] = allowed[other], allowed[place]
                drawn[e] = allowed[:n]
            else:
                stamp += 1
                size = 0
                while size < n:
                    state += gamma
                    item = _below(state, n_items)
                    if mark[item] != closed and mark[item] != stamp:
                        mark[item] = stamp
                        drawn[e, size] = item
                        size += 1
            e += 1
    return drawn


@njit(nogil=True, cache=True)
def _below(state, bound):
    """Number from 0 to bound - 1: multiply-shift of 32 bits, uniform to within bound / 2^32."""
    return np.int64(((_splitmix(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(nogil=True, cache=True)
def _after(score, wanted, item, other_score, other_wanted, other_item):
    """Whether the first of two items is ranked after the second."""
    if score != other_score:
        return score < other_score
    if wanted != other_wanted:
        return wanted
    return item > other_item


@njit(nogil=True, cache=True)
def _offer(heap, wanted, items, size, score, is_wanted, item):
    """Put an item into the heap of the best, whose root is the last of them; its new size."""
    place = size
    if size < len(heap):
        while place > 0:
            parent = (place - 1) // 2
            if not _after(score, is_wanted, item, heap[parent], wanted[parent], items[parent]):
                break
            heap[place], wanted[place], items[place] = heap[parent], wanted[parent], items[parent]
            place = parent
        heap[place], wanted[place], items[place] = score, is_wanted, item
        return size + 1
    if size > 0 and _after(heap[0], wanted[0], items[0], score, is_wanted, item):
        _sink(heap, wanted, items, size, score, is_wanted, item)
    return size


@njit(nogil=True, cache=True)
def _sink(heap, wanted, items, size, score, is_wanted, item):
    """Replace the root of the heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and _after(
            heap[other], wanted[other], items[other], heap[child], wanted[child], items[child]
        ):
            child = other
        if not _after(heap[child], wanted[child], items[child], score, is_wanted, item):
            break
        heap[place], wanted[place], items[place] = heap[child], wanted[child], items[child]
        place = child
    heap[place], wanted[place], items[place] = score, is_wanted, item


@njit(nogil=True, cache=True)
def _drain(heap, wanted, items, size, row):
    """Write the heap's items into a row, best first."""
    while size > 0:
        size -= 1
        row[size] = items[0]
        _sink(heap, wanted, items, size, heap[size], wanted[size], items[size])
