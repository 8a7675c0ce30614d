"""From the game of one query to contributions of sources, summed over a block of queries.

The family of a model supplies the games (`_vmis_kernels`, `_tifu_kernels`); here the players are
formed, the cheapest right method is chosen, and its result is added to the sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.evaluation.queries import QueryArrays
from whence.evaluation.utility import Utility
from whence.models.knn._sort_kernels import stable_argsort
from whence.valuation._walk_kernels import (
    exact_semivalue,
    group_identical,
    leave_one_out,
    sample_in_permutations,
    sample_in_subsets,
    value_of_all,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Numba optimises a callee again for every caller above it: what has one caller is merged into it.
_MERGED = {**_OPTIONS, "inline": "always"}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}

# What became of a query.
SAMPLED, EXACT, CONSTANT = 0, 1, 2


class Plan(NamedTuple):
    """What to compute.

    Attributes
    ----------
    exact_limit : int
        Most coalitions that are enumerated.
    seed : uint64; antithetic, shared : bool
    group_of : int32 (n_sources,)
        The player each source belongs to; empty where every source is one.
    own_player : bool
        Whether a query's user is a player without whom the value is 0.
    fresh : bool
        Whether this is the first round, in which exact values are computed.
    """

    exact_limit: int
    seed: np.uint64
    antithetic: bool
    shared: bool
    group_of: np.ndarray
    own_player: bool
    fresh: bool


class Weights(NamedTuple):
    """A semivalue: tables of one row of n numbers for each number n of players (see weights.py).

    Attributes
    ----------
    size_starts : int64 (N,); sizes : float64
        Where row n begins, and the probability of one coalition of each size; games of N players
        and more are not enumerated.
    sample_starts : int64 (most players + 1,); samples : float64
        Where row n begins, -1 where it is not there yet, and the factor of a sampled contribution
        to a coalition of each size.
    """

    size_starts: np.ndarray
    sizes: np.ndarray
    sample_starts: np.ndarray
    samples: np.ndarray


class Accumulator(NamedTuple):
    """What a block of queries adds up, by player, and finds out, by query.

    Attributes
    ----------
    exact, means, variances : float64 (n_players, 2)
        Sums over queries of exact values, of estimates, and of the variances of the estimates;
        column 0 as a neighbour, column 1 in the player's own queries.
    appearances : int64 (n_players,)
        In how many queries the player is a candidate.
    status : uint8 (Q,); spread, work, value_all, value_nothing : float64 (Q,)
        Fate of the query; trace of the variance of one replicate, and work of all; values with
        everyone and with nobody.
    """

    exact: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    appearances: np.ndarray
    status: np.ndarray
    spread: np.ndarray
    work: np.ndarray
    value_all: np.ndarray
    value_nothing: np.ndarray


# Numba's caches of 0.1.0, which an installation over it finds, are read before they are dropped as
# old, and name these.
Asked, Worth, Tally = QueryArrays, Utility, Accumulator


class Players(NamedTuple):
    """Who is credited in one query.

    Attributes
    ----------
    ids : int64 (P,), what each player is called
    offsets : int64 (P + 1,); members : int64 (n,), elements of each player
    owner : int, the player without whom the value is 0, or -1
    singles : bool, whether player j is element j
    """

    ids: np.ndarray
    offsets: np.ndarray
    members: np.ndarray
    owner: int
    singles: bool


@njit(**_OPTIONS)
def form_players(sources, owner_source, group_of):
    """Form players from the elements of a game.

    Parameters
    ----------
    sources : int32 (n,), source of each element
    owner_source : int, source that is a player though no element; -1 for none
    group_of : int32, group of each source, or empty
    """
    n = len(sources)
    order = np.arange(n).astype(np.int64)
    ids = np.empty(n + 1, np.int64)
    offsets = np.zeros(n + 2, np.int64)
    owner = -1
    if len(group_of) == 0:
        for element in range(n):
            ids[element] = sources[element]
            offsets[element + 1] = element + 1
        if owner_source < 0:
            return Players(ids[:n].copy(), offsets[: n + 1].copy(), order, owner, True)
        ids[n] = owner_source
        offsets[n + 1] = n
        return Players(ids, offsets, order, n, True)
    groups = np.empty(n, np.int64)
    for element in range(n):
        groups[element] = group_of[sources[element]]
    stable_argsort(groups, order)
    n_players = 0
    for place in range(n):
        group = groups[order[place]]
        if n_players == 0 or ids[n_players - 1] != group:
            ids[n_players] = group
            n_players += 1
        offsets[n_players] = place + 1
    if owner_source >= 0:
        for player in range(n_players):
            if ids[player] == group_of[owner_source]:
                owner = player
        if owner < 0:
            owner = n_players
            ids[n_players] = group_of[owner_source]
            offsets[n_players + 1] = n
            n_players += 1
    return Players(ids[:n_players].copy(), offsets[: n_players + 1].copy(), order, owner, False)


@njit(**_INNER)
def lacks_row(weights, players):
    """Whether there are no weights yet for so many players."""
    return weights.sample_starts[len(players.ids)] < 0


@njit(**_MERGED)
def _exact_kinds(game, players, limit, weights):
    """Kinds of interchangeable players where enumeration is affordable, else none."""
    n_players = len(players.ids)
    no_counts, no_kinds = np.empty(0, np.int64), np.empty(0, np.int64)
    if n_players >= len(weights.size_starts):
        return no_counts, no_kinds
    if n_players < 62 and (1 << n_players) <= limit:
        return np.ones(n_players, np.int64), np.arange(n_players).astype(np.int64)
    n, k, m, _, _ = game.coalition.limits
    if not players.singles or n > k or n > m:
        return no_counts, no_kinds
    counts, kinds = group_identical(game, limit // 2 if players.owner >= 0 else limit)
    if players.owner < 0 or len(counts) == 0:
        return counts, kinds
    more_counts = np.ones(len(counts) + 1, np.int64)
    for j in range(len(counts)):
        more_counts[j] = counts[j]
    more_kinds = np.full(len(kinds) + 1, players.owner, np.int64)
    for j in range(len(kinds)):
        more_kinds[j] = kinds[j]
    return more_counts, more_kinds


@njit(**_MERGED)
def begin_query(query, game, players, plan, weights, accumulator):
    """In the first round: note the extreme values, and solve exactly what can be.

    Returns
    -------
    bool
        Whether there is nothing left to sample.
    """
    n_players, owner = len(players.ids), players.owner
    if not plan.fresh:
        return False
    accumulator.value_all[query] = value_of_all(game)
    accumulator.value_nothing[query] = game.scoring[4] if owner < 0 else 0.0
    for player in range(n_players):
        if player != owner:
            accumulator.appearances[players.ids[player]] += 1
    accumulator.status[query] = SAMPLED
    if game.coalition.tracks.shape[1] == 0 or n_players == 0:
        accumulator.status[query] = CONSTANT
        return True
    counts, kinds = _exact_kinds(game, players, plan.exact_limit, weights)
    if len(counts) == 0:
        return False
    values = np.empty(n_players)
    start = weights.size_starts[n_players]
    sizes = weights.sizes[start : start + n_players]
    exact_semivalue(game, players, sizes, counts, kinds, values)
    for player in range(n_players):
        accumulator.exact[players.ids[player], 1 if player == owner else 0] += values[player]
    accumulator.status[query] = EXACT
    return True


@njit(**_MERGED)
def _add_sample(query, players, units, sums, squares, work, accumulator):
    """Add a sample's mean contributions, and the variances of the means, to the accumulator."""
    spread = 0.0
    for player in range(len(players.ids)):
        column = 1 if player == players.owner else 0
        mean = sums[player] / units
        accumulator.means[players.ids[player], column] += mean
        if units > 1:
            variance = max(0.0, squares[player] - units * mean * mean) / (units - 1)
            accumulator.variances[players.ids[player], column] += variance / units
            spread += variance
    accumulator.spread[query] = spread
    accumulator.work[query] = work


