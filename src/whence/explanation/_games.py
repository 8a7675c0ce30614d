"""Coalitions of players and their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.explanation._askers import Asker
from whence.explanation._histories import History
from whence.explanation._players import Players
from whence.explanation._targets import Scalar, not_a_number

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
_BLOCK = 1 << 14


@dataclass
class Counter:
    """How often a model was asked."""

    rows: int = 0


@dataclass(frozen=True)
class Game:
    """Players of one history, and the value of every coalition of them.

    Attributes
    ----------
    asker : Asker
    history : History
    players : Players
    off : int64 [draws, L] or None
        Tokens in the place of masked events; values are averaged over draws. None: nothing.
    scalar : Scalar
    counter : Counter
    """

    asker: Asker
    history: History
    players: Players
    off: IntArray | None
    scalar: Scalar
    counter: Counter = field(default_factory=Counter)

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @cached_property
    def everything(self) -> float:
        """Value of all players together."""
        return float(self.values(np.ones((1, self.n), dtype=np.bool_))[0])

    @cached_property
    def nothing(self) -> float:
        """Value of the empty coalition."""
        return float(self.values(np.zeros((1, self.n), dtype=np.bool_))[0])

    @property
    def gap(self) -> float:
        """What there is to share."""
        return self.everything - self.nothing

    @property
    def in_steps(self) -> bool:
        """Whether the model is recurrent, and masks are of whole events: one step or another."""
        return self.asker.cell is not None

    def with_players(self, players: Players) -> Game:
        """The same history and value shared by other players."""
        return replace(self, players=players)

    def with_scalar(self, scalar: Scalar) -> Game:
        """The same players and another value."""
        return replace(self, scalar=scalar)

    def values(self, kept: BoolArray) -> FloatArray:
        """Values float64 [B] of coalitions bool [B, n]; of `Scores` [B, k].

        Raises
        ------
        DataError
            If a value is not a finite number.
        """
        found = np.empty((len(kept), *self.scalar.shape))
        with self.asker.quiet():
            for start in range(0, len(kept), _BLOCK):
                block = kept[start : start + _BLOCK]
                found[start : start + _BLOCK] = self._values(block)
        return self.checked(found)

    def checked(self, values: FloatArray) -> FloatArray:
        """Values that were found, counted, if they are finite."""
        if not np.isfinite(values).all():
            raise not_a_number(self.asker)
        self.counter.rows += values.size // max(math.prod(self.scalar.shape), 1)
        return values

    def _values(self, kept: BoolArray) -> FloatArray:
        events = kept[:, self.players.owner]
        if self.in_steps:
            return self._recurrent_values(events)
        distinct, back = _distinct(events)
        draws: list[IntArray | int] = [-1] if self.off is None else list(self.off)
        total = np.zeros((len(distinct), *self.scalar.shape))
        for off in draws:
            tokens = np.where(distinct, self.history.tokens, off)
            for rows in self.asker.blocks(len(tokens), self.asker.n_items):
                scores = self.asker.scores(tokens[rows], self.history, self.scalar.items)
                total[rows] += self.scalar.of(scores)
        result: FloatArray = (total / len(draws))[back]
        return result

    # Recurrent models

    @cached_property
    def steps(self) -> list[Any]:
        """For each draw, what happens at each place; only of recurrent models."""
        from whence.explanation._trie import Steps

        cell = self.asker.cell
        with self.asker.quiet():
            on = self.asker.steps_of(self.history.tokens, self.history)
            if self.off is None:
                return [Steps(cell, on, None)]
            offs = (self.asker.steps_of(off, self.history) for off in self.off)
            return [Steps(cell, on, off) for off in offs]

    @cached_property
    def state_value(self) -> Callable[[Any], FloatArray]:
        """From states to values; only of recurrent models."""
        from whence.explanation._neural import head_of_scalar

        with self.asker.quiet():
            return head_of_scalar(self.asker.cell, self.scalar)

    def _recurrent_values(self, events: BoolArray) -> FloatArray:
        from whence.explanation._trie import states_of

        total = np.zeros((len(events), *self.scalar.shape))
        for steps in self.steps:
            states, back = states_of(steps, events)
            total += self.state_value(states)[back]
        result: FloatArray = total / len(self.steps)
        return result


def _distinct(rows: BoolArray) -> tuple[BoolArray, IntArray]:
    """Distinct rows, and which of them each row is."""
    packed = np.packbits(rows, axis=1)
    if not packed.shape[1]:
        return rows, np.arange(len(rows))
    keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], back.reshape(-1).astype(np.int64)
