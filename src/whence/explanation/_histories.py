"""The history that is explained, as a model sees it: known items, inside the model's window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Vocabulary
from whence.errors import DataError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """Events that can matter.

    Attributes
    ----------
    tokens : int64 [L]
        What the model's asker knows each event by: its item's number, or its place in `events`.
    positions : int64 [L]
        Places of the events in the history as it was given.
    items : list
        Their items' ids, as they were given.
    events : list
        The events themselves, as they were given.
    baskets : int64 [L] or None
        Number of the basket of each event.
    n_given : int
        Events given.
    n_cut : int
        Oldest events that lie before the model's window.
    unknown : list
        Items that the model does not know, whose events are left out.
    notes : list of str
        What the caller should be told.
    known : object
        What else the model's asker keeps of the events.
    """

    tokens: IntArray
    positions: IntArray
    items: list[Any]
    events: list[Any] = field(default_factory=list)
    baskets: IntArray | None = None
    n_given: int = 0
    n_cut: int = 0
    unknown: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known: Any = None

    def __len__(self) -> int:
        return len(self.tokens)


def as_events(history: Any) -> list[Any]:
    """A history as a list: of item ids, of events with features, or of baskets.

    Raises
    ------
    DataError
        If it is empty or not a sequence.
    """
    if hasattr(history, "iter_rows"):  # a polars table: one event per row
        events = list(history.iter_rows(named=True))
    elif hasattr(history, "to_dict") and hasattr(history, "columns"):
        events = history.to_dict("records")
    elif hasattr(history, "tolist"):
        events = history.tolist()
    elif hasattr(history, "to_list"):
        events = history.to_list()
    elif isinstance(history, Sequence) and not isinstance(history, (str, bytes)):
        events = list(history)
    else:
        raise DataError(
            f"A history is a list of item ids, oldest first, not {history!r}; give [item, …]."
        )
    if not events:
        raise DataError(
            "The history is empty, so there is no event to explain by; give at least one item id."
        )
    return events


def encode(
    history: Any, vocabulary: Vocabulary, window: int | None, name: str, baskets: bool
) -> History:
    """A history of items, or of baskets of items, in the numbers of a vocabulary.

    Raises
    ------
    DataError
        If nothing is known, or the history is not of the right form.
    """
    events = as_events(history)
    number: IntArray | None = None
    if baskets:
        if not all(isinstance(basket, (list, tuple, np.ndarray, pl.Series)) for basket in events):
            raise DataError(
                f"{name} takes baskets: give a list of baskets, oldest first, each a list of item "
                "ids, such as [['bread', 'milk'], ['milk']]."
            )
        number = np.repeat(np.arange(len(events)), [len(basket) for basket in events])
        events = [item for basket in events for item in basket]
    elif any(isinstance(event, (list, tuple, Mapping)) for event in events):
        raise DataError(
            f"{name} takes item ids, oldest first; this history holds {events[0]!r}. Give one "
            "list of ids (explain_many takes several), and none of the events' other features."
        )
    codes = vocabulary.item_codes(pl.Series(events, strict=False)).astype(np.int64)
    known = np.flatnonzero(codes >= 0)
    unknown = [event for event, code in zip(events, codes) if code < 0]
    if not len(known):
        raise DataError(
            f"None of the {len(events)} events of the history has an item that {name} knows, such "
            f"as {events[0]!r}; give ids of its training data (model.vocabulary.items)."
        )
    notes = []
    if unknown:
        notes.append(
            f"{name} does not know {len(unknown)} of the {len(events)} events of the history "
            f"(such as {unknown[0]!r}); they are left out, as the model leaves them out."
        )
    kept = known if window is None else known[-window:]
    if len(kept) < len(known):
        notes.append(
            f"The history has {len(known)} events and {name} looks at the last {window}; the "
            f"first {len(known) - len(kept)} cannot matter and are left out."
        )
    return History(
        tokens=codes[kept],
        positions=kept,
        items=[events[place] for place in kept],
        events=[events[place] for place in kept],
        baskets=None if number is None else number[kept],
        n_given=len(events),
        n_cut=len(known) - len(kept),
        unknown=unknown,
        notes=notes,
    )
