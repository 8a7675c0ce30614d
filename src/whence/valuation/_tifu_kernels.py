"""Games of TIFU-kNN queries: elements are users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._sort_kernels import stable_argsort
from whence.models.knn._tifu_kernels import nearest_users
from whence.valuation._game_kernels import IS_SUSTAINABLE, IS_TARGET, finish_game
from whence.valuation._solve_kernels import (
    CONSTANT,
    begin_query,
    form_players,
    lacks_row,
    sample_permutations,
    sample_subsets,
    solve_leave_one_out,
)
from whence.valuation._vmis_kernels import make_scratch, mark_targets

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


class Users(NamedTuple):
    """A fitted TIFUKNN and the query users, as arrays (see whence.models.knn.tifu).

    `limit` is the number of nearest users that become elements.
    """

    own_offsets: np.ndarray
    own_items: np.ndarray
    own_values: np.ndarray
    own_weights: np.ndarray
    user_offsets: np.ndarray
    user_items: np.ndarray
    user_values: np.ndarray
    user_weights: np.ndarray
    squared_norms: np.ndarray
    posting_offsets: np.ndarray
    postings: np.ndarray
    posting_entries: np.ndarray
    euclidean: bool
    k: int
    limit: int


class UserScratch(NamedTuple):
    """Arrays made once per block, by user and by item."""

    shared: np.ndarray
    distance: np.ndarray
    nearest: np.ndarray
    own: np.ndarray
    largest: np.ndarray


@njit(**_OPTIONS)
def make_user_scratch(n_users, n_items, limit):
    """Return fresh scratch arrays."""
    return UserScratch(
        np.zeros(n_users),
        np.zeros(n_users),
        np.empty(limit, np.int32),
        np.zeros(n_items, np.int64),
        np.zeros(n_items, np.int64),
    )


@njit(**_OPTIONS)
def _kth_largest(values, n, k):
    """The k-th largest of the first n values; -1 where there are fewer than k."""
    if n < k:
        return np.int64(-1)
    order = np.empty(n, np.int64)
    stable_argsort(values, order)
    return values[order[n - k]]


@njit(**_OPTIONS)
def user_game(query, asked, users, worth, marks, scratch):
    """Build the game of a query whose user has a history.

    Of n neighbours, item j has the score of their entries plus n times the own entry; so a row
    holds a neighbour's entries plus the own ones. Items that can never be listed are left out:
    the mean entry of any neighbours is at most the largest, and K own items may be above it.

    Returns
    -------
    game : Game
    sources : int32 (n,), user number of each element
    """
    start, end = users.own_offsets[query], users.own_offsets[query + 1]
    nearest = scratch.nearest
    n = nearest_users(
        users.own_items[start:end], users.own_values[start:end], asked.users[query],
        users.euclidean, users.limit, users.user_offsets, users.user_values, users.squared_norms,
        users.posting_offsets, users.postings, users.posting_entries, scratch.shared,
        scratch.distance, nearest,
    )  # fmt: skip
    mark_targets(query, asked, worth, -1, marks.target)

    capacity = end - start
    for rank in range(n):
        capacity += users.user_offsets[nearest[rank] + 1] - users.user_offsets[nearest[rank]]
    items = np.empty(capacity, np.int32)
    n_items = 0
    for e in range(start, end):
        item = users.own_items[e]
        items[n_items] = item
        n_items += 1
        scratch.own[item] = users.own_weights[e]
        scratch.largest[item] = 0
        marks.seen[item] = query
    for rank in range(n):
        for e in range(users.user_offsets[nearest[rank]], users.user_offsets[nearest[rank] + 1]):
            item = users.user_items[e]
            if marks.seen[item] != query:
                marks.seen[item] = query
                items[n_items] = item
                n_items += 1
                scratch.own[item] = 0
                scratch.largest[item] = 0
            scratch.largest[item] = max(scratch.largest[item], users.user_weights[e])

    bar = _kth_largest(users.own_weights[start:end], end - start, worth.length)
    n_local = 0
    numbers = np.empty(n_items, np.int32)
    mask = np.empty(n_items, np.uint8)
    empty_scores = np.empty(n_items, np.int64)
    n_own = 0
    for i in range(n_items):
        item = items[i]
        if scratch.own[item] + scratch.largest[item] < bar:
            continue
        if scratch.own[item] + scratch.largest[item] == 0:
            continue
        marks.local_stamp[item] = query
        marks.local[item] = n_local
        numbers[n_local] = item
        mask[n_local] = IS_TARGET if marks.target[item] == query else 0
        if worth.sustainable_factor != 0.0 and worth.sustainable[item]:
            mask[n_local] |= IS_SUSTAINABLE
        empty_scores[n_local] = scratch.own[item]
        n_local += 1
        if scratch.own[item] > 0:
            n_own = n_local  # Own items come first.

    row_offsets = np.zeros(n + 1, np.int64)
    row_items = np.empty(capacity + n * n_own, np.int32)
    row_values = np.empty(capacity + n * n_own, np.int64)
    sources = np.empty(n, np.int32)
    n_entries = 0
    for rank in range(n):
        sources[rank] = nearest[rank]
        first = n_entries
        for i in range(n_own):
            row_items[first + i] = i
            row_values[first + i] = empty_scores[i]
        n_entries += n_own
        for e in range(users.user_offsets[nearest[rank]], users.user_offsets[nearest[rank] + 1]):
            item = users.user_items[e]
            if marks.local_stamp[item] != query or users.user_weights[e] == 0:
                continue
            local = marks.local[item]
            if local < n_own:
                row_values[first + local] += users.user_weights[e]
            else:
                row_items[n_entries] = local
                row_values[n_entries] = users.user_weights[e]
                n_entries += 1
        row_offsets[rank + 1] = n_entries
    game = finish_game(
        n, users.k, n, row_offsets, row_items[:n_entries], row_values[:n_entries],
        numbers[:n_local], empty_scores[:n_local], mask[:n_local], sources[:0], worth.mode,
        worth.length, worth.gains, worth.rank_factors[query],
        worth.sustainable_factor,
    )  # fmt: skip
    return game, sources


@njit(**_OPTIONS)
def solve_users(first, last, asked, users, worth, plan, weights, first_replicate, units, tally):
    """Semivalues of queries [first, last), from permutations where they are sampled.

    Returns
    -------
    stopped, n_players : int
        `last` and 0; or the query for whose number of players the weights have no row yet.
    """
    n_items = len(users.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.user_offsets) - 1, n_items, users.limit)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        if users.own_offsets[query] == users.own_offsets[query + 1]:
            tally.status[query] = CONSTANT
            continue
        game, sources = user_game(query, asked, users, worth, marks, scratch)
        owner = asked.users[query] if plan.own_player else -1
        players = form_players(sources, owner, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, tally) and units[query] > 0:
            sample_permutations(
                query, game, players, plan, weights, first_replicate[query], units[query],
                np.empty(0, np.int64), tally,
            )  # fmt: skip
    return last, 0


@njit(**_OPTIONS)
def solve_users_by_subsets(first, last, asked, users, worth, plan, weights, first_replicate,
                              units, tally):  # fmt: skip
    """Semivalues of queries [first, last), from subsets where they are sampled.

    Returns as `solve_users`.
    """
    n_items = len(users.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.user_offsets) - 1, n_items, users.limit)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        if users.own_offsets[query] == users.own_offsets[query + 1]:
            tally.status[query] = CONSTANT
            continue
        game, sources = user_game(query, asked, users, worth, marks, scratch)
        owner = asked.users[query] if plan.own_player else -1
        players = form_players(sources, owner, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, tally) and units[query] > 0:
            sample_subsets(
                query, game, players, plan, weights, first_replicate[query], units[query], tally
            )
    return last, 0


@njit(**_OPTIONS)
def leave_out_users(first, last, asked, users, worth, plan, tally):
    """Leave-one-out values of queries [first, last)."""
    n_items = len(users.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.user_offsets) - 1, n_items, users.limit)
    for query in range(first, last):
        if users.own_offsets[query] == users.own_offsets[query + 1]:
            tally.status[query] = CONSTANT
            continue
        game, sources = user_game(query, asked, users, worth, marks, scratch)
        players = form_players(sources, asked.users[query], plan.group_of)
        solve_leave_one_out(query, game, players, tally)
