"""Contributions of all players to one coalition, read off at once, along permutations.

For the most frequent games: single sources, and room for all in the pool. A permutation fills up
a coalition, and at a few sizes everybody's effect of joining or leaving it is read off without
changing anything. That is quicker than letting one player after the other join and asking what
changed: rows are read in order and nothing is written. And the sizes can be chosen: most of the
variance is in small coalitions, where who brings the target first decides.

A player's semivalue is the mean over sizes t of the mean contribution to coalitions of t others,
so a reading counts by its factor over the chance of being made (`reading_factors`).

Players compare with two *states* of the keys: that which a newcomer meets (`JOIN`; who makes room
is gone), and that which one who leaves leaves behind, save for the own row (`LEAVE`; who takes the
place is there). In each, every item has its *room*: how far its key may move before it passes a
target, or the end of the list. Where no entry of a row leaves its room, nothing needs counting.

Numbers that index are unsigned (no test for negative ones), and arrays are few, since each is seven
words of every call. Keys of 32 bits gain nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.evaluation._modes import AVERAGE_PRECISION, BEST
from whence.valuation._game_kernels import (
    BASE,
    ENTRY_ITEM,
    ENTRY_VALUE,
    FLAGS,
    IS_SUSTAINABLE,
    IS_TARGET,
    ITEM,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
_INNER = {**_OPTIONS, "_nrt": False}
_INLINE = {**_INNER, "inline": "always"}

_MOST = np.iinfo(np.int64).max

READINGS = 4
"""Of each permutation, on average."""

BLOCK = 4
# Targets are padded to whole vectors of this many.
LANES = 8
# More items above than there can be: the item is not in the list.
UNLISTED = 1 << 24

# The states.
JOIN, LEAVE = np.uint32(0), np.uint32(1)

# Rows of `cells`, by local item: keys without neighbours, and of those present without what all
# add; what all add; whether sustainable; number of the target, or -1; keys and room by state.
EMPTY, KEYS, SHARED, SUSTAINABLE, TARGET, STATE, ROOM = 0, 1, 2, 3, 4, 5, 7

# Rows of `lanes`, by target: key and items above, by state, and of what is tried; by state, the key
# that was counted for last, and the count; the item.
TARGET_KEY, ABOVE, TRIED, LAST_KEY, LAST_COUNT, TARGET_ITEM = 0, 3, 2, 6, 8, 10

# Columns of `ends`, by state and of what is tried: the least key of the list, the key below which
# an item of it leaves it, how many sustainable items it has and how many in all; by state, whether
# the item of the least key is sustainable, and that which would follow if one left, or -1.
LEAST, LOWER, N_SUSTAINABLE, N_LISTED, AT_LEAST, AT_LOWER = 0, 1, 2, 3, 4, 5


class Reader(NamedTuple):
    """A game laid out for reading.

    Attributes
    ----------
    limits : (k, step, length, mode, n_targets)
        As of the game; k is at most n.
    sustainable_factor, empty_value : float
    quiet : bool
        Whether a coalition is worth nothing as long as it has nobody who brings a target.
    even : bool
        Whether there is nothing that every row adds.
    elements : uint32 (3, n)
        Whether present; the elements by rank, first those who bring a target; and place for some.
    n_bringers : int
    starts : uint32 (n + 1,), first block of each row
    entries : int64 (2, blocks, BLOCK), items and values
        Without what everybody adds. Rows are filled up with nothing for items that do not exist,
        one for each place in a block: one for all would be written again before it can be read.
    cells : int64 (9, L + BLOCK); lanes : int64 (11, targets filled up to whole `LANES`)
    ends : int64 (3, 6)
    worth : float64, what a target adds to the value by the number of items above it
    """

    limits: tuple[int, int, int, int, int]
    sustainable_factor: float
    empty_value: float
    quiet: bool
    even: bool
    elements: np.ndarray
    n_bringers: int
    starts: np.ndarray
    entries: np.ndarray
    cells: np.ndarray
    lanes: np.ndarray
    ends: np.ndarray
    worth: np.ndarray


@njit(**_OPTIONS)
def _what_all_add(game, shared):
    """What every row adds to each key."""
    offsets, entries = game.coalition.offsets, game.coalition.entries
    n, n_local = len(offsets) - 1, game.coalition.items.shape[1]
    times = np.zeros(n_local, np.int64)
    for e in range(offsets[n]):
        item, value = entries[ENTRY_ITEM, e], entries[ENTRY_VALUE, e]
        shared[item] = value if times[item] == 0 else min(np.int64(shared[item]), value)
        times[item] += 1
    for i in range(n_local):
        if times[i] < n:
            shared[i] = 0


@njit(**_OPTIONS)
def _lay_out_rows(game, shared):
    """`starts` and `entries` of a reader."""
    offsets, entries = game.coalition.offsets, game.coalition.entries
    n, n_local = len(offsets) - 1, game.coalition.items.shape[1]
    starts = np.zeros(n + 1, np.uint32)
    for element in range(n):
        length = 0
        for e in range(offsets[element], offsets[element + 1]):
            length += entries[ENTRY_VALUE, e] != shared[entries[ENTRY_ITEM, e]]
        starts[element + 1] = starts[element] + (length + BLOCK - 1) // BLOCK
    rows = np.zeros((2, starts[n], BLOCK), np.int64)
    for block in range(starts[n]):
        for lane in range(BLOCK):
            rows[0, block, lane] = n_local + lane
    for element in range(n):
        inside = 0
        for e in range(offsets[element], offsets[element + 1]):
            item = entries[ENTRY_ITEM, e]
            if entries[ENTRY_VALUE, e] != shared[item]:
                block = starts[element] + inside // BLOCK
                rows[0, block, inside % BLOCK] = item
                rows[1, block, inside % BLOCK] = entries[ENTRY_VALUE, e] - shared[item]
                inside += 1
    return starts, rows


@njit(**_OPTIONS)
def make_reader(game):
    """Lay out a game."""
    n, k, _, step, _ = game.coalition.limits
    items, tracks = game.coalition.items, game.coalition.tracks
    mode, length, rank_factor, sustainable_factor, empty_value = game.scoring
    n_local, n_targets = items.shape[1], 0
    cells = np.zeros((ROOM + 2, n_local + BLOCK), np.int64)
    for i in range(n_local + BLOCK):
        cells[TARGET, i] = -1
        cells[EMPTY, i] = items[BASE, i] if i < n_local else -1
    quiet, even = sustainable_factor == 0.0 and empty_value == 0.0, True
    _what_all_add(game, cells[SHARED])
    for i in range(n_local):
        even &= cells[SHARED, i] == 0
    for t in range(tracks.shape[1]):
        if tracks[FLAGS, t] & IS_TARGET:
            cells[TARGET, tracks[ITEM, t]] = n_targets
            quiet &= cells[SHARED, tracks[ITEM, t]] == 0
            n_targets += 1
        if tracks[FLAGS, t] & IS_SUSTAINABLE:
            cells[SUSTAINABLE, tracks[ITEM, t]] = 1
    starts, entries = _lay_out_rows(game, cells[SHARED])
    elements = np.zeros((3, n), np.uint32)
    n_bringers = 0
    for turn in range(2):
        if turn == 1:
            place = n_bringers
        for element in range(n):
            brings = False
            for block in range(starts[element], starts[element + 1]):
                for e in range(BLOCK):
                    brings |= cells[TARGET, entries[0, block, e]] >= 0
            if turn == 0 and brings:
                elements[1, n_bringers] = element
                n_bringers += 1
            if turn == 1 and not brings:
                elements[1, place] = element
                place += 1
    worth = np.zeros(length + 1)
    for above in range(length):
        gain = 1.0 / (above + 1) if mode == AVERAGE_PRECISION else game.gains[above + 1]
        worth[above] = rank_factor * gain
    lanes = np.empty((TARGET_ITEM + 1, (n_targets + LANES - 1) // LANES * LANES), np.int64)
    for row in range(3):
        for t in range(lanes.shape[1]):
            lanes[TARGET_KEY + row, t] = _MOST
            lanes[ABOVE + row, t] = UNLISTED
    for i in range(n_local):
        if cells[TARGET, i] >= 0:
            lanes[TARGET_ITEM, cells[TARGET, i]] = i
    return Reader(
        (min(k, n), step, length, mode, n_targets), sustainable_factor, empty_value, quiet, even,
        elements, n_bringers, starts, entries, cells, lanes, np.zeros((3, 6), np.int64), worth,
    )  # fmt: skip


@njit(**_OPTIONS)
def reading_chances(n, n_bringers, weights, chances):
    """How often each size of coalition is read, for each permutation, on average.

    In proportion to the root of the variance there, as is best at equal cost: about the number of
    players who bring a target, and one, to the power -3/4 (measured); times the semivalue's factor.

    Parameters
    ----------
    weights : float64 (n,), factor of a contribution by size of the coalition
    chances : float64 (n + 1,), written
    """
    mean = 0.0
    for size in range(n):
        mean += weights[size] / n
    total = 0.0
    for size in range(n + 1):
        root = np.sqrt(1.0 + n_bringers * size / n)
        weight = 0.05 * mean
        if size < n:
            weight += weights[size] * (n - size) / n
        if size > 0:
            weight += weights[size - 1] * size / n
        chances[size] = weight / (root * np.sqrt(root))
        total += chances[size]
    for size in range(n + 1):
        chances[size] *= READINGS / total


@njit(**_OPTIONS)
def reading_factors(n, weights, chances, factors):
    """What a contribution that was read counts, by the number t of others in the coalition.

    A player is read in a coalition of t others if t are present and the player is not, or t + 1
    are and the player is.

    Parameters
    ----------
    weights : float64 (n,); chances : float64 (n + 1,), as in `reading_chances`
    factors : float64 (n,), written
    """
    for size in range(n):
        # The chance of a reading, times n.
        often = chances[size] * (n - size) + chances[size + 1] * (size + 1)
        factors[size] = weights[size] / often


@njit(**_INLINE)
def _count_above(key, row, cells):
    """Number of keys in a row of `cells` above one."""
    count = key - key
    for i in range(np.uint32(cells.shape[1])):
        count = np.int64(count + np.int64(cells[row, i] > key))
    return count


@njit(**_INLINE)
def _add_row(element, sign, row, starts, entries, cells):
    for block in range(starts[element], starts[np.uint32(element + 1)]):
        for e in range(BLOCK):
            item = np.uint32(entries[0, block, e])
            if sign > 0:
                cells[row, item] += entries[1, block, e]
            else:
                cells[row, item] -= entries[1, block, e]


@njit(**_INNER)
def _ranks_worth(row, n_targets, mode, lanes, worth):
    """Ranking part of the value; `row` of the items above."""
    length = len(worth) - 1
    ranks, best = 0.0, length
    if mode != BEST and mode != AVERAGE_PRECISION:
        for t in range(np.uint32(n_targets)):
            ranks += worth[min(np.int64(lanes[row, t]), length)]
        return ranks
    for t in range(np.uint32(n_targets)):
        if lanes[row, t] >= length:
            continue
        best = min(best, np.int64(lanes[row, t]))
        hits = 0
        for u in range(np.uint32(n_targets)):
            hits += lanes[row, u] <= lanes[row, t]
        ranks += hits * worth[lanes[row, t]]
    if mode == BEST:
        return worth[best]
    return ranks


@njit(**_INNER)
def _measure_list(row, least, step, length, tried, cells, end):
    """Find where the list ends, and count its sustainable items.

    Items with equal keys are not sustainable, so it does not matter which of them are in the list.

    Parameters
    ----------
    row : int, of the keys in `cells`
    least : int, near the least key of the list, at least `step`
    tried : bool, whether only the counts are wanted
    end : int64 (6,), written; see `ends`
    """
    n, one, most = np.uint32(cells.shape[1]), 1, _MOST
    least = np.int64(least)
    count = _count_above(np.int64(least - one), row, cells)
    while count > length:
        smallest = most
        for i in range(n):
            smallest = min(smallest, cells[row, i] if cells[row, i] >= least else most)
        fewer = _count_above(smallest, row, cells)
        least = smallest
        if fewer < length:
            break
        least = np.int64(least + one)
        count = fewer
    while count < length:
        largest = np.int64(-1)
        for i in range(n):
            key = cells[row, i]
            largest = max(largest, key if key < least else np.int64(-1))
        if largest < step:
            break
        least = largest
        count = _count_above(np.int64(least - one), row, cells)
    end[LEAST] = step if count < length else least
    end[LOWER] = least if count > length else step
    end[AT_LOWER] = 0 if count > length else -1
    if count == length and not tried:
        largest = np.int64(-1)
        for i in range(n):
            key = cells[row, i]
            largest = max(largest, key if key < least else np.int64(-1))
        end[LOWER] = max(np.int64(largest), step)
        end[AT_LOWER] = 0 if largest >= step else -1
        smallest = most
        for i in range(n):
            smallest = min(smallest, cells[row, i] if cells[row, i] >= least else most)
        end[LEAST] = smallest
    found = np.int64(0)
    for i in range(n):
        here = cells[SUSTAINABLE, i] if cells[row, i] >= least else np.int64(0)
        found = np.int64(found + here)
    end[N_SUSTAINABLE] = found
    end[N_LISTED] = min(np.int64(count), length)


@njit(**_INNER)
def _note_boundary(row, cells, end):
    """Write `AT_LEAST` and `AT_LOWER`, of which it is known whether there is such an item."""
    least, lower = np.int64(end[LEAST]), np.int64(end[LOWER])
    zero = np.int64(0)
    at_least, at_lower = zero, zero
    for i in range(np.uint32(cells.shape[1])):
        key = cells[row, i]
        at_least = np.int64(at_least + (cells[SUSTAINABLE, i] if key == least else zero))
        at_lower = np.int64(at_lower + (cells[SUSTAINABLE, i] if key == lower else zero))
    end[AT_LEAST] = at_least
    if end[AT_LOWER] == 0:
        end[AT_LOWER] = at_lower


@njit(**_INNER)
def _nth_largest(row, n, step, cells):
    """The n-th largest key of a row, or `step` where fewer reach it."""
    low, high = np.int64(step), np.int64(step)
    for i in range(np.uint32(cells.shape[1])):
        high = max(high, np.int64(cells[row, i]) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _count_above(np.int64(middle - 1), row, cells) >= n:
            low = middle
        else:
            high = middle
    return low


@njit(**_INLINE)
def _share(end):
    return end[N_SUSTAINABLE] / end[N_LISTED] if end[N_SUSTAINABLE] > 0 else 0.0


@njit(**_INNER)
def _settle(state, near, limits, sustainable_factor, cells, lanes, ends, worth):
    """Count for every target in a state, and measure the list; return what it is worth.

    `near` is a state, or -1, whose list ends near.
    """
    _, step, length, mode, n_targets = limits
    most = _MOST
    row = STATE + state
    for t in range(np.uint32(n_targets)):
        key = cells[row, np.uint32(lanes[TARGET_ITEM, t])]
        lanes[TARGET_KEY + state, t] = key if key >= step else most
        lanes[ABOVE + state, t] = _count_above(key, row, cells) if key >= step else UNLISTED
    value = _ranks_worth(ABOVE + state, n_targets, mode, lanes, worth)
    if sustainable_factor != 0.0:
        least = ends[near, LEAST] if near >= 0 else _nth_largest(row, length, step, cells)
        _measure_list(row, least, step, length, False, cells, ends[state])
        _note_boundary(row, cells, ends[state])
        value += sustainable_factor * _share(ends[state])
    return value


@njit(**_INNER)
def _make_room(state, limits, sustainable_factor, cells, lanes, ends):
    """How far each item may move in a state."""
    _, step, length, _, n_targets = limits
    n, most = np.uint32(cells.shape[1]), _MOST
    row, room = STATE + state, ROOM + state
    for i in range(n):
        cells[room, i] = most
    if sustainable_factor != 0.0:
        least = np.int64(ends[state, LEAST])
        lower = np.int64(ends[state, LOWER])
        # An item whose key is the least of a full list is in it, or as good as in it.
        bar = np.int64(least - 1) if least == step else least
        for i in range(n):
            key = cells[row, i]
            if state == JOIN:
                cells[room, i] = np.int64(bar - key) if key < least else most
            else:
                cells[room, i] = np.int64(key - lower) if key >= least else most
    for t in range(np.uint32(n_targets)):
        key = lanes[TARGET_KEY + state, t]
        lanes[LAST_KEY + state, t] = -1
        if key == most or (state == JOIN and lanes[ABOVE + state, t] >= length):
            continue
        for i in range(n):
            left = key - cells[row, i] if state == JOIN else cells[row, i] - key
            cells[room, i] = min(cells[room, i], left if left > 0 else most)


@njit(**_INLINE)
def _count_again(key, state, t, cells, lanes):
    """Number of keys of a state above one of target t; who is alike often comes together."""
    if key != lanes[LAST_KEY + state, t]:
        lanes[LAST_KEY + state, t] = key
        lanes[LAST_COUNT + state, t] = _count_above(key, STATE + state, cells)
    return lanes[LAST_COUNT + state, t]


@njit(**_INNER)
def _gain_of_one_target(chosen, n_others, value, join_factor, leave_factor, reader, gained):
    """Add the effects of the chosen elements, of which the first do not bring the one target."""
    _, step, length, _, _ = reader.limits
    elements, starts, entries = reader.elements, reader.starts, reader.entries
    cells, lanes, worth = reader.cells, reader.lanes, reader.worth
    for place in range(np.uint32(len(chosen))):
        element = chosen[place]
        state = elements[0, element]
        start, end = starts[element], starts[np.uint32(element + 1)]
        sign = np.int64(-1) if state else np.int64(1)
        key, above = lanes[TARGET_KEY + state, 0], lanes[ABOVE + state, 0]
        if place >= n_others:
            key = cells[STATE + state, np.uint32(lanes[TARGET_ITEM, 0])]
            for block in range(start, end):
                for e in range(BLOCK):
                    if cells[TARGET, np.uint32(entries[0, block, e])] == 0:
                        key = np.int64(key + sign * entries[1, block, e])
            above = np.int64(UNLISTED)
            if key >= step:
                above = _count_again(key, state, 0, cells, lanes)
        for block in range(start, end):
            for e in range(BLOCK):
                old = cells[STATE + state, np.uint32(entries[0, block, e])]
                new = np.int64(old + sign * entries[1, block, e])
                above = np.int64(above + np.int64(new > key))
                above = np.int64(above - np.int64(old > key))
        new_value = worth[min(np.int64(above), length)]
        factor = -leave_factor if state else join_factor
        gained[element] += factor * (new_value - value)


@njit(**_INNER)
def _gain_of_many_targets(chosen, n_others, value, join_factor, leave_factor, reader, gained):
    """Add the effects of the chosen elements, of which the first do not bring a target."""
    _, step, length, mode, n_targets = reader.limits
    elements, starts, entries = reader.elements, reader.starts, reader.entries
    cells, lanes, ends, worth = reader.cells, reader.lanes, reader.ends, reader.worth
    sustainable_factor = reader.sustainable_factor
    most = _MOST
    for place in range(np.uint32(len(chosen))):
        element = chosen[place]
        state = elements[0, element]
        row = STATE + state
        start, end = starts[element], starts[np.uint32(element + 1)]
        sign = np.int64(-1) if state else np.int64(1)
        for t in range(np.uint32(lanes.shape[1])):
            lanes[TARGET_KEY + TRIED, t] = lanes[TARGET_KEY + state, t]
            lanes[ABOVE + TRIED, t] = lanes[ABOVE + state, t]
        if place >= n_others:
            for block in range(start, end):
                for e in range(BLOCK):
                    item = np.uint32(entries[0, block, e])
                    t = cells[TARGET, item]
                    if t >= 0:
                        key = np.int64(cells[row, item] + sign * entries[1, block, e])
                        lanes[TARGET_KEY + TRIED, t] = most
                        lanes[ABOVE + TRIED, t] = UNLISTED
                        if key >= step:
                            lanes[TARGET_KEY + TRIED, t] = key
                            lanes[ABOVE + TRIED, t] = _count_again(key, state, t, cells, lanes)
        least, lower = ends[state, LEAST], ends[state, LOWER]
        bound = lower if state else least
        crossing, sustainable, touches = 0, 0, False
        for block in range(start, end):
            for e in range(BLOCK):
                item = np.uint32(entries[0, block, e])
                old = cells[row, item]
                new = np.int64(old + sign * entries[1, block, e])
                joins, leaves = old < least and new >= least, old >= least and new < lower
                crosses = leaves if state else joins
                touches |= old == bound
                crossing += crosses
                sustainable += crosses and cells[SUSTAINABLE, item] != 0
                for lane in range(0, lanes.shape[1], LANES):
                    for t in range(LANES):
                        key = lanes[TARGET_KEY + TRIED, lane + t]
                        lanes[ABOVE + TRIED, lane + t] += np.int64(new > key) - np.int64(old > key)
        new_value = _ranks_worth(ABOVE + TRIED, n_targets, mode, lanes, worth)
        if sustainable_factor != 0.0:
            tried = ends[TRIED]
            tried[N_SUSTAINABLE] = ends[state, N_SUSTAINABLE]
            tried[N_LISTED] = ends[state, N_LISTED]
            full = tried[N_LISTED] == length
            one_for_one = full and not (state and ends[state, AT_LOWER] < 0)
            overflows = tried[N_LISTED] + crossing > length and not state
            if crossing == 1 and one_for_one and not touches:
                # The item at the end makes room for one that joins, or that which follows takes
                # the place of one that leaves, as it does not move itself.
                at_end = ends[state, AT_LOWER] if state else ends[state, AT_LEAST]
                tried[N_SUSTAINABLE] += at_end - sustainable if state else sustainable - at_end
            elif crossing > 0 and (one_for_one or overflows):
                _add_row(element, sign, row, starts, entries, cells)
                _measure_list(row, least, step, length, True, cells, tried)
                _add_row(element, -sign, row, starts, entries, cells)
            elif crossing > 0:
                tried[N_SUSTAINABLE] += -sustainable if state else sustainable
                tried[N_LISTED] += -crossing if state else crossing
            new_value += sustainable_factor * _share(tried)
        factor = -leave_factor if state else join_factor
        gained[element] += factor * (new_value - value)


@njit(**_INNER)
def _compare(size, worst, joining, reader):
    """Lay out the states for the players to compare with.

    Parameters
    ----------
    size : int, of the coalition present
    worst : uint32, of its neighbours
    joining : bool, whether only newcomers matter

    Returns
    -------
    value, joined, left : float
        What the coalition is worth; and with a newcomer, or without a member, without a row.
    """
    limits, factor, even = reader.limits, reader.sustainable_factor, reader.even
    elements, starts, entries = reader.elements, reader.starts, reader.entries
    cells, lanes, ends, worth = reader.cells, reader.lanes, reader.ends, reader.worth
    k, n, items = limits[0], np.uint32(elements.shape[1]), np.uint32(cells.shape[1])
    neighbours = np.int64(min(size, k))
    for i in range(items):
        cells[STATE + LEAVE, i] = cells[KEYS, i] + neighbours * cells[SHARED, i]
    value, joined, left = reader.empty_value, 0.0, reader.empty_value
    if size > 0:
        value = 0.0 if joining else _settle(LEAVE, -1, limits, factor, cells, lanes, ends, worth)
    if size < n:
        more = np.int64(size < k)
        for i in range(items):
            cells[STATE + JOIN, i] = cells[STATE + LEAVE, i] + more * cells[SHARED, i]
        if size >= k:
            _add_row(worst, -1, STATE + JOIN, starts, entries, cells)
        if even and 0 < size < k and not joining:
            joined = value
            for t in range(np.uint32(lanes.shape[1])):
                lanes[TARGET_KEY + JOIN, t] = lanes[TARGET_KEY + LEAVE, t]
                lanes[ABOVE + JOIN, t] = lanes[ABOVE + LEAVE, t]
            for column in range(ends.shape[1]):
                ends[JOIN, column] = ends[LEAVE, column]
        else:
            near = 1 if size > 0 and not joining else -1
            joined = _settle(JOIN, near, limits, factor, cells, lanes, ends, worth)
        _make_room(JOIN, limits, factor, cells, lanes, ends)
    if size > 0 and not joining:
        if size > k:
            after = np.uint32(worst + 1)
            while elements[0, after] == 0:
                after = np.uint32(after + 1)
            _add_row(after, 1, STATE + LEAVE, starts, entries, cells)
        elif size > 1:
            for i in range(items):
                cells[STATE + LEAVE, i] -= cells[SHARED, i]
        if size > 1:
            left = value
            if size > k or not even:
                left = _settle(LEAVE, 1, limits, factor, cells, lanes, ends, worth)
        _make_room(LEAVE, limits, factor, cells, lanes, ends)
    return value, joined, left


@njit(**_INNER)
def _read(size, worst, inside, join_factor, leave_factor, reader, gained):
    """Add everybody's weighted effect of joining or leaving the coalition present.

    Parameters
    ----------
    size, inside : int, of the coalition: all, and those who bring a target
    worst : uint32, of its neighbours
    join_factor, leave_factor : float
    gained : float64 (n,), added to

    Returns
    -------
    int
        Work done.
    """
    limits, factor = reader.limits, reader.sustainable_factor
    elements, starts, entries = reader.elements, reader.starts, reader.entries
    cells = reader.cells
    joining = reader.quiet and inside == 0
    value, joined, left = _compare(size, worst, joining, reader)
    join_gain, leave_gain = join_factor * (joined - value), leave_factor * (value - left)
    # Who is not among the neighbours, and would not be, has no effect.
    n, n_bringers = np.uint32(elements.shape[1]), np.uint32(reader.n_bringers)
    end = n if size < limits[0] else np.uint32(worst + 1)
    work = cells.shape[1] * (4 + 3 * limits[4] + (30 if factor != 0.0 else 0)) // 8
    n_chosen = np.uint32(0)
    if not joining:
        for place in range(n_bringers, n):
            element = elements[1, place]
            if element >= end:
                break
            state = elements[0, element]
            beyond = False
            for block in range(starts[element], starts[np.uint32(element + 1)]):
                for e in range(BLOCK):
                    item = np.uint32(entries[0, block, e])
                    beyond |= entries[1, block, e] > cells[ROOM + state, item]
            if beyond and not (state and size == 1):
                elements[2, n_chosen] = element
                n_chosen = np.uint32(n_chosen + 1)
            else:
                gained[element] += leave_gain if state else join_gain
        work += end + BLOCK * starts[end]
    n_others = n_chosen
    for place in range(n_bringers):
        element = elements[1, place]
        if element >= end:
            break
        if elements[0, element] and size == 1:
            gained[element] += leave_gain
        else:
            elements[2, n_chosen] = element
            n_chosen = np.uint32(n_chosen + 1)
    chosen = elements[2, :n_chosen]
    if limits[4] == 1 and factor == 0.0:
        _gain_of_one_target(chosen, n_others, value, join_factor, leave_factor, reader, gained)
    else:
        _gain_of_many_targets(chosen, n_others, value, join_factor, leave_factor, reader, gained)
    return work + n_chosen * (4 + cells.shape[1] // 16 + 2 * limits[4])


@njit(**_INLINE)
def counts(element, reader):
    """Whether an element can have an effect."""
    k, n = reader.limits[0], reader.elements.shape[1]
    return k < n or not reader.even or reader.starts[element] < reader.starts[element + 1]


@njit(**_INNER)
def value_of_everyone(reader):
    """What is found when all are present."""
    cells, k = reader.cells, reader.limits[0]
    for i in range(np.uint32(cells.shape[1])):
        cells[STATE, i] = cells[EMPTY, i] + np.int64(k) * cells[SHARED, i]
    for element in range(np.uint32(k)):
        _add_row(element, 1, STATE, reader.starts, reader.entries, cells)
    return _settle(
        JOIN, -1, reader.limits, reader.sustainable_factor, cells, reader.lanes, reader.ends,
        reader.worth,
    )  # fmt: skip


@njit(**_INNER)
def read_permutation(order, relevant, point, chances, factors, reader, gained):
    """Let players join in order, and read at some sizes; add to what they gained.

    Parameters
    ----------
    order : uint32 (n,); relevant : uint8 (n,), who brings a target
    point : float
        From 0 to 1: where on the sum of the chances the first reading falls, the others at
        distances of 1 from it.
    chances, factors : as in `reading_chances` and `reading_factors`
    reader : Reader
    gained : float64 (n,), weighted contributions, added to

    Returns
    -------
    int
        Work done.
    """
    elements, starts, entries, cells = (
        reader.elements,
        reader.starts,
        reader.entries,
        reader.cells,
    )
    n, k = np.uint32(len(order)), np.uint32(reader.limits[0])
    for i in range(np.uint32(cells.shape[1])):
        cells[KEYS, i] = cells[EMPTY, i]
    for element in range(n):
        elements[0, element] = 0
    worst, inside, work = np.uint32(0), 0, 0
    passed = 0.0
    for size in range(np.uint32(n + 1)):
        passed += chances[size]
        times = 0
        while point < passed:
            times += 1
            point += 1.0
        if times > 0:
            join_factor = times * factors[size] if size < n else 0.0
            leave_factor = times * factors[np.uint32(size - 1)] if size > 0 else 0.0
            work += _read(size, worst, inside, join_factor, leave_factor, reader, gained)
        if point >= READINGS or size == n:
            break
        entering = order[size]
        elements[0, entering] = 1
        inside += relevant[entering]
        if size < k:
            worst = max(worst, entering)
            _add_row(entering, 1, KEYS, starts, entries, cells)
        elif entering < worst:
            _add_row(entering, 1, KEYS, starts, entries, cells)
            _add_row(worst, -1, KEYS, starts, entries, cells)
            worst = np.uint32(worst - 1)
            while elements[0, worst] == 0:
                worst = np.uint32(worst - 1)
        work += 2
    return work
