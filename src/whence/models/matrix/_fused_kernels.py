"""Compiled products of the factors of users and items, and their gradient."""

from __future__ import annotations

import numpy as np
from numba import njit

# Sums may be reordered, so that they use the processor's vectors; NaN and infinity stay what
# they are, as training must notice them.
_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def pair_products(user_factors, item_factors, users, items):
    """Scalar products of each user with each of its items.

    Parameters
    ----------
    user_factors : float [n_users, D]
    item_factors : float [n_items, D]
    users : int64 [B]
    items : int64 [B, n]

    Returns
    -------
    float [B, n]
    """
    products = np.empty(items.shape, dtype=user_factors.dtype)
    for row in range(len(users)):
        own = user_factors[users[row]]
        for place in range(items.shape[1]):
            other = item_factors[items[row, place]]
            total = own[0] * other[0]
            for d in range(1, len(own)):
                total += own[d] * other[d]
            products[row, place] = total
    return products


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_gradients(user_factors, item_factors, users, items, gradient, user_gradient, item_gradient):
    """Add the gradient with respect to the factors, given that with respect to the products.

    Parameters
    ----------
    user_factors, item_factors, users, items
        As in `pair_products`.
    gradient : float [B, n]
    user_gradient : float [n_users, D]
        Added to.
    item_gradient : float [n_items, D]
        Added to.
    """
    for row in range(len(users)):
        own = user_factors[users[row]]
        own_gradient = user_gradient[users[row]]
        for place in range(items.shape[1]):
            other = item_factors[items[row, place]]
            other_gradient = item_gradient[items[row, place]]
            weight = gradient[row, place]
            for d in range(len(own)):
                own_gradient[d] += weight * other[d]
                other_gradient[d] += weight * own[d]