@njit(**_MERGED)
def sample_permutations(query, game, players, plan, weights, first, units, accumulator):
    """Semivalues of one query's players, from `units` replicates of permutations."""
    n_players = len(players.ids)
    sums, squares = np.zeros(n_players), np.zeros(n_players)
    start = weights.sample_starts[n_players]
    factors = weights.samples[start : start + n_players]
    work = sample_in_permutations(game, players, factors, plan, query, first, units, sums, squares)
    _add_sample(query, players, units, sums, squares, work, accumulator)


@njit(**_MERGED)
def sample_subsets(query, game, players, plan, weights, first, units, accumulator):
    """Semivalues of one query's players, from `units` replicates of subsets."""
    n_players = len(players.ids)
    sums, squares = np.zeros(n_players), np.zeros(n_players)
    start = weights.sample_starts[n_players]
    factors = weights.samples[start : start + n_players]
    work = sample_in_subsets(game, players, factors, plan, query, first, units, sums, squares)
    _add_sample(query, players, units, sums, squares, work, accumulator)


@njit(**_MERGED)
def solve_leave_one_out(query, game, players, accumulator):
    """Leave-one-out values of one query's players, added to the accumulator."""
    accumulator.value_nothing[query] = 0.0 if players.owner >= 0 else game.scoring[4]
    accumulator.status[query] = EXACT
    if game.coalition.tracks.shape[1] == 0:
        accumulator.status[query] = CONSTANT
        return
    n_players = len(players.ids)
    values = np.empty(n_players)
    accumulator.value_all[query] = leave_one_out(game, players, values)
    for player in range(n_players):
        column = 1 if player == players.owner else 0
        accumulator.exact[players.ids[player], column] += values[player]
