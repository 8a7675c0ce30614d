"""Compiled selection of the best entries of rows."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def top_of_rows(indptr, indices, data, excluded, k):
    """The k largest positive entries of each row of a CSR matrix.

    Parameters
    ----------
    indptr : int64 [R + 1]
    indices : int32 [nnz]
    data : float64 [nnz]
    excluded : int32 [R]
        One column per row that is left out; -1 for none.
    k : int

    Returns
    -------
    columns : int32 [R, k]
        By (value descending, column ascending), padded with -1.
    values : float64 [R, k]
        Padded with 0.
    """
    n_rows = len(indptr) - 1
    columns = np.full((n_rows, k), -1, dtype=np.int32)
    values = np.zeros((n_rows, k), dtype=np.float64)
    for row in range(n_rows):
        filled = 0
        for position in range(indptr[row], indptr[row + 1]):
            column = indices[position]
            value = data[position]
            if value <= 0.0 or column == excluded[row]:
                continue
            if filled == k:
                worst = values[row, k - 1]
                if value < worst or (value == worst and column > columns[row, k - 1]):
                    continue
            else:
                filled += 1
            # Insertion into the sorted list: the last place is free, or is given up.
            place = filled - 1
            while place > 0 and (
                values[row, place - 1] < value
                or (values[row, place - 1] == value and columns[row, place - 1] > column)
            ):
                values[row, place] = values[row, place - 1]
                columns[row, place] = columns[row, place - 1]
                place -= 1
            values[row, place] = value
            columns[row, place] = column
    return columns, values


@njit(nogil=True, cache=True)
def top_of_scores(scores, floor, k):
    """The k largest entries above a floor of each row.

    Parameters
    ----------
    scores : float32 or float64 [R, C]
    floor : float64
    k : int

    Returns
    -------
    columns : int32 [R, k]
        By (score descending, column ascending), padded with -1.
    values : float64 [R, k]
        Padded with 0.
    """
    n_rows, n_columns = scores.shape
    columns = np.full((n_rows, k), -1, dtype=np.int32)
    values = np.zeros((n_rows, k), dtype=np.float64)
    for row in range(n_rows):
        filled = 0
        for column in range(n_columns):
            value = np.float64(scores[row, column])
            # Columns ascend, so that an equal score never displaces an earlier one.
            if value <= floor or (filled == k and value <= values[row, k - 1]):
                continue
            if filled < k:
                filled += 1
            place = filled - 1
            while place > 0 and values[row, place - 1] < value:
                values[row, place] = values[row, place - 1]
                columns[row, place] = columns[row, place - 1]
                place -= 1
            values[row, place] = value
            columns[row, place] = column
    return columns, values
