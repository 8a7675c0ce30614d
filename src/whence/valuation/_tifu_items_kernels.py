"""TIFU-kNN without one item: exactly what refitting gives."""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.knn._tifu_kernels import _farther, _sift_down
from whence.valuation._rows_kernels import clear, make_board, undo, value_after
from whence.valuation._tifu_variant_kernels import (
    change_own,
    change_to_variant,
    change_user,
    comes_after,
    make_scratch,
    measure_overlaps,
    open_query,
    own_variant,
    variant_distance,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}


@njit(**_OPTIONS)
def leave_out_items_of_users(first, last, asked, vectors, variants, worth, values, value_all):
    """Effect of deleting all rows with each item on queries [first, last).

    The variants are the entries of the vectors: the user without the item of the entry.

    Parameters
    ----------
    values : float64 (n_items, 2), added to, in the queries of users who do not have the item and
        of those who do; value_all : float64 (Q,), written
    """
    n_users, n_items = len(vectors.offsets) - 1, len(vectors.posting_offsets) - 1
    board = make_board(n_items, worth.length)
    scratch = make_scratch(n_users, n_items)
    deletion = 0
    for query in range(first, last):
        start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
        if start == end:
            continue
        found, near, full = open_query(query, asked, vectors, worth, board, scratch, n_users)
        value_all[query] = full
        own_norm = measure_overlaps(
            vectors.own_items[start:end], vectors.own_values[start:end], vectors, scratch
        )
        for item in range(n_items):
            if scratch.own_mark[item] != query + 1:
                deletion += 1
                values[item, 0] += full - _value_without_item(
                    item, deletion, query, asked.users[query], found, near, own_norm, full,
                    vectors, variants, worth, board, scratch,
                )  # fmt: skip
        scratch.shared[:] = 0.0
        column = 1 if asked.users[query] >= 0 else 0
        for e in range(start, end):
            deletion += 1
            values[vectors.own_items[e], column] += full - _value_without_own_item(
                e - start, deletion, query, asked.users[query], full, vectors, variants, worth,
                board, scratch,
            )  # fmt: skip


@njit(**_INNER)
def _value_without_item(item, deletion, query, user, found, near, own_norm, full, vectors,
                        variants, worth, board, scratch):  # fmt: skip
    """Value of a query where nobody has an item, which the query's user has not anyway."""
    n_own = vectors.own_offsets[query + 1] - vectors.own_offsets[query]
    first, last = vectors.posting_offsets[item], vectors.posting_offsets[item + 1]
    affected, others = False, False
    for p in range(first, last):
        other = vectors.postings[p]
        is_near = scratch.rank[other] == query + 1
        if other == user or not (is_near or vectors.euclidean or scratch.shared[other] > 0):
            continue
        distance = variant_distance(
            other, vectors.entries[p], query, n_own, own_norm, vectors, variants, scratch
        )
        affected |= is_near
        if near > 0:
            others |= is_near == comes_after(distance, other, scratch.nearest[near - 1], scratch)
    if others:
        _change_neighbours(
            item, deletion, query, user, found, near, own_norm, vectors, variants, board, scratch
        )
    elif affected:
        for p in range(first, last):
            if scratch.rank[vectors.postings[p]] == query + 1:
                change_to_variant(board, vectors.entries[p], vectors, variants)
    else:
        return full
    value = value_after(board, query, worth, full)
    undo(board)
    return value


