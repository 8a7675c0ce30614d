"""Games of VMIS-kNN queries: elements are sessions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._kernels import (
    distinct_recent,
    gather_candidates,
    idf_shift,
    rank_candidates,
)
from whence.valuation._game_kernels import (
    IS_SUSTAINABLE,
    IS_TARGET,
    NO_RANKS,
    finish_game,
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
    """A fitted VMISKNN, as arrays (see whence.models.knn.vmis.SessionIndex).

    `limit` is the number of most recent matching sessions that become elements. Where only one
    session at a time will be removed (`one_out`), those that can be neighbours then suffice.
    """

    source_of: np.ndarray
    session_offsets: np.ndarray
    session_items: np.ndarray
    posting_offsets: np.ndarray
    postings: np.ndarray
    idf: np.ndarray
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
def mark_targets(query, asked, worth, forbidden, marks):
    """Stamp the items that count as targets of a query; `forbidden` can never be listed."""
    end = asked.target_ends[query]
    if worth.first_only:
        end = min(end, asked.target_starts[query] + 1)
    if worth.mode == NO_RANKS:
        return
    for e in range(asked.target_starts[query], end):
        item = asked.targets[e]
        if item >= 0 and item != forbidden:
            marks[item] = query


@njit(**_OPTIONS)
def _reaches_target(query, found, n, weights, sessions, marks):
    """Whether any candidate could bring a target into the list; else all values are 0."""
    for c in range(n):
        if weights[c] > 0:
            first, stop = sessions.session_offsets[found[c]], sessions.session_offsets[found[c] + 1]
            for e in range(first, stop):
                if marks[sessions.session_items[e]] == query:
                    return True
    return False


@njit(**_OPTIONS)
def session_game(query, asked, sessions, worth, scratch):
    """Build the game of a query.

    Returns
    -------
    game : Game
    sources : int32 (n,), session number of each element
    others : int32 array, sessions that make room for the next candidate when they are removed,
        but are no elements; only where `one_out`
    """
    start, end = asked.starts[query], asked.ends[query]
    length = end - start
    items = np.empty(length, np.int32)
    recency = np.empty(length, np.int32)
    n_distinct = distinct_recent(asked.history, start, end, scratch.seen, query, items, recency)
    longest = 0
    for j in range(n_distinct):
        longest += sessions.posting_offsets[items[j] + 1] - sessions.posting_offsets[items[j]]
    limit = min(sessions.limit, longest)
    found = np.empty(limit, np.int32)
    sims = np.empty(limit, np.int64)
    weights = np.empty(limit, np.int64)
    n = gather_candidates(
        items, recency, n_distinct, length, sessions.posting_offsets, sessions.postings,
        np.empty(n_distinct, np.int64), limit, found, sims, weights,
    )  # fmt: skip
    order = np.empty(n, np.int32)
    last = asked.history[end - 1] if length > 0 else -1
    mark_targets(query, asked, worth, last, scratch.target)
    if worth.sustainable_factor == 0.0 and not _reaches_target(
        query, found, n, weights, sessions, scratch.target
    ):
        n = 0
    if n > sessions.k:
        rank_candidates(sims, n, order)
    else:
        # Without competition a session that gives no item any weight changes nothing.
        n_kept = 0
        for c in range(n):
            first, stop = sessions.session_offsets[found[c]], sessions.session_offsets[found[c] + 1]
            only_last = stop - first == 1 and sessions.session_items[first] == last
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
        capacity += sessions.session_offsets[session + 1] - sessions.session_offsets[session]
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
        sources[rank] = sessions.source_of[session]
        if weight > 0:
            for e in range(
                sessions.session_offsets[session], sessions.session_offsets[session + 1]
            ):
                item = sessions.session_items[e]
                if item == last:
                    continue
                value = weight
                if sessions.use_idf:
                    value = weight * np.int64(np.rint(sessions.idf[item] * (1 << shift)))
                    if value == 0:
                        continue
                if scratch.local_stamp[item] != query:
                    scratch.local_stamp[item] = query
                    scratch.local[item] = n_local
                    numbers[n_local] = item
                    mask[n_local] = IS_TARGET if scratch.target[item] == query else 0
                    if worth.sustainable_factor != 0.0 and worth.sustainable[item]:
                        mask[n_local] |= IS_SUSTAINABLE
                    n_local += 1
                row_items[n_entries] = scratch.local[item]
                row_values[n_entries] = value
                n_entries += 1
        row_offsets[rank + 1] = n_entries
    # Candidates were found most recent first.
    others = np.empty(n_all - n if extra >= 0 else 0, np.int32)
    for j in range(len(others)):
        others[j] = sessions.source_of[found[order[n + j]]]
    age = order[:n] if n > pool else order[:0]
    if extra >= 0:
        age = np.empty(n, np.int32)
        for rank in range(n):
            age[rank] = n - 1 if rank == extra else (rank if rank < extra else rank - 1)
    game = finish_game(
        n, sessions.k, pool, row_offsets, row_items[:n_entries], row_values[:n_entries],
        numbers[:n_local], np.zeros(n_local, np.int64), mask[:n_local], age, worth.mode,
        worth.length,
        worth.gains, worth.rank_factors[query], worth.sustainable_factor,
    )  # fmt: skip
    return game, sources, others


@njit(**_OPTIONS)
def solve_sessions(
    first, last, asked, sessions, worth, plan, weights, first_replicate, units, tally
):
    """Semivalues of queries [first, last), from permutations where they are sampled.

    Returns
    -------
    stopped, n_players : int
        `last` and 0; or the query for whose number of players the weights have no row yet.
    """
    scratch = make_scratch(len(sessions.posting_offsets) - 1)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        game, sources, _ = session_game(query, asked, sessions, worth, scratch)
        players = form_players(sources, -1, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, tally) and units[query] > 0:
            sample_permutations(
                query, game, players, plan, weights, first_replicate[query], units[query],
                np.empty(0, np.int32), tally,
            )  # fmt: skip
    return last, 0


@njit(**_OPTIONS)
def solve_sessions_by_subsets(first, last, asked, sessions, worth, plan, weights, first_replicate,
                              units, tally):  # fmt: skip
    """Semivalues of queries [first, last), from subsets where they are sampled.

    Returns as `solve_sessions`.
    """
    scratch = make_scratch(len(sessions.posting_offsets) - 1)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        game, sources, _ = session_game(query, asked, sessions, worth, scratch)
        players = form_players(sources, -1, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, tally) and units[query] > 0:
            sample_subsets(
                query, game, players, plan, weights, first_replicate[query], units[query], tally
            )
    return last, 0


@njit(**_OPTIONS)
def leave_out_sessions(first, last, asked, sessions, worth, plan, tally):
    """Leave-one-out values of queries [first, last)."""
    scratch = make_scratch(len(sessions.posting_offsets) - 1)
    for query in range(first, last):
        game, sources, others = session_game(query, asked, sessions, worth, scratch)
        players = form_players(sources, -1, plan.group_of)
        solve_leave_one_out(query, game, players, tally)
        if len(others) > 0 and game.tracks.shape[1] > 0:
            n, k, _, step = game.limits
            change = tally.value_all[query] - value_of_all(game, (n, k, n, step))
            for source in others:
                tally.exact[source, 0] += change
