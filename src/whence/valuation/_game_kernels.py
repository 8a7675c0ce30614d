"""The game of one query: who is present, which list results, what it is worth.

The *elements* of a game are training sessions or users, numbered by rank in the model's strict
order of preference: 0 is the best neighbour. Of those present, the `m` most recent form the pool,
and the best `k` of the pool are the neighbours. Each neighbour adds a *row* of integers to the
keys of the *local items*, the items that any element could bring into the list.

A key is ``step * score + tie``, where ``tie`` is twice the count of tracked items with a larger
number, and one more for a tracked item; so comparing the key of any item with that of a tracked
item compares (score, item number) exactly, and they are never equal. *Tracked* items are those
whose rank matters: the targets that can be reached and, for sustainability metrics, the
sustainable items. For each the count of items above it is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.evaluation._modes import ADDITIVE, AVERAGE_PRECISION, BEST

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# Inner functions allocate nothing: without the runtime, no reference is counted in a loop.
_INNER = {**_OPTIONS, "_nrt": False}
_INLINE = {**_INNER, "inline": "always"}

# Bits of `flags`: what a tracked item is.
IS_TARGET, IS_SUSTAINABLE = 1, 2

# Places in `state`: how many are in the pool, the worst neighbour, how many are present, the oldest
# in the pool (by age), items with a score above 0; whether a tracked item may have moved, and the
# row entries walked over, ever.
N_POOL, WORST, N_PRESENT, OLDEST, N_POSITIVE, CHANGED, WORK = 0, 1, 2, 3, 4, 5, 6

# Rows of `elements`, `items`, `tracks` and `entries`.
PRESENT, IN_TIME, AGE, BY_AGE, RELEVANT = 0, 1, 2, 3, 4
KEY, BASE, TRACKED_OF = 0, 1, 2
ITEM, TRACKED_KEY, ABOVE, FLAGS = 0, 1, 2, 3
ENTRY_ITEM, ENTRY_VALUE = 0, 1


class Coalition(NamedTuple):
    """Who is present, and the keys that result; n elements, L local items, T tracked, E entries.

    Inner functions take it whole: without the runtime, taking an array out of it costs nothing.
    The innermost take what they need, since each array is eight words of the call.

    Attributes
    ----------
    limits : (n, k, m, step, counting)
        Elements; neighbours; size of the pool (m >= n: everyone is in it); keys of at least
        `step` belong to items with a score above 0; whether their number is kept (0 or 1).
    offsets : int64 (n + 1,); entries : int64 (2, E)
        Rows: `ENTRY_ITEM`, a local item, and `ENTRY_VALUE`, what the element adds to its key.
    elements : int64 (5, n)
        `PRESENT` and `IN_TIME` (present, by place in time), `AGE` (0: most recent), `BY_AGE` (the
        element at each place in time) and `RELEVANT` (the row touches a tracked item).
    items : int64 (3, L)
        `KEY` now, `BASE` without any row, and `TRACKED_OF`, index of the tracked item or -1.
    tracks : int64 (4, T)
        Tracked items: local `ITEM`, `TRACKED_KEY`, items `ABOVE`, and `FLAGS`.
    state : int64 (8,)
        Counters.
    """

    limits: tuple[int, int, int, int, int]
    offsets: np.ndarray
    entries: np.ndarray
    elements: np.ndarray
    items: np.ndarray
    tracks: np.ndarray
    state: np.ndarray


class Game(NamedTuple):
    """One query's game.

    Attributes
    ----------
    coalition : Coalition
    scoring : (mode, length, rank_factor, sustainable_factor, empty_value)
        How ranks up to `length` become a value: rank_factor * ranks + sustainable_factor *
        sustainable share of the list; and the value when no element is present.
    gains : float64 (length + 1,)
    """

    coalition: Coalition
    scoring: tuple[int, int, float, float, float]
    gains: np.ndarray


class Draft(NamedTuple):
    """Rows and items of a game before they are ranked.

    Attributes
    ----------
    offsets : int64 (n + 1,); row_items : int32 (E,), local; row_values : int64 (E,), scores added
        Rows of the elements.
    numbers : int32 (L,), item number of each local item
    empty_scores : int64 (L,), scores when nobody is present
    flags : uint8 (L,), flags of each local item, 0 where its rank does not matter
    """

    offsets: np.ndarray
    row_items: np.ndarray
    row_values: np.ndarray
    numbers: np.ndarray
    empty_scores: np.ndarray
    flags: np.ndarray


@njit(**_INNER)
def reset(coalition):
    """Nobody is present."""
    elements, items, tracks, state = (
        coalition.elements,
        coalition.items,
        coalition.tracks,
        coalition.state,
    )
    for i in range(items.shape[1]):
        items[KEY, i] = items[BASE, i]
    for t in range(tracks.shape[1]):
        tracks[TRACKED_KEY, t] = items[BASE, tracks[ITEM, t]]
        tracks[ABOVE, t] = 0
    for element in range(elements.shape[1]):
        elements[PRESENT, element] = 0
        elements[IN_TIME, element] = 0
    state[N_POOL] = 0
    state[WORST] = -1
    state[N_PRESENT] = 0
    state[OLDEST] = -1
    state[N_POSITIVE] = 0
    state[CHANGED] = 0


@njit(**_INNER)
def _many_value(step, tracks, state, scoring, gains):
    """Value of the ranks of the tracked items, and of the sustainable share."""
    mode, length, rank_factor, sustainable_factor, _ = scoring
    ranks = 0.0
    best = length
    sustainable = 0
    found = 0
    for t in range(tracks.shape[1]):
        above = tracks[ABOVE, t]
        if tracks[TRACKED_KEY, t] < step or above >= length:
            continue
        if tracks[FLAGS, t] & IS_TARGET:
            if mode == ADDITIVE:
                ranks += gains[above + 1]
            elif mode == BEST:
                best = min(best, above)
            elif mode == AVERAGE_PRECISION:
                # Hits at or above this rank, itself included, over the rank.
                found = 0
                for u in range(tracks.shape[1]):
                    found += (
                        tracks[FLAGS, u] & IS_TARGET != 0
                        and tracks[TRACKED_KEY, u] >= step
                        and tracks[ABOVE, u] <= above
                    )
                ranks += found / (above + 1)
        if tracks[FLAGS, t] & IS_SUSTAINABLE:
            sustainable += 1
    if mode == BEST and best < length:
        ranks = gains[best + 1]
    value = rank_factor * ranks
    if sustainable > 0:
        value += sustainable_factor * (sustainable / min(length, state[N_POSITIVE]))
    return value


@njit(**_INLINE)
def value_of(coalition, scoring, gains):
    """Value of the list with the elements now present; for inner functions."""
    mode, length, rank_factor, sustainable_factor, empty_value = scoring
    tracks = coalition.tracks
    if coalition.state[N_PRESENT] == 0:
        return empty_value
    if tracks.shape[1] == 1 and sustainable_factor == 0.0 and mode != AVERAGE_PRECISION:
        if tracks[TRACKED_KEY, 0] < coalition.limits[3] or tracks[ABOVE, 0] >= length:
            return 0.0
        return rank_factor * gains[tracks[ABOVE, 0] + 1]
    return _many_value(coalition.limits[3], tracks, coalition.state, scoring, gains)


@njit(**_INNER)
def recount(t, step, items, tracks):
    """Count the items above tracked item t afresh; called so often that it takes no more arrays."""
    key = items[KEY, tracks[ITEM, t]]
    tracks[TRACKED_KEY, t] = key
    if key >= step:
        count = 0
        for i in range(items.shape[1]):
            count += items[KEY, i] > key
        tracks[ABOVE, t] = count


@njit(**_INLINE)
def _add_row(element, sign, coalition):
    """Add (sign 1) or take away (-1) a row, without counting."""
    offsets, entries, items = coalition.offsets, coalition.entries, coalition.items
    for e in range(offsets[element], offsets[element + 1]):
        items[KEY, entries[ENTRY_ITEM, e]] += sign * entries[ENTRY_VALUE, e]


@njit(**_INLINE)
def _add_row_past_one(element, sign, key, coalition):
    """Add or take away a row; return the change of the number of items above a key."""
    offsets, entries, items = coalition.offsets, coalition.entries, coalition.items
    above = 0
    for e in range(offsets[element], offsets[element + 1]):
        item = entries[ENTRY_ITEM, e]
        old = items[KEY, item]
        new = old + sign * entries[ENTRY_VALUE, e]
        items[KEY, item] = new
        above += (new > key) - (old > key)
    return above


@njit(**_INNER)
def _add_row_past_many(element, sign, step, offsets, entries, items, tracks, state):
    """Add or take away a row where several items are tracked.

    Tracked items that the row touches need a recount after.
    """
    positive = 0
    for e in range(offsets[element], offsets[element + 1]):
        item = entries[ENTRY_ITEM, e]
        old = items[KEY, item]
        new = old + sign * entries[ENTRY_VALUE, e]
        items[KEY, item] = new
        positive += (new >= step) - (old >= step)
        for t in range(tracks.shape[1]):
            key = tracks[TRACKED_KEY, t]
            tracks[ABOVE, t] += (new > key) - (old > key)
    state[N_POSITIVE] += positive


@njit(**_INNER)
def _recount_row(element, coalition):
    """Count afresh for the tracked items that a row touches."""
    items, tracks, step = coalition.items, coalition.tracks, coalition.limits[3]
    for e in range(coalition.offsets[element], coalition.offsets[element + 1]):
        t = items[TRACKED_OF, coalition.entries[ENTRY_ITEM, e]]
        if t >= 0:
            recount(t, step, items, tracks)


@njit(**_INNER)
def _change_with_many(entering, leaving, coalition):
    """Change the neighbours where several items are tracked, or none."""
    limits, offsets, entries, _, items, tracks, state = coalition
    if entering >= 0:
        _add_row_past_many(entering, 1, limits[3], offsets, entries, items, tracks, state)
    if leaving >= 0:
        _add_row_past_many(leaving, -1, limits[3], offsets, entries, items, tracks, state)
    if entering >= 0 and coalition.elements[RELEVANT, entering]:
        _recount_row(entering, coalition)
    if leaving >= 0 and coalition.elements[RELEVANT, leaving]:
        _recount_row(leaving, coalition)
    coalition.state[CHANGED] = 1


@njit(**_INNER)
def change_neighbours(entering, leaving, coalition):
    """One element becomes a neighbour and one stops being one; -1 for none."""
    offsets, elements, tracks, state = (
        coalition.offsets,
        coalition.elements,
        coalition.tracks,
        coalition.state,
    )
    if entering >= 0:
        state[WORK] += offsets[entering + 1] - offsets[entering]
    if leaving >= 0:
        state[WORK] += offsets[leaving + 1] - offsets[leaving]
    if tracks.shape[1] != 1 or coalition.limits[4] != 0:
        _change_with_many(entering, leaving, coalition)
        return
    # The common case, one target: its own key moves only with rows that touch it.
    moves = (entering >= 0 and elements[RELEVANT, entering]) or (
        leaving >= 0 and elements[RELEVANT, leaving]
    )
    key = tracks[TRACKED_KEY, 0]
    if moves or key < coalition.limits[3]:
        if entering >= 0:
            _add_row(entering, 1, coalition)
        if leaving >= 0:
            _add_row(leaving, -1, coalition)
        if moves:
            recount(np.int64(0), coalition.limits[3], coalition.items, tracks)
            state[CHANGED] = 1
        return
    above = 0
    if entering >= 0:
        above += _add_row_past_one(entering, 1, key, coalition)
    if leaving >= 0:
        above += _add_row_past_one(leaving, -1, key, coalition)
    if above != 0:
        tracks[ABOVE, 0] += above
        state[CHANGED] = 1


@njit(**_INLINE)
def _enter_pool(element, coalition):
    """An element joins the pool; at most one neighbour makes room for it."""
    elements, state = coalition.elements, coalition.state
    elements[PRESENT, element] = 1
    state[N_POOL] += 1
    entering, leaving = -1, -1
    if state[N_POOL] <= coalition.limits[1]:
        entering = element
        state[WORST] = max(state[WORST], element)
    elif element < state[WORST]:
        entering, leaving = element, state[WORST]
        worst = state[WORST] - 1
        while elements[PRESENT, worst] == 0:
            worst -= 1
        state[WORST] = worst
    if entering >= 0:
        change_neighbours(entering, leaving, coalition)


@njit(**_INLINE)
def _leave_pool(element, coalition):
    """An element leaves the pool; the next best takes its place among the neighbours."""
    elements, state = coalition.elements, coalition.state
    elements[PRESENT, element] = 0
    state[N_POOL] -= 1
    if element > state[WORST]:
        return
    entering = -1
    if state[N_POOL] >= coalition.limits[1]:
        entering = state[WORST] + 1
        while elements[PRESENT, entering] == 0:
            entering += 1
        state[WORST] = entering
    elif element == state[WORST]:
        worst = element - 1
        while worst >= 0 and elements[PRESENT, worst] == 0:
            worst -= 1
        state[WORST] = worst
    change_neighbours(entering, element, coalition)


@njit(**_INNER)
def _insert_recent(element, coalition):
    """Insert where the pool holds the m most recent only."""
    elements, state = coalition.elements, coalition.state
    age = elements[AGE, element]
    elements[IN_TIME, age] = 1
    state[N_PRESENT] += 1
    if state[N_PRESENT] > coalition.limits[2]:
        if age > state[OLDEST]:
            return
        _leave_pool(elements[BY_AGE, state[OLDEST]], coalition)
        oldest = state[OLDEST] - 1
        while elements[IN_TIME, oldest] == 0:
            oldest -= 1
        state[OLDEST] = oldest
    else:
        state[OLDEST] = max(state[OLDEST], age)
    _enter_pool(element, coalition)


@njit(**_INNER)
def _remove_recent(element, coalition):
    """Remove where the pool holds the m most recent only."""
    elements, state = coalition.elements, coalition.state
    age = elements[AGE, element]
    elements[IN_TIME, age] = 0
    state[N_PRESENT] -= 1
    if age > state[OLDEST]:
        return
    _leave_pool(element, coalition)
    if state[N_PRESENT] >= coalition.limits[2]:
        oldest = state[OLDEST] + 1
        while elements[IN_TIME, oldest] == 0:
            oldest += 1
        state[OLDEST] = oldest
        _enter_pool(elements[BY_AGE, oldest], coalition)
    elif age == state[OLDEST]:
        oldest = age - 1
        while oldest >= 0 and elements[IN_TIME, oldest] == 0:
            oldest -= 1
        state[OLDEST] = oldest


@njit(**_INLINE)
def insert(element, coalition):
    """An absent element becomes present."""
    if coalition.limits[2] < coalition.limits[0]:
        _insert_recent(element, coalition)
    else:
        coalition.state[N_PRESENT] += 1
        _enter_pool(element, coalition)


@njit(**_INLINE)
def remove(element, coalition):
    """A present element becomes absent."""
    if coalition.limits[2] < coalition.limits[0]:
        _remove_recent(element, coalition)
    else:
        coalition.state[N_PRESENT] -= 1
        _leave_pool(element, coalition)


@njit(**_INNER)
def toggle(members, start, end, joining, coalition):
    """Insert, or remove, the elements ``members[start:end]`` of a player."""
    for place in range(start, end):
        if joining:
            insert(members[place], coalition)
        else:
            remove(members[place], coalition)


@njit(**_INNER)
def insert_irrelevant(order, n_first, coalition):
    """Insert elements none of which touches a tracked item, from an empty start.

    The value stays 0 meanwhile, so only the keys of the final neighbours are needed.
    """
    n, k, m, step, _ = coalition.limits
    if m < n:
        for j in range(n_first):
            _insert_recent(np.int64(order[j]), coalition)
        return
    offsets, entries, items = coalition.offsets, coalition.entries, coalition.items
    elements, state = coalition.elements, coalition.state
    for j in range(n_first):
        elements[PRESENT, order[j]] = 1
    state[N_POOL] = n_first
    state[N_PRESENT] = n_first
    neighbours = 0
    element = 0
    while neighbours < min(n_first, k):
        if elements[PRESENT, element]:
            neighbours += 1
            state[WORST] = element
            start, end = offsets[element], offsets[element + 1]
            state[WORK] += end - start
            for e in range(start, end):
                item = entries[ENTRY_ITEM, e]
                old = items[KEY, item]
                new = old + entries[ENTRY_VALUE, e]
                items[KEY, item] = new
                state[N_POSITIVE] += (new >= step) - (old >= step)
        element += 1


@njit(**_OPTIONS)
def _drop_harmless(draft):
    """Leave out the items that can never stand above a target that is listed.

    A target is listed with at least the least that one row gives it; an item whose rows together
    give less (or as much, with a larger number) never stands above it. Rows are cut in place.

    Returns
    -------
    numbers, empty_scores, flags : as given, of the items that are left
    """
    offsets, row_items, row_values, numbers, empty_scores, flags = draft
    n = len(offsets) - 1
    n_local = len(numbers)
    totals = np.zeros(n_local, np.int64)
    least, number = np.int64(2**62), np.int64(-1)
    for i in range(n_local):
        totals[i] = empty_scores[i]
    for element in range(n):
        for e in range(offsets[element], offsets[element + 1]):
            item = row_items[e]
            totals[item] += row_values[e]
            if flags[item] and row_values[e] > 0:
                if row_values[e] < least:
                    least, number = row_values[e], numbers[item]
                elif row_values[e] == least:
                    number = max(number, numbers[item])
    for i in range(n_local):
        if flags[i] and 0 < empty_scores[i] <= least:
            least, number = min(least, empty_scores[i]), np.int64(2**31)
    new_of = np.full(n_local, -1, np.int32)
    n_left = 0
    for i in range(n_local):
        if flags[i] or totals[i] > least or (totals[i] == least and numbers[i] < number):
            new_of[i] = n_left
            numbers[n_left] = numbers[i]
            empty_scores[n_left] = empty_scores[i]
            flags[n_left] = flags[i]
            n_left += 1
    n_entries = 0
    start = offsets[0]
    for element in range(n):
        end = offsets[element + 1]
        for e in range(start, end):
            if new_of[row_items[e]] >= 0:
                row_items[n_entries] = new_of[row_items[e]]
                row_values[n_entries] = row_values[e]
                n_entries += 1
        start = end
        offsets[element + 1] = n_entries
    return numbers[:n_left], empty_scores[:n_left], flags[:n_left]


@njit(**_OPTIONS)
def finish_game(query, k, m, draft, age, utility):
    """Complete a game from its rows.

    Parameters
    ----------
    query, k, m : int
        Number of the query, neighbours, size of the pool.
    draft : Draft
    age : int32 (n,), place in time of each element; empty where the pool has room for all
    utility : Utility
    """
    offsets, row_items, row_values, numbers, empty_scores, flags = draft
    n = len(offsets) - 1
    if utility.sustainable_factor == 0.0:
        numbers, empty_scores, flags = _drop_harmless(draft)
    n_local = len(numbers)
    n_tracked = 0
    for i in range(n_local):
        n_tracked += flags[i] != 0
    step = 2 * n_tracked + 2
    tracks = np.zeros((4, n_tracked), np.int64)
    items = np.empty((3, n_local), np.int64)
    tracked_numbers = np.empty(n_tracked, np.int32)
    t = 0
    for i in range(n_local):
        items[TRACKED_OF, i] = -1
        if flags[i]:
            tracks[ITEM, t] = i
            tracks[FLAGS, t] = flags[i]
            items[TRACKED_OF, i] = t
            tracked_numbers[t] = numbers[i]
            t += 1
    for i in range(n_local):
        larger = 0
        for t in range(n_tracked):
            larger += tracked_numbers[t] > numbers[i]
        items[BASE, i] = 2 * larger + (flags[i] != 0)
    elements = np.zeros((5, n), np.int64)
    entries = np.empty((2, offsets[n]), np.int64)
    for element in range(n):
        for e in range(offsets[element], offsets[element + 1]):
            entries[ENTRY_ITEM, e] = row_items[e]
            entries[ENTRY_VALUE, e] = step * row_values[e]
            if items[TRACKED_OF, row_items[e]] >= 0:
                elements[RELEVANT, element] = 1
    for element in range(len(age)):
        elements[AGE, element] = age[element]
        elements[BY_AGE, age[element]] = element
    state = np.zeros(8, np.int64)
    counting = 1 if utility.sustainable_factor != 0.0 else 0
    coalition = Coalition(
        (n, k, m, step, counting), offsets, entries, elements, items, tracks, state
    )
    scoring = (
        utility.mode, utility.length, utility.rank_factors[query], utility.sustainable_factor, 0.0,
    )  # fmt: skip
    empty_value = _empty_value(empty_scores, Game(coalition, scoring, utility.gains))
    return Game(coalition, (*scoring[:4], empty_value), utility.gains)


@njit(**_OPTIONS)
def with_room_for_all(game):
    """Return the game, of the same arrays, where everybody is in the pool."""
    limits, offsets, entries, elements, items, tracks, state = game.coalition
    n, k, _, step, counting = limits
    wide = Coalition((n, k, n, step, counting), offsets, entries, elements, items, tracks, state)
    return Game(wide, game.scoring, game.gains)


@njit(**_INNER)
def _empty_value(empty_scores, game):
    """Value of the list that results when nobody is present."""
    items, step = game.coalition.items, game.coalition.limits[3]
    tracks, state = game.coalition.tracks, game.coalition.state
    positive = 0
    for i in range(items.shape[1]):
        items[KEY, i] = items[BASE, i] + step * empty_scores[i]
        positive += empty_scores[i] > 0
    if positive == 0:
        return 0.0
    state[N_POSITIVE] = positive
    for t in range(tracks.shape[1]):
        recount(t, step, items, tracks)
    return _many_value(step, tracks, state, game.scoring, game.gains)
