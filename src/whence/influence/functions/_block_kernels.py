"""Compiled Fast Influence Analysis: the block of one user and one or two items for each outcome."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def add_block_influence(
    users, items, dim, starts, term_user, term_item, term_other, first, second, slope,
    example, item_starts, item_terms, user_blocks, item_blocks,
    user, item, other, weight, row, only_own, out,
):  # fmt: skip
    """Add the influence of training terms on outcome terms, by the block of each outcome term.

    The block of an outcome term are the rows of its user and of its one or two items: the Hessian
    of those parameters alone, over the training terms that touch them, is solved.

    Parameters
    ----------
    starts : int64 [n_users + 1]
        Where the training terms of each user begin.
    term_user, term_item, term_other : int64 [T]
    first, second : float64 [T]
        Derivatives of φ by training term, weighted, over Z: the Hessian.
    slope : float64 [T]
        φ' of training terms by their share of the example, over Z: what is credited.
    example : int64 [T]
    item_starts, item_terms, : int64 [n_items + 1], int64 [m]
        Training terms that touch each item, and
    user_blocks, item_blocks : float64 [n, K, K]
        Diagonal blocks of the Hessian.
    user, item, other : int64 [N]
        Outcome terms.
    weight : float64 [N]
        Derivative of the outcome by x.
    row : int64 [N]
        Row of `out` that each outcome term counts in.
    only_own : bool
        Credit the training terms of the same user only.
    out : float64 [R, E]
        Added to: minus ∇outcomeᵀ H⁻¹ ∇l over Z.
    """
    width = users.shape[1]
    biased = width > dim
    for n in range(len(user)):
        u, i, j = user[n], item[n], other[n]
        size = 2 * width if j < 0 else 3 * width
        hessian = np.zeros((size, size))
        hessian[:width, :width] = user_blocks[u]
        hessian[width : 2 * width, width : 2 * width] = item_blocks[i]
        if j >= 0:
            hessian[2 * width :, 2 * width :] = item_blocks[j]
        own = np.zeros(size)
        for t in range(starts[u], starts[u + 1]):
            if term_item[t] in (i, j) or (term_other[t] >= 0 and term_other[t] in (i, j)):
                _local_slope(
                    users, items, dim, biased, u, i, j, u, term_item[t], term_other[t], own
                )
                _add_cross(hessian, own, width, dim, second[t], first[t], i, j,
                           term_item[t], term_other[t])  # fmt: skip
        if j >= 0:
            for place in range(item_starts[i], item_starts[i + 1]):
                t = item_terms[place]
                v = term_user[t]
                if v != u and (term_item[t] == j or term_other[t] == j):
                    _local_slope(
                        users, items, dim, biased, u, i, j, v, term_item[t], term_other[t], own
                    )
                    _add_cross(hessian, own, width, dim, second[t], 0.0, i, j,
                               term_item[t], term_other[t])  # fmt: skip
        _local_slope(users, items, dim, biased, u, i, j, u, i, j, own)
        solved = np.linalg.solve(hessian, own)
        for t in range(starts[u], starts[u + 1]):
            _local_slope(users, items, dim, biased, u, i, j, u, term_item[t], term_other[t], own)
            out[row[n], example[t]] -= weight[n] * slope[t] * np.dot(own, solved)
        if only_own:
            continue
        for side in range(1 if j < 0 else 2):
            k = i if side == 0 else j
            for place in range(item_starts[k], item_starts[k + 1]):
                t = item_terms[place]
                v = term_user[t]
                # A term that touches both items is met twice, and one of the user was counted.
                again = side == 1 and (term_item[t] == i or term_other[t] == i)
                if v == u or again:
                    continue
                _local_slope(
                    users, items, dim, biased, u, i, j, v, term_item[t], term_other[t], own
                )
                out[row[n], example[t]] -= weight[n] * slope[t] * np.dot(own, solved)


@njit(nogil=True, cache=True)
def _local_slope(users, items, dim, biased, u, i, j, v, term_item, term_other, own):
    """∇x of a training term of user v, restricted to the rows of u, i and j, into `own`."""
    width = users.shape[1]
    own[:] = 0.0
    if v == u:
        for d in range(dim):
            own[d] = items[term_item, d]
        if term_other >= 0:
            for d in range(dim):
                own[d] -= items[term_other, d]
        elif biased:
            own[dim] = 1.0
    for side in range(1 if j < 0 else 2):
        k = i if side == 0 else j
        start = width * (1 + side)
        sign = 0.0
        if term_item == k:
            sign = 1.0
        elif term_other == k:
            sign = -1.0
        if sign != 0.0:
            for d in range(dim):
                own[start + d] = sign * users[v, d]
            if biased:
                own[start + dim] = sign


@njit(nogil=True, cache=True)
def _add_cross(hessian, own, width, dim, second, first, i, j, term_item, term_other):
    """Add what a term of the user adds outside the diagonal blocks."""
    size = len(own)
    for a in range(size):
        for b in range(size):
            if a // width != b // width:
                hessian[a, b] += second * own[a] * own[b]
    for side in range(1 if j < 0 else 2):
        k = i if side == 0 else j
        sign = 0.0
        if term_item == k:
            sign = 1.0
        elif term_other == k:
            sign = -1.0
        start = width * (1 + side)
        for d in range(dim):
            hessian[d, start + d] += sign * first
            hessian[start + d, d] += sign * first
