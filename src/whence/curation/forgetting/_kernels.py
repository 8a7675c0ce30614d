"""Compiled merging of lists of the most similar items."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def merged_lists(
    old_indptr, old_columns, old_values, new_indptr, new_places, new_values, lost, is_lost, k
):
    """Put the new similarities of some items into the lists of all others.

    Lists are by column; their order of rank is (value descending, column ascending).

    Parameters
    ----------
    old_indptr, old_columns, old_values
        Rows of the lists as they are, of at most k entries, the best of all.
    new_indptr, new_places, new_values
        Of each row, the similarities to the items lost, by their place in `lost`.
    lost : int32 [D], ascending
    is_lost : bool [n_items]
    k : int

    Returns
    -------
    indptr, columns, values
        The new lists; those of the items lost, and those that are open, are empty.
    is_open : bool [n_items]
        Lists that lost entries that something unknown may take the place of.
    """
    n_rows = len(old_indptr) - 1
    indptr = np.zeros(n_rows + 1, np.int64)
    columns = np.empty(len(old_columns) + len(new_places), np.int32)
    values = np.empty(len(columns), np.float64)
    is_open = np.zeros(n_rows, np.bool_)
    for row in range(n_rows):
        start = indptr[row]
        indptr[row + 1] = start
        if is_lost[row]:
            continue
        one, one_end = old_indptr[row], old_indptr[row + 1]
        two, two_end = new_indptr[row], new_indptr[row + 1]
        is_full = one_end - one == k
        last_value, last_column = 0.0, -1
        if is_full:
            last_value = np.inf
            for place in range(one, one_end):
                if old_values[place] <= last_value:
                    last_value, last_column = old_values[place], old_columns[place]
        n = start
        while one < one_end or two < two_end:
            if two == two_end or (one < one_end and old_columns[one] < lost[new_places[two]]):
                column, value = old_columns[one], old_values[one]
                one += 1
                if is_lost[column]:
                    continue
            else:
                column, value = lost[new_places[two]], new_values[two]
                if one < one_end and old_columns[one] == column:
                    one += 1
                two += 1
                behind = value < last_value or (value == last_value and column > last_column)
                if value <= 0.0 or (is_full and behind):
                    continue
            columns[n], values[n] = column, value
            n += 1
        if is_full and n - start < k:
            is_open[row] = True
            continue
        while n - start > k:  # drop the last in rank
            worst = start
            for place in range(start + 1, n):
                if values[place] <= values[worst]:
                    worst = place
            for place in range(worst, n - 1):
                columns[place], values[place] = columns[place + 1], values[place + 1]
            n -= 1
        indptr[row + 1] = n
    return indptr, columns[: indptr[-1]], values[: indptr[-1]], is_open
