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
def leave_out_items_of_users(first, last, queries, vectors, variants, utility, values, value_all):
    """Effect of deleting all rows with each item on queries [first, last).

    The variants are the entries of the vectors: the user without the item of the entry.

    Parameters
    ----------
    values : float64 (n_items, 2), added to, in the queries of users who do not have the item and
        of those who do; value_all : float64 (Q,), written
    """
    n_users, n_items = len(vectors.offsets) - 1, len(vectors.posting_offsets) - 1
    board = make_board(n_items, utility.length)
    scratch = make_scratch(n_users, n_items)
    deletion = 0
    for number in range(first, last):
        start, end = vectors.own_offsets[number], vectors.own_offsets[number + 1]
        if start == end:
            continue
        query = open_query(number, queries, vectors, utility, board, scratch, n_users)
        value_all[number] = query.value
        for item in range(n_items):
            if scratch.own_mark[item] != number + 1:
                deletion += 1
                values[item, 0] += query.value - _value_without_item(
                    item, deletion, query, vectors, variants, utility, board, scratch
                )
        scratch.shared[:] = 0.0
        column = 1 if query.user >= 0 else 0
        for e in range(start, end):
            deletion += 1
            values[vectors.own_items[e], column] += query.value - _value_without_own_item(
                e - start, deletion, query, vectors, variants, utility, board, scratch
            )


@njit(**_INNER)
def _value_without_item(item, deletion, query, vectors, variants, utility, board, scratch):
    """Value of a query where nobody has an item, which the query's user has not anyway."""
    number, near = query.number, query.near
    postings, entries = vectors.postings, vectors.entries
    n_own = vectors.own_offsets[number + 1] - vectors.own_offsets[number]
    first, last = vectors.posting_offsets[item], vectors.posting_offsets[item + 1]
    affected, others = False, False
    for p in range(first, last):
        other = postings[p]
        is_near = scratch.rank[other] == number + 1
        if other == query.user or not (is_near or vectors.euclidean or scratch.shared[other] > 0):
            continue
        distance = variant_distance(
            other, entries[p], number, n_own, query.norm, vectors, variants, scratch
        )
        affected |= is_near
        if near > 0:
            others |= is_near == comes_after(distance, other, scratch.nearest[near - 1], scratch)
    if others:
        _change_neighbours(item, deletion, query, vectors, variants, board, scratch)
    elif affected:
        for p in range(first, last):
            if scratch.rank[postings[p]] == number + 1:
                change_to_variant(board, entries[p], vectors, variants)
    else:
        return query.value
    value = value_after(board, number, utility, query.value)
    undo(board)
    return value


@njit(**_INNER)
def _change_neighbours(item, deletion, query, vectors, variants, board, scratch):
    """Change the scores where without an item the neighbours may be others.

    They are among the nearest of those without the item, and those with it.
    """
    number, near, nearest = query.number, query.near, scratch.nearest
    postings, entries = vectors.postings, vectors.entries
    start, end = vectors.own_offsets[number], vectors.own_offsets[number + 1]
    first, last = vectors.posting_offsets[item], vectors.posting_offsets[item + 1]
    for p in range(first, last):
        other = postings[p]
        scratch.mark[other] = deletion
        scratch.before[other] = scratch.distance[other]
        scratch.distance[other] = np.inf
        if other != query.user:
            scratch.distance[other] = variant_distance(
                other, entries[p], number, end - start, query.norm, vectors, variants, scratch
            )
    n = 0
    for j in range(query.found):
        if n < vectors.k and scratch.mark[nearest[j]] != deletion:
            scratch.others[n] = nearest[j]
            n += 1
    # Farthest first, they are a heap.
    for j in range(n // 2):
        other = scratch.others[j]
        scratch.others[j] = scratch.others[n - 1 - j]
        scratch.others[n - 1 - j] = other
    n = _push_variants(item, n, vectors, scratch)
    for j in range(n):
        other = scratch.others[j]
        scratch.chosen[other] = deletion
        if scratch.rank[other] != number + 1:
            change_user(board, other, 1, vectors)
    for j in range(near):
        if scratch.chosen[nearest[j]] != deletion:
            change_user(board, nearest[j], -1, vectors)
    for p in range(first, last):
        if scratch.chosen[postings[p]] == deletion:
            change_to_variant(board, entries[p], vectors, variants)
        scratch.distance[postings[p]] = scratch.before[postings[p]]
    own_items, own_weights = vectors.own_items[start:end], vectors.own_weights[start:end]
    change_own(board, own_items, own_weights, max(n, 1) - max(near, 1))


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
def _value_without_own_item(place, deletion, query, vectors, variants, utility, board, scratch):
    """Value of a query where nobody has an item that the query's user has.

    A user never seen in training, whose history is in the query, keeps it.
    """
    number, user = query.number, query.user
    start, end = vectors.own_offsets[number], vectors.own_offsets[number + 1]
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
            scratch.own_mark[items[e]] = number + 1
            scratch.own_value[items[e]] = own_values[e]
        norm = measure_overlaps(items, own_values, vectors, scratch)
        n = _nearest_variants(item, deletion, query, len(items), norm, vectors, variants, scratch)
        scratch.shared[:] = 0.0
        change_own(board, items, weights, max(n, 1))
        for j in range(n):
            scratch.chosen[scratch.others[j]] = deletion
            change_user(board, scratch.others[j], 1, vectors)
        for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
            if scratch.chosen[vectors.postings[p]] == deletion:
                change_to_variant(board, vectors.entries[p], vectors, variants)
    value = value_after(board, number, utility, query.value)
    undo(board)
    return value


@njit(**_INNER)
def _nearest_variants(item, deletion, query, n_own, own_norm, vectors, variants, scratch):
    """The k nearest vectors, in ``scratch.others``, where nobody has an item."""
    offsets = vectors.offsets
    for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
        other = vectors.postings[p]
        scratch.mark[other] = deletion
        scratch.distance[other] = variant_distance(
            other, vectors.entries[p], query.number, n_own, own_norm, vectors, variants, scratch
        )
    n = 0
    for other in range(len(offsets) - 1):
        size = offsets[other + 1] - offsets[other]
        shared = scratch.shared[other]
        if other == query.user or size == 0:
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
