"""TIFU-kNN without one interaction, or without one item: exactly what refitting gives.

What a deletion makes of a user is a *variant* of them: some entries of the vector have other
values, and one may be gone. Vectors are whole numbers, so sums and distances of variants are
exact whatever the order in which they are put together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._tifu_kernels import nearest_users
from whence.models.knn.tifu import UserIndex, UserVectors
from whence.valuation._rows_kernels import begin_board, change, settle

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}


class Vectors(NamedTuple):
    """A fitted TIFUKNN and the query users (see whence.models.knn.tifu).

    In one tuple, which is faster than the tuples of tuples that the games are built from.
    """

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


class Query(NamedTuple):
    """The query at hand.

    Attributes
    ----------
    number, user : int
        Number of the query, and of its user in the training data (-1 if unseen).
    found, near : int
        Users in ``scratch.nearest``, and how many of them are neighbours.
    norm : float
        Squared norm of the user's own vector.
    value : float
        What the list is worth with everything.
    """

    number: int
    user: int
    found: int
    near: int
    norm: float
    value: float


class Scratch(NamedTuple):
    """Arrays made once per block.

    Attributes
    ----------
    shared, distance, before : float64 (n_users,)
        Overlap of a user with the query (0 between queries), distance, and distance kept aside.
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
    before: np.ndarray
    nearest: np.ndarray
    others: np.ndarray
    rank: np.ndarray
    mark: np.ndarray
    chosen: np.ndarray
    own_mark: np.ndarray
    own_value: np.ndarray


@njit(**_OPTIONS)
def make_scratch(n_users, n_items):
    return Scratch(
        np.zeros(n_users),
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
def find_nearest(items, values, user, limit, vectors, scratch):
    """The `limit` nearest vectors, in ``scratch.nearest``; returns how many there are."""
    users = UserVectors(
        vectors.offsets, vectors.items, vectors.values, vectors.own, vectors.neighbour
    )
    index = UserIndex(
        users, vectors.norms, vectors.posting_offsets, vectors.postings, vectors.entries
    )
    return nearest_users(
        items, values, user, vectors.euclidean, limit, index, scratch.shared, scratch.distance,
        scratch.nearest,
    )  # fmt: skip


@njit(**_INNER)
def measure_overlaps(items, values, vectors, scratch):
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


@njit(**_INNER)
def variant_distance(user, variant, query, n_own, own_norm, vectors, variants, scratch):
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


@njit(**_INNER)
def comes_after(distance, user, other, scratch):
    """Whether a user at some distance comes after another at theirs."""
    return distance > scratch.distance[other] or (
        distance == scratch.distance[other] and user > other
    )


@njit(**_INNER)
def change_user(board, user, sign, vectors):
    """Add a user's vector to the scores, or take it away."""
    for e in range(vectors.offsets[user], vectors.offsets[user + 1]):
        change(board, vectors.items[e], sign * vectors.neighbour[e])


@njit(**_INNER)
def change_to_variant(board, variant, vectors, variants):
    """Change the scores as a neighbour becomes their variant."""
    for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
        entry = variants.entries[e]
        change(
            board,
            vectors.items[entry],
            variants.neighbour[e] - vectors.neighbour[entry],
        )


@njit(**_INNER)
def change_own(board, items, weights, times):
    """Add a vector of the query's own user some times."""
    if times == 0:
        return
    for e in range(len(items)):
        change(board, items[e], times * weights[e])


@njit(**_OPTIONS)
def own_variant(variant, user, vectors, variants):
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
def open_query(number, queries, vectors, utility, board, scratch, limit):
    """Find the nearest users of a query, settle the scores and measure the overlaps."""
    start, end = vectors.own_offsets[number], vectors.own_offsets[number + 1]
    items, values = vectors.own_items[start:end], vectors.own_values[start:end]
    user = queries.users[number]
    begin_board(board, number, queries, utility, -1)
    found = find_nearest(items, values, user, limit, vectors, scratch)
    near = min(found, vectors.k)
    change_own(board, items, vectors.own_weights[start:end], max(near, 1))
    for j in range(near):
        scratch.rank[scratch.nearest[j]] = number + 1
        change_user(board, scratch.nearest[j], 1, vectors)
    for e in range(start, end):
        scratch.own_mark[vectors.own_items[e]] = number + 1
        scratch.own_value[vectors.own_items[e]] = vectors.own_values[e]
    value = settle(board, number, utility)
    norm = measure_overlaps(items, values, vectors, scratch)
    return Query(number, user, found, near, norm, value)
