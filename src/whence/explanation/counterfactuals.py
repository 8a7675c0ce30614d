"""The smallest set of events without which an item would not have been recommended."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
class Counterfactual:
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
    search = _Search(problem, problem.asker.item_number(chosen), len(recommended))
    shares = _shares(explanation, problem, chosen)
    order = np.argsort(-shares, kind="stable")
    players = search.greedy(order)
    smallest = players is not None
    if players is not None:
        for size in range(1, len(players)):
            found = search.of_size(order, size) if size <= max_size else None
            if found is not None:
                players = found
                break
            if size > max_size or not search.complete:
                smallest = False
                break
    rows = [] if players is None else sorted(players)
    entry = explanation.metadata["items"][recommended.index(chosen)]
    return Counterfactual(
        item=chosen,
        players=rows,
        labels=[explanation.labels[row] for row in rows],
        found=players is not None,
        smallest=smallest if players is not None else search.stays,
        n_tried=search.n_tried,
        k=problem.settings.k,
        masking=str(explanation.metadata["masking"]),
        title=str(entry.get("title") or f"item {chosen!r}"),
    )


def _shares(explanation: Explanation, problem: Problem, item: Any) -> npt.NDArray[np.float64]:
    """Shares of the item's own score."""
    target = Target("item", item)
    if problem.target == target:
        return explanation.scores
    return solve(with_target(problem, target), 0, AUTO)[2].phi


class _Search:
    """Asks whether an item is still in the top k without some players."""

    def __init__(self, problem: Problem, number: int, k: int) -> None:
        scalar = rank_scalar(problem.asker, problem.history, number, k)
        self.game = problem.game.with_scalar(scalar)
        self.n_tried = 0
        self.complete = True
        self.stays = False

    def dropped(self, kept: BoolArray) -> BoolArray:
        """Whether the item is out of the top k, for coalitions [B, n]."""
        self.n_tried += len(kept)
        gone: BoolArray = self.game.values(kept) < 0.5
        return gone

    def greedy(self, order: npt.NDArray[np.int64]) -> list[int] | None:
        """The first players of an order without which the item is gone; None: never."""
        rank = np.argsort(order)
        n = len(order)
        kept = rank[None, :] >= np.arange(1, n + 1)[:, None]
        gone = np.flatnonzero(self.dropped(kept))
        if not len(gone):
            self.stays = True
            return None
        return [int(player) for player in order[: gone[0] + 1]]

    def of_size(self, order: npt.NDArray[np.int64], size: int) -> list[int] | None:
        """A set of a size that drops the item; None if none of those tried does."""
        sets = combinations(order.tolist(), size)
        tried = 0
        while block := list(islice(sets, min(_BLOCK, _MOST - tried))):
            kept = np.ones((len(block), len(order)), dtype=np.bool_)
            np.put_along_axis(kept, np.array(block), False, axis=1)
            gone = np.flatnonzero(self.dropped(kept))
            if len(gone):
                return [int(player) for player in block[gone[0]]]
            tried += len(block)
        self.complete = next(sets, None) is None
        return None
