"""TIFU-kNN without one interaction: exactly what refitting gives."""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.valuation._rows_kernels import change, clear, make_board, undo, value_after
from whence.valuation._tifu_variant_kernels import (
    change_own,
    change_to_variant,
    change_user,
    comes_after,
    find_nearest,
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
    scratch = make_scratch(n_users, n_items)
    for query in range(first, last):
        start, end = vectors.own_offsets[query], vectors.own_offsets[query + 1]
        if start == end:
            continue
        found, near, full = open_query(
            query, asked, vectors, worth, board, scratch, min(vectors.k + 1, n_users)
        )
        value_all[query] = full
        own_norm = measure_overlaps(
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


@njit(**_INNER)
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
            or comes_after(-shared / (n_own + size - 1 - shared), other, nearest[near - 1], scratch)
        ):
            return
    for variant in range(variants.offsets[other], variants.offsets[other + 1]):
        if variants.entry_offsets[variant] == variants.entry_offsets[variant + 1]:
            continue
        distance = variant_distance(
            other, variant, query, n_own, own_norm, vectors, variants, scratch
        )
        if not is_near:
            if comes_after(distance, other, nearest[near - 1], scratch):
                continue
            change_user(board, nearest[near - 1], -1, vectors)
            change_user(board, other, 1, vectors)
            change_to_variant(board, variant, vectors, variants)
        elif distance == np.inf or (
            found > near and comes_after(distance, other, nearest[near], scratch)
        ):
            change_user(board, other, -1, vectors)
            if found > near:
                change_user(board, nearest[near], 1, vectors)
            else:
                change_own(
                    board, vectors.own_items[start:end], vectors.own_weights[start:end],
                    max(near - 1, 1) - max(near, 1),
                )  # fmt: skip
        else:
            change_to_variant(board, variant, vectors, variants)
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
        items, own_values, weights = own_variant(variant, user, vectors, variants)
        clear(board)
        if len(items) > 0:
            n_users = len(vectors.offsets) - 1
            n = find_nearest(items, own_values, user, min(vectors.k, n_users), vectors, scratch)
            change_own(board, items, weights, max(n, 1))
            for j in range(n):
                change_user(board, scratch.nearest[j], 1, vectors)
    value = value_after(board, query, worth, full)
    undo(board)
    return value
