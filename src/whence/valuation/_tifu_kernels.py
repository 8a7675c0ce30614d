"""Games of TIFU-kNN queries: elements are users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._sort_kernels import stable_argsort
from whence.models.knn._tifu_kernels import nearest_users
from whence.models.knn.tifu import UserIndex, UserVectors
from whence.valuation._game_kernels import IS_SUSTAINABLE, IS_TARGET, Draft, finish_game
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
    """A fitted TIFUKNN and the query users, as arrays.

    Attributes
    ----------
    own : UserVectors
        Of the query users.
    train : UserIndex
        Of the training users.
    euclidean : bool
    k : int
    limit : int
        Number of nearest users that become elements.
    """

    own: UserVectors
    train: UserIndex
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
def user_game(query, queries, users, utility, marks, scratch):
    """Build the game of a query whose user has a history.

    Of n neighbours, item j has the score of their entries plus n times the own entry; so a row
    holds a neighbour's entries plus the own ones. Items that can never be listed are left out:
    the mean entry of any neighbours is at most the largest, and K own items may be above it.

    Returns
    -------
    game : Game
    sources : int32 (n,), user number of each element
    """
    own_offsets, own_items, own_weights = users.own.offsets, users.own.items, users.own.own
    vectors = users.train.vectors
    offsets, theirs, user_weights = vectors.offsets, vectors.items, vectors.neighbour
    start, end = own_offsets[query], own_offsets[query + 1]
    nearest = scratch.nearest
    n = nearest_users(
        own_items[start:end], users.own.values[start:end], queries.users[query], users.euclidean,
        users.limit, users.train, scratch.shared, scratch.distance, nearest,
    )  # fmt: skip
    mark_targets(query, queries, utility, -1, marks.target)

    capacity = end - start
    for rank in range(n):
        capacity += offsets[nearest[rank] + 1] - offsets[nearest[rank]]
    items = np.empty(capacity, np.int32)
    n_items = 0
    for e in range(start, end):
        item = own_items[e]
        items[n_items] = item
        n_items += 1
        scratch.own[item] = own_weights[e]
        scratch.largest[item] = 0
        marks.seen[item] = query
    for rank in range(n):
        for e in range(offsets[nearest[rank]], offsets[nearest[rank] + 1]):
            item = theirs[e]
            if marks.seen[item] != query:
                marks.seen[item] = query
                items[n_items] = item
                n_items += 1
                scratch.own[item] = 0
                scratch.largest[item] = 0
            scratch.largest[item] = max(scratch.largest[item], user_weights[e])

    bar = _kth_largest(own_weights[start:end], end - start, utility.length)
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
        if utility.sustainable_factor != 0.0 and utility.sustainable[item]:
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
        for e in range(offsets[nearest[rank]], offsets[nearest[rank] + 1]):
            item = theirs[e]
            if marks.local_stamp[item] != query or user_weights[e] == 0:
                continue
            local = marks.local[item]
            if local < n_own:
                row_values[first + local] += user_weights[e]
            else:
                row_items[n_entries] = local
                row_values[n_entries] = user_weights[e]
                n_entries += 1
        row_offsets[rank + 1] = n_entries
    draft = Draft(
        row_offsets, row_items[:n_entries], row_values[:n_entries], numbers[:n_local],
        empty_scores[:n_local], mask[:n_local],
    )  # fmt: skip
    game = finish_game(query, users.k, n, draft, sources[:0], utility)
    return game, sources


@njit(**_OPTIONS)
def solve_users(
    first, last, queries, users, utility, plan, weights, first_replicate, units, accumulator
):
    """Semivalues of queries [first, last), from permutations where they are sampled.

    Returns
    -------
    stopped, n_players : int
        `last` and 0; or the query for whose number of players the weights have no row yet.
    """
    n_items = len(users.train.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.train.squared_norms), n_items, users.limit)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        if users.own.offsets[query] == users.own.offsets[query + 1]:
            accumulator.status[query] = CONSTANT
            continue
        game, sources = user_game(query, queries, users, utility, marks, scratch)
        owner = queries.users[query] if plan.own_player else -1
        players = form_players(sources, owner, plan.group_of)
        if lacks_row(weights, players):
            return query, len(players.ids)
        if not begin_query(query, game, players, plan, weights, accumulator) and units[query] > 0:
            sample_permutations(
                query, game, players, plan, weights, first_replicate[query], units[query],
                accumulator,
            )  # fmt: skip
    return last, 0


@njit(**_OPTIONS)
def solve_users_by_subsets(
    first, last, queries, users, utility, plan, weights, first_replicate, units, accumulator
):
    """Semivalues of queries [first, last), from subsets where they are sampled.

    Returns as `solve_users`.
    """
    n_items = len(users.train.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.train.squared_norms), n_items, users.limit)
    for query in range(first, last):
        if not plan.fresh and units[query] == 0:
            continue
        if users.own.offsets[query] == users.own.offsets[query + 1]:
            accumulator.status[query] = CONSTANT
            continue
        game, sources = user_game(query, queries, users, utility, marks, scratch)
        owner = queries.users[query] if plan.own_player else -1
        players = form_players(sources, owner, plan.group_of)
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
def leave_out_users(first, last, queries, users, utility, plan, accumulator):
    """Leave-one-out values of queries [first, last)."""
    n_items = len(users.train.posting_offsets) - 1
    marks = make_scratch(n_items)
    scratch = make_user_scratch(len(users.train.squared_norms), n_items, users.limit)
    for query in range(first, last):
        if users.own.offsets[query] == users.own.offsets[query + 1]:
            accumulator.status[query] = CONSTANT
            continue
        game, sources = user_game(query, queries, users, utility, marks, scratch)
        players = form_players(sources, queries.users[query], plan.group_of)
        solve_leave_one_out(query, game, players, accumulator)
