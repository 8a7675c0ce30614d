"""Why an item is not recommended: what speaks against it, and what would have brought it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whence._html import ShownAsText
from whence.errors import DataError, check_int
from whence.explanation._exact import AUTO
from whence.explanation._problems import Problem, solve, with_target
from whence.explanation._targets import Target, recommendable
from whence.explanation.counterfactuals import Search

if TYPE_CHECKING:
    from whence.explanation.result import Explanation

FloatArray = npt.NDArray[np.float64]
_TRIED = 4096
"""Items of the catalogue that are tried as one event more, at most."""


@dataclass(frozen=True)
class WhyNot(ShownAsText):
    """Why an item is not among the k that are recommended.

    Attributes
    ----------
    item, last : id
        The item, and the last of those recommended, behind which it is.
    rank : int
        Its place among all that may be recommended, from 1.
    gap : float
        Its score less that of `last`.
    shares : float64 [n]
        Of the players of the explanation, in its order: what each adds to `gap`, beyond what is
        there without any (``target=("versus", item, last)``).
    found : bool
        Whether it would be recommended without some of the events.
    players : list of int
        Rows of the explanation of these events; empty where there is no such set.
    labels : list of str
        Their names.
    smallest : bool
        Whether every smaller set was tried, and none does it.
    with_item : id or None
        An item that would bring it in as one event more at the end: the one with which it stands
        highest. None where no item does, or the model's events are not items.
    n_tried : int
        Histories that the model was asked about to find the two.
    k : int
    names : list of str
        Names of all players.
    titles : mapping from id to str
    """

    item: Any
    last: Any
    rank: int
    gap: float
    shares: FloatArray
    found: bool
    players: list[int]
    labels: list[str]
    smallest: bool
    with_item: Any
    n_tried: int
    k: int
    names: list[str] = field(repr=False)
    titles: Mapping[Any, str] = field(default_factory=dict)

    def __str__(self) -> str:
        name, last = self._name(self.item), self._name(self.last)
        lines = [
            f"{name} is in place {self.rank:,}: its score is {-self.gap:.4g} below that of "
            f"{last}, the last of the {self.k} recommended."
        ]
        order = np.argsort(self.shares, kind="stable")[:3]
        against = [row for row in order if self.shares[row] < 0]
        if against:
            parts = (f"{self.names[row]} ({self.shares[row]:+.3g})" for row in against)
            lines.append(f"What puts it behind: {', '.join(parts)}.")
        else:
            lines.append("No event speaks against it; too little speaks for it.")
        if self.found:
            how = "the fewest that do" if self.smallest else "perhaps not the fewest"
            lines.append(f"Without {', '.join(self.labels)} it would be recommended ({how}).")
        else:
            lines.append("No set of events that was tried would bring it in by being left out.")
        if self.with_item is not None:
            lines.append(f"With {self._name(self.with_item)} besides it would be recommended.")
        return "\n".join(lines)

    def _name(self, item: Any) -> str:
        return str(self.titles.get(item) or f"item {item!r}")


def why_not(explanation: Explanation, item: Any, *, max_size: int = 3) -> WhyNot:
    """Ask why an item is not recommended; see `Explanation.why_not`."""
    check_int("max_size", max_size, minimum=1)
    problem = explanation.problem
    number = problem.asker.item_number(item)
    _check(problem, item, number)
    k = len(problem.frozen)
    last = problem.asker.item_ids[problem.frozen[-1]]
    posed = with_target(problem, Target("versus", item, other=last))
    game, _, estimate = solve(posed, 0, AUTO)
    search = Search(problem, number, k, inside=True)
    players, smallest = search.fewest(np.argsort(estimate.phi, kind="stable"), max_size)
    more, n_more = _one_more(problem, number, k)
    return WhyNot(
        item=item,
        last=last,
        rank=_rank(problem, number),
        gap=game.everything,
        shares=estimate.phi,
        names=explanation.labels,
        found=players is not None,
        players=[] if players is None else sorted(players),
        labels=[] if players is None else [explanation.labels[row] for row in sorted(players)],
        smallest=smallest,
        with_item=more,
        n_tried=search.n_tried + n_more,
        k=k,
        titles=problem.titles,
    )


def _check(problem: Problem, item: Any, number: int) -> None:
    """Raise DataError where there is nothing to ask."""
    asker, history = problem.asker, problem.history
    if number in problem.frozen:
        place = int(np.flatnonzero(problem.frozen == number)[0]) + 1
        raise DataError(
            f"Item {item!r} is recommended, in place {place}; ask why with "
            f"target=('item', {item!r}), or take an item that is not."
        )
    if number in asker.items_in(history):
        raise DataError(
            f"Item {item!r} is in the history, whose items are not among those explained; "
            "take another item."
        )
    if not recommendable(asker, history)[number]:
        raise DataError(
            f"Item {item!r} has no training data, and such items are never recommended; take "
            "another item."
        )


def _rank(problem: Problem, number: int) -> int:
    """Place of an item among those that may be recommended, from 1; ties count against it."""
    found = with_target(problem, Target("rank", problem.asker.item_ids[number]))
    return -round(found.game.everything)


def _one_more(problem: Problem, number: int, k: int) -> tuple[Any, int]:
    """The item that brings another highest into the top k as one event more, and what was tried.

    Only for models whose events are items: the history as it is, with each of the items that are
    not in it at its end, the most frequent ones of a large catalogue. Items of this longer history
    are not recommended.
    """
    asker, history = problem.asker, problem.history
    if not asker.takes_items or history.baskets is not None:
        return None, 0
    more = np.flatnonzero(recommendable(asker, history))
    more = more[more != number]
    if asker.counts is not None:
        more = more[np.argsort(-asker.counts[more], kind="stable")]
    more = more[:_TRIED]
    tokens = np.column_stack([np.tile(history.tokens, (len(more), 1)), more])
    window = getattr(getattr(asker, "model", None), "max_length", None)
    tokens = tokens if window is None else tokens[:, -window:]
    place = np.empty(len(more), dtype=np.int64)
    candidates = recommendable(asker, history)
    candidates[number] = False
    with asker.quiet():
        for rows in asker.blocks(len(more), asker.n_items):
            scores = np.asarray(asker.scores(tokens[rows], history, None), dtype=np.float64)
            own = scores[:, number, None]
            ahead = ((scores >= own) & candidates).sum(axis=1)
            # The item that was added is no competitor.
            ahead -= scores[np.arange(len(scores)), more[rows]] >= own[:, 0]
            place[rows] = np.where(own[:, 0] > asker.floor, ahead, asker.n_items)
    best = int(place.argmin()) if len(place) else 0
    if not len(place) or place[best] >= k:
        return None, len(more)
    return asker.item_ids[more[best]], len(more)
