"""Permutation walks for the most frequent games: single sources, and room for all in the pool.

They do what `_walk_kernels` does in general, several times faster: what they change is in local
variables, numbers that index are unsigned (no test for negative ones), keys have 32 bits (twice
as many at once), rows are padded to blocks and values are looked up rather than decided on
(branches that cannot be predicted cost more than the work they save).
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
    WORK,
)

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
_INNER = {**_OPTIONS, "_nrt": False}
_INLINE = {**_INNER, "inline": "always"}

BLOCK = 4
# Tracked items are padded to whole vectors of this many.
LANES = 8
# More items above than there can be: the item is not in the list.
UNLISTED = 1 << 24

# Places in `top_state`.
N_TOP, LAST, LEAST, N_SUSTAINABLE, LEAST_FALL = 0, 1, 2, 3, 4


class Rows(NamedTuple):
    """Rows in blocks of `BLOCK` entries, filled up with nothing for items that do not exist.

    There is one such item for each lane: one for all would be written again before it can be read.

    Attributes
    ----------
    starts : uint32 (n + 1,), first block of each row
    items : uint32 (blocks, BLOCK); values : int (blocks, BLOCK)
    """

    starts: np.ndarray
    items: np.ndarray
    values: np.ndarray


class Board(NamedTuple):
    """Elements, items and tracked items of a game, in integers of the width wanted.

    Attributes
    ----------
    present : uint8 (n,)
    worth : float64, what a target adds to the value by the number of items above it
    base, keys : int (L + BLOCK,), the last for padding
    targets : uint32 (T,); target_of : int32 (L + BLOCK,), number of the target, or -1
    target_keys, above : int, targets filled up to whole `LANES`
    sustainable : uint8 (L + BLOCK,)
    slot_of : int32 (L + BLOCK,), place in `top`, or -1; top : uint32 (length,)
        The list as a set: the items with the largest keys.
    top_state : int64 (5,)
        Items in the list, place of the last, its key, sustainable ones among them, and the key
        below which a listed item may have to go.
    """

    present: np.ndarray
    worth: np.ndarray
    base: np.ndarray
    keys: np.ndarray
    targets: np.ndarray
    target_of: np.ndarray
    target_keys: np.ndarray
    above: np.ndarray
    sustainable: np.ndarray
    slot_of: np.ndarray
    top: np.ndarray
    top_state: np.ndarray


@njit(**_OPTIONS)
def _worth_by_rank(game):
    """What a target adds to the value with each number of items above it; 0 beyond the list."""
    mode, length, rank_factor, _, _ = game.scoring
    worth = np.zeros(max(game.coalition.items.shape[1] + BLOCK, length) + 1)
    for above in range(length):
        gain = 1.0 / (above + 1) if mode == AVERAGE_PRECISION else game.gains[above + 1]
        worth[above] = rank_factor * gain
    return worth


@njit(**_OPTIONS)
def make_board(game, zero):
    """Copies of a game's items and tracked items, in integers like `zero`."""
    items, tracks, length = game.coalition.items, game.coalition.tracks, game.scoring[1]
    n_local, n_targets = items.shape[1], 0
    base = np.full(n_local + BLOCK, -1, zero.dtype)
    target_of = np.full(n_local + BLOCK, -1, np.int32)
    sustainable = np.zeros(n_local + BLOCK, np.uint8)
    for i in range(n_local):
        base[i] = items[BASE, i]
    for t in range(tracks.shape[1]):
        if tracks[FLAGS, t] & IS_TARGET:
            target_of[tracks[ITEM, t]] = n_targets
            n_targets += 1
        if tracks[FLAGS, t] & IS_SUSTAINABLE:
            sustainable[tracks[ITEM, t]] = 1
    padded = (n_targets + LANES - 1) // LANES * LANES
    targets = np.empty(n_targets, np.uint32)
    for i in range(n_local):
        if target_of[i] >= 0:
            targets[target_of[i]] = i
    present = np.empty(len(game.coalition.offsets) - 1, np.uint8)
    return Board(
        present, _worth_by_rank(game),
        base, np.empty_like(base), targets, target_of, np.empty(padded, zero.dtype),
        np.empty(padded, zero.dtype), sustainable, np.full(n_local + BLOCK, -1, np.int32),
        np.empty(length, np.uint32), np.zeros(5, np.int64),
    )  # fmt: skip


