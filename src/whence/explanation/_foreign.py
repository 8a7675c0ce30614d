"""Models of other libraries: anything that scores histories."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import DataError, ParameterError, UnsupportedError
from whence.explanation._askers import Asker, IntArray, ScoreArray, quiet_modules
from whence.explanation._histories import History, as_events
from whence.explanation._maskings import Masking

_EXTRA = 1 << 40  # tokens from here on stand for events that are not in the history
ITEM_NAMES = ("item", "item_id", "itemId", "ItemId")
_RECURRENT = ("initial_state", "step", "scores_from_state")


class ForeignAsker(Asker):
    """An object with ``scores(histories) -> (B, n_items)``, or a function that does that.

    Parameters
    ----------
    model : object or callable
        Histories are lists of events, oldest first, as they were given to `explain`. With
        ``initial_state(n)``, ``step(state, events)`` and ``scores_from_state(state)`` it is taken
        as recurrent.
    items : sequence of ids, optional
        The item of each column; 0, 1, … by default.
    """

    single_thread = True

    def __init__(self, model: Any, items: Sequence[Any] | None) -> None:
        score = getattr(model, "scores", None)
        self._score = score if callable(score) else model
        if not callable(self._score):
            raise UnsupportedError(
                f"{type(model).__name__} cannot be explained: it needs a method scores(histories) "
                "that returns an array of one row per history and one column per item."
            )
        self.model = model
        self.name = getattr(model, "__name__", type(model).__name__)
        self._extra: list[Any] = []
        self._given = None if items is None else list(items)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Without gradients and in evaluation mode, where the model is one of torch."""
        if "torch" not in sys.modules:
            yield
            return
        import torch

        parts = [self.model, *getattr(self.model, "__dict__", {}).values()]
        modules = [part for part in parts if isinstance(part, torch.nn.Module)]
        with quiet_modules(modules), torch.no_grad():
            yield

    @cached_property
    def cell(self) -> Any:
        """The model as a `Cell`, if it can be asked for steps."""
        if not all(callable(getattr(self.model, name, None)) for name in _RECURRENT):
            return None
        try:
            from whence.explanation._cells import ProtocolCell
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            return None  # whole histories are asked instead: the same values, later

        with self.quiet():
            return ProtocolCell(self.model)

    @cached_property
    def n_items(self) -> int:  # type: ignore[override]
        """Number of columns of the scores."""
        if self._given is not None:
            return len(self._given)
        raise DataError(f"{self.name} has not been asked yet.")

    @cached_property
    def item_ids(self) -> list[Any]:  # type: ignore[override]
        """The item of each column."""
        return list(range(self.n_items)) if self._given is None else self._given

    def encode(self, history: Any) -> History:
        """All events, which only the model itself understands."""
        events = as_events(history)
        self._learn_columns(events)
        return History(
            tokens=np.arange(len(events)),
            positions=np.arange(len(events)),
            items=[item_of(event) for event in events],
            events=events,
            n_given=len(events),
        )

    def _learn_columns(self, events: list[Any]) -> None:
        with self.quiet():
            n_columns = self._asked([events]).shape[1]
        if self._given is not None and n_columns != len(self._given):
            raise ParameterError(
                f"{self.name} gives {n_columns} scores per history but items names "
                f"{len(self._given)}; name the item of every column."
            )
        self.__dict__.setdefault("n_items", n_columns)

    def items_in(self, history: History) -> IntArray:
        """Columns of the items of a history."""
        found = {self._numbers[item] for item in history.items if item in self._numbers}
        return np.array(sorted(found), dtype=np.int64)

    def item_token(self, item: Any, history: History) -> int:
        """Token of an event that stands for masked ones."""
        return self.extra_token(item)

    def extra_token(self, event: Any) -> int:
        """Token of an event that is not in the history."""
        self._extra.append(event)
        return _EXTRA + len(self._extra) - 1

    def baseline(self, masking: Masking, history: History, level: str) -> list[dict[str, Any]]:
        """Value of each feature where it is masked, place by place.

        Raises
        ------
        UnsupportedError
            If the events have no features, or the masking is not an event.
        DataError
            If the events have not the same features.
        ParameterError
            If the event that stands for masked ones lacks some.
        """
        if not all(isinstance(event, Mapping) for event in history.events):
            raise self._no_features(level)
        features = list(history.events[0])
        if any(list(event) != features for event in history.events):
            raise DataError(
                "Events of one history must have the same features; fill in those missing."
            )
        several = masking.kind == "items"
        given = masking.item if several else [masking.item]
        if masking.kind not in ("item", "items") or not all(isinstance(e, Mapping) for e in given):
            raise UnsupportedError(
                f"level={level!r} masks single features, which needs a value for each: give "
                "masking=('item', {feature: value, …}), such as a typical event."
            )
        if several and len(given) != len(history):
            raise ParameterError(
                f"masking=('items', …) has {len(given)} events for a history of {len(history)}; "
                "give one for each place."
            )
        for event in given:
            missing = [name for name in features if name not in event]
            if missing:
                raise ParameterError(
                    f"The event of masking=({masking.kind!r}, …) has no value for {missing[0]!r}; "
                    f"give one for each of {', '.join(map(repr, features))}."
                )
        return [dict(event) for event in (given if several else given * len(history))]

    def cell_token(
        self,
        history: History,
        place: int,
        there: npt.NDArray[np.bool_],
        baseline: list[dict[str, Any]],
    ) -> int:
        """Token of an event with some of its features masked."""
        event = dict(history.events[place])
        for feature, is_there in zip(event, there):
            if not is_there:
                event[feature] = baseline[place][feature]
        return self.extra_token(event)

    def events_of(self, tokens: IntArray, history: History) -> list[Any]:
        """The events of tokens, without those that are gone."""
        extra, events = self._extra, history.events
        return [
            extra[token - _EXTRA] if token >= _EXTRA else events[token]
            for token in tokens.tolist()
            if token >= 0
        ]

    def steps_of(self, tokens: IntArray, history: History) -> Any:
        """Events themselves."""
        return self.events_of(tokens, history)

    def scores(self, tokens: IntArray, history: History, items: IntArray | None) -> ScoreArray:
        """Scores that the model gives."""
        with self.quiet():
            found = self._asked([self.events_of(row, history) for row in tokens])
        return found if items is None else found[:, items]

    def _asked(self, histories: list[list[Any]]) -> ScoreArray:
        answer = self._score(histories)
        if hasattr(answer, "detach"):
            answer = answer.detach().cpu().numpy()
        try:
            scores = np.asarray(answer, dtype=np.float64)
        except (TypeError, ValueError):
            scores = np.empty(0)
        if scores.ndim != 2 or len(scores) != len(histories):
            raise UnsupportedError(
                f"{self.name} must give an array of one row for each of the {len(histories)} "
                "histories and one column per item; it gave "
                f"{type(answer).__name__} of shape {getattr(answer, 'shape', None)}."
            )
        return scores


def item_of(event: Any) -> Any:
    """The item of an event: the event itself, its feature of that name, or all its features."""
    if isinstance(event, Mapping):
        for name in ITEM_NAMES:
            if name in event:
                return event[name]
        return ", ".join(f"{name}={value}" for name, value in event.items())
    return event if event.__hash__ is not None else str(event)
