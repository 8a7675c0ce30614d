"""Compiled loops of screening: columns chosen and rounded, bounds, and the pairs near a limit."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
LONGEST_RUN = 2048
"""Columns whose squares are added in single precision."""


@njit(nogil=True, cache=True, fastmath=_FAST)
def condense(values, bits, runs, vector, halves, out, bits_out, lengths, dots):
    """Copy the chosen columns of rows, rounded if wanted, and say what that does to them.

    Parameters
    ----------
    values : float32 [n, K]
    bits : int32 [n, K]
        The same memory.
    runs : int64 [R, 3]
        First and last (exclusive) of some columns, at most `LONGEST_RUN`, and the column of the
        copy that they begin at; -1 for those that are left out. Together they are all columns.
    vector : float32 [K]
    halves : bool
        Round to the nearest bfloat16, and write its 16 bits.
    out : float32 [n, C], or of any size if `halves`
        Written.
    bits_out : int16 [n, C], or of any size if not `halves`
        Written.
    lengths : float64 [3, n]
        Written: norms of what is copied, of what is rounded off, and of what is left out.
    dots : float64 [n]
        Written: inner products of the rows with `vector`.
    """
    piece = np.empty(LONGEST_RUN, np.int32)
    back = piece.view(np.float32)
    for row in range(len(values)):
        copied = residue = missed = dot = 0.0
        for run in range(len(runs)):
            first, last, place = runs[run]
            size = last - first
            line, other = values[row, first:last], vector[first:last]
            squares = product = np.float32(0)
            for k in range(size):
                squares += line[k] * line[k]
                product += line[k] * other[k]
            dot += product
            if place < 0:
                missed += squares
                continue
            copied += squares
            if not halves:
                out[row, place : place + size] = line
                continue
            given, target = bits[row, first:last], bits_out[row, place : place + size]
            for k in range(size):
                # To the nearest; halfway to the even one.
                whole = given[k] + np.int32(0x7FFF) + ((given[k] >> np.int32(16)) & np.int32(1))
                piece[k] = whole & np.int32(-65536)
                target[k] = np.int16(whole >> np.int32(16))
            squares = np.float32(0)
            for k in range(size):
                error = line[k] - back[k]
                squares += error * error
            residue += squares
        lengths[0, row], lengths[1, row] = np.sqrt(copied), np.sqrt(residue)
        lengths[2, row], dots[row] = np.sqrt(missed), dot


@njit(nogil=True, cache=True, fastmath=_FAST)
def bounded(product, kept, lengths, reach, relative, top, bottom, sums):
    """Find the pairs whose score may be at least `top`, or at most minus `bottom`.

    The score of a pair is ``product + kept``, off by at most ``lengths · reach + relative *
    |product|``.

    Parameters
    ----------
    product, kept : float32 [n, Q]
    lengths : float32 [3, n]
    reach : float32 [3, Q]
    relative : float32
    top, bottom : float32 [Q]
    sums : float64 [n]
        The rows of `kept` are added.

    Returns
    -------
    rows, columns : int64 [P]
        By row.
    """
    n, n_queries = product.shape
    rows, columns = np.empty(256, np.int64), np.empty(256, np.int64)
    found = 0
    above = np.empty(n_queries, np.float32)
    a, b, c = reach[0], reach[1], reach[2]
    for row in range(n):
        given, rest = product[row], kept[row]
        x, y, z = lengths[0, row], lengths[1, row], lengths[2, row]
        total, most = 0.0, np.float32(-1)
        for query in range(n_queries):
            slack = x * a[query] + y * b[query] + z * c[query] + relative * abs(given[query])
            score = given[query] + rest[query]
            beyond = slack + max(score - top[query], -score - bottom[query])
            above[query] = beyond
            most = max(most, beyond)
        for query in range(n_queries):
            total += rest[query]
        sums[row] += total
        if most < 0:
            continue
        if found + n_queries > len(rows):
            rows, columns = _longer(rows, found + n_queries), _longer(columns, found + n_queries)
        for query in range(n_queries):
            if above[query] >= 0:
                rows[found], columns[found] = row, query
                found += 1
    return rows[:found].copy(), columns[:found].copy()


@njit(nogil=True, cache=True)
def _longer(array, least):
    """The array with room for twice as many numbers, at least `least`."""
    longer = np.empty(max(2 * len(array), least), array.dtype)
    longer[: len(array)] = array
    return longer


@njit(nogil=True, cache=True, fastmath=_FAST)
def dots_of_pairs(rows, columns, left, right, kept):
    """Scores of some pairs: inner products, and what is known of them.

    Parameters
    ----------
    rows, columns : int64 [P]
        Of `left` and of `right`.
    left : float32 [n, K]
    right : float32 [Q, K]
    kept : float32 [n, Q]

    Returns
    -------
    float32 [P]
    """
    width = left.shape[1]
    out = np.empty(len(rows), np.float32)
    for pair in range(len(rows)):
        a, b = left[rows[pair]], right[columns[pair]]
        total = np.float64(kept[rows[pair], columns[pair]])
        for first in range(0, width, LONGEST_RUN):
            size = min(LONGEST_RUN, width - first)
            x, y = a[first : first + size], b[first : first + size]
            part = np.float32(0)
            for k in range(size):
                part += x[k] * y[k]
            total += part
        out[pair] = total
    return out
