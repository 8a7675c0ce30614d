"""Sorting for compiled code: small, stable, and quick to compile."""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


@njit(**_OPTIONS)
def stable_argsort(keys, order):
    """Write into ``order`` what sorts ``keys`` ascending, ties as they come (merge sort).

    Parameters
    ----------
    keys : int64 array (n,)
    order : int64 array (n,), written
    """
    n = len(order)
    other = np.empty(n, np.int64)
    for i in range(n):
        order[i] = i
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            left, middle = start, min(start + width, n)
            right, end = middle, min(start + 2 * width, n)
            for place in range(start, end):
                if left < middle and (right >= end or keys[order[left]] <= keys[order[right]]):
                    other[place] = order[left]
                    left += 1
                else:
                    other[place] = order[right]
                    right += 1
        for i in range(n):
            order[i] = other[i]
        width *= 2
