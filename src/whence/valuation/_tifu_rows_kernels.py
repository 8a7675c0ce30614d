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
    open_query,
    own_variant,
    variant_distance,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}


@njit(**_OPTIONS)
def leave_out_interactions(first, last, queries, vectors, variants, utility, values, value_all):
    """Effect of deleting each row on queries [first, last).

    Parameters
    ----------
    values : float64 (n_rows, 2), added to: value with the row minus value without it, in the
        queries of other users and in those of its own
    value_all : float64 (Q,), written
    """
    n_users, n_items = len(vectors.offsets) - 1, len(vectors.posting_offsets) - 1
    board = make_board(n_items, utility.length)
    scratch = make_scratch(n_users, n_items)
    for number in range(first, last):
        if vectors.own_offsets[number] == vectors.own_offsets[number + 1]:
            continue
        query = open_query(
            number, queries, vectors, utility, board, scratch, min(vectors.k + 1, n_users)
        )
        value_all[number] = query.value
        for other in range(n_users):
            if other != query.user:
                _leave_out_of_neighbour(
                    other, query, vectors, variants, utility, board, scratch, values
                )
        scratch.shared[:] = 0.0
        if query.user >= 0:
            for variant in range(variants.offsets[query.user], variants.offsets[query.user + 1]):
                if variants.entry_offsets[variant] < variants.entry_offsets[variant + 1]:
                    value = _own_value_without(
                        variant, query, vectors, variants, utility, board, scratch
                    )
                    values[variants.credited[variant], 1] += query.value - value


@njit(**_INNER)
def _leave_out_of_neighbour(other, query, vectors, variants, utility, board, scratch, values):
    """Effect of deleting each row of another user on a query."""
    nearest, near = scratch.nearest, query.near
    start, end = vectors.own_offsets[query.number], vectors.own_offsets[query.number + 1]
    n_own = end - start
    is_near = scratch.rank[other] == query.number + 1
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
            other, variant, query.number, n_own, query.norm, vectors, variants, scratch
        )
        if not is_near:
            if comes_after(distance, other, nearest[near - 1], scratch):
                continue
            change_user(board, nearest[near - 1], -1, vectors)
            change_user(board, other, 1, vectors)
            change_to_variant(board, variant, vectors, variants)
        elif distance == np.inf or (
            query.found > near and comes_after(distance, other, nearest[near], scratch)
        ):
            change_user(board, other, -1, vectors)
            if query.found > near:
                change_user(board, nearest[near], 1, vectors)
            else:
                own_items, own_weights = (
                    vectors.own_items[start:end],
                    vectors.own_weights[start:end],
                )
                change_own(board, own_items, own_weights, max(near - 1, 1) - max(near, 1))
        else:
            change_to_variant(board, variant, vectors, variants)
        value = value_after(board, query.number, utility, query.value)
        values[variants.credited[variant], 0] += query.value - value
        undo(board)


@njit(**_OPTIONS)
def _own_value_without(variant, query, vectors, variants, utility, board, scratch):
    """Value of a query where its own user is a variant."""
    if variants.gone[variant] < 0 and not vectors.euclidean:
        # The same items, so the same neighbours.
        for e in range(variants.entry_offsets[variant], variants.entry_offsets[variant + 1]):
            entry = variants.entries[e]
            step = variants.own[e] - vectors.own[entry]
            change(board, vectors.items[entry], max(query.near, 1) * step)
    else:
        items, own_values, weights = own_variant(variant, query.user, vectors, variants)
        clear(board)
        if len(items) > 0:
            limit = min(vectors.k, len(vectors.offsets) - 1)
            n = find_nearest(items, own_values, query.user, limit, vectors, scratch)
            change_own(board, items, weights, max(n, 1))
            for j in range(n):
                change_user(board, scratch.nearest[j], 1, vectors)
    value = value_after(board, query.number, utility, query.value)
    undo(board)
    return value
