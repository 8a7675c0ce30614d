"""The smallest set of events without which an item would not have been recommended."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whence._html import ShownAsText
from whence.errors import DataError, check_int
from whence.explanation._exact import AUTO
from whence.explanation._problems import Problem, solve, with_target
from whence.explanation._targets import Target, rank_scalar

if TYPE_CHECKING:
    from whence.explanation.result import Explanation

BoolArray = npt.NDArray[np.bool_]
_MOST = 50_000  # sets that are searched completely
_BLOCK = 4096


@dataclass(frozen=True)
class Counterfactual(ShownAsText):
    """A set of events whose removal drops an item out of the top k.

    Attributes
    ----------
    item : id
    players : list of int
        Rows of the explanation; empty where there is no such set.
    labels : list of str
        Their names.
    found : bool
        Whether there is such a set.
    smallest : bool
        Whether every smaller set was tried, and none does it. Where nothing was found: whether
        masking every event leaves the item in the top k.
    n_tried : int
        Sets that the model was asked about.
    k : int
    masking : str
    title : str
        Name of the item for people: its title where there is one.
    """

    item: Any
    players: list[int]
    labels: list[str]
    found: bool
    smallest: bool
    n_tried: int
    k: int
    masking: str
    title: str

    def __str__(self) -> str:
        if not self.found:
            return (
                f"{self.title} stays in the top {self.k} without any of the sets that were tried."
            )
        how = "the fewest that do" if self.smallest else "perhaps not the fewest"
        return (
            f"Without {', '.join(self.labels)}, {self.title} would not be in the top {self.k} "
            f"({how})."
        )


def counterfactual(
    explanation: Explanation, item: Any = None, *, max_size: int = 3
) -> Counterfactual:
    """Find the smallest set of players whose masking drops an item out of the top k.

    Players are taken away in order of their share of the item's score until it is gone; then all
    smaller sets, of at most `max_size` players, are tried, likeliest players first. Every set is
    verified by the model. Items of the original history stay excluded.

    Parameters
    ----------
    explanation : Explanation
        As `explain` gives it.
    item : id, optional
        One of its items; the first by default.
    max_size : int

    Returns
    -------
    Counterfactual

    Raises
    ------
    DataError
        If the item is not among those recommended.
    UnsupportedError
        If the explanation was loaded from a file.
    """
    check_int("max_size", max_size, minimum=1)
    problem = explanation.problem
    recommended = [entry["item"] for entry in explanation.metadata["items"]]
    chosen = recommended[0] if item is None else item
    if chosen not in recommended:
        raise DataError(
            f"Item {chosen!r} is not recommended for this history; choose one of "
            f"{', '.join(map(repr, recommended[:5]))}, …"
        )
    search = Search(problem, problem.asker.item_number(chosen), len(recommended))
    shares = shares_of(explanation, problem, Target("item", chosen))
    players, smallest = search.fewest(np.argsort(-shares, kind="stable"), max_size)
    rows = [] if players is None else sorted(players)
    entry = explanation.metadata["items"][recommended.index(chosen)]
    return Counterfactual(
        item=chosen,
        players=rows,
        labels=[explanation.labels[row] for row in rows],
        found=players is not None,
        smallest=smallest if players is not None else search.exhausted,
        n_tried=search.n_tried,
        k=problem.settings.k,
        masking=str(explanation.metadata["masking"]),
        title=str(entry.get("title") or f"item {chosen!r}"),
    )


def shares_of(
    explanation: Explanation, problem: Problem, target: Target
) -> npt.NDArray[np.float64]:
    """Shares of the same players in another value."""
    if problem.target == target:
        return explanation.scores
    return solve(with_target(problem, target), 0, AUTO)[2].phi


class Search:
    """Looks for the fewest players without which an item is out of the top k, or in it.

    Parameters
    ----------
    problem : Problem
    number : int
        Of the item.
    k : int
    inside : bool
        Whether the item is to be in the top k afterwards, rather than out of it.

    Attributes
    ----------
    n_tried : int
        Sets that the model was asked about.
    exhausted : bool
        Whether taking away every player, one after another, never did it.
    """

    def __init__(self, problem: Problem, number: int, k: int, *, inside: bool = False) -> None:
        scalar = rank_scalar(problem.asker, problem.history, number, k)
        self.game = problem.game.with_scalar(scalar)
        self.inside = inside
        self.n_tried = 0
        self.exhausted = False

    def fewest(self, order: npt.NDArray[np.int64], max_size: int) -> tuple[list[int] | None, bool]:
        """A set of players that does it, and whether no smaller one does; None where none does.

        Players are taken away in the order given until it is done; then all smaller sets, of at
        most `max_size` players, are tried, those that come early in the order first.
        """
        players = self._greedy(order)
        if players is None:
            return None, False
        for size in range(1, len(players)):
            if size > max_size:
                return players, False
            found, complete = self._of_size(order, size)
            if found is not None:
                return found, True
            if not complete:
                return players, False
        return players, True

    def _done(self, kept: BoolArray) -> npt.NDArray[np.int64]:
        """Which of the coalitions [B, n] do it."""
        self.n_tried += len(kept)
        return np.flatnonzero((self.game.values(kept) >= 0.5) == self.inside)

    def _greedy(self, order: npt.NDArray[np.int64]) -> list[int] | None:
        """The first players of an order without which it is done; None: never."""
        rank = np.argsort(order)
        done = self._done(rank[None, :] >= np.arange(1, len(order) + 1)[:, None])
        if not len(done):
            self.exhausted = True
            return None
        return [int(player) for player in order[: done[0] + 1]]

    def _of_size(self, order: npt.NDArray[np.int64], size: int) -> tuple[list[int] | None, bool]:
        """A set of a size that does it, and whether all of them were tried."""
        sets = combinations(order.tolist(), size)
        tried = 0
        while block := list(islice(sets, min(_BLOCK, _MOST - tried))):
            kept = np.ones((len(block), len(order)), dtype=np.bool_)
            np.put_along_axis(kept, np.array(block), False, axis=1)
            done = self._done(kept)
            if len(done):
                return [int(player) for player in block[done[0]]], True
            tried += len(block)
        return None, next(sets, None) is None
