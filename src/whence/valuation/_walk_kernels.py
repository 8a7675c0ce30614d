"""Walks over the coalitions of one query's game: permutations, subsets, all of them.

*Players* are what is credited: single elements of the game, or groups of them. The members of
player j are ``members[member_offsets[j]:member_offsets[j + 1]]``. A semivalue is described by
``position_weights``: Shapley weighs the marginal contribution at every size of the coalition
alike (1), Beta-Shapley does not; and by ``size_weights``, the probability of one coalition of
each size.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.knn._sort_kernels import stable_argsort
from whence.valuation._game_kernels import (
    AVERAGE_PRECISION,
    BASE,
    CHANGED,
    ENTRY_ITEM,
    ENTRY_VALUE,
    ITEM,
    KEY,
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

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
_INNER = {**_OPTIONS, "_nrt": False}

_INLINE = {**_INNER, "inline": "always"}

SHAPLEY, BANZHAF, BETA = 0, 1, 2

BLOCK = 4


@njit(**_OPTIONS)
def size_weights(semivalue, alpha, beta, n):
    """Probability of each coalition of size s among the n - 1 others; float64 (n,).

    Shapley: s! (n - 1 - s)! / n!. Banzhaf: 2**(1 - n). Beta(alpha, beta):
    B(s + beta, n - 1 - s + alpha) / B(alpha, beta) (Kwon and Zou, AISTATS 2022, eq. 5).
    """
    weights = np.empty(n)
    if semivalue == BANZHAF:
        weights[:] = 2.0 ** (1 - n)
        return weights
    first = 1.0
    for i in range(n - 1):
        first *= (alpha + i) / (alpha + beta + i)
    weights[0] = first
    for s in range(1, n):
        weights[s] = weights[s - 1] * (s - 1 + beta) / (n - 1 - s + alpha)
    return weights


@njit(**_OPTIONS)
def position_weights(semivalue, alpha, beta, n):
    """Weight of a marginal contribution to s others in a random permutation; float64 (n,).

    n * C(n - 1, s) * size weight, by the recurrence of the quotients; 1 for Shapley.
    """
    weights = np.ones(n)
    if semivalue != BETA:
        return weights
    first = float(n)
    for i in range(n - 1):
        first *= (alpha + i) / (alpha + beta + i)
    weights[0] = first
    for s in range(1, n):
        weights[s] = weights[s - 1] * (s - 1 + beta) / (n - 1 - s + alpha) * (n - s) / s
    return weights


@njit(**_INNER)
def _walk(order, member_offsets, members, singles, relevant, owner, weights, gained, touched,
          n_touched, is_touched, limits, offsets, entries, elements, items, tracks, state, scoring,
          gains):  # fmt: skip
    """One permutation: add the weighted marginal contributions to ``gained``."""
    reset(elements, items, tracks, state)
    n = len(order)
    count_positive = scoring[3] != 0.0
    value = scoring[4] if owner < 0 else 0.0
    here = 0
    if singles and owner < 0:
        # As long as no tracked item can appear, the value stays what it is.
        while here < n and not relevant[order[here]]:
            here += 1
        if here == n:
            return n_touched
        insert_irrelevant(order, here, limits, offsets, entries, elements, items, tracks, state)
    awake = owner < 0
    for j in range(here, n):
        player = np.int64(order[j])
        state[CHANGED] = 0
        if singles and player != owner:
            insert(
                player, limits, count_positive, offsets, entries, elements, items, tracks, state
            )
        else:
            toggle(
                members, member_offsets[player], member_offsets[player + 1], np.bool_(True), limits,
                count_positive, offsets, entries, elements, items, tracks, state,
            )  # fmt: skip
            if player == owner:
                awake = True
                state[CHANGED] = 1
        if awake and (state[CHANGED] or j == 0):
            new = value_of(limits[3], tracks, state, scoring, gains)
            if new != value:
                gained[player] += weights[j] * (new - value)
                value = new
                if not is_touched[player]:
                    is_touched[player] = 1
                    touched[n_touched] = player
                    n_touched += 1
    return n_touched


@njit(**_INLINE)
def _add_blocks(start, end, sign, row_items, row_values, keys):
    for block in range(start, end):
        for e in range(BLOCK):
            keys[row_items[block, e]] += sign * row_values[block, e]


@njit(**_INLINE)
def _count_blocks(start, end, sign, key, row_items, row_values, keys):
    above = 0
    for block in range(start, end):
        for e in range(BLOCK):
            old = keys[row_items[block, e]]
            new = np.int32(old + sign * row_values[block, e])
            keys[row_items[block, e]] = new
            above += np.int64(new > key) - np.int64(old > key)
    return above


@njit(**_INNER)
def _walk_one_target(order, relevant, weights, gained, touched, n_touched, is_touched, k, step,
                     offsets, row_items, row_values, present, base, keys, target, worth,
                     empty_value, state):  # fmt: skip
    """`_walk` for its most frequent case: single sessions, room for all in the pool, one target.

    Several times faster than the general way: what it changes is in local variables, numbers that
    index are unsigned (no test for negative ones), keys have 32 bits (twice as many at once), and
    rows are padded to blocks (loops of equal length are predicted well).

    Parameters
    ----------
    order : uint32 (n,); offsets : uint32 (n + 1,), first block of each row
    row_items : uint32 (blocks, BLOCK); row_values : int32 (blocks, BLOCK)
    base, keys : int32 (L + 1,), the last for padding
    worth : float64 (length,), value of the list with the target at each rank
    """
    n, length = np.uint32(len(order)), len(worth)
    n_keys = np.uint32(len(keys))
    for i in range(n_keys):
        keys[i] = base[i]
    for element in range(n):
        present[element] = 0
    here = np.uint32(0)
    while here < n and not relevant[order[here]]:
        present[order[here]] = 1
        here = np.uint32(here + 1)
    if here == n:
        return n_touched
    plus, minus = np.int32(1), np.int32(-1)
    work = 0
    worst = np.uint32(0)
    neighbours = np.uint32(0)
    element = np.uint32(0)
    while neighbours < min(here, k):
        if present[element]:
            neighbours = np.uint32(neighbours + 1)
            worst = element
            _add_blocks(
                offsets[element], offsets[np.uint32(element + 1)], plus, row_items, row_values,
                keys,
            )  # fmt: skip
        element = np.uint32(element + 1)
    value = empty_value
    key = keys[target]
    above = 0
    for j in range(here, n):
        entering = order[j]
        present[entering] = 1
        first, stop = np.uint32(0), np.uint32(0)
        moves = relevant[entering] != 0
        if j < k:
            worst = max(worst, entering)
        elif entering < worst:
            first, stop = offsets[worst], offsets[np.uint32(worst + 1)]
            moves |= relevant[worst] != 0
            worst = np.uint32(worst - 1)
            while present[worst] == 0:
                worst = np.uint32(worst - 1)
        else:
            continue
        start, end = offsets[entering], offsets[np.uint32(entering + 1)]
        work += end - start
        if moves or key < step:
            _add_blocks(start, end, plus, row_items, row_values, keys)
            _add_blocks(first, stop, minus, row_items, row_values, keys)
            if not moves:
                continue
            key = keys[target]
            if key >= step:
                count = np.int32(0)
                for i in range(n_keys):
                    count += np.int32(keys[i] > key)
                above = np.int64(count)
        else:
            change = _count_blocks(start, end, plus, key, row_items, row_values, keys)
            change += _count_blocks(first, stop, minus, key, row_items, row_values, keys)
            if change == 0:
                continue
            above += change
        new_value = worth[above] if key >= step and above < length else 0.0
        if new_value != value:
            gained[entering] += weights[j] * (new_value - value)
            value = new_value
            if not is_touched[entering]:
                is_touched[entering] = 1
                touched[n_touched] = entering
                n_touched += 1
    state[WORK] += BLOCK * work
    return n_touched


@njit(**_OPTIONS)
def _pad_rows(offsets, entries, n_local):
    """Rows in blocks of `BLOCK` entries, filled up with nothing for local item `n_local`."""
    n = len(offsets) - 1
    blocks = np.zeros(n + 1, np.uint32)
    for element in range(n):
        length = offsets[element + 1] - offsets[element]
        blocks[element + 1] = blocks[element] + (length + BLOCK - 1) // BLOCK
    row_items = np.full((blocks[n], BLOCK), n_local, np.uint32)
    row_values = np.zeros((blocks[n], BLOCK), np.int32)
    for element in range(n):
        for e in range(offsets[element], offsets[element + 1]):
            inside = e - offsets[element]
            block = blocks[element] + inside // BLOCK
            row_items[block, inside % BLOCK] = entries[ENTRY_ITEM, e]
            row_values[block, inside % BLOCK] = entries[ENTRY_VALUE, e]
    return blocks, row_items, row_values


@njit(**_OPTIONS)
def _worth_by_rank(scoring, gains):
    """Value of a list with its only target at each rank."""
    mode, length, rank_factor, _, _ = scoring
    worth = np.empty(length)
    for rank in range(length):
        worth[rank] = rank_factor * (
            1.0 / (rank + 1) if mode == AVERAGE_PRECISION else gains[rank + 1]
        )
    return worth


@njit(**_OPTIONS)
def _fits_fast_walk(game, players):
    """Whether `_walk_one_target` can do it, sums of 32 bits included."""
    n, k, m, step = game.limits
    if not players.singles or players.owner >= 0 or m < n or game.tracks.shape[1] != 1:
        return False
    largest = np.int64(0)
    for e in range(game.entries.shape[1]):
        largest = max(largest, game.entries[ENTRY_VALUE, e])
    return game.scoring[3] == 0.0 and largest * min(n, k) + step < 2**31


@njit(**_OPTIONS)
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
def _close_replicate(gained, touched, n_touched, is_touched, passes, sums, squares):
    """Add what the players gained, mean over the passes, and its square; and forget it."""
    for i in range(n_touched):
        player = touched[i]
        mean = gained[player] / passes
        sums[player] += mean
        squares[player] += mean * mean
        gained[player] = 0.0
        is_touched[player] = 0


@njit(**_OPTIONS)
def permutation_shapley(game, players, weights, plan, query, first, units, sums, squares):
    """Sample permutations and add up the marginal contributions of the players.

    Parameters
    ----------
    weights : float64 (P,), position weights
    first, units : int
        Number of the first replicate, and how many. A replicate is one permutation, or a
        permutation and its reverse where the plan is antithetic.
    sums, squares : float64 (P,), zero at first
        Sum over replicates of the mean contribution of a replicate, and of its square.

    Returns
    -------
    float
        Work done: steps and row entries.
    """
    limits, offsets, entries, elements, items, tracks, state, scoring, gains = game
    n = len(players.ids)
    order = np.empty(n, np.uint32)
    relevant = np.zeros(n, np.uint8)
    for j in range(n):
        for e in range(players.offsets[j], players.offsets[j + 1]):
            if elements[RELEVANT, players.members[e]]:
                relevant[j] = 1
    gained = np.zeros(n)
    touched = np.empty(n, np.int64)
    is_touched = np.zeros(n, np.uint8)
    passes = 2 if plan.antithetic else 1
    fast = _fits_fast_walk(game, players)
    if fast:
        blocks, row_items, row_values = _pad_rows(offsets, entries, items.shape[1])
        base = np.full(items.shape[1] + 1, -1, np.int32)
        for i in range(items.shape[1]):
            base[i] = items[BASE, i]
        keys = np.empty(len(base), np.int32)
        present = np.empty(n, np.uint8)
        worth = _worth_by_rank(scoring, gains)
        k, target = np.uint32(min(limits[1], n)), np.uint32(tracks[ITEM, 0])
    for replicate in range(first, first + units):
        _draw(order, players.ids, plan.seed, query, replicate, plan.shared)
        n_touched = np.int64(0)
        for _ in range(passes):
            if fast:
                n_touched = _walk_one_target(
                    order, relevant, weights, gained, touched, n_touched, is_touched, k,
                    np.int32(limits[3]), blocks, row_items, row_values, present, base,
                    keys, target, worth, scoring[4], state,
                )  # fmt: skip
            else:
                n_touched = _walk(
                    order, players.offsets, players.members, players.singles, relevant,
                    players.owner, weights, gained, touched, n_touched, is_touched, limits,
                    offsets, entries, elements, items, tracks, state, scoring, gains,
                )  # fmt: skip
            _reverse(order)
        _close_replicate(gained, touched, n_touched, is_touched, passes, sums, squares)
    return state[WORK] + float(n) * units * passes


@njit(**_OPTIONS)
def exact_semivalue(game, n_players, member_offsets, members, owner, weights, counts, kinds,
                    values):  # fmt: skip
    """Exact semivalues by visiting every combination of the kinds of players once.

    Players of one kind are interchangeable, so only how many of each kind are present matters.
    The combinations are visited in the reflected mixed-radix Gray order, one player at a time.

    Parameters
    ----------
    weights : float64 (n_players,), size weights
    counts : int64 (K,), players of each kind; kinds : int64 (n_players,), players by kind
    values : float64 (n_players,), written
    """
    limits, offsets, entries, elements, items, tracks, state, scoring, gains = game
    count_positive = scoring[3] != 0.0
    n_kinds = len(counts)
    first = np.zeros(n_kinds + 1, np.int64)
    for j in range(n_kinds):
        first[j + 1] = first[j] + counts[j]
    taken = np.zeros(n_kinds, np.int64)
    direction = np.ones(n_kinds, np.int64)
    credit = np.zeros(n_kinds)
    combinations = np.ones(n_kinds)
    size = 0
    awake = owner < 0
    reset(elements, items, tracks, state)
    while True:
        value = value_of(limits[3], tracks, state, scoring, gains) if awake else 0.0
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
        toggle(
            members, member_offsets[player], member_offsets[player + 1], direction[j] > 0, limits,
            count_positive, offsets, entries, elements, items, tracks, state,
        )  # fmt: skip
    for j in range(n_kinds):
        for i in range(first[j], first[j + 1]):
            values[kinds[i]] = credit[j] / counts[j]


@njit(**_OPTIONS)
def group_identical(game, limit):
    """Sort the elements of a game without competition into kinds with equal rows.

    Returns
    -------
    counts : int64 array, kinds : int64 array
        As `exact_semivalue` takes them; no kinds if there are more than `limit` combinations.
    """
    offsets, entries = game.offsets, game.entries
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
    limits, offsets, entries, elements, items, tracks, state, scoring, gains = game
    count_positive = scoring[3] != 0.0
    reset(elements, items, tracks, state)
    everyone = np.arange(limits[0]).astype(np.int64)
    toggle(
        everyone, np.int64(0), limits[0], np.bool_(True), limits, count_positive, offsets, entries, elements, items,
        tracks, state,
    )  # fmt: skip
    return value_of(limits[3], tracks, state, scoring, gains)


@njit(**_OPTIONS)
def leave_one_out(game, n_players, member_offsets, members, owner, values):
    """Effect of removing each player from the full training data.

    Elements beyond the pool, or beyond the k nearest, are those that take a place set free.

    Parameters
    ----------
    values : float64 (n_players,), written: value with everyone minus value without the player

    Returns
    -------
    float
        Value with everyone.
    """
    full = value_of_all(game)
    limits, offsets, entries, elements, items, tracks, state, scoring, gains = game
    count_positive = scoring[3] != 0.0
    for player in range(n_players):
        if player == owner:
            values[player] = full
            continue
        start, end = member_offsets[player], member_offsets[player + 1]
        state[CHANGED] = 0
        toggle(
            members, start, end, np.bool_(False), limits, count_positive, offsets, entries, elements, items,
            tracks, state,
        )  # fmt: skip
        values[player] = 0.0
        if state[CHANGED] or state[N_PRESENT] == 0:
            values[player] = full - value_of(limits[3], tracks, state, scoring, gains)
        toggle(
            members, start, end, np.bool_(True), limits, count_positive, offsets, entries, elements, items,
            tracks, state,
        )  # fmt: skip
    return full


@njit(**_OPTIONS)
def subset_banzhaf(
    game, n_players, member_offsets, members, owner, seed, query, first, units, antithetic, sums,
    squares
):  # fmt: skip
    """Sample subsets; in each, every player's effect of joining or leaving is read off.

    Parameters as in `permutation_shapley`; where `antithetic`, a replicate is a subset and its
    complement.
    """
    limits, offsets, entries, elements, items, tracks, state, scoring, gains = game
    count_positive = scoring[3] != 0.0
    flips = np.empty(n_players, np.uint8)
    gained = np.zeros(n_players)
    passes = 2 if antithetic else 1
    for replicate in range(first, first + units):
        coin_flips(flips, n_players, stream(seed, np.uint64(query), np.uint64(replicate)))
        gained[:] = 0.0
        for _ in range(passes):
            reset(elements, items, tracks, state)
            for player in range(n_players):
                if flips[player]:
                    toggle(
                        members, member_offsets[player], member_offsets[player + 1], np.bool_(True), limits,
                        count_positive, offsets, entries, elements, items, tracks, state,
                    )  # fmt: skip
            awake = owner < 0 or flips[owner] == 1
            value = value_of(limits[3], tracks, state, scoring, gains) if awake else 0.0
            for player in range(n_players):
                if not awake and player != owner:
                    continue
                start, end = member_offsets[player], member_offsets[player + 1]
                alone = state[N_PRESENT] <= end - start
                state[CHANGED] = 0
                toggle(
                    members, start, end, flips[player] == 0, limits, count_positive, offsets,
                    entries, elements, items, tracks, state,
                )  # fmt: skip
                other = value
                if player == owner and awake:
                    other = 0.0
                elif player == owner or state[CHANGED] or alone:
                    other = value_of(limits[3], tracks, state, scoring, gains)
                gained[player] += value - other if flips[player] else other - value
                toggle(
                    members, start, end, flips[player] == 1, limits, count_positive, offsets,
                    entries, elements, items, tracks, state,
                )  # fmt: skip
            for player in range(n_players):
                flips[player] = 1 - flips[player]
        for player in range(n_players):
            mean = gained[player] / passes
            sums[player] += mean
            squares[player] += mean * mean
    return state[WORK] + float(n_players) * units * passes
