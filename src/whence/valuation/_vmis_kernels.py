"""Games of VMIS-kNN queries: elements are sessions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.evaluation._modes import NO_RANKS
from whence.models.knn._kernels import (
    distinct_recent,
    gather_candidates,
    idf_shift,
    rank_candidates,
)
from whence.models.knn.vmis import SessionIndex
from whence.valuation._game_kernels import (
    IS_SUSTAINABLE,
    IS_TARGET,
    Draft,
    finish_game,
    with_room_for_all,
)
from whence.valuation._solve_kernels import (
    begin_query,
    form_players,
    lacks_row,
    sample_permutations,
    sample_subsets,
    solve_leave_one_out,
)
from whence.valuation._walk_kernels import value_of_all

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


class Sessions(NamedTuple):
    """A fitted VMISKNN, as arrays; `train` is its SessionIndex.

    `limit` is the number of most recent matching sessions that become elements. Where only one
    session at a time will be removed (`one_out`), those that can be neighbours then suffice.
    """

    train: SessionIndex
    use_idf: bool
    k: int
    m: int
    limit: int
    one_out: bool


class Scratch(NamedTuple):
    """Marks by item, made once per block: who touched an item last, and its local number."""

    seen: np.ndarray
    target: np.ndarray
    local_stamp: np.ndarray
    local: np.ndarray


@njit(**_OPTIONS)
def make_scratch(n_items):
    """Return fresh scratch arrays."""
    return Scratch(
        np.full(n_items, -1, np.int64),
        np.full(n_items, -1, np.int64),
        np.full(n_items, -1, np.int64),
        np.empty(n_items, np.int32),
    )


@njit(**_OPTIONS)
def mark_targets(query, queries, utility, forbidden, marks):
    """Stamp the items that count as targets of a query; `forbidden` can never be listed."""
    end = queries.target_end[query]
    if utility.first_only:
        end = min(end, queries.target_start[query] + 1)
    if utility.mode == NO_RANKS:
        return
    for e in range(queries.target_start[query], end):
        item = queries.target_items[e]
        if item >= 0 and item != forbidden:
            marks[item] = query


@njit(**_OPTIONS)
def _reaches_target(query, found, weights, index, marks):
    """Whether any candidate could bring a target into the list; else all values are 0."""
    session_offsets, session_items = index.session_offsets, index.session_items
    for c in range(len(found)):
        if weights[c] > 0:
            for e in range(session_offsets[found[c]], session_offsets[found[c] + 1]):
                if marks[session_items[e]] == query:
                    return True
    return False


@njit(**_OPTIONS)
def session_game(query, queries, sessions, utility, scratch):
    """Build the game of a query.

    Returns
    -------
    game : Game
    sources : int32 (n,), session number of each element
    others : int32 array, sessions that make room for the next candidate when they are removed,
        but are no elements; only where `one_out`
    """
    index = sessions.train
    session_offsets, session_items = index.session_offsets, index.session_items
    start, end = queries.history_start[query], queries.history_end[query]
    length = end - start
    items = np.empty(length, np.int32)
    recency = np.empty(length, np.int32)
    n_distinct = distinct_recent(
        queries.history_items, start, end, scratch.seen, query, items, recency
    )
    found, sims, weights = gather_candidates(
        items[:n_distinct], recency[:n_distinct], length, index, sessions.limit
    )
    n = len(found)
    last = queries.history_items[end - 1] if length > 0 else -1
    mark_targets(query, queries, utility, last, scratch.target)
    if utility.sustainable_factor == 0.0 and not _reaches_target(
        query, found, weights, index, scratch.target
    ):
        n = 0
    if n > sessions.k:
        order = rank_candidates(sims)
    else:
        # Without competition a session that gives no item any weight changes nothing.
        order = np.empty(n, np.int32)
        n_kept = 0
        for c in range(n):
            first, stop = session_offsets[found[c]], session_offsets[found[c] + 1]
            only_last = stop - first == 1 and session_items[first] == last
            if weights[c] > 0 and not only_last:
                order[n_kept] = c
                n_kept += 1
        n = n_kept

    n_all, pool, extra = n, sessions.m, -1
    if sessions.one_out and n > sessions.k + 1:
        # Without one of the pool, the neighbours are among the k + 1 best of it and the next.
        n = sessions.k + 1
        pool = n
        for rank in range(n):
            if order[rank] == sessions.m:
                extra = rank
                pool = n - 1
    capacity = 0
    for rank in range(n):
        session = found[order[rank]]
        capacity += session_offsets[session + 1] - session_offsets[session]
    shift = idf_shift(length, sessions.k) if sessions.use_idf else 0
    row_offsets = np.zeros(n + 1, np.int64)
    row_items = np.empty(capacity, np.int32)
    row_values = np.empty(capacity, np.int64)
    numbers = np.empty(capacity, np.int32)
    mask = np.empty(capacity, np.uint8)
    sources = np.empty(n, np.int32)
    n_entries, n_local = 0, 0
    for rank in range(n):
        session = found[order[rank]]
        weight = weights[order[rank]]
        sources[rank] = index.source_of[session]
        if weight > 0:
            for e in range(session_offsets[session], session_offsets[session + 1]):
                item = session_items[e]
                if item == last:
                    continue
                value = weight
                if sessions.use_idf:
                    value = weight * np.int64(np.rint(index.idf[item] * (1 << shift)))
                    if value == 0:
                        continue
                if scratch.local_stamp[item] != query:
                    scratch.local_stamp[item] = query
                    scratch.local[item] = n_local
                    numbers[n_local] = item
                    mask[n_local] = IS_TARGET if scratch.target[item] == query else 0
                    if utility.sustainable_factor != 0.0 and utility.sustainable[item]:
                        mask[n_local] |= IS_SUSTAINABLE
                    n_local += 1
                row_items[n_entries] = scratch.local[item]
                row_values[n_entries] = value
                n_entries += 1
        row_offsets[rank + 1] = n_entries
    # Candidates were found most recent first.
    others = np.empty(n_all - n if extra >= 0 else 0, np.int32)
    for j in range(len(others)):
        others[j] = index.source_of[found[order[n + j]]]
    age = order[:n] if n > pool else order[:0]
    if extra >= 0:
        age = np.empty(n, np.int32)
        for rank in range(n):
            age[rank] = n - 1 if rank == extra else (rank if rank < extra else rank - 1)
    draft = Draft(
        row_offsets, row_items[:n_entries], row_values[:n_entries], numbers[:n_local],
        np.zeros(n_local, np.int64), mask[:n_local],
    )  # fmt: skip
    game = finish_game(query, sessions.k, pool, draft, age, utility)
    return game, sources, others


@njit(**_OPTIONS)
def solve_sessions(
    first, last, queries, sessions, utility, plan, weights, first_replicate, units, accumulator
):
    """Semivalues of queries [first, last), from permutations where they are sampled.

    Returns
    -------
    stopped, n_players : int
        `last` and 0; or the query for whose number of players the weights have no row yet.
    """
    scratch = make_scratch(len(sessions.train.posting_offsets) - 1)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        game, sources, _ = session_game(query, queries, sessions, utility, scratch)
        players = form_players(sources, -1, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, accumulator) and units[query] > 0:
            sample_permutations(
                query, game, players, plan, weights, first_replicate[query], units[query],
                accumulator,
            )  # fmt: skip
    return last, 0


@njit(**_OPTIONS)
def solve_sessions_by_subsets(
    first, last, queries, sessions, utility, plan, weights, first_replicate, units, accumulator
):
    """Semivalues of queries [first, last), from subsets where they are sampled.

    Returns as `solve_sessions`.
    """
    scratch = make_scratch(len(sessions.train.posting_offsets) - 1)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        game, sources, _ = session_game(query, queries, sessions, utility, scratch)
        players = form_players(sources, -1, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, accumulator) and units[query] > 0:
            sample_subsets(
                query,
                game,
                players,
                plan,
                weights,
                first_replicate[query],
                units[query],
                accumulator,
            )
    return last, 0


@njit(**_OPTIONS)
def leave_out_sessions(first, last, queries, sessions, utility, plan, accumulator):
    """Leave-one-out values of queries [first, last)."""
    scratch = make_scratch(len(sessions.train.posting_offsets) - 1)
    for query in range(first, last):
        game, sources, others = session_game(query, queries, sessions, utility, scratch)
        players = form_players(sources, -1, plan.group_of)
        solve_leave_one_out(query, game, players, accumulator)
        if len(others) > 0 and game.coalition.tracks.shape[1] > 0:
            change = accumulator.value_all[query] - value_of_all(with_room_for_all(game))
            for source in others:
                accumulator.exact[source, 0] += change
