"""Who shares the value: events, or groups of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, UnsupportedError
from whence.explanation._histories import History

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Players:
    """Players and what they hold.

    Attributes
    ----------
    owner : int64 [L]
        Player of each event (or of each cell, row by row).
    labels : list of str
        Names of the players.
    what : str
        "event", "group", "feature" or "cell".
    pruned : bool
        Whether player 0 is all events that were found not to matter.
    """

    owner: IntArray
    labels: list[str]
    what: str = "event"
    pruned: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def members(self) -> list[IntArray]:
        """Events of each player, ascending."""
        order = np.argsort(self.owner, kind="stable")
        counts = np.bincount(self.owner, minlength=len(self))
        return np.split(order, np.cumsum(counts)[:-1])

    def in_order(self) -> int:
        """How many of the last players come one after another, each with all of its events."""
        last = np.full(len(self), -1, dtype=np.int64)
        last[self.owner] = np.arange(len(self.owner))
        first = np.full(len(self), len(self.owner), dtype=np.int64)
        np.minimum.at(first, self.owner, np.arange(len(self.owner)))
        count = 0
        for player in range(len(self) - 1, -1, -1):
            if player < len(self) - 1 and last[player] > first[player + 1]:
                break
            if player and last[:player].max() > first[player]:
                break
            count += 1
        return count


def event_players(history: History) -> Players:
    """Each event by itself."""
    labels = [str(item) for item in history.items]
    return Players(np.arange(len(history)), labels)


def group_players(history: History, groups: Any) -> Players:
    """Events with the same label together, in order of the label's first event.

    Parameters
    ----------
    history : History
    groups : {"item", "basket"}, callable, or sequence
        Repeats of one item together; the items of a basket; by a function of the event; or one
        label per event of the history that was given.

    Raises
    ------
    ParameterError
        If the labels are not one per event.
    UnsupportedError
        If there are no baskets.
    """
    labels = _labels(history, groups)
    numbers: dict[Any, int] = {}
    owner = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    return Players(owner, [str(label) for label in numbers], "group")


def _labels(history: History, groups: Any) -> list[Any]:
    if isinstance(groups, str):
        if groups == "item":
            return list(history.items)
        if groups == "basket":
            if history.baskets is None:
                raise UnsupportedError(
                    "groups='basket' needs a history of baskets, which this model does not take; "
                    "give one label per event instead."
                )
            return [f"basket {number}" for number in history.baskets]
        raise ParameterError(
            f"groups must be 'item', 'basket', a function or one label per event, not {groups!r}."
        )
    if isinstance(groups, Callable):  # type: ignore[arg-type]
        return [groups(event) for event in history.events]
    given: Sequence[Any] = groups.to_list() if hasattr(groups, "to_list") else list(groups)
    if len(given) != history.n_given:
        raise ParameterError(
            f"There are {len(given)} labels in groups for {history.n_given} events; give one per "
            "event of the history."
        )
    return [given[place] for place in history.positions]


def pruned_players(players: Players, keep: int) -> Players:
    """The last `keep` players by themselves, those before them as one."""
    n = len(players) - keep
    owner = np.maximum(players.owner - n + 1, 0)
    label = f"{n} earlier {players.what}s"
    return Players(owner, [label, *players.labels[n:]], players.what, pruned=True)
