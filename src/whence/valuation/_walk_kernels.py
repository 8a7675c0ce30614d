"""Walks over the coalitions of one query's game: permutations, subsets, all of them.

*Players* are what is credited: single elements of the game, or groups of them. A semivalue is two
rows of numbers by size of the coalition (see weights.py): the probability of one coalition, where
all are visited, and the factor of a contribution, where some are drawn.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.knn._sort_kernels import stable_argsort
from whence.valuation._game_kernels import (
    CHANGED,
    N_PRESENT,
    RELEVANT,
    WORK,
    insert,
    insert_irrelevant,
    reset,
    toggle,
    value_of,
)
from whence.valuation._random_kernels import coin_flips, mix, shuffle, stream
from whence.valuation._reading_kernels import (
    READINGS,
    counts,
    make_reader,
    read_permutation,
    reading_chances,
    reading_factors,
    value_of_everyone,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Numba optimises a callee again for every caller above it: what has one caller is merged into it.
_MERGED = {**_OPTIONS, "inline": "always"}
_INNER = {**_OPTIONS, "_nrt": False}

# Not literals, which would be compiled each for itself.
JOINING, LEAVING = np.bool_(True), np.bool_(False)


@njit(**_INNER)
def _walk(order, players, relevant, weights, gained, game):
    """One permutation: add the weighted marginal contributions to ``gained``."""
    coalition, scoring, gains = game
    reset(coalition)
    n, owner, state = len(order), players.owner, coalition.state
    value = scoring[4] if owner < 0 else 0.0
    here = 0
    if players.singles and owner < 0:
        # As long as no tracked item can appear, the value stays what it is.
        while here < n and not relevant[order[here]]:
            here += 1
        if here == n:
            return
        insert_irrelevant(order, here, coalition)
    awake = owner < 0
    for j in range(here, n):
        player = np.int64(order[j])
        state[CHANGED] = 0
        if players.singles and player != owner:
            insert(player, coalition)
        else:
            start, end = players.offsets[player], players.offsets[player + 1]
            toggle(players.members, start, end, JOINING, coalition)
            if player == owner:
                awake = True
                state[CHANGED] = 1
        if awake and (state[CHANGED] or j == 0):
            new = value_of(coalition, scoring, gains)
            gained[player] += weights[j] * (new - value)
            value = new


@njit(**_MERGED)
def _can_be_read(game, players, plan):
    """Whether `_reading_kernels` can do it."""
    n, _, m, _, _ = game.coalition.limits
    return players.singles and players.owner < 0 and m >= n and not plan.shared


@njit(**_MERGED)
def _draw(order, ids, seed, query, replicate, shared):
    """Draw a permutation of players into ``order``."""
    n = len(order)
    if not shared:
        for j in range(n):
            order[j] = j
        shuffle(order, n, stream(seed, np.uint64(query), np.uint64(replicate)))
        return
    start = stream(seed, np.uint64(0), np.uint64(replicate))
    keys = np.empty(n, np.int64)
    ranked = np.empty(n, np.int64)
    for j in range(n):
        keys[j] = np.int64(mix(start + np.uint64(ids[j] + 1)) >> np.uint64(1))
    stable_argsort(keys, ranked)
    for j in range(n):
        order[j] = ranked[j]


@njit(**_INNER)
def _reverse(order):
    n = len(order)
    for j in range(n // 2):
        order[j], order[n - 1 - j] = order[n - 1 - j], order[j]


@njit(**_INNER)
def _close_replicate(gained, passes, sums, squares):
    """Add what the players gained, mean over the passes, and its square; and forget it."""
    for player in range(np.uint32(len(gained))):
        mean = gained[player] / passes
        sums[player] += mean
        squares[player] += mean * mean
        gained[player] = 0.0


@njit(**_MERGED)
def _share_out(missing, active, gained):
    """Spread what the gains lack of a sum known beforehand over the active players, evenly."""
    n_active = 0
    for player in range(np.uint32(len(gained))):
        missing -= gained[player]
        n_active += active[player]
    for player in range(np.uint32(len(gained))):
        if active[player]:
            gained[player] += missing / n_active


@njit(**_MERGED)
def _read_in_permutations(game, players, weights, plan, query, first, units, gained, sums, squares):
    """As `sample_in_permutations`, where the game can be read."""
    n = len(players.ids)
    order, relevant, active = np.empty(n, np.uint32), np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    reader = make_reader(game)
    for j in range(n):
        relevant[j] = game.coalition.elements[RELEVANT, j]
        active[j] = counts(j, reader)
    chances, factors = np.empty(n + 1), np.empty(n)
    reading_chances(n, reader.n_bringers, weights, chances)
    reading_factors(n, weights, chances, factors)
    passes = 2 if plan.antithetic else 1
    everyone = passes * (value_of_everyone(reader) - reader.empty_value)
    efficient = True
    for size in range(n):
        efficient &= weights[size] == 1.0
    work = 0
    for replicate in range(first, first + units):
        _draw(order, players.ids, plan.seed, query, replicate, False)
        start = stream(plan.seed, np.uint64(query), np.uint64(replicate))
        point = np.float64(mix(start) >> np.uint64(11)) / 2.0**53
        for _ in range(passes):
            work += read_permutation(order, relevant, point, chances, factors, reader, gained)
            _reverse(order)
            point += 0.5 if point < 0.5 else -0.5
        if efficient:
            _share_out(everyone, active, gained)
        _close_replicate(gained, passes, sums, squares)
    return float(work)


@njit(**_MERGED)
def sample_in_permutations(game, players, weights, plan, query, first, units, sums, squares):
    """Sample permutations and add up the marginal contributions of the players.

    Parameters
    ----------
    weights : float64 (P,), factor of a contribution by size of the coalition
    first, units : int
        Number of the first replicate, and how many. A replicate is one permutation in which all
        contributions are read `READINGS` times; or, where the game is no such, as many
        permutations in which each is met once; and their reverses where the plan is antithetic.
    sums, squares : float64 (P,), zero at first
        Sum over replicates of the mean contribution of a replicate, and of its square.

    Returns
    -------
    float
        Work done: about steps and row entries.
    """
    n = len(players.ids)
    gained = np.zeros(n)
    if _can_be_read(game, players, plan):
        return _read_in_permutations(
            game, players, weights, plan, query, first, units, gained, sums, squares
        )
    order, relevant = np.empty(n, np.uint32), np.zeros(n, np.uint8)
    for j in range(n):
        for e in range(players.offsets[j], players.offsets[j + 1]):
            if game.coalition.elements[RELEVANT, players.members[e]]:
                relevant[j] = 1
    passes = 2 if plan.antithetic else 1
    for replicate in range(first, first + units):
        for turn in range(READINGS):
            number = replicate * READINGS + turn
            _draw(order, players.ids, plan.seed, query, number, plan.shared)
            for _ in range(passes):
                _walk(order, players, relevant, weights, gained, game)
                _reverse(order)
        _close_replicate(gained, READINGS * passes, sums, squares)
    return game.coalition.state[WORK] + float(n) * units * READINGS * passes


@njit(**_OPTIONS)
def exact_semivalue(game, players, weights, counts, kinds, values):
    """Exact semivalues by visiting every combination of the kinds of players once.

    Players of one kind are interchangeable, so only how many of each kind are present matters.
    The combinations are visited in the reflected mixed-radix Gray order, one player at a time.

    Parameters
    ----------
    weights : float64 (P,), probability of one coalition by size
    counts : int64 (K,), players of each kind; kinds : int64 (P,), players by kind
    values : float64 (P,), written
    """
    n_kinds = len(counts)
    first = np.zeros(n_kinds + 1, np.int64)
    for j in range(n_kinds):
        first[j + 1] = first[j] + counts[j]
    taken = np.zeros(n_kinds, np.int64)
    direction = np.ones(n_kinds, np.int64)
    credit = np.zeros(n_kinds)
    combinations = np.ones(n_kinds)
    _visit_all(game, players, weights, counts, kinds, first, taken, direction, combinations, credit)
    for j in range(n_kinds):
        for i in range(first[j], first[j + 1]):
            values[kinds[i]] = credit[j] / counts[j]


@njit(**_INNER)
def _visit_all(
    game, players, weights, counts, kinds, first, taken, direction, combinations, credit
):
    """Visit every combination, and credit the kinds; see `exact_semivalue`."""
    coalition, scoring, gains = game
    members = players.members
    n_kinds, n_players, owner = len(counts), len(players.ids), players.owner
    size = 0
    awake = owner < 0
    reset(coalition)
    while True:
        value = value_of(coalition, scoring, gains) if awake else 0.0
        if value != 0.0:
            multiplicity = 1.0
            for j in range(n_kinds):
                multiplicity *= combinations[j]
            joined = weights[size - 1] * multiplicity * value if size > 0 else 0.0
            missed = weights[size] * multiplicity * value if size < n_players else 0.0
            for j in range(n_kinds):
                credit[j] += joined * taken[j] - missed * (counts[j] - taken[j])
        j = 0
        while j < n_kinds and not 0 <= taken[j] + direction[j] <= counts[j]:
            direction[j] = -direction[j]
            j += 1
        if j == n_kinds:
            break
        if direction[j] > 0:
            combinations[j] *= (counts[j] - taken[j]) / (taken[j] + 1)
            player = kinds[first[j] + taken[j]]
            taken[j] += 1
            size += 1
        else:
            taken[j] -= 1
            size -= 1
            combinations[j] *= (taken[j] + 1) / (counts[j] - taken[j])
            player = kinds[first[j] + taken[j]]
        if player == owner:
            awake = direction[j] > 0
        start, end = players.offsets[player], players.offsets[player + 1]
        toggle(members, start, end, direction[j] > 0, coalition)


@njit(**_MERGED)
def group_identical(game, limit):
    """Sort the elements of a game without competition into kinds with equal rows.

    Returns
    -------
    counts : int64 array, kinds : int64 array
        As `exact_semivalue` takes them; no kinds if there are more than `limit` combinations.
    """
    offsets, entries = game.coalition.offsets, game.coalition.entries
    n = len(offsets) - 1
    no_counts, no_kinds = np.empty(0, np.int64), np.empty(0, np.int64)
    kind_of = np.empty(n, np.int64)
    first = np.empty(n, np.int64)
    counts = np.zeros(n, np.int64)
    n_kinds = 0
    combinations = 1.0
    for element in range(n):
        kind = 0
        while kind < n_kinds and not _same_row(first[kind], element, offsets, entries):
            kind += 1
        if kind == n_kinds:
            first[n_kinds] = element
            n_kinds += 1
        kind_of[element] = kind
        counts[kind] += 1
        combinations *= (counts[kind] + 1) / counts[kind]
        if combinations > limit + 0.5:
            return no_counts, no_kinds
    kinds = np.empty(n, np.int64)
    stable_argsort(kind_of, kinds)
    return counts[:n_kinds].copy(), kinds


@njit(**_INNER)
def _same_row(a, b, offsets, entries):
    length = offsets[a + 1] - offsets[a]
    if offsets[b + 1] - offsets[b] != length:
        return False
    for e in range(length):
        for field in range(2):
            if entries[field, offsets[a] + e] != entries[field, offsets[b] + e]:
                return False
    return True


@njit(**_OPTIONS)
def value_of_all(game):
    """Make every element present, from the start, and return the value."""
    coalition, scoring, gains = game
    reset(coalition)
    everyone = np.arange(coalition.limits[0]).astype(np.int64)
    toggle(everyone, np.int64(0), coalition.limits[0], JOINING, coalition)
    return value_of(coalition, scoring, gains)


@njit(**_MERGED)
def leave_one_out(game, players, values):
    """Effect of removing each player from the full training data.

    Elements beyond the pool, or beyond the k nearest, are those that take a place set free.

    Parameters
    ----------
    values : float64 (P,), written: value with everyone minus value without the player

    Returns
    -------
    float
        Value with everyone.
    """
    full = value_of_all(game)
    _leave_each_out(game, players, full, values)
    return full


@njit(**_INNER)
def _leave_each_out(game, players, full, values):
    """Remove one player after the other; see `leave_one_out`."""
    coalition, scoring, gains = game
    members = players.members
    state = coalition.state
    for player in range(len(players.ids)):
        if player == players.owner:
            values[player] = full
            continue
        start, end = players.offsets[player], players.offsets[player + 1]
        state[CHANGED] = 0
        toggle(members, start, end, LEAVING, coalition)
        values[player] = 0.0
        if state[CHANGED] or state[N_PRESENT] == 0:
            values[player] = full - value_of(coalition, scoring, gains)
        toggle(members, start, end, JOINING, coalition)


@njit(**_MERGED)
def sample_in_subsets(game, players, weights, plan, query, first, units, sums, squares):
    """Sample subsets; in each, every player's effect of joining or leaving is read off.

    Parameters as in `sample_in_permutations`; where the plan is antithetic, a replicate is a
    subset and its complement.
    """
    n_players = len(players.ids)
    flips = np.empty(n_players, np.uint8)
    gained = np.zeros(n_players)
    passes = 2 if plan.antithetic else 1
    for replicate in range(first, first + units):
        coin_flips(flips, n_players, stream(plan.seed, np.uint64(query), np.uint64(replicate)))
        for _ in range(passes):
            _walk_subset(flips, players, weights, gained, game)
            for player in range(n_players):
                flips[player] = 1 - flips[player]
        _close_replicate(gained, passes, sums, squares)
    return game.coalition.state[WORK] + float(n_players) * units * passes


@njit(**_INNER)
def _walk_subset(flips, players, weights, gained, game):
    """One subset: add every player's weighted effect to ``gained``."""
    coalition, scoring, gains = game
    members, owner = players.members, players.owner
    n_players, state = len(players.ids), coalition.state
    reset(coalition)
    size = 0
    for player in range(n_players):
        size += flips[player]
        if flips[player]:
            start, end = players.offsets[player], players.offsets[player + 1]
            toggle(members, start, end, JOINING, coalition)
    awake = owner < 0 or flips[owner] == 1
    value = value_of(coalition, scoring, gains) if awake else 0.0
    for player in range(n_players):
        if not awake and player != owner:
            continue
        start, end = players.offsets[player], players.offsets[player + 1]
        alone = state[N_PRESENT] <= end - start
        state[CHANGED] = 0
        toggle(members, start, end, flips[player] == 0, coalition)
        other = value
        if player == owner and awake:
            other = 0.0
        elif player == owner or state[CHANGED] or alone:
            other = value_of(coalition, scoring, gains)
        effect = value - other if flips[player] else other - value
        gained[player] += weights[size - flips[player]] * effect
        toggle(members, start, end, flips[player] == 1, coalition)
