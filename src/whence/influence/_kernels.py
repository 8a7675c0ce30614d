"""Compiled loops of influence: joins of sparse gradients, the step back through an LSTM."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def join_rows(owner, index, values, offsets, other_owner, other_values, out):
    """Add the inner products of two sets of gradients of one table, by the rows that both touch.

    Parameters
    ----------
    owner, index : int64 [N]
        Example and row of the table of each entry of the first set.
    values : float [N, C]
    offsets : int64 [n_rows + 1]
        The second set, sorted by row of the table: entries of row r are
        ``offsets[r]:offsets[r + 1]``.
    other_owner : int64 [M]
    other_values : float [M, C]
    out : float [n, m]
        Added to.
    """
    width = values.shape[1]
    for entry in range(len(owner)):
        row = index[entry]
        mine = values[entry]
        line = out[owner[entry]]
        for other in range(offsets[row], offsets[row + 1]):
            theirs = other_values[other]
            total = mine[0] * theirs[0]
            for k in range(1, width):
                total += mine[k] * theirs[k]
            line[other_owner[other]] += total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def row_norms(offsets, index, values, out):
    """Add the squared norm of each example's gradient of a table.

    Parameters
    ----------
    offsets : int64 [n + 1]
        Entries of the examples.
    index : int64 [N]
        Row of the table of each entry; entries of one example may share a row.
    values : float [N, C]
    out : float64 [n]
        Added to.
    """
    width = values.shape[1]
    for example in range(len(out)):
        for a in range(offsets[example], offsets[example + 1]):
            for b in range(a, offsets[example + 1]):
                if index[a] != index[b]:
                    continue
                total = values[a, 0] * values[b, 0]
                for k in range(1, width):
                    total += values[a, k] * values[b, k]
                out[example] += total if a == b else 2.0 * total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def lstm_step_back(gates, before, squashed, grad_state, grad_cell, grad_gates):
    """One step back through the gates of an LSTM.

    Parameters
    ----------
    gates : float [B, 4H]
        Input, forget, cell and output gate after their non-linearities.
    before : float [B, H]
        State of the cell before the step.
    squashed : float [B, H]
        tanh of the state of the cell after the step.
    grad_state : float [B, H]
        Gradient of the step's output.
    grad_cell : float [B, H]
        Gradient of the cell, from the step after; overwritten by that for the step before.
    grad_gates : float [B, 4H]
        Written: gradient before the non-linearities.
    """
    n, width = before.shape
    one = gates.dtype.type(1)
    whole = np.empty(width, gates.dtype)
    for row in range(n):
        i, f = gates[row, :width], gates[row, width : 2 * width]
        g, o = gates[row, 2 * width : 3 * width], gates[row, 3 * width :]
        d_i, d_f = grad_gates[row, :width], grad_gates[row, width : 2 * width]
        d_g, d_o = grad_gates[row, 2 * width : 3 * width], grad_gates[row, 3 * width :]
        c, s, dh, dc = before[row], squashed[row], grad_state[row], grad_cell[row]
        # One loop for each result: the compiler gives up on loops over as many arrays at once.
        for k in range(width):
            whole[k] = dc[k] + dh[k] * o[k] * (one - s[k] * s[k])
        for k in range(width):
            d_o[k] = dh[k] * s[k] * o[k] * (one - o[k])
        for k in range(width):
            d_i[k] = whole[k] * g[k] * i[k] * (one - i[k])
        for k in range(width):
            d_f[k] = whole[k] * c[k] * f[k] * (one - f[k])
        for k in range(width):
            d_g[k] = whole[k] * i[k] * (one - g[k] * g[k])
        for k in range(width):
            dc[k] = whole[k] * f[k]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def lstm_cell_along(gates, along, before, cell_along):
    """Derivative of the cell of an LSTM along a direction.

    Parameters
    ----------
    gates : float [B, 4H]
        Input, forget, cell and output gate after their non-linearities.
    along : float [B, 4H]
        Derivatives before the non-linearities; overwritten by those after them.
    before : float [B, H]
        State of the cell before the step.
    cell_along : float [B, H]
        Derivative of the cell before the step; overwritten by that after it.
    """
    n, width = before.shape
    one = gates.dtype.type(1)
    for row in range(n):
        gate, d = gates[row], along[row]
        for k in range(2 * width):
            d[k] *= gate[k] * (one - gate[k])
        for k in range(2 * width, 3 * width):
            d[k] *= one - gate[k] * gate[k]
        for k in range(3 * width, 4 * width):
            d[k] *= gate[k] * (one - gate[k])
        i, f, g = gate[:width], gate[width : 2 * width], gate[2 * width : 3 * width]
        d_i, d_f, d_g = d[:width], d[width : 2 * width], d[2 * width : 3 * width]
        c, dc = before[row], cell_along[row]
        for k in range(width):
            dc[k] = f[k] * dc[k] + d_f[k] * c[k]
        for k in range(width):
            dc[k] += i[k] * d_g[k] + d_i[k] * g[k]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def lstm_state_along(gates, along, squashed, cell_along, state_along):
    """Derivative of the output of an LSTM along a direction.

    Parameters
    ----------
    gates, along : float [B, 4H]
        As `lstm_cell_along` leaves them.
    squashed : float [B, H]
        tanh of the state of the cell after the step.
    cell_along : float [B, H]
        Derivative of the cell after the step.
    state_along : float [B, H]
        Written.
    """
    n, width = squashed.shape
    one = gates.dtype.type(1)
    for row in range(n):
        o, d_o = gates[row, 3 * width :], along[row, 3 * width :]
        s, dc, dh = squashed[row], cell_along[row], state_along[row]
        for k in range(width):
            dh[k] = d_o[k] * s[k] + o[k] * (one - s[k] * s[k]) * dc[k]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def gru_step_back(gates, hidden_new, before, grad_state, grad_in, grad_hidden):
    """One step back through the gates of a GRU.

    Parameters
    ----------
    gates : float [B, 3H]
        Reset, update and new gate after their non-linearities.
    hidden_new : float [B, H]
        The state's share of the new gate, before the reset gate is applied.
    before : float [B, H]
        State before the step.
    grad_state : float [B, H]
        Gradient of the state after the step; overwritten by its direct share for the one before.
    grad_in, grad_hidden : float [B, 3H]
        Written: gradients of what comes from the input and from the state.
    """
    n, width = before.shape
    one = gates.dtype.type(1)
    for row in range(n):
        r, z, new = gates[row, :width], gates[row, width : 2 * width], gates[row, 2 * width :]
        x_r, x_z = grad_in[row, :width], grad_in[row, width : 2 * width]
        x_n = grad_in[row, 2 * width :]
        h_r, h_z = grad_hidden[row, :width], grad_hidden[row, width : 2 * width]
        h_n = grad_hidden[row, 2 * width :]
        share, h, dh = hidden_new[row], before[row], grad_state[row]
        # One loop for each result: the compiler gives up on loops over as many arrays at once.
        for k in range(width):
            x_n[k] = dh[k] * (one - z[k]) * (one - new[k] * new[k])
        for k in range(width):
            x_z[k] = dh[k] * (h[k] - new[k]) * z[k] * (one - z[k])
        for k in range(width):
            x_r[k] = x_n[k] * share[k] * r[k] * (one - r[k])
        for k in range(width):
            h_n[k] = x_n[k] * r[k]
            dh[k] = dh[k] * z[k]
        h_r[:] = x_r
        h_z[:] = x_z


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_dots(left, right, n, out):
    """Add the dot products of rows to the examples that they belong to.

    Parameters
    ----------
    left, right : float [T * n, R]
        Row ``t * n + b`` belongs to example b.
    n : int
    out : float64 [n]
    """
    width = left.shape[1]
    for row in range(len(left)):
        a, b = left[row], right[row]
        total = a[0] * b[0]
        for k in range(1, width):
            total += a[k] * b[k]
        out[row % n] += total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_dots_with_rows(owner, index, values, table, out):
    """Add the dot products of entries of a table's gradient with the rows of a table.

    Parameters
    ----------
    owner, index : int64 [N]
    values : float [N, C]
    table : float [n_rows, C]
    out : float64 [n]
    """
    width = values.shape[1]
    for entry in range(len(owner)):
        a, b = values[entry], table[index[entry]]
        total = a[0] * b[0]
        for k in range(1, width):
            total += a[k] * b[k]
        out[owner[entry]] += total


@njit(nogil=True, cache=True)
def keep_largest(scores, sign, first, best, numbers):
    """Take a block of scores into the running lists of the largest of each query.

    Parameters
    ----------
    scores : float [m, Q]
        Of the examples ``first, ..., first + m - 1``, later ones than all before.
    sign : float
        1 for the largest scores, -1 for the smallest.
    first : int
    best : float64 [Q, n]
        Heaps of scores times `sign`: the one that leaves first is at place 0; -inf where there is
        none yet.
    numbers : int64 [Q, n]
        Their examples. Among equal scores the earliest example stays.
    """
    least = best[:, 0].copy()
    for row in range(scores.shape[0]):
        for query in range(scores.shape[1]):
            score = sign * scores[row, query]
            if score > least[query]:
                _replace_least(best[query], numbers[query], score, first + row)
                least[query] = best[query, 0]


@njit(nogil=True, cache=True)
def keep_largest_of_pairs(rows, columns, values, sign, first, best, numbers):
    """Take the scores of some pairs into the running lists; see `keep_largest`.

    Parameters
    ----------
    rows, columns : int64 [P]
        Example, less `first`, and query of each pair, by example.
    values : float [P]
    sign, first, best, numbers
        As in `keep_largest`.
    """
    for pair in range(len(rows)):
        heap = best[columns[pair]]
        score = sign * values[pair]
        if score > heap[0]:
            _replace_least(heap, numbers[columns[pair]], score, first + rows[pair])


@njit(nogil=True, cache=True)
def _replace_least(heap, who, score, number):
    """Replace what leaves a heap [n] first by a score that is later than all in it."""
    n, place = len(heap), 0
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        # Of equal scores the later example is nearer to leaving.
        if child + 1 < n and (
            heap[child + 1] < heap[child]
            or (heap[child + 1] == heap[child] and who[child + 1] > who[child])
        ):
            child += 1
        if heap[child] >= score:
            break
        heap[place], who[place] = heap[child], who[child]
        place = child
    heap[place], who[place] = score, number


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def write_products(left, right, add, out):
    """Write out sums of a few outer products, for which calls of BLAS are too small.

    Parameters
    ----------
    left : float [n, T, R]
    right : float [n, T, C]
    add : bool
        To what is there.
    out : float [n, C, R]
    """
    n, places, rows = left.shape
    columns = right.shape[2]
    product = np.empty((columns, rows), left.dtype)
    for example in range(n):
        product[:] = 0
        for t in range(places):
            vector = left[example, t]
            for c in range(columns):
                factor, line = right[example, t, c], product[c]
                for r in range(rows):
                    line[r] += factor * vector[r]
        if add:
            out[example] += product
        else:
            out[example] = product


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_row_sums(scores, out):
    """Add the sums of the rows of float [m, Q] to float64 [m]."""
    for row in range(len(scores)):
        line, total = scores[row], 0.0
        for k in range(len(line)):
            total += line[k]
        out[row] += total
