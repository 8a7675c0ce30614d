"""VMIS-kNN without one click, or without one item: exactly what refitting gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._kernels import (
    RECENT_EVENTS,
    distinct_recent,
    gather_candidates,
    idf_shift,
    rank_candidates,
)
from whence.models.knn._sort_kernels import stable_argsort
from whence.valuation._rows_kernels import (
    LISTED,
    N_TOUCHED,
    QUERY,
    SCORE,
    begin_board,
    change,
    clear,
    make_board,
    settle,
    undo,
    value_after,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}


class Clicks(NamedTuple):
    """A fitted VMISKNN and its rows, sessions by position (0: most recent).

    A *key* orders sessions by recency, smaller for the more recent, as they are or as they would
    be without their last click.

    Attributes
    ----------
    session_offsets, session_items, posting_offsets, postings, idf
        See whence.models.knn.vmis.SessionIndex; in one tuple with the rest, which is faster.
    use_idf : bool; k, m : int
    keys : int64 (positions,), ascending
    row_offsets : int64 (positions + 1,); row_items : int32 (n_rows,)
        Item of each click, by session.
    row_numbers : int64 (n_rows,), row of the table
    row_repeated : uint8 (n_rows,), whether the session has the item in another click, too
    row_keys : int64 (n_rows,), key of the session without the click
    time_items : int32 (positions,)
        The item that all the last clicks of a session are of, if it has others before; or -1.
    time_keys : int64 (positions,), key of the session without that item
    """

    session_offsets: np.ndarray
    session_items: np.ndarray
    posting_offsets: np.ndarray
    postings: np.ndarray
    idf: np.ndarray
    use_idf: bool
    k: int
    m: int
    keys: np.ndarray
    row_offsets: np.ndarray
    row_items: np.ndarray
    row_numbers: np.ndarray
    row_repeated: np.ndarray
    row_keys: np.ndarray
    time_items: np.ndarray
    time_keys: np.ndarray


class Asking(NamedTuple):
    """The query at hand: its length, last item, and distinct items with their recency.

    `seen` holds the number of the query that last had an item, `recency_of` its recency there.
    """

    number: int
    length: int
    last: int
    items: np.ndarray
    recency: np.ndarray
    shift: int
    seen: np.ndarray
    recency_of: np.ndarray


@njit(**_OPTIONS)
def _ask(query, queries, clicks, seen, recency_of):
    """Read a query."""
    start, end = queries.history_start[query], queries.history_end[query]
    length = end - start
    items = np.empty(length, np.int32)
    recency = np.empty(length, np.int32)
    n = distinct_recent(queries.history_items, start, end, seen, query + 1, items, recency)
    for j in range(n):
        recency_of[items[j]] = recency[j]
    last = queries.history_items[end - 1] if length > 0 else -1
    shift = idf_shift(length, clicks.k) if clicks.use_idf else 0
    return Asking(query + 1, length, last, items[:n], recency[:n], shift, seen, recency_of)


@njit(**_INNER)
def _change_session(board, session, weight, clicks, asking, left_out):
    """Add a session's weight to the scores of its items, but for the one left out."""
    if weight == 0:
        return
    for e in range(clicks.session_offsets[session], clicks.session_offsets[session + 1]):
        item = clicks.session_items[e]
        if item == asking.last or item == left_out:
            continue
        value = weight
        if clicks.use_idf:
            value = weight * np.int64(np.rint(clicks.idf[item] * (1 << asking.shift)))
        change(board, item, value)


@njit(**_INNER)
def _without_click(row, size, similarity, weight, clicks, asking, session):
    """Similarity and weight of a session without one of its clicks; 0 where it is no candidate."""
    item = clicks.row_items[row]
    if size == 1:
        return 0, 0
    if clicks.row_repeated[row] or asking.seen[item] != asking.number:
        return similarity, weight
    similarity -= asking.length - asking.recency_of[item]
    newest = asking.length
    for e in range(clicks.session_offsets[session], clicks.session_offsets[session + 1]):
        other = clicks.session_items[e]
        if other != item and asking.seen[other] == asking.number:
            newest = min(newest, asking.recency_of[other])
    return similarity, (RECENT_EVENTS - newest) * similarity if newest < RECENT_EVENTS else 0


