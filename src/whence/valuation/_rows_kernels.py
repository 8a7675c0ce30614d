"""The list of one query and small changes of its scores: what the list is then worth.

A *board* holds the integer scores of all items for the query at hand. A change is logged and can
be undone. Only where an item of the list has another score, or an item outside would enter it, is
the list made anew, and then from the changed items and the best of the others (the *front*) as
far as they suffice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.evaluation._modes import ADDITIVE, AVERAGE_PRECISION, BEST, NO_RANKS
from whence.models.knn._kernels import keep_best

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}

# Columns of `cells`: score now and before the change at hand; number of the query that last
# touched, listed, put in front and wants the item; number of the change that last touched it.
SCORE, BEFORE, TOUCHED, LISTED, IN_FRONT, TARGET, CHANGE = 0, 1, 2, 3, 4, 5, 6

# Places in `counts`: the query, the change; touched items, changed items, items in front.
QUERY, TICKET, N_TOUCHED, N_CHANGED, N_FRONT = 0, 1, 2, 3, 4

# The front has this many items more than the list.
_RESERVE = 24


class Board(NamedTuple):
    """Scores of one query after the other.

    Attributes
    ----------
    cells : int64 (n_items, 8), one row per item
    touched, changed : int32 (n_items,), items with an entry in this query, or in this change
    counts : int64 (8,)
    front_items : int32; front_scores : int64, the best items without a change, best first
    best_items : int32 (K,); best_scores : int64 (K,), the list
    """

    cells: np.ndarray
    touched: np.ndarray
    changed: np.ndarray
    counts: np.ndarray
    front_items: np.ndarray
    front_scores: np.ndarray
    best_items: np.ndarray
    best_scores: np.ndarray


@njit(**_OPTIONS)
def make_board(n_items, length):
    """Return an empty board for lists of at most `length` items."""
    return Board(
        np.zeros((n_items, 8), np.int64),
        np.empty(n_items, np.int32),
        np.empty(n_items, np.int32),
        np.zeros(8, np.int64),
        np.empty(length + _RESERVE, np.int32),
        np.empty(length + _RESERVE, np.int64),
        np.empty(length, np.int32),
        np.empty(length, np.int64),
    )


@njit(**_INNER)
def begin_board(board, query, queries, utility, forbidden):
    """Forget the query before; `forbidden` is an item that can never be listed, or -1."""
    counts, cells = board.counts, board.cells
    counts[QUERY] += 1
    counts[TICKET] += 1
    counts[N_TOUCHED] = 0
    counts[N_CHANGED] = 0
    if utility.mode == NO_RANKS:
        return
    end = queries.target_end[query]
    if utility.first_only:
        end = min(end, queries.target_start[query] + 1)
    for e in range(queries.target_start[query], end):
        item = queries.target_items[e]
        if item >= 0 and item != forbidden:
            cells[item, TARGET] = counts[QUERY]


@njit(**_INNER)
def change(board, item, amount):
    """Add to the score of an item; logged, until `settle` or `undo`."""
    cells, counts = board.cells, board.counts
    if cells[item, TOUCHED] != counts[QUERY]:
        cells[item, TOUCHED] = counts[QUERY]
        cells[item, SCORE] = 0
        board.touched[counts[N_TOUCHED]] = item
        counts[N_TOUCHED] += 1
    if cells[item, CHANGE] != counts[TICKET]:
        cells[item, CHANGE] = counts[TICKET]
        cells[item, BEFORE] = cells[item, SCORE]
        board.changed[counts[N_CHANGED]] = item
        counts[N_CHANGED] += 1
    cells[item, SCORE] += amount


@njit(**_INNER)
def clear(board):
    """Set every score to 0; logged as changes."""
    for t in range(board.counts[N_TOUCHED]):
        item = board.touched[t]
        change(board, item, -board.cells[item, SCORE])


@njit(**_INNER)
def undo(board):
    """Take back the changes since the last call."""
    cells, counts = board.cells, board.counts
    for i in range(counts[N_CHANGED]):
        item = board.changed[i]
        cells[item, SCORE] = cells[item, BEFORE]
    counts[N_CHANGED] = 0
    counts[TICKET] += 1


@njit(**_INNER)
def settle(board, query, utility):
    """Make the scores the ones that changes are compared with.

    Returns
    -------
    float
        Value of their list.
    """
    cells, counts, front = board.cells, board.counts, board.front_items
    n = 0
    for t in range(counts[N_TOUCHED]):
        item = board.touched[t]
        if cells[item, SCORE] > 0:
            n = keep_best(item, cells[item, SCORE], n, front, board.front_scores)
    counts[N_FRONT] = n
    length = min(n, len(board.best_items))
    for i in range(n):
        cells[front[i], IN_FRONT] = counts[QUERY]
        if i < length:
            cells[front[i], LISTED] = counts[QUERY]
    counts[N_CHANGED] = 0
    counts[TICKET] += 1
    return _value_of_list(front[:length], board, query, utility)


@njit(**_INNER)
def value_after(board, query, utility, settled):
    """Value of the list after the changes; `settled` is what it was worth before."""
    cells, counts = board.cells, board.counts
    length = len(board.best_items)
    full = counts[N_FRONT] >= length
    bar = board.front_scores[length - 1] if full else 1
    bar_item = board.front_items[length - 1] if full else len(cells)
    for i in range(counts[N_CHANGED]):
        item = board.changed[i]
        score = cells[item, SCORE]
        if score != cells[item, BEFORE] and (
            cells[item, LISTED] == counts[QUERY]
            or score > bar
            or (score == bar and item < bar_item)
        ):
            n = _list_from_front(board)
            return _value_of_list(board.best_items[:n], board, query, utility)
    return settled


@njit(**_INNER)
def _list_from_front(board):
    """Make the list from the front and the changed items; from all, where that may not do."""
    cells, counts, front = board.cells, board.counts, board.front_items
    best_items, best_scores = board.best_items, board.best_scores
    n = 0
    for i in range(counts[N_FRONT]):
        score = cells[front[i], SCORE]
        if score > 0:
            n = keep_best(front[i], score, n, best_items, best_scores)
    for i in range(counts[N_CHANGED]):
        item = board.changed[i]
        if cells[item, IN_FRONT] != counts[QUERY] and cells[item, SCORE] > 0:
            n = keep_best(item, cells[item, SCORE], n, best_items, best_scores)
    last = len(front) - 1
    if counts[N_FRONT] <= last:
        return n  # everything was in front
    if n == len(best_items):
        bar, bar_item = board.front_scores[last], front[last]
        if best_scores[n - 1] > bar or (
            best_scores[n - 1] == bar and best_items[n - 1] <= bar_item
        ):
            return n  # what is not in front is behind its last
    n = 0
    for t in range(counts[N_TOUCHED]):
        item = board.touched[t]
        if cells[item, SCORE] > 0:
            n = keep_best(item, cells[item, SCORE], n, best_items, best_scores)
    return n


@njit(**_INNER)
def _value_of_list(items, board, query, utility):
    """Value of a list by the definitions."""
    cells, counts = board.cells, board.counts
    ranks = 0.0
    hits, sustainable = 0, 0
    for i in range(len(items)):
        if utility.sustainable_factor != 0.0:
            sustainable += utility.sustainable[items[i]]
        if utility.mode == NO_RANKS or cells[items[i], TARGET] != counts[QUERY]:
            continue
        hits += 1
        if utility.mode == ADDITIVE:
            ranks += utility.gains[i + 1]
        elif utility.mode == BEST:
            ranks = max(ranks, utility.gains[i + 1])
        elif utility.mode == AVERAGE_PRECISION:
            ranks += hits / (i + 1)
    value = utility.rank_factors[query] * ranks
    if sustainable > 0:
        value += utility.sustainable_factor * (sustainable / len(items))
    return value
