"""Kernels of TIFU-kNN: nearest users, and scores in fixed point (see tifu.py)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._kernels import keep_best

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


class Scratch(NamedTuple):
    """Arrays made once per call.

    Attributes
    ----------
    shared, distance : float64 (n_users,)
    nearest : int32 (k,)
    touched_by, scores : int64 (n_items,); touched : int32 (n_items,)
        See whence.models.knn._kernels.Scratch.
    """

    shared: np.ndarray
    distance: np.ndarray
    nearest: np.ndarray
    touched_by: np.ndarray
    scores: np.ndarray
    touched: np.ndarray


@njit(**_OPTIONS)
def _farther(a, b, distance):
    """Whether user a comes after user b: larger distance, then larger number."""
    return distance[a] > distance[b] or (distance[a] == distance[b] and a > b)


@njit(**_OPTIONS)
def _sift_down(heap, n, distance):
    """Restore a heap whose root is the farthest user kept."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= n:
            return
        if child + 1 < n and _farther(heap[child + 1], heap[child], distance):
            child += 1
        if not _farther(heap[child], heap[place], distance):
            return
        heap[child], heap[place] = heap[place], heap[child]
        place = child


@njit(**_OPTIONS)
def _sift_up(heap, place, distance):
    while place > 0:
        parent = (place - 1) // 2
        if not _farther(heap[place], heap[parent], distance):
            return
        heap[parent], heap[place] = heap[place], heap[parent]
        place = parent


@njit(**_OPTIONS)
def nearest_users(
    own_items, own_values, own_user, euclidean, limit, index, shared, distance, nearest
):
    """The `limit` users nearest to a user vector, nearest first, ties by user number.

    Parameters
    ----------
    own_items : int32 array; own_values : float64 array, the query user's vector
    own_user : int, number of the query user, who is no neighbour of their own; -1 if unseen
    euclidean : bool; else Jaccard of the item sets, above 0
    index : UserIndex
    shared, distance : float64 arrays (n_users,), scratch; shared is all zero and left so
    nearest : int32 array of at least min(limit, n_users), written

    Returns
    -------
    int
        How many there are.
    """
    user_offsets, user_values = index.vectors.offsets, index.vectors.values
    posting_offsets, postings, entries = index.posting_offsets, index.postings, index.entries
    squared_norms = index.squared_norms
    n_users = len(user_offsets) - 1
    own_norm = 0.0
    for e in range(len(own_items)):
        own_norm += own_values[e] * own_values[e]
        for p in range(posting_offsets[own_items[e]], posting_offsets[own_items[e] + 1]):
            if euclidean:
                shared[postings[p]] += own_values[e] * user_values[entries[p]]
            else:
                shared[postings[p]] += 1.0
    n = 0
    for user in range(n_users):
        size = user_offsets[user + 1] - user_offsets[user]
        if user == own_user or size == 0:
            continue
        if euclidean:
            distance[user] = own_norm + squared_norms[user] - 2.0 * shared[user]
        elif shared[user] > 0:
            distance[user] = -shared[user] / (len(own_items) + size - shared[user])
        else:
            continue
        if n < limit:
            nearest[n] = user
            n += 1
            _sift_up(nearest, n - 1, distance)
        elif _farther(nearest[0], user, distance):
            nearest[0] = user
            _sift_down(nearest, n, distance)
    for user in range(n_users):
        shared[user] = 0.0
    for last in range(n - 1, 0, -1):
        nearest[0], nearest[last] = nearest[last], nearest[0]
        _sift_down(nearest, last, distance)
    return n


@njit(**_OPTIONS)
def tifu_scores(query, own, user, euclidean, index, scratch):
    """Fixed-point scores of one query: neighbours' vectors plus n times the own one.

    They are left in the scratch arrays, the scores of which are all zero before.

    Returns
    -------
    n_touched, divisor : int
        Score = integer / divisor / 2**40.
    """
    start, end = own.offsets[query], own.offsets[query + 1]
    if start == end:
        return 0, 1
    nearest = scratch.nearest
    n = nearest_users(
        own.items[start:end], own.values[start:end], user, euclidean, len(nearest), index,
        scratch.shared, scratch.distance, nearest,
    )  # fmt: skip
    divisor = max(n, 1)
    n_touched = 0
    vectors, touched_by = index.vectors, scratch.touched_by
    scores, touched = scratch.scores, scratch.touched
    own_items, own_weights = own.items, own.own
    for e in range(start, end):
        item = own_items[e]
        touched_by[item] = query + 1
        touched[n_touched] = item
        n_touched += 1
        scores[item] = divisor * own_weights[e]
    offsets, items, weights = vectors.offsets, vectors.items, vectors.neighbour
    for j in range(n):
        for e in range(offsets[nearest[j]], offsets[nearest[j] + 1]):
            item = items[e]
            if touched_by[item] != query + 1:
                touched_by[item] = query + 1
                touched[n_touched] = item
                n_touched += 1
            scores[item] += weights[e]
    return n_touched, divisor


@njit(**_OPTIONS)
def tifu_run(first, last, own, users, euclidean, k, index, unit, out_items, out_scores, out_all):
    """Recommend, or score every item, for queries [first, last).

    Parameters
    ----------
    own : UserVectors, of the queries; users : int32 (Q,)
    index : UserIndex
    unit : float, value of one fixed-point step
    out_items : int32 array (Q, K), filled with -1; out_scores : float64 array (Q, K), zero
    out_all : float64 array (Q, n_items), zero; of shape (0, 0) when lists are wanted
    """
    n_users, n_items = len(index.vectors.offsets) - 1, len(index.posting_offsets) - 1
    scratch = Scratch(
        np.zeros(n_users),
        np.zeros(n_users),
        np.empty(min(k, n_users), np.int32),
        np.zeros(n_items, np.int64),
        np.zeros(n_items, np.int64),
        np.empty(n_items, np.int32),
    )
    scores, touched = scratch.scores, scratch.touched
    best_items = np.empty(out_items.shape[1], np.int32)
    best_scores = np.empty(out_items.shape[1], np.int64)
    for query in range(first, last):
        n_touched, divisor = tifu_scores(query, own, users[query], euclidean, index, scratch)
        n = 0
        for t in range(n_touched):
            item = touched[t]
            if out_all.shape[0] > 0:
                out_all[query, item] = scores[item] * unit / divisor
            elif scores[item] > 0:
                n = keep_best(item, scores[item], n, best_items, best_scores)
            scores[item] = 0
        for rank in range(n):
            out_items[query, rank] = best_items[rank]
            out_scores[query, rank] = best_scores[rank] * unit / divisor