@njit(**_OPTIONS)
def leave_out_clicks(first, last, queries, clicks, utility, values, value_all):
    """Effect of deleting each click on queries [first, last).

    Parameters
    ----------
    values : float64 (n_rows, 2), added to: value with the row minus value without it
    value_all : float64 (Q,), written
    """
    n_items = len(clicks.posting_offsets) - 1
    board = make_board(n_items, utility.length)
    seen, recency_of = np.zeros(n_items, np.int64), np.zeros(n_items, np.int64)
    for query in range(first, last):
        asking = _ask(query, queries, clicks, seen, recency_of)
        found, sims, weights = gather_candidates(
            asking.items, asking.recency, asking.length, clicks, clicks.m + 1
        )
        begin_board(board, query, queries, utility, asking.last)
        n_pool = min(len(found), clicks.m)
        order = rank_candidates(sims[:n_pool])
        n_near = min(n_pool, clicks.k)
        is_near = np.zeros(n_pool, np.uint8)
        for rank in range(n_near):
            is_near[order[rank]] = 1
            c = order[rank]
            _change_session(board, found[c], weights[c], clicks, asking, -1)
        full = settle(board, query, utility)
        value_all[query] = full

        # Who takes a place set free among the candidates, and among the neighbours.
        has_next, has_second = len(found) > n_pool, n_pool > n_near
        next_in, second = n_pool, order[n_near] if has_second else 0
        worst = order[n_near - 1] if n_near > 0 else 0
        next_wins = has_next and sims[next_in] > sims[worst]
        for c in range(n_pool):
            if not is_near[c] and not next_wins:
                continue
            session = found[c]
            start, end = clicks.row_offsets[session], clicks.row_offsets[session + 1]
            for row in range(start, end):
                sim, weight = _without_click(
                    row, end - start, sims[c], weights[c], clicks, asking, session
                )
                key = clicks.row_keys[row]
                stays = sim > 0 and (not has_next or key < clicks.keys[found[next_in]])
                if not is_near[c]:
                    if stays:
                        continue
                    _change_session(board, found[worst], -weights[worst], clicks, asking, -1)
                    _change_session(board, found[next_in], weights[next_in], clicks, asking, -1)
                else:
                    second_wins = has_second
                    if has_second and stays:
                        second_wins = sims[second] > sim or (
                            sims[second] == sim and clicks.keys[found[second]] < key
                        )
                    elif has_second and has_next:
                        second_wins = sims[second] >= sims[next_in]
                    gone = -1 if clicks.row_repeated[row] else clicks.row_items[row]
                    same = stays and not second_wins and weight == weights[c]
                    if same and (gone < 0 or gone == asking.last):
                        continue
                    _change_session(board, session, -weights[c], clicks, asking, -1)
                    if second_wins:
                        _change_session(board, found[second], weights[second], clicks, asking, -1)
                    elif stays:
                        _change_session(board, session, weight, clicks, asking, gone)
                    elif has_next:
                        _change_session(board, found[next_in], weights[next_in], clicks, asking, -1)
                values[clicks.row_numbers[row], 0] += full - value_after(
                    board, query, utility, full
                )
                undo(board)


@njit(**_OPTIONS)
def leave_out_items(first, last, queries, clicks, utility, values, value_all):
    """Effect of deleting all clicks on each item on queries [first, last).

    Parameters
    ----------
    values : float64 (n_items, 2), added to; value_all : float64 (Q,), written
    """
    n_items = len(clicks.posting_offsets) - 1
    board = make_board(n_items, utility.length)
    seen, recency_of = np.zeros(n_items, np.int64), np.zeros(n_items, np.int64)
    # Items without which the candidates are others, or in another order.
    again = np.empty(n_items, np.int32)
    again_mark = np.zeros(n_items, np.int64)
    for query in range(first, last):
        asking = _ask(query, queries, clicks, seen, recency_of)
        found, sims, weights = gather_candidates(
            asking.items, asking.recency, asking.length, clicks, clicks.m + 1
        )
        begin_board(board, query, queries, utility, asking.last)
        n_pool = min(len(found), clicks.m)
        order = rank_candidates(sims[:n_pool])
        for rank in range(min(n_pool, clicks.k)):
            c = order[rank]
            _change_session(board, found[c], weights[c], clicks, asking, -1)
        full = settle(board, query, utility)
        value_all[query] = full
        if n_pool == 0:
            continue

        n_again = 0
        for j in range(len(asking.items)):
            again[n_again] = asking.items[j]
            again_mark[asking.items[j]] = query + 1
            n_again += 1
        if len(found) > min(n_pool, clicks.k):
            for c in range(min(n_pool, len(found) - 1)):
                item = clicks.time_items[found[c]]
                if item < 0 or again_mark[item] == query + 1:
                    continue
                if clicks.time_keys[found[c]] > clicks.keys[found[c + 1]]:
                    again[n_again] = item
                    again_mark[item] = query + 1
                    n_again += 1
        for j in range(n_again):
            clear(board)
            _add_neighbours_without(again[j], board, clicks, asking)
            values[again[j], 0] += full - value_after(board, query, utility, full)
            undo(board)
        # Without any of the others, only the item itself is missing from the list.
        for t in range(board.counts[N_TOUCHED]):
            item = board.touched[t]
            listed = board.cells[item, LISTED] == board.counts[QUERY]
            if listed and again_mark[item] != query + 1:
                change(board, item, -board.cells[item, SCORE])
                values[item, 0] += full - value_after(board, query, utility, full)
                undo(board)


@njit(**_OPTIONS)
def _add_neighbours_without(item, board, clicks, asking):
    """Add the neighbours that the query has where an item is in no session."""
    items = np.empty(len(asking.items), np.int32)
    recency = np.empty(len(asking.items), np.int32)
    n_items = 0
    for j in range(len(asking.items)):
        if asking.items[j] != item:
            items[n_items] = asking.items[j]
            recency[n_items] = asking.recency[j]
            n_items += 1
    # Sessions may move back in time, so as many as that are wanted beyond the m most recent.
    limit = clicks.m
    while True:
        found, sims, weights = gather_candidates(
            items[:n_items], recency[:n_items], asking.length, clicks, limit
        )
        n_moved = 0
        for c in range(len(found)):
            n_moved += clicks.time_items[found[c]] == item
        if len(found) < limit or len(found) - n_moved >= clicks.m:
            break
        limit = max(clicks.m + n_moved, limit + 1)
    n_pool = min(len(found), clicks.m)
    by_age = np.arange(len(found)).astype(np.int64)
    if n_moved > 0:
        keys = np.empty(len(found), np.int64)
        for c in range(len(found)):
            moved = clicks.time_items[found[c]] == item
            keys[c] = clicks.time_keys[found[c]] if moved else clicks.keys[found[c]]
        stable_argsort(keys, by_age)
    aged_sims = np.empty(n_pool, np.int64)
    for place in range(n_pool):
        aged_sims[place] = sims[by_age[place]]
    order = rank_candidates(aged_sims)
    for rank in range(min(n_pool, clicks.k)):
        c = by_age[order[rank]]
        _change_session(board, found[c], weights[c], clicks, asking, item)
