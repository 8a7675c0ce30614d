"""Compiled derivatives of factor models: gradients, curvature and its products, over all terms.

A term is one scalar function φ(x) of a difference of scores, ``x = s(u, i) - s(u, j)``, or of one
score where j is -1. With ``s(u, i) = μ + b_u + c_i + p_u·q_i``, the parameters of a user and of an
item are one row each, the bias last. Shapes: T terms, R directions, D factors, K = D + 1 with
biases, else D. Terms are sorted by user where a kernel takes ``starts`` (int64 [n_users + 1]).
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
SQUARED, LOGISTIC = 0, 1


@njit(nogil=True, cache=True, fastmath=_FAST)
def differences(users, items, mean, dim, user, item, other):
    """Score of the item, less that of the other one: x, float64 [T].

    Parameters
    ----------
    users : float64 [n_users, K]
    items : float64 [n_items, K]
    mean : float
        μ.
    dim : int
        D.
    user, item, other : int64 [T]
    """
    x = np.empty(len(item))
    biased = users.shape[1] > dim
    for t in range(len(item)):
        p, q = users[user[t]], items[item[t]]
        total = 0.0
        for d in range(dim):
            total += p[d] * q[d]
        if biased:
            total += q[dim]
        if other[t] >= 0:
            r = items[other[t]]
            for d in range(dim):
                total -= p[d] * r[d]
            if biased:
                total -= r[dim]
        else:
            if biased:
                total += p[dim]
            total += mean
        x[t] = total
    return x


@njit(nogil=True, cache=True)
def losses(x, target, kind):
    """φ of each term and its first two derivatives, each float64 [T].

    Squared: ``(x - y)²``. Logistic: ``log(1 + exp(x)) - y x``, with y a label from 0 to 1.
    """
    value, first, second = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    for t in range(len(x)):
        y = target[t]
        if kind == SQUARED:
            error = x[t] - y
            value[t], first[t], second[t] = error * error, 2.0 * error, 2.0
        else:
            small = np.exp(-abs(x[t]))
            likely = 1.0 / (1.0 + small) if x[t] > 0 else small / (1.0 + small)
            value[t] = np.log1p(small) + max(x[t], 0.0) - y * x[t]
            first[t] = likely - y
            second[t] = small / (1.0 + small) ** 2
    return value, first, second


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_gradient(users, items, dim, user, item, other, weight, user_out, item_out):
    """Add Σ_t weight_t ∇x_t to two tables like `users` and `items`."""
    biased = users.shape[1] > dim
    for t in range(len(item)):
        w, u, i, j = weight[t], user[t], item[t], other[t]
        p, q = users[u], items[i]
        p_out, q_out = user_out[u], item_out[i]
        for d in range(dim):
            p_out[d] += w * q[d]
            q_out[d] += w * p[d]
        if biased:
            q_out[dim] += w
        if j >= 0:
            r, r_out = items[j], item_out[j]
            for d in range(dim):
                p_out[d] -= w * r[d]
                r_out[d] -= w * p[d]
            if biased:
                r_out[dim] -= w
        elif biased:
            p_out[dim] += w


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _along(p, q, p_way, q_way, dim, biased):
    """Derivative of p·q + bias of the item along a direction."""
    total = 0.0
    for d in range(dim):
        total += p_way[d] * q[d] + p[d] * q_way[d]
    if biased:
        total += q_way[dim]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_slopes(users, items, dim, user, item, other, weight, example, user_way, item_way, out):
    """Add weight_t ∇x_t · direction to the example of each term.

    Parameters
    ----------
    weight : float64 [T]
    example : int64 [T]
    user_way : float64 [R, n_users, K]
    item_way : float64 [R, n_items, K]
    out : float64 [R, E]
        Added to.
    """
    biased = users.shape[1] > dim
    for t in range(len(item)):
        u, i, j = user[t], item[t], other[t]
        p = users[u]
        for r in range(out.shape[0]):
            total = _along(p, items[i], user_way[r, u], item_way[r, i], dim, biased)
            if j >= 0:
                total -= _along(p, items[j], user_way[r, u], item_way[r, j], dim, biased)
            elif biased:
                total += user_way[r, u, dim]
            out[r, example[t]] += weight[t] * total


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_curvature(
    users, items, dim, user, item, other, first, second,
    user_way, item_way, user_out, item_out,
):  # fmt: skip
    """Add the products of the Hessian Σ_t (second_t ∇x_t ∇x_tᵀ + first_t ∇²x_t) with directions.

    Parameters
    ----------
    first, second : float64 [T]
        Derivatives of φ, weighted.
    user_way, user_out : float64 [R, n_users, K]
    item_way, item_out : float64 [R, n_items, K]
    """
    biased = users.shape[1] > dim
    for t in range(len(item)):
        u, i, j, a = user[t], item[t], other[t], first[t]
        p, q = users[u], items[i]
        for r in range(user_way.shape[0]):
            p_way, q_way = user_way[r, u], item_way[r, i]
            p_out, q_out = user_out[r, u], item_out[r, i]
            slope = _along(p, q, p_way, q_way, dim, biased)
            if j >= 0:
                slope -= _along(p, items[j], p_way, item_way[r, j], dim, biased)
            elif biased:
                slope += p_way[dim]
            s = second[t] * slope
            for d in range(dim):
                p_out[d] += s * q[d] + a * q_way[d]
                q_out[d] += s * p[d] + a * p_way[d]
            if biased:
                q_out[dim] += s
            if j >= 0:
                o, o_way, o_out = items[j], item_way[r, j], item_out[r, j]
                for d in range(dim):
                    p_out[d] -= s * o[d] + a * o_way[d]
                    o_out[d] -= s * p[d] + a * p_way[d]
                if biased:
                    o_out[dim] -= s
            elif biased:
                p_out[dim] += s


@njit(nogil=True, cache=True, fastmath=_FAST)
def user_blocks(items, dim, biased, user, item, other, second, out):
    """Add Σ_t second_t ∇x ∇xᵀ of each user's own parameters to float64 [n_users, K, K]."""
    width = out.shape[1]
    slope = np.empty(width)
    for t in range(len(item)):
        _user_slope(items, dim, biased, item[t], other[t], slope)
        block = out[user[t]]
        for a in range(width):
            w = second[t] * slope[a]
            for b in range(width):
                block[a, b] += w * slope[b]


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _user_slope(items, dim, biased, i, j, slope):
    """∇x with respect to the user's parameters, into float64 [K]."""
    for d in range(dim):
        slope[d] = items[i, d]
    if j >= 0:
        for d in range(dim):
            slope[d] -= items[j, d]
    if biased:
        slope[dim] = 0.0 if j >= 0 else 1.0


