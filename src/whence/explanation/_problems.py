"""From a model, histories and settings to games whose items are frozen."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, UnsupportedError
from whence.explanation._askers import Asker, RecommenderAsker
from whence.explanation._cellular import CellGame, cell_game
from whence.explanation._estimates import Estimate
from whence.explanation._foreign import ForeignAsker
from whence.explanation._games import Game
from whence.explanation._histories import History
from whence.explanation._maskings import Masking, of_history, parse_masking, tokens_off
from whence.explanation._players import event_players, group_players
from whence.explanation._pruning import pruned
from whence.explanation._targets import Scalar, Target, freeze, parse_target, scalar_of
from whence.explanation._ways import WAYS, kind_of
from whence.models.base import Recommender, shortened

if TYPE_CHECKING:
    from whence.explanation.explainer import Explainer

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A game of one history, and the items that were frozen before any event was touched.

    Attributes
    ----------
    game : Game
    frozen : int64 [at most k]
        Numbers of the recommended items, best first.
    frozen_scores : float64
    target : Target
    masking : Masking
    settings : Explainer
        As it was when it was asked, its tolerance and seed decided.
    titles : mapping from id to str
        For people.
    """

    game: Game
    frozen: IntArray
    frozen_scores: FloatArray
    target: Target
    masking: Masking
    settings: Explainer
    titles: Mapping[Any, str] = field(default_factory=dict)

    @property
    def asker(self) -> Asker:
        """The model."""
        return self.game.asker

    @property
    def history(self) -> History:
        """The events."""
        return self.game.history


def as_asker(model: Any, items: Sequence[Any] | None = None, level: str = "event") -> Asker:
    """A model as explanations ask it.

    Raises
    ------
    ParameterError
        If `items` is given for a model that knows its own.
    UnsupportedError
        If the object cannot be asked.
    """
    if not isinstance(model, Recommender):
        return ForeignAsker(model, items)
    if items is not None:
        raise ParameterError(
            f"items names the columns of scores of other libraries' models; {type(model).__name__} "
            "knows its items, so leave it out."
        )
    if "differentiable" in model.levels:
        from whence.explanation._neural import SequentialAsker
        from whence.models.neural.sequential import SequentialRecommender

        model.vocabulary  # noqa: B018 (raises NotFittedError)
        if isinstance(model, SequentialRecommender):
            if model.coding_ is None:
                return SequentialAsker(model)
            from whence.explanation._featured import FeaturedAsker

            return FeaturedAsker(model)
        if level == "feature":
            from whence.explanation._fields import FieldAsker
            from whence.models.neural.wide_deep import WideDeep

            if isinstance(model, WideDeep):
                return FieldAsker(model)
    return RecommenderAsker(model)


def pose(
    asker: Asker,
    histories: Sequence[Any],
    settings: Explainer,
    titles: Mapping[Any, str] | None = None,
) -> list[Problem]:
    """Encode histories, freeze their items, and make their games."""
    target, masking = parse_target(settings.target), parse_masking(settings.masking)
    encoded = [asker.encode(history) for history in histories]
    for history in encoded[:1]:
        asker.check(history.tokens[None], history)
    k = shortened(settings.k, asker.n_items)
    names = asker.titles if titles is None else titles
    problems = []
    for history, scores in zip(encoded, asker.full_scores(encoded)):
        frozen, frozen_scores = freeze(asker, history, scores, k)
        scalar = scalar_of(target, asker, history, frozen)
        own = of_history(masking, asker, history, scores)
        game = _game(asker, history, settings, own, scalar)
        problems.append(Problem(game, frozen, frozen_scores, target, own, settings, names))
    return problems


def _game(
    asker: Asker, history: History, settings: Explainer, masking: Masking, scalar: Scalar
) -> Game:
    if settings.level == "feature" and isinstance(asker, RecommenderAsker):
        from whence.explanation._fields import FieldAsker, field_game

        if isinstance(asker, FieldAsker):
            if settings.prune is not None:
                raise UnsupportedError(
                    f"The features of {asker.name} are of a user and of items, not of events, so "
                    "there is nothing that prune could join; leave it out."
                )
            return field_game(asker, history, masking, scalar)
    if settings.level != "event":
        return cell_game(asker, history, masking, settings.level, settings.cells, scalar)
    players = (
        event_players(history)
        if settings.groups is None
        else group_players(history, settings.groups)
    )
    off = tokens_off(masking, asker, history, settings.seed)
    return Game(asker, history, players, off, scalar)


def solve(problem: Problem, number: int, auto: Mapping[str, int]) -> tuple[Game, str, Estimate]:
    """Divide the value among the players.

    Parameters
    ----------
    problem : Problem
    number : int
        Of the history, among those explained together; its stream of random numbers.
    auto : mapping
        Players up to which "auto" is exact.

    Returns
    -------
    game : Game
        With the players left by pruning.
    way : str
        Of `WAYS`.
    estimate : Estimate
    """
    settings, game = problem.settings, problem.game
    if isinstance(game, CellGame):
        game = game.settled(settings, (settings.seed, number))
    elif settings.prune is not None:
        game = pruned(game, settings.prune)
    way: str = settings.method
    if way == "auto":
        way = "exact" if game.n <= auto[kind_of(game)] else "permutation"
    return game, way, WAYS[way].solve(game, settings, (settings.seed, number))


def with_target(problem: Problem, target: Target) -> Problem:
    """The same players, another scalar; players that pruning has joined stay as they are."""
    scalar = scalar_of(target, problem.asker, problem.history, problem.frozen)
    settings = copy.copy(problem.settings)
    settings.prune = settings.cells = None
    game = problem.game.with_scalar(scalar)
    return replace(problem, game=game, target=target, settings=settings)