@njit(**_INNER)
def _change_neighbours(item, deletion, query, user, found, near, own_norm, vectors, variants,
                       board, scratch):  # fmt: skip
    """Change the scores where without an item the neighbours may be others.

    They are among the nearest of those without the item, and those with it.
    """
    start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
    first, last = vectors.posting_offsets[item], vectors.posting_offsets[item + 1]
    for p in range(first, last):
        other = vectors.postings[p]
        scratch.mark[other] = deletion
        scratch.before[other] = scratch.distance[other]
        scratch.distance[other] = np.inf
        if other != user:
            scratch.distance[other] = variant_distance(
                other, vectors.entries[p], query, end - start, own_norm, vectors, variants, scratch
            )
    n = 0
    for j in range(found):
        if n < vectors.k and scratch.mark[scratch.nearest[j]] != deletion:
            scratch.others[n] = scratch.nearest[j]
            n += 1
    # Farthest first, they are a heap.
    for j in range(n // 2):
        scratch.others[j], scratch.others[n - 1 - j] = (
            scratch.others[n - 1 - j], scratch.others[j],
        )  # fmt: skip
    n = _push_variants(item, n, vectors, scratch)
    for j in range(n):
        other = scratch.others[j]
        scratch.chosen[other] = deletion
        if scratch.rank[other] != query + 1:
            change_user(board, other, 1, vectors)
    for j in range(near):
        if scratch.chosen[scratch.nearest[j]] != deletion:
            change_user(board, scratch.nearest[j], -1, vectors)
    for p in range(first, last):
        if scratch.chosen[vectors.postings[p]] == deletion:
            change_to_variant(board, vectors.entries[p], vectors, variants)
        scratch.distance[vectors.postings[p]] = scratch.before[vectors.postings[p]]
    change_own(
        board, vectors.own_items[start:end], vectors.own_weights[start:end],
        max(n, 1) - max(near, 1),
    )  # fmt: skip


@njit(**_INNER)
def _push_variants(item, n, vectors, scratch):
    """Push the users with an item onto the heap ``scratch.others`` of the k nearest so far.

    Returns
    -------
    int
        How many there are now.
    """
    for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
        other = vectors.postings[p]
        if scratch.distance[other] < np.inf:
            n = _push(other, n, vectors.k, scratch)
    return n


@njit(**_INNER)
def _push(user, n, limit, scratch):
    """Push a user onto the heap of the nearest so far; return how many there are now."""
    heap, distance = scratch.others, scratch.distance
    if n == limit:
        if _farther(heap[0], user, distance):
            heap[0] = user
            _sift_down(heap, n, distance)
        return n
    place = n
    heap[place] = user
    while place > 0 and _farther(heap[place], heap[(place - 1) // 2], distance):
        parent = (place - 1) // 2
        heap[place], heap[parent] = heap[parent], heap[place]
        place = parent
    return n + 1


@njit(**_OPTIONS)
def _value_without_own_item(place, deletion, query, user, full, vectors, variants, worth, board,
                            scratch):  # fmt: skip
    """Value of a query where nobody has an item that the query's user has.

    A user never seen in training, whose history is in the query, keeps it.
    """
    start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
    item = vectors.own_items[start + place]
    items, own_values = vectors.own_items[start:end], vectors.own_values[start:end]
    weights = vectors.own_weights[start:end]
    if user >= 0:
        items, own_values, weights = own_variant(
            vectors.offsets[user] + place, user, vectors, variants
        )
    clear(board)
    if len(items) > 0:
        for e in range(start, end):
            scratch.own_mark[vectors.own_items[e]] = 0
        for e in range(len(items)):
            scratch.own_mark[items[e]] = query + 1
            scratch.own_value[items[e]] = own_values[e]
        norm = measure_overlaps(items, own_values, vectors, scratch)
        n = _nearest_variants(
            item, deletion, query, user, len(items), norm, vectors, variants, scratch
        )
        scratch.shared[:] = 0.0
        change_own(board, items, weights, max(n, 1))
        for j in range(n):
            scratch.chosen[scratch.others[j]] = deletion
            change_user(board, scratch.others[j], 1, vectors)
        for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
            if scratch.chosen[vectors.postings[p]] == deletion:
                change_to_variant(board, vectors.entries[p], vectors, variants)
    value = value_after(board, query, worth, full)
    undo(board)
    return value


@njit(**_INNER)
def _nearest_variants(item, deletion, query, user, n_own, own_norm, vectors, variants, scratch):
    """The k nearest users, in ``scratch.others``, where nobody has an item."""
    for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
        other = vectors.postings[p]
        scratch.mark[other] = deletion
        scratch.distance[other] = variant_distance(
            other, vectors.entries[p], query, n_own, own_norm, vectors, variants, scratch
        )
    n = 0
    for other in range(len(vectors.offsets) - 1):
        size = vectors.offsets[other + 1] - vectors.offsets[other]
        shared = scratch.shared[other]
        if other == user or size == 0:
            continue
        if scratch.mark[other] != deletion:
            if vectors.euclidean:
                scratch.distance[other] = own_norm + vectors.norms[other] - 2.0 * shared
            elif shared > 0:
                scratch.distance[other] = -shared / (n_own + size - shared)
            else:
                continue
        if scratch.distance[other] < np.inf:
            n = _push(other, n, vectors.k, scratch)
    return n