@njit(nogil=True, cache=True, fastmath=_FAST)
def item_blocks(users, dim, user, item, other, second, out):
    """Add Σ_t second_t ∇x ∇xᵀ of each item's own parameters to float64 [n_items, K, K]."""
    width = out.shape[1]
    slope = np.ones(width)
    for t in range(len(item)):
        for d in range(dim):
            slope[d] = users[user[t], d]
        for side in range(2):
            i = item[t] if side == 0 else other[t]
            if i < 0:
                continue
            block = out[i]
            for a in range(width):
                w = second[t] * slope[a]
                for b in range(width):
                    block[a, b] += w * slope[b]


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_reduced(
    users, items, dim, starts, item, other, first, second, inverses,
    item_way, item_out,
):  # fmt: skip
    """Add the products of the Hessian with users eliminated: S = C - Bᵀ A⁻¹ B.

    A is the part of the users (one block each), C that of the items, B between them.

    Parameters
    ----------
    starts : int64 [n_users + 1]
    inverses : float64 [n_users, K, K]
        A⁻¹ by user.
    item_way, item_out : float64 [R, n_items, K]
    """
    width, n_directions = users.shape[1], item_way.shape[0]
    biased = width > dim
    longest = 0
    for u in range(len(starts) - 1):
        longest = max(longest, starts[u + 1] - starts[u])
    slopes = np.empty(longest)
    across, solved, still = np.empty(width), np.empty(width), np.zeros(width)
    for u in range(len(starts) - 1):
        begin, end = starts[u], starts[u + 1]
        p = users[u]
        for r in range(n_directions):
            across[:] = 0.0
            for t in range(begin, end):
                i, j, a = item[t], other[t], first[t]
                q, q_way = items[i], item_way[r, i]
                slope = _along(p, q, still, q_way, dim, biased)
                if j >= 0:
                    slope -= _along(p, items[j], still, item_way[r, j], dim, biased)
                slopes[t - begin] = slope
                s = second[t] * slope
                for d in range(dim):
                    across[d] += s * q[d] + a * q_way[d]
                if j >= 0:
                    for d in range(dim):
                        across[d] -= s * items[j, d] + a * item_way[r, j, d]
                elif biased:
                    across[dim] += s
            for a in range(width):
                total = 0.0
                for b in range(width):
                    total += inverses[u, a, b] * across[b]
                solved[a] = total
            for t in range(begin, end):
                i, j, a = item[t], other[t], first[t]
                q, q_out = items[i], item_out[r, i]
                back = 0.0
                for d in range(dim):
                    back += solved[d] * q[d]
                if j >= 0:
                    for d in range(dim):
                        back -= solved[d] * items[j, d]
                elif biased:
                    back += solved[dim]
                s = second[t] * (slopes[t - begin] - back)
                for d in range(dim):
                    q_out[d] += s * p[d] - a * solved[d]
                if biased:
                    q_out[dim] += s
                if j >= 0:
                    o_out = item_out[r, j]
                    for d in range(dim):
                        o_out[d] -= s * p[d] - a * solved[d]
                    if biased:
                        o_out[dim] -= s


@njit(nogil=True, cache=True)
def add_squared_norms(users, items, dim, user, item, other, first, out, example):
    """Add φ'² ‖∇x‖² of each term to its example: exact where an example has one term."""
    biased = users.shape[1] > dim
    for t in range(len(item)):
        total = 0.0
        sides = 1.0 if other[t] < 0 else 2.0
        for d in range(dim):
            slope = items[item[t], d]
            if other[t] >= 0:
                slope -= items[other[t], d]
            total += slope * slope + sides * users[user[t], d] ** 2
        if biased:
            total += 2.0
        out[example[t]] += first[t] * first[t] * total
