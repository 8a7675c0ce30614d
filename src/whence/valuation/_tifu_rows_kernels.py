"""TIFU-kNN without one interaction, or without one item: exactly what refitting gives.

What a deletion makes of a user is a *variant* of them: some entries of the vector have other
values, and one may be gone. Vectors are whole numbers, so sums and distances of variants are
exact whatever the order in which they are put together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._tifu_kernels import _farther, _sift_down, nearest_users
from whence.valuation._rows_kernels import (
    begin_board,
    change,
    clear,
    make_board,
    settle,
    undo,
    value_after,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


class Vectors(NamedTuple):
    """A fitted TIFUKNN and the query users (see whence.models.knn.tifu)."""

    own_offsets: np.ndarray
    own_items: np.ndarray
    own_values: np.ndarray
    own_weights: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    values: np.ndarray
    own: np.ndarray
    neighbour: np.ndarray
    norms: np.ndarray
    posting_offsets: np.ndarray
    postings: np.ndarray
    entries: np.ndarray
    euclidean: bool
    k: int


class Variants(NamedTuple):
    """Users after a deletion.

    Attributes
    ----------
    offsets : int64 (n_users + 1,)
        Variants of each user.
    credited : int64 (V,)
        Row or item that is deleted.
    entry_offsets : int64 (V + 1,); entries : int64
        Entries of the vectors that have another value.
    values : float64, own : int64, neighbour : int64
        What they are then.
    gone : int64 (V,)
        Entry whose item the user no longer has, among the entries, with value 0; or -1.
    norms : float64 (V,)
        Squared norms.
    """

    offsets: np.ndarray
    credited: np.ndarray
    entry_offsets: np.ndarray
    entries: np.ndarray
    values: np.ndarray
    own: np.ndarray
    neighbour: np.ndarray
    gone: np.ndarray
    norms: np.ndarray


class Scratch(NamedTuple):
    """Arrays made once per block.

    Attributes
    ----------
    shared, distance : float64 (n_users,)
        Overlap of a user with the query (0 between queries), and distance.
    nearest, others : int32 (n_users,)
    rank : int64 (n_users,)
        Number of the query (plus 1) whose neighbour a user is.
    mark : int64 (n_users,), chosen : int64 (n_users,)
        Number of the deletion that a user is a variant in, or a neighbour after.
    own_mark : int64 (n_items,), own_value : float64 (n_items,)
        Number of the query (plus 1) whose user has an item, and the value.
    """

    shared: np.ndarray
    distance: np.ndarray
    nearest: np.ndarray
    others: np.ndarray
    rank: np.ndarray
    mark: np.ndarray
    chosen: np.ndarray
    own_mark: np.ndarray
    own_value: np.ndarray


@njit(**_OPTIONS)
def _make_scratch(n_users, n_items):
    return Scratch(
        np.zeros(n_users),
        np.zeros(n_users),
        np.empty(n_users, np.int32),
        np.empty(n_users, np.int32),
        np.zeros(n_users, np.int64),
        np.full(n_users, -1, np.int64),
        np.full(n_users, -1, np.int64),
        np.zeros(n_items, np.int64),
        np.zeros(n_items),
    )


@njit(**_OPTIONS)
def _nearest(items, values, user, limit, vectors, scratch):
    """The `limit` nearest users, in ``scratch.nearest``; returns how many there are."""
    return nearest_users(
        items, values, user, vectors.euclidean, limit, vectors.offsets, vectors.values,
        vectors.norms, vectors.posting_offsets, vectors.postings, vectors.entries, scratch.shared,
        scratch.distance, scratch.nearest,
    )  # fmt: skip


@njit(**_OPTIONS)
def _measure_overlaps(items, values, vectors, scratch):
    """Fill in ``scratch.shared``: what every user has in common with a vector.

    Returns
    -------
    float
        Squared norm of the vector.
    """
    norm = 0.0
    for e in range(len(items)):
        norm += values[e] * values[e]
        for p in range(vectors.posting_offsets[items[e]], vectors.posting_offsets[items[e] + 1]):
            product = values[e] * vectors.values[vectors.entries[p]] if vectors.euclidean else 1.0
            scratch.shared[vectors.postings[p]] += product
    return norm


@njit(**_OPTIONS)
def _distance(user, variant, query, n_own, own_norm, vectors, variants, scratch):
    """Distance of a user's variant from the query's user; infinite where they are no neighbour.

    ``scratch.shared`` holds the overlap with the user as they were, and ``own_mark`` and
    ``own_value`` the query's user.
    """
    shared = scratch.shared[user]
    gone = variants.gone[variant]
    size = vectors.offsets[user + 1] - vectors.offsets[user] - (gone >= 0)
    if vectors.euclidean:
        if size == 0:
            return np.inf
        for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
            item = vectors.items[variants.entries[e]]
            if scratch.own_mark[item] == query + 1:
                step = variants.values[e] - vectors.values[variants.entries[e]]
                shared += scratch.own_value[item] * step
        return own_norm + variants.norms[variant] - 2.0 * shared
    if gone >= 0 and scratch.own_mark[vectors.items[gone]] == query + 1:
        shared -= 1.0
    if shared <= 0:
        return np.inf
    return -shared / (n_own + size - shared)


@njit(**_OPTIONS)
def _comes_after(distance, user, other, scratch):
    """Whether a user at some distance comes after another at theirs."""
    return distance > scratch.distance[other] or (
        distance == scratch.distance[other] and user > other
    )


@njit(**_OPTIONS)
def _change_user(board, user, sign, vectors):
    """Add a user's vector to the scores, or take it away."""
    for e in range(vectors.offsets[user], vectors.offsets[user + 1]):
        change(board, vectors.items[e], sign * vectors.neighbour[e])