@njit(**_OPTIONS)
def pad_rows(game, zero):
    """Rows of a game, with values in integers like `zero`."""
    offsets, entries, n_local = (
        game.coalition.offsets,
        game.coalition.entries,
        game.coalition.items.shape[1],
    )
    n = len(offsets) - 1
    blocks = np.zeros(n + 1, np.uint32)
    for element in range(n):
        length = offsets[element + 1] - offsets[element]
        blocks[element + 1] = blocks[element] + (length + BLOCK - 1) // BLOCK
    row_items = np.empty((blocks[n], BLOCK), np.uint32)
    row_values = np.zeros((blocks[n], BLOCK), zero.dtype)
    for block in range(blocks[n]):
        for lane in range(BLOCK):
            row_items[block, lane] = n_local + lane
    for element in range(n):
        for e in range(offsets[element], offsets[element + 1]):
            inside = e - offsets[element]
            block = blocks[element] + inside // BLOCK
            row_items[block, inside % BLOCK] = entries[ENTRY_ITEM, e]
            row_values[block, inside % BLOCK] = entries[ENTRY_VALUE, e]
    return Rows(blocks, row_items, row_values)


@njit(**_INLINE)
def _add_blocks(start, end, sign, row_items, row_values, keys):
    for block in range(start, end):
        for e in range(BLOCK):
            if sign > 0:
                keys[row_items[block, e]] += row_values[block, e]
            else:
                keys[row_items[block, e]] -= row_values[block, e]


@njit(**_INLINE)
def _count_blocks(start, end, sign, key, row_items, row_values, keys):
    above = 0
    for block in range(start, end):
        for e in range(BLOCK):
            old = keys[row_items[block, e]]
            value = row_values[block, e]
            new = keys.dtype.type(old + value) if sign > 0 else keys.dtype.type(old - value)
            keys[row_items[block, e]] = new
            above += np.int64(new > key) - np.int64(old > key)
    return above


@njit(**_INLINE)
def _count_above(key, keys):
    count = key - key
    for i in range(np.uint32(len(keys))):
        count = keys.dtype.type(count + keys.dtype.type(keys[i] > key))
    return np.int64(count)


@njit(**_INLINE)
def _first_relevant(order, relevant, present):
    """Mark who comes before the first relevant player; return the place of that one."""
    n = np.uint32(len(order))
    here = np.uint32(0)
    while here < n and not relevant[order[here]]:
        present[order[here]] = 1
        here = np.uint32(here + 1)
    return here


@njit(**_INLINE)
def _add_best(here, k, offsets, row_items, row_values, present, keys):
    """Add the rows of the best k of the first `here`; return the worst of them."""
    worst, neighbours, element = np.uint32(0), np.uint32(0), np.uint32(0)
    while neighbours < min(here, k):
        if present[element]:
            neighbours = np.uint32(neighbours + 1)
            worst = element
            _add_blocks(
                offsets[element], offsets[np.uint32(element + 1)], 1, row_items, row_values, keys
            )
        element = np.uint32(element + 1)
    return worst


@njit(**_INNER)
def walk_one_target(order, relevant, weights, gained, game, rows, board):
    """One permutation of a game with one target.

    Parameters
    ----------
    order : uint32 (n,), players; relevant : uint8 (n,)
    weights, gained : float64 (n,), factors by place; weighted contributions, added to
    game : Game; rows : Rows; board : Board
    """
    present, worth, base, keys = board.present, board.worth, board.base, board.keys
    offsets, row_items, row_values = rows
    n, k = np.uint32(len(order)), np.uint32(min(game.coalition.limits[1], len(order)))
    step, target = keys.dtype.type(game.coalition.limits[3]), board.targets[0]
    for i in range(np.uint32(len(keys))):
        keys[i] = base[i]
    for element in range(n):
        present[element] = 0
    here = _first_relevant(order, relevant, present)
    if here == n:
        return
    worst = _add_best(here, k, offsets, row_items, row_values, present, keys)
    work = 0
    value = game.scoring[4]
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
            _add_blocks(start, end, 1, row_items, row_values, keys)
            _add_blocks(first, stop, -1, row_items, row_values, keys)
            if not moves:
                continue
            key = keys[target]
            new = 0.0
            if key >= step:
                above = _count_above(key, keys)
                new = worth[above]
        else:
            above += _count_blocks(start, end, 1, key, row_items, row_values, keys)
            above += _count_blocks(first, stop, -1, key, row_items, row_values, keys)
            new = worth[above]
        gained[entering] += weights[j] * (new - value)
        value = new
    game.coalition.state[WORK] += BLOCK * work


