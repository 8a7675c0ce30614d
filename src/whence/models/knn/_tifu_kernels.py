"""Kernels of TIFU-kNN: nearest users, and scores in fixed point (see tifu.py)."""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.knn._kernels import keep_best

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


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
    own_items, own_values, own_user, euclidean, limit, user_offsets, user_values, squared_norms,
    posting_offsets, postings, posting_entries, shared, distance, nearest
):  # fmt: skip
    """The `limit` users nearest to a user vector, nearest first, ties by user number.

    Parameters
    ----------
    own_items : int32 array; own_values : float64 array, the query user's vector
    own_user : int, number of the query user, who is no neighbour of their own; -1 if unseen
    euclidean : bool; else Jaccard of the item sets, above 0
    user_offsets : int64 array (n_users + 1,); user_values, squared_norms : float64 arrays
    posting_offsets, postings, posting_entries : users with each item, and the entry of the item
        in ``user_values``
    shared, distance : float64 arrays (n_users,), scratch; shared is all zero and left so
    nearest : int32 array of at least min(limit, n_users), written

    Returns
    -------
    int
        How many there are.
    """
    n_users = len(user_offsets) - 1
    own_norm = 0.0
    for e in range(len(own_items)):
        own_norm += own_values[e] * own_values[e]
        for p in range(posting_offsets[own_items[e]], posting_offsets[own_items[e] + 1]):
            if euclidean:
                shared[postings[p]] += own_values[e] * user_values[posting_entries[p]]
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
def tifu_scores(
    query, own_offsets, own_items, own_values, own_weights, users, euclidean, k, user_offsets,
    user_items, user_values, neighbour_weights, squared_norms, posting_offsets, postings,
    posting_entries, shared, distance, nearest, touched_by, scores, touched
):  # fmt: skip
    """Fixed-point scores of one query: neighbours' vectors plus n times the own one.

    Parameters
    ----------
    own_weights, neighbour_weights : int64 arrays, alpha and (1 - alpha) times the vectors, in
        fixed point, entry by entry
    scores : int64 array (n_items,), all zero; touched entries are written

    Returns
    -------
    n_touched, divisor : int
        Score = integer / divisor / 2**40.
    """
    start, end = own_offsets[query], own_offsets[query + 1]
    if start == end:
        return 0, 1
    n = nearest_users(
        own_items[start:end], own_values[start:end], users[query], euclidean, k, user_offsets,
        user_values, squared_norms, posting_offsets, postings, posting_entries, shared, distance,
        nearest,
    )  # fmt: skip
    divisor = max(n, 1)
    n_touched = 0
    for e in range(start, end):
        item = own_items[e]
        touched_by[item] = query + 1
        touched[n_touched] = item
        n_touched += 1
        scores[item] = divisor * own_weights[e]
    for j in range(n):
        for e in range(user_offsets[nearest[j]], user_offsets[nearest[j] + 1]):
            item = user_items[e]
            if touched_by[item] != query + 1:
                touched_by[item] = query + 1
                touched[n_touched] = item
                n_touched += 1
            scores[item] += neighbour_weights[e]
    return n_touched, divisor


@njit(**_OPTIONS)
def tifu_run(
    first, last, own_offsets, own_items, own_values, own_weights, users, euclidean, k, n_items,
    user_offsets, user_items, user_values, neighbour_weights, squared_norms, posting_offsets,
    postings, posting_entries, unit, out_items, out_scores, out_all
):  # fmt: skip
    """Recommend, or score every item, for queries [first, last).

    Parameters
    ----------
    unit : float, value of one fixed-point step
    out_items : int32 array (Q, K), filled with -1; out_scores : float64 array (Q, K), zero
    out_all : float64 array (Q, n_items), zero; of shape (0, 0) when lists are wanted
    """
    n_users = len(user_offsets) - 1
    shared = np.zeros(n_users)
    distance = np.zeros(n_users)
    nearest = np.empty(min(k, n_users), np.int32)
    touched_by = np.zeros(n_items, np.int64)
    scores = np.zeros(n_items, np.int64)
    touched = np.empty(n_items, np.int32)
    best_items = np.empty(out_items.shape[1], np.int32)
    best_scores = np.empty(out_items.shape[1], np.int64)
    for query in range(first, last):
        n_touched, divisor = tifu_scores(
            query, own_offsets, own_items, own_values, own_weights, users, euclidean,
            min(k, n_users), user_offsets, user_items, user_values, neighbour_weights,
            squared_norms, posting_offsets, postings, posting_entries, shared, distance, nearest,
            touched_by, scores, touched,
        )  # fmt: skip
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
