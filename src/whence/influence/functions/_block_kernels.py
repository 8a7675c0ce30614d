"""Compiled Fast Influence Analysis: the block of one user and one or two items for each outcome."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit


class Factors(NamedTuple):
    """Parameters: float64 [n_users, K] and [n_items, K], of which the first `dim` are factors."""

    users: np.ndarray
    items: np.ndarray
    dim: int


class TrainingTerms(NamedTuple):
    """Terms of the training examples, sorted by user.

    Attributes
    ----------
    starts : int64 [n_users + 1]
        Where the terms of each user begin.
    user, item, other, example : int64 [T]
        See `terms.Terms`.
    first, second : float64 [T]
        Derivatives of φ, weighted, over Z: the Hessian.
    slope : float64 [T]
        φ' by the term's share of the example, over Z: what is credited.
    item_starts, item_terms : int64 [n_items + 1], int64 [m]
        Terms that touch each item.
    """

    starts: np.ndarray
    user: np.ndarray
    item: np.ndarray
    other: np.ndarray
    example: np.ndarray
    first: np.ndarray
    second: np.ndarray
    slope: np.ndarray
    item_starts: np.ndarray
    item_terms: np.ndarray


class OutcomeTerms(NamedTuple):
    """Terms of the outcomes.

    Attributes
    ----------
    user, item, other : int64 [N]
    weight : float64 [N]
        Derivative of the outcome by x.
    row : int64 [N]
        Row of the result that each term counts in.
    """

    user: np.ndarray
    item: np.ndarray
    other: np.ndarray
    weight: np.ndarray
    row: np.ndarray


@njit(nogil=True, cache=True)
def add_block_influence(factors, user_blocks, item_blocks, training, outcome, only_own, out):
    """Add the influence of training terms on outcome terms, by the block of each outcome term.

    The block of an outcome term are the rows of its user and of its one or two items: the Hessian
    of those parameters alone, over the training terms that touch them, is solved.

    Parameters
    ----------
    factors : Factors
    user_blocks, item_blocks : float64 [n, K, K]
        Diagonal blocks of the Hessian.
    training : TrainingTerms
    outcome : OutcomeTerms
    only_own : bool
        Credit the training terms of the same user only.
    out : float64 [R, E]
        Added to: minus ∇outcomeᵀ H⁻¹ ∇l over Z.
    """
    starts, term_user, term_item, term_other, example = training[:5]
    first, second, slope, item_starts, item_terms = training[5:]
    user, item, other, weight, row = outcome
    width = factors.users.shape[1]
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
                _local_slope(factors, u, i, j, u, term_item[t], term_other[t], own)
                _add_cross(
                    hessian, own, factors, second[t], first[t], i, j, term_item[t], term_other[t]
                )
        if j >= 0:
            for place in range(item_starts[i], item_starts[i + 1]):
                t = item_terms[place]
                v = term_user[t]
                if v != u and (term_item[t] == j or term_other[t] == j):
                    _local_slope(factors, u, i, j, v, term_item[t], term_other[t], own)
                    _add_cross(
                        hessian, own, factors, second[t], 0.0, i, j, term_item[t], term_other[t]
                    )
        _local_slope(factors, u, i, j, u, i, j, own)
        solved = np.linalg.solve(hessian, own)
        for t in range(starts[u], starts[u + 1]):
            _local_slope(factors, u, i, j, u, term_item[t], term_other[t], own)
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
                _local_slope(factors, u, i, j, v, term_item[t], term_other[t], own)
                out[row[n], example[t]] -= weight[n] * slope[t] * np.dot(own, solved)


@njit(nogil=True, cache=True)
def _local_slope(factors, u, i, j, v, term_item, term_other, own):
    """∇x of a training term of user v, restricted to the rows of u, i and j, into `own`."""
    users, items, dim = factors
    width = users.shape[1]
    biased = width > dim
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
def _add_cross(hessian, own, factors, second, first, i, j, term_item, term_other):
    """Add what a term of the user adds outside the diagonal blocks."""
    size, width, dim = len(own), factors.users.shape[1], factors.dim
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