@njit(**_INNER)
def _find_last(top, n_top, keys, top_state):
    """Find the last item of a full list."""
    last, least = 0, np.int64(keys[top[0]])
    for slot in range(1, n_top):
        if keys[top[slot]] < least:
            last, least = slot, np.int64(keys[top[slot]])
    top_state[LAST] = last
    top_state[LEAST] = least
    top_state[LEAST_FALL] = least


@njit(**_INNER)
def _open_list(step, top_state):
    """A list that is not full: every listed item stays as long as it has a score."""
    top_state[LAST] = -2
    top_state[LEAST] = -1
    top_state[LEAST_FALL] = step


@njit(**_INNER)
def _seat(item, slot, sustainable, slot_of, top, top_state):
    """Put an item into a place of the list."""
    top[slot] = item
    slot_of[item] = slot
    top_state[N_SUSTAINABLE] += sustainable[item]


@njit(**_INNER)
def _item_rose(item, keys, step, sustainable, slot_of, top, top_state):
    """Keep the list as a set after the key of an item has grown."""
    slot = slot_of[item]
    n_top, length = top_state[N_TOP], len(top)
    if slot >= 0:
        if slot == top_state[LAST]:
            _find_last(top, n_top, keys, top_state)
    elif keys[item] >= step:
        if n_top < length:
            _seat(item, n_top, sustainable, slot_of, top, top_state)
            top_state[N_TOP] = n_top + 1
            if n_top + 1 < length:
                return
        elif keys[item] > top_state[LEAST]:
            leaving = top[top_state[LAST]]
            slot_of[leaving] = -1
            top_state[N_SUSTAINABLE] -= sustainable[leaving]
            _seat(item, top_state[LAST], sustainable, slot_of, top, top_state)
        else:
            return
        _find_last(top, length, keys, top_state)


@njit(**_INNER)
def _item_fell(item, keys, step, sustainable, slot_of, top, top_state):
    """Keep the list as a set after the key of a listed item has shrunk, perhaps too far."""
    slot = slot_of[item]
    n_top, length = top_state[N_TOP], len(top)
    if n_top == length:
        best, most = np.uint32(0), keys.dtype.type(-1)
        for i in range(np.uint32(len(keys))):
            if keys[i] > most and slot_of[i] < 0:
                best, most = np.uint32(i), keys[i]
        if most >= step and most > keys[item]:
            slot_of[item] = -1
            top_state[N_SUSTAINABLE] -= sustainable[item]
            _seat(best, slot, sustainable, slot_of, top, top_state)
            _find_last(top, length, keys, top_state)
            return
    if keys[item] < step:
        slot_of[item] = -1
        top_state[N_SUSTAINABLE] -= sustainable[item]
        top_state[N_TOP] = n_top - 1
        if slot < n_top - 1:
            other = top[n_top - 1]
            top[slot] = other
            slot_of[other] = slot
        _open_list(step, top_state)
    elif n_top == length:
        _find_last(top, length, keys, top_state)


@njit(**_INLINE)
def _pass_blocks(start, end, sign, step, count_list, rows, board):
    """Add rows and keep the counts of all targets and the list as a set."""
    row_items, row_values, keys = rows.items, rows.values, board.keys
    target_keys, above = board.target_keys, board.above
    sustainable, slot_of = board.sustainable, board.slot_of
    top, top_state = board.top, board.top_state
    for block in range(start, end):
        for e in range(BLOCK):
            item = row_items[block, e]
            old = keys[item]
            value = row_values[block, e]
            new = keys.dtype.type(old + value) if sign > 0 else keys.dtype.type(old - value)
            keys[item] = new
            for lane in range(0, len(above), LANES):
                for t in range(LANES):
                    key = target_keys[lane + t]
                    above[lane + t] += keys.dtype.type(new > key) - keys.dtype.type(old > key)
            if count_list and new != old:
                # Most changes leave the list as it is: ask before calling.
                slot = slot_of[item]
                if sign > 0:
                    if slot == top_state[LAST] or (slot < 0 and new > top_state[LEAST]):
                        _item_rose(item, keys, step, sustainable, slot_of, top, top_state)
                elif slot >= 0 and (slot == top_state[LAST] or new < top_state[LEAST_FALL]):
                    _item_fell(item, keys, step, sustainable, slot_of, top, top_state)


