"""Features over a history, and single cells of it, as players; what is left of it, in groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._histories import History
from whence.explanation._players import Players

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def top_of(cells: Any) -> tuple[int, int] | None:
    """Of ``cells=("top", events, features)`` how many of each; None of other cells.

    Raises
    ------
    ParameterError
        If the numbers are none.
    """
    if not (isinstance(cells, (tuple, list)) and len(cells) and isinstance(cells[0], str)):
        return None
    numbers = cells[1:]
    whole = len(numbers) == 2 and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in numbers
    )
    if cells[0] != "top" or not whole:
        raise ParameterError(
            f"cells must be (places, features) or ('top', events, features) with two numbers of at "
            f"least 1, such as ('top', 5, 3); not {cells!r}."
        )
    return int(numbers[0]), int(numbers[1])


def chosen_cells(history: History, features: list[str], cells: Any) -> BoolArray:
    """Which cells are players of their own, bool [L, features]; all, until the top is known.

    Raises
    ------
    ParameterError
        If `cells` names none.
    """
    length = len(history)
    chosen = np.ones((length, len(features)), dtype=np.bool_)
    if cells is None or top_of(cells) is not None:
        return chosen
    chosen[:] = False
    events, names = cells
    rows = range(length) if events is None else [int(place) for place in events]
    columns = [features.index(name) for name in (names or features) if name in features]
    if not columns or any(not 0 <= row < length for row in rows):
        raise ParameterError(
            f"cells must be (places from 0 to {length - 1}, features among "
            f"{', '.join(map(repr, features))}) or ('top', events, features), not {cells!r}."
        )
    chosen[np.ix_(list(rows), columns)] = True
    return chosen


def players_of(
    level: str, history: History, features: list[str], chosen: BoolArray, n_pruned: int = 0
) -> Players:
    """Players of a level, the cells of the first `n_pruned` events being one player.

    At level "event" each event is a player with all of its features, at level "feature" each
    feature of all events, and at level "cell" each chosen cell, all others being one.
    """
    length, width = len(history), len(features)
    places = np.repeat(np.arange(length), width)
    if level == "event":
        owner, labels = places.copy(), [str(item) for item in history.items]
    elif level == "feature":
        owner, labels = np.tile(np.arange(width), length), list(features)
    else:
        chosen = chosen & (np.arange(length) >= n_pruned)[:, None]
        owner = np.where(chosen.ravel(), np.cumsum(chosen) - 1, int(chosen.sum()))
        labels = [_cell(history, features, *at) for at in zip(*np.nonzero(chosen))]
        if not chosen[n_pruned:].all():
            labels.append("all other cells")
    return _with_pruned(Players(owner, labels, level), places, n_pruned)


def top_players(
    history: History, features: list[str], events: IntArray, columns: IntArray, n_pruned: int = 0
) -> Players:
    """The cells of some events and features; the others by event, by feature, and the rest.

    As TimeSHAP groups them: the other features of each of these events are one player, each of
    these features at the other events is one, and what is neither is one.
    """
    length, width = len(history), len(features)
    events, columns = np.sort(events), np.sort(columns)
    labels: list[str] = []
    owner = np.full((length, width), -1, dtype=np.int64)

    def put(rows: IntArray, across: IntArray, label: str) -> None:
        if len(rows) and len(across):
            owner[np.ix_(rows, across)] = len(labels)
            labels.append(label)

    other_events = np.setdiff1d(np.arange(n_pruned, length), events)
    others = np.setdiff1d(np.arange(width), columns)
    for place in events:
        for column in columns:
            put(place[None], column[None], _cell(history, features, place, column))
    # A single one that is left has its own name.
    feature = features[others[0]] if len(others) == 1 else "other features"
    event = str(history.items[other_events[0]]) if len(other_events) == 1 else "other events"
    for place in events:
        put(place[None], others, f"{history.items[place]} · {feature}")
    for column in columns:
        put(other_events, column[None], f"{event} · {features[column]}")
    put(other_events, others, f"{event} · {feature}")
    places = np.repeat(np.arange(length), width)
    return _with_pruned(Players(owner.ravel(), labels, "cell"), places, n_pruned)


def _cell(history: History, features: list[str], place: int, column: int) -> str:
    return f"{history.items[place]} · {features[column]}"


def _with_pruned(players: Players, places: IntArray, n_pruned: int) -> Players:
    """The same, with the cells of the first events as player 0."""
    if not n_pruned:
        return players
    old = places < n_pruned
    left, owner = np.unique(players.owner[~old], return_inverse=True)
    numbers = np.zeros(len(places), dtype=np.int64)
    numbers[~old] = owner.reshape(-1) + 1
    labels = ["earlier events", *(players.labels[one] for one in left)]
    return Players(numbers, labels, players.what, pruned=True)
