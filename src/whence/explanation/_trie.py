"""States of recurrent models for many coalitions, every shared beginning computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.explanation._cells import Cell

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

# Rows that are advanced together: what stays in the cache of one core at a width of 64.
ROWS = 4096
_ROOTS = 64


@dataclass(frozen=True)
class Steps:
    """What happens at each place of histories when its event is there, and when it is masked.

    Attributes
    ----------
    cell : Cell
    on : one entry per place, as ``cell.tokens`` gives them
    off : the same, or None where a masked event leaves no trace
    """

    cell: Cell
    on: Any
    off: Any | None

    def advance(self, states: Tensor, place: int, kept: Tensor, parent: Tensor) -> Tensor:
        """States [N, width] of children: each its parent's after the event, or after its mask."""
        cell = self.cell
        new = states.index_select(0, parent)
        there = kept.nonzero().squeeze(1)
        if self.off is None:
            if len(there):
                new.index_copy_(0, there, cell.step(new.index_select(0, there), self.on[place]))
            return new
        hidden = cell.hidden(states)
        for token, rows in (
            (self.on[place], there),
            (self.off[place], (~kept).nonzero().squeeze(1)),
        ):
            if len(rows):
                before = new.index_select(0, rows)
                shared = cell.rows(hidden, parent.index_select(0, rows))
                new.index_copy_(0, rows, cell.combine(before, shared, token))
        return new


def states_of(steps: Steps, kept: BoolArray) -> tuple[Tensor, IntArray]:
    """States after all places, for coalitions of places.

    Parameters
    ----------
    steps : Steps
    kept : bool [B, L]
        Which events are there.

    Returns
    -------
    states : Tensor [U, width]
        Of distinct coalitions.
    back : int64 [B]
        Which of them each coalition is.
    """
    cell = steps.cell
    states = cell.initial(1)
    n, length = kept.shape
    order, differ = _sorted_rows(kept)
    in_order = kept[order]
    owner = np.zeros(n, dtype=np.int64)
    for place in range(length):
        # Rows that begin alike stand together; a new state where a row differs from the one before.
        heads = np.flatnonzero(differ <= place)
        parent = torch.from_numpy(owner[heads])
        there = torch.from_numpy(in_order[heads, place])
        states = steps.advance(states, place, there.to(cell.device), parent.to(cell.device))
        owner = np.cumsum(differ <= place) - 1
    back = np.empty(n, dtype=np.int64)
    back[order] = owner
    return states, back


def states_of_tokens(asker: Any, tokens: IntArray, history: Any) -> tuple[Tensor, IntArray]:
    """States after histories of any tokens, every shared beginning computed once.

    Parameters
    ----------
    asker : Asker
        Of a recurrent model.
    tokens : int64 [B, L]
        -1 where an event is gone.
    history : History

    Returns
    -------
    states : Tensor [U, width]
    back : int64 [B]
        Which of them is of each row.
    """
    cell = asker.cell
    states = cell.initial(1)
    owner = np.zeros(len(tokens), dtype=np.int64)
    for place in range(tokens.shape[1]):
        kinds, kind = np.unique(tokens[:, place], return_inverse=True)
        keys, owner = np.unique(owner * len(kinds) + kind.reshape(-1), return_inverse=True)
        owner = owner.reshape(-1)
        parent, which = np.divmod(keys, len(kinds))
        new = torch.empty((len(keys), states.shape[1]), dtype=states.dtype, device=states.device)
        for number, event in enumerate(asker.steps_of(kinds, history)):
            rows = torch.from_numpy(np.flatnonzero(which == number)).to(states.device)
            before = states.index_select(0, torch.from_numpy(parent[which == number]).to(rows))
            # An event that never happened leaves the state as it is.
            after = before if kinds[number] < 0 else cell.step(before, event)
            new.index_copy_(0, rows, after)
        states = new
    return states, owner


def _sorted_rows(kept: BoolArray) -> tuple[IntArray, IntArray]:
    """An order in which equal beginnings are neighbours, and where each row first differs.

    Returns
    -------
    order : int64 [B]
    differ : int64 [B]
        First place where a row differs from the one before in the order; -1 for the first row,
        L where it does not.
    """
    n, length = kept.shape
    packed = np.packbits(kept, axis=1)
    wide = np.zeros((n, -(-max(packed.shape[1], 1) // 8) * 8), dtype=np.uint8)
    wide[:, : packed.shape[1]] = packed
    words = wide.view(">u8").astype(np.uint64)
    order = np.lexsort(words.T[::-1]) if words.shape[1] > 1 else np.argsort(words[:, 0])
    changes = kept[order[1:]] != kept[order[:-1]]
    differ = np.full(n, -1, dtype=np.int64)
    if n > 1:
        differ[1:] = np.where(changes.any(axis=1), changes.argmax(axis=1), length)
    return order, differ


def expand(
    steps: Steps,
    places: Sequence[Sequence[int]],
    start: Tensor,
    value: Callable[[Tensor], FloatArray],
) -> FloatArray:
    """Values of all coalitions of players that come one after another, after given states.

    The states of level k + 1 of the trie are those of level k after the player's events, and after
    what stands in their place. Depth first over blocks, so that memory stays bounded.

    Parameters
    ----------
    steps : Steps
    places : sequence of sequences of int
        Places of each player, all in order.
    start : Tensor [U, width]
    value : callable
        From states [N, width] to float64 [N].

    Returns
    -------
    float64 [2**n, U]
        Row r is the coalition with player i where bit i of r is set.
    """
    roots = len(start)
    expansion = _Expansion(steps, places, value, np.empty(roots << len(places)), roots)
    expansion.run(start, np.arange(roots), 0)
    return expansion.out.reshape(-1, roots)


@dataclass(frozen=True)
class _Expansion:
    """The recursion behind `expand`."""

    steps: Steps
    places: Sequence[Sequence[int]]
    value: Callable[[Tensor], FloatArray]
    out: FloatArray
    roots: int

    def run(self, states: Tensor, numbers: IntArray, level: int) -> None:
        """Values below states [U, width] of coalitions `numbers` at a level."""
        n, left = len(states), len(self.places) - level
        if n > _ROOTS and n << left > ROWS:
            for begin in range(0, n, _ROOTS):
                part = slice(begin, begin + _ROOTS)
                self.run(states[part], numbers[part], level)
            return
        depth = min(left, max(1, (ROWS // n).bit_length() - 1))
        block = states.new_empty((n << depth, states.shape[1]))
        block[:n] = states
        for number in range(level, level + depth):
            self._double(block, n, self.places[number])
            numbers = np.concatenate([numbers, numbers + (self.roots << number)])
            n *= 2
        if depth == left:
            self.out[numbers] = self.value(block)
        else:
            self.run(block, numbers, level + depth)

    def _double(self, block: Tensor, n: int, places: Sequence[int]) -> None:
        """States of coalitions with a player into rows n to 2n; rows 0 to n are those without."""
        steps, cell = self.steps, self.steps.cell
        without, present = block[:n], block[n : 2 * n]
        shared = cell.hidden(without)
        cell.combine(without, shared, steps.on[places[0]], present)
        for place in places[1:]:
            cell.step(present, steps.on[place], present)
        if steps.off is not None:
            cell.combine(without, shared, steps.off[places[0]], without)
            for place in places[1:]:
                cell.step(without, steps.off[place], without)