@njit(**_INLINE)
def _recount_blocks(start, end, step, rows, board):
    """Count afresh for the targets of a row."""
    row_items, keys, target_of = rows.items, board.keys, board.target_of
    target_keys, above = board.target_keys, board.above
    for block in range(start, end):
        for e in range(BLOCK):
            t = target_of[row_items[block, e]]
            if t >= 0:
                key = keys[row_items[block, e]]
                target_keys[t] = key
                above[t] = _count_above(key, keys) if key >= step else UNLISTED


@njit(**_INNER)
def _best_or_average(mode, length, above, worth):
    """Ranking part of the value where it is no sum over targets."""
    ranks, best = 0.0, length
    for t in range(len(above)):
        if above[t] >= length:
            continue
        best = min(best, np.int64(above[t]))
        hits = 0
        for u in range(len(above)):
            hits += above[u] <= above[t]
        ranks += hits * worth[above[t]]
    if mode == BEST:
        return worth[best]
    return ranks


@njit(**_INNER)
def walk_many_targets(order, relevant, weights, gained, game, rows, board):
    """One permutation of a game with several targets, or with a worth of sustainable items.

    Arguments as in `walk_one_target`.
    """
    mode, length, _, sustainable_factor, empty_value = game.scoring
    present, worth, base, keys = board.present, board.worth, board.base, board.keys
    targets, target_keys, above = board.targets, board.target_keys, board.above
    sustainable, slot_of = board.sustainable, board.slot_of
    top, top_state = board.top, board.top_state
    offsets, row_items, row_values = rows
    n, k = np.uint32(len(order)), np.uint32(min(game.coalition.limits[1], len(order)))
    step, count_list = keys.dtype.type(game.coalition.limits[3]), sustainable_factor != 0.0
    for i in range(np.uint32(len(keys))):
        keys[i] = base[i]
    for element in range(n):
        present[element] = 0
    largest = np.iinfo(keys.dtype).max
    for t in range(np.uint32(len(above))):
        target_keys[t] = largest
        above[t] = UNLISTED
    here = _first_relevant(order, relevant, present)
    if here == n:
        return
    worst = _add_best(here, k, offsets, row_items, row_values, present, keys)
    if count_list:
        for i in range(np.uint32(len(keys))):
            slot_of[i] = -1
        top_state[N_TOP] = 0
        top_state[N_SUSTAINABLE] = 0
        _open_list(step, top_state)
        for i in range(np.uint32(len(keys))):
            if keys[i] >= step:
                _item_rose(np.uint32(i), keys, step, sustainable, slot_of, top, top_state)
    added = mode != BEST and mode != AVERAGE_PRECISION
    work = 0
    value = empty_value
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
        if not count_list and 4 * BLOCK * (end - start + stop - first) > len(keys):
            # Rows that touch most items: counting afresh is less work than keeping count.
            _add_blocks(start, end, 1, row_items, row_values, keys)
            _add_blocks(first, stop, -1, row_items, row_values, keys)
            for t in range(np.uint32(len(targets))):
                key = keys[targets[t]]
                target_keys[t] = key
                above[t] = _count_above(key, keys) if key >= step else UNLISTED
        else:
            _pass_blocks(start, end, 1, step, count_list, rows, board)
            _pass_blocks(first, stop, -1, step, count_list, rows, board)
            if moves:
                _recount_blocks(start, end, step, rows, board)
                _recount_blocks(first, stop, step, rows, board)
        new = 0.0
        if added:
            for t in range(np.uint32(len(above))):
                new += worth[min(np.int64(above[t]), length)]
        else:
            new = _best_or_average(mode, length, above, worth)
        if count_list and top_state[N_SUSTAINABLE] > 0:
            new += sustainable_factor * (top_state[N_SUSTAINABLE] / top_state[N_TOP])
        gained[entering] += weights[j] * (new - value)
        value = new
    game.coalition.state[WORK] += BLOCK * work
