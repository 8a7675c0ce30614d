"""Numbers by first appearance."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_AT_A_TIME = 10_000_000  # rows, so that memory does not grow with them
Number = TypeVar("Number", bound=np.integer[Any])


def renumber(
    codes: NDArray[np.integer[Any]], n_codes: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Number codes anew, by first appearance.

    Parameters
    ----------
    codes : integer array [n]
        From 0 and below `n_codes`; some may not occur.

    Returns
    -------
    old : int64 array [n_distinct]
        The code that each new one had.
    codes : int32 array [n]
        The new ones.
    """
    n = len(codes)
    first = np.full(n_codes, n, dtype=np.int64)
    for end in range(n, 0, -_AT_A_TIME):  # the last assignment is the first appearance
        start = max(0, end - _AT_A_TIME)
        first[codes[start:end][::-1]] = np.arange(end - 1, start - 1, -1)
    present = np.flatnonzero(first < n)
    old: NDArray[np.int64] = present[np.argsort(first[present])]
    new = np.empty(n_codes, dtype=np.int32)
    new[old] = np.arange(len(old), dtype=np.int32)
    return old, new[codes]


def sorted_distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Distinct values, ascending: `numpy.unique` by sorting, five times as fast as by hashing.

    Parameters
    ----------
    values : integer array [n]
    """
    ordered = np.sort(values)
    if not len(ordered):
        return ordered
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