@njit(**_OPTIONS)
def _change_to_variant(board, variant, vectors, variants):
    """Change the scores as a neighbour becomes their variant."""
    for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
        entry = variants.entries[e]
        change(board, vectors.items[entry], variants.neighbour[e] - vectors.neighbour[entry])


@njit(**_OPTIONS)
def _change_own(board, items, weights, times):
    """Add a vector of the query's own user some times."""
    if times == 0:
        return
    for e in range(len(items)):
        change(board, items[e], times * weights[e])


@njit(**_OPTIONS)
def _own_variant(variant, user, vectors, variants):
    """Items, values and own weights of a user after a deletion."""
    start, end = vectors.offsets[user], vectors.offsets[user + 1]
    items = vectors.items[start:end].copy()
    values = vectors.values[start:end].copy()
    weights = vectors.own[start:end].copy()
    for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
        values[variants.entries[e] - start] = variants.values[e]
        weights[variants.entries[e] - start] = variants.own[e]
    if variants.gone[variant] < 0:
        return items, values, weights
    n = 0
    for e in range(start, end):
        if e != variants.gone[variant]:
            items[n] = items[e - start]
            values[n] = values[e - start]
            weights[n] = weights[e - start]
            n += 1
    return items[:n], values[:n], weights[:n]


@njit(**_OPTIONS)
def _open_query(query, asked, vectors, worth, board, scratch, limit):
    """Find the nearest users, and settle the scores.

    Returns
    -------
    found, near : int
        Users in ``scratch.nearest``, and how many of them are neighbours.
    value : float
    """
    start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
    items, values = vectors.own_items[start:end], vectors.own_values[start:end]
    begin_board(board, query, asked, worth, -1)
    found = _nearest(items, values, asked.users[query], limit, vectors, scratch)
    near = min(found, vectors.k)
    _change_own(board, items, vectors.own_weights[start:end], max(near, 1))
    for j in range(near):
        scratch.rank[scratch.nearest[j]] = query + 1
        _change_user(board, scratch.nearest[j], 1, vectors)
    for e in range(start, end):
        scratch.own_mark[vectors.own_items[e]] = query + 1
        scratch.own_value[vectors.own_items[e]] = vectors.own_values[e]
    return found, near, settle(board, query, worth)


