"""Events with features: features over the whole history, or single cells, as players."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whence.errors import DataError, ParameterError, UnsupportedError
from whence.explanation._askers import Asker
from whence.explanation._foreign import ForeignAsker
from whence.explanation._games import BoolArray, FloatArray, Game
from whence.explanation._histories import History
from whence.explanation._maskings import Masking
from whence.explanation._players import Players


@dataclass(frozen=True)
class CellGame(Game):
    """A game whose players hold cells: features of events.

    Attributes
    ----------
    features : list of str
    baseline : dict
        Value of each feature where it is masked.
    """

    features: list[str] = field(default_factory=list)
    baseline: dict[str, Any] = field(default_factory=dict)
    _tokens: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def _values(self, kept: BoolArray) -> FloatArray:
        assert isinstance(self.asker, ForeignAsker)
        length, width = len(self.history), len(self.features)
        cells = kept[:, self.players.owner].reshape(len(kept), length, width)
        tokens = np.empty((len(kept), length), dtype=np.int64)
        for row in range(len(kept)):
            for place in range(length):
                tokens[row, place] = self._token(place, cells[row, place])
        distinct, back = np.unique(tokens, axis=0, return_inverse=True)
        scores = self.asker.scores(distinct, self.history, self.scalar.items)
        return self.scalar.of(scores)[back.reshape(-1)]

    def _token(self, place: int, there: BoolArray) -> int:
        """Token of an event with some of its features masked."""
        if there.all():
            return place
        key = (place, there.tobytes())
        if key not in self._tokens:
            assert isinstance(self.asker, ForeignAsker)
            event = dict(self.history.events[place])
            for feature, is_there in zip(self.features, there):
                if not is_there:
                    event[feature] = self.baseline[feature]
            self._tokens[key] = self.asker.extra_token(event)
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
    if not isinstance(asker, ForeignAsker) or not all(
        isinstance(event, Mapping) for event in history.events
    ):
        raise UnsupportedError(
            f"level={level!r} needs a model whose events have features, given as dictionaries; "
            f"{asker.name} sees only items here: use level='event'."
        )
    features = [str(name) for name in history.events[0]]
    if any(list(event) != features for event in history.events):
        raise DataError("Events of one history must have the same features; fill in those missing.")
    if masking.kind != "item" or not isinstance(masking.item, Mapping):
        raise UnsupportedError(
            f"level={level!r} masks single features, which needs a value for each: give "
            "masking=('item', {feature: value, …}), such as a typical event."
        )
    missing = [name for name in features if name not in masking.item]
    if missing:
        raise ParameterError(
            f"The event of masking=('item', …) has no value for {missing[0]!r}; give one for each "
            f"of {', '.join(map(repr, features))}."
        )
    players = _players(history, features, level, cells)
    return CellGame(
        asker, history, players, None, scalar, features=features, baseline=dict(masking.item)
    )


def _players(history: History, features: list[str], level: str, cells: Any) -> Players:
    length, width = len(history), len(features)
    if level == "feature":
        return Players(np.tile(np.arange(width), length), features, "feature")
    chosen = np.ones((length, width), dtype=np.bool_)
    if cells is not None:
        events, names = cells
        chosen[:] = False
        rows = range(length) if events is None else [int(place) for place in events]
        columns = [features.index(name) for name in (names or features) if name in features]
        if not columns or any(not 0 <= row < length for row in rows):
            raise ParameterError(
                f"cells must be (places from 0 to {length - 1}, features among "
                f"{', '.join(map(repr, features))}), not {cells!r}."
            )
        chosen[np.ix_(list(rows), columns)] = True
    number = np.cumsum(chosen.ravel()) - 1
    n = int(number[-1]) + 1
    labels = [
        f"{history.items[place]} · {features[column]}" for place, column in zip(*np.nonzero(chosen))
    ]
    if not chosen.all():
        labels.append("all other cells")
    return Players(np.where(chosen.ravel(), number, n), labels, "cell")
