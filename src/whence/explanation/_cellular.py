"""Events with features: features over the whole history, or single cells, as players."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whence.explanation._askers import Asker
from whence.explanation._cell_players import chosen_cells, players_of, top_of, top_players
from whence.explanation._games import BoolArray, FloatArray, Game, IntArray
from whence.explanation._histories import History
from whence.explanation._maskings import Masking
from whence.explanation._pruning import joint_shares, n_joined
from whence.explanation._ways import shares

if TYPE_CHECKING:
    from whence.explanation.explainer import Explainer


@dataclass(frozen=True)
class CellGame(Game):
    """A game whose players hold cells: features of events.

    Attributes
    ----------
    features : list of str
    baseline : object
        Of each place: what each feature is where it is masked; see `Asker.baseline`.
    """

    features: list[str] = field(default_factory=list)
    baseline: Any = None
    _tokens: dict[tuple[int, bytes], int] = field(default_factory=dict)

    @property
    def in_steps(self) -> bool:
        """No: an event is there in part."""
        return False

    def _values(self, kept: BoolArray) -> FloatArray:
        distinct, back = np.unique(self._tokens_of(kept), axis=0, return_inverse=True)
        back = back.reshape(-1)
        if self.asker.cell is not None:
            from whence.explanation._trie import states_of_tokens

            states, rows = states_of_tokens(self.asker, distinct, self.history)
            return self.state_value(states)[rows][back]
        scores = self.asker.scores(distinct, self.history, self.scalar.items)
        return self.scalar.of(scores)[back]

    def _tokens_of(self, kept: BoolArray) -> IntArray:
        """Tokens int64 [B, L] of coalitions: of each event, with the features that are there."""
        length, width = len(self.history), len(self.features)
        cells = kept[:, self.players.owner].reshape(len(kept), length, width)
        tokens = np.empty((len(kept), length), dtype=np.int64)
        for place in range(length):
            kinds, back = np.unique(cells[:, place], axis=0, return_inverse=True)
            tokens[:, place] = np.array([self._token(place, kind) for kind in kinds])[
                back.reshape(-1)
            ]
        return tokens

    def settled(self, asked: Explainer, seed: tuple[int, ...]) -> CellGame:
        """The game with its oldest events joined, and its most important cells, where asked."""
        top = top_of(asked.cells)
        if asked.prune is None and top is None:
            return self
        everything = np.ones((len(self.history), len(self.features)), dtype=np.bool_)

        def at(level: str, chosen: BoolArray, n_pruned: int) -> CellGame:
            players = players_of(level, self.history, self.features, chosen, n_pruned)
            return replace(self, players=players)

        n_pruned = 0
        if asked.prune is not None and len(self.history) > 2:
            n_pruned = n_joined(joint_shares(self.by_event()), asked.prune)
        if top is None:
            chosen = chosen_cells(self.history, self.features, asked.cells)
            return at(asked.level, chosen, n_pruned) if n_pruned else self
        strongest = []
        for number, level in enumerate(("event", "feature")):
            phi = shares(at(level, everything, n_pruned), asked, (*seed, number))
            order = np.argsort(-np.abs(phi[n_pruned > 0 :]), kind="stable")[: top[number]]
            strongest.append(order.astype(np.int64))
        events, columns = strongest[0] + n_pruned, strongest[1]
        players = top_players(self.history, self.features, events, columns, n_pruned)
        return replace(self, players=players)

    def by_event(self) -> CellGame:
        """The same history with each event as a player, all of its features together."""
        everything = np.ones((len(self.history), len(self.features)), dtype=np.bool_)
        players = players_of("event", self.history, self.features, everything)
        return replace(self, players=players)

    def _token(self, place: int, there: BoolArray) -> int:
        """Token of an event with some of its features masked."""
        if there.all():
            return int(self.history.tokens[place])
        key = (place, there.tobytes())
        if key not in self._tokens:
            token = self.asker.cell_token(self.history, place, there, self.baseline)
            self._tokens[key] = token
        return self._tokens[key]


def cell_game(
    asker: Asker, history: History, masking: Masking, level: str, cells: Any, scalar: Any
) -> CellGame:
    """A game of features or of cells.

    Raises
    ------
    UnsupportedError
        If the model's events have no features, or the masking is not an event.
    ParameterError
        If the event that stands for masked ones lacks features, or `cells` names none.
    """
    baseline = asker.baseline(masking, history, level)
    features = asker.feature_names or [str(name) for name in history.events[0]]
    players = players_of(level, history, features, chosen_cells(history, features, cells))
    return CellGame(asker, history, players, None, scalar, features=features, baseline=baseline)