@njit(**_OPTIONS)
def leave_out_interactions(first, last, asked, vectors, variants, worth, values, value_all):
    """Effect of deleting each row on queries [first, last).

    Parameters
    ----------
    values : float64 (n_rows, 2), added to: value with the row minus value without it, in the
        queries of other users and in those of its own
    value_all : float64 (Q,), written
    """
    n_users, n_items = len(vectors.offsets) - 1, len(vectors.posting_offsets) - 1
    board = make_board(n_items, worth.length)
    scratch = _make_scratch(n_users, n_items)
    for query in range(first, last):
        start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
        if start == end:
            continue
        found, near, full = _open_query(
            query, asked, vectors, worth, board, scratch, min(vectors.k + 1, n_users)
        )
        value_all[query] = full
        own_norm = _measure_overlaps(
            vectors.own_items[start:end], vectors.own_values[start:end], vectors, scratch
        )
        user = asked.users[query]
        for other in range(n_users):
            if other != user:
                _leave_out_of_neighbour(
                    other, query, found, near, own_norm, full, vectors, variants, worth, board,
                    scratch, values,
                )  # fmt: skip
        scratch.shared[:] = 0.0
        if user >= 0:
            for variant in range(variants.offsets[user], variants.offsets[user + 1]):
                if variants.entry_offsets[variant] < variants.entry_offsets[variant + 1]:
                    value = _own_value_without(
                        variant, user, query, near, full, vectors, variants, worth, board, scratch
                    )
                    values[variants.credited[variant], 1] += full - value


@njit(**_OPTIONS)
def _leave_out_of_neighbour(other, query, found, near, own_norm, full, vectors, variants, worth,
                            board, scratch, values):  # fmt: skip
    """Effect of deleting each row of another user on a query."""
    start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
    n_own, nearest = end - start, scratch.nearest
    is_near = scratch.rank[other] == query + 1
    if not is_near:
        shared = scratch.shared[other]
        size = vectors.offsets[other + 1] - vectors.offsets[other]
        if size == 0 or (not vectors.euclidean and shared == 0):
            return
        # The nearest that a user can come is by losing an item that the query's user has not.
        if not vectors.euclidean and (
            shared == size
            or _comes_after(
                -shared / (n_own + size - 1 - shared), other, nearest[near - 1], scratch
            )
        ):
            return
    for variant in range(variants.offsets[other], variants.offsets[other + 1]):
        if variants.entry_offsets[variant] == variants.entry_offsets[variant + 1]:
            continue
        distance = _distance(other, variant, query, n_own, own_norm, vectors, variants, scratch)
        if not is_near:
            if _comes_after(distance, other, nearest[near - 1], scratch):
                continue
            _change_user(board, nearest[near - 1], -1, vectors)
            _change_user(board, other, 1, vectors)
            _change_to_variant(board, variant, vectors, variants)
        elif distance == np.inf or (
            found > near and _comes_after(distance, other, nearest[near], scratch)
        ):
            _change_user(board, other, -1, vectors)
            if found > near:
                _change_user(board, nearest[near], 1, vectors)
            else:
                _change_own(
                    board, vectors.own_items[start:end], vectors.own_weights[start:end],
                    max(near - 1, 1) - max(near, 1),
                )  # fmt: skip
        else:
            _change_to_variant(board, variant, vectors, variants)
        values[variants.credited[variant], 0] += full - value_after(board, query, worth, full)
        undo(board)


@njit(**_OPTIONS)
def _own_value_without(variant, user, query, near, full, vectors, variants, worth, board,
                       scratch):  # fmt: skip
    """Value of a query where its own user is a variant."""
    if variants.gone[variant] < 0 and not vectors.euclidean:
        # The same items, so the same neighbours.
        for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
            entry = variants.entries[e]
            step = variants.own[e] - vectors.own[entry]
            change(board, vectors.items[entry], max(near, 1) * step)
    else:
        items, own_values, weights = _own_variant(variant, user, vectors, variants)
        clear(board)
        if len(items) > 0:
            n_users = len(vectors.offsets) - 1
            n = _nearest(items, own_values, user, min(vectors.k, n_users), vectors, scratch)
            _change_own(board, items, weights, max(n, 1))
            for j in range(n):
                _change_user(board, scratch.nearest[j], 1, vectors)
    value = value_after(board, query, worth, full)
    undo(board)
    return value


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
    scratch = _make_scratch(n_users, n_items)
    deletion = 0
    for query in range(first, last):
        start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
        if start == end:
            continue
        found, near, full = _open_query(query, asked, vectors, worth, board, scratch, n_users)
        value_all[query] = full
        own_norm = _measure_overlaps(
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


@njit(**_OPTIONS)
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
        distance = _distance(
            other, vectors.entries[p], query, n_own, own_norm, vectors, variants, scratch
        )
        affected |= is_near
        if near > 0:
            others |= is_near == _comes_after(distance, other, scratch.nearest[near - 1], scratch)
    if others:
        _change_neighbours(
            item, deletion, query, user, found, near, own_norm, vectors, variants, board, scratch
        )
    elif affected:
        for p in range(first, last):
            if scratch.rank[vectors.postings[p]] == query + 1:
                _change_to_variant(board, vectors.entries[p], vectors, variants)
    else:
        return full
    value = value_after(board, query, worth, full)
    undo(board)
    return value


@njit(**_OPTIONS)
def _change_neighbours(item, deletion, query, user, found, near, own_norm, vectors, variants,
                       board, scratch):  # fmt: skip
    """Change the scores where without an item the neighbours may be others.

    They are among the nearest of those without the item, and those with it.
    """
    start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
    first, last = vectors.posting_offsets[item], vectors.posting_offsets[item + 1]
    before = np.empty(last - first)
    for p in range(first, last):
        other = vectors.postings[p]
        scratch.mark[other] = deletion
        before[p - first] = scratch.distance[other]
        scratch.distance[other] = np.inf
        if other != user:
            scratch.distance[other] = _distance(
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
            _change_user(board, other, 1, vectors)
    for j in range(near):
        if scratch.chosen[scratch.nearest[j]] != deletion:
            _change_user(board, scratch.nearest[j], -1, vectors)
    for p in range(first, last):
        if scratch.chosen[vectors.postings[p]] == deletion:
            _change_to_variant(board, vectors.entries[p], vectors, variants)
        scratch.distance[vectors.postings[p]] = before[p - first]
    _change_own(
        board, vectors.own_items[start:end], vectors.own_weights[start:end],
        max(n, 1) - max(near, 1),
    )  # fmt: skip


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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
        items, own_values, weights = _own_variant(
            vectors.offsets[user] + place, user, vectors, variants
        )
    clear(board)
    if len(items) > 0:
        for e in range(start, end):
            scratch.own_mark[vectors.own_items[e]] = 0
        for e in range(len(items)):
            scratch.own_mark[items[e]] = query + 1
            scratch.own_value[items[e]] = own_values[e]
        norm = _measure_overlaps(items, own_values, vectors, scratch)
        n = _nearest_variants(
            item, deletion, query, user, len(items), norm, vectors, variants, scratch
        )
        scratch.shared[:] = 0.0
        _change_own(board, items, weights, max(n, 1))
        for j in range(n):
            scratch.chosen[scratch.others[j]] = deletion
            _change_user(board, scratch.others[j], 1, vectors)
        for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
            if scratch.chosen[vectors.postings[p]] == deletion:
                _change_to_variant(board, vectors.entries[p], vectors, variants)
    value = value_after(board, query, worth, full)
    undo(board)
    return value


@njit(**_OPTIONS)
def _nearest_variants(item, deletion, query, user, n_own, own_norm, vectors, variants, scratch):
    """The k nearest users, in ``scratch.others``, where nobody has an item."""
    for p in range(vectors.posting_offsets[item], vectors.posting_offsets[item + 1]):
        other = vectors.postings[p]
        scratch.mark[other] = deletion
        scratch.distance[other] = _distance(
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
