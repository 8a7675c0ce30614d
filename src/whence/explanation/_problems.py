"""From a model, histories and settings to games whose items are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._askers import Asker, RecommenderAsker
from whence.explanation._cellular import cell_game
from whence.explanation._cheap import integrated_gradients, occlusion
from whence.explanation._estimates import Estimate
from whence.explanation._exact import AUTO, exact
from whence.explanation._foreign import ForeignAsker
from whence.explanation._games import Game
from whence.explanation._histories import History
from whence.explanation._kernel import KernelSettings, kernel
from whence.explanation._maskings import tokens_off
from whence.explanation._permutations import PermutationSettings, permutation
from whence.explanation._players import event_players, group_players
from whence.explanation._pruning import pruned
from whence.explanation._settings import BUDGET, Settings
from whence.explanation._targets import freeze, scalar_of
from whence.models.base import Recommender

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
    settings : Settings
    """

    game: Game
    frozen: IntArray
    frozen_scores: FloatArray
    settings: Settings

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
            return SequentialAsker(model)
        if level == "feature":
            from whence.explanation._fields import FieldAsker
            from whence.models.neural.wide_deep import WideDeep

            if isinstance(model, WideDeep):
                return FieldAsker(model)
    return RecommenderAsker(model)


def pose(asker: Asker, histories: Sequence[Any], settings: Settings) -> list[Problem]:
    """Encode histories, freeze their items, and make their games."""
    encoded = [asker.encode(history) for history in histories]
    for history in encoded[:1]:
        asker.check(history.tokens[None], history)
    if settings.k > asker.n_items:
        raise ParameterError(
            f"k is {settings.k} but the catalogue has {asker.n_items} items; ask for at most "
            f"{asker.n_items}."
        )
    problems = []
    for history, scores in zip(encoded, asker.full_scores(encoded)):
        frozen, frozen_scores = freeze(asker, history, scores, settings.k)
        game = _game(asker, history, settings, frozen)
        problems.append(Problem(game, frozen, frozen_scores, settings))
    return problems


def _game(asker: Asker, history: History, settings: Settings, frozen: IntArray) -> Game:
    scalar = scalar_of(settings.target, asker, history, frozen)
    if settings.level == "feature" and isinstance(asker, RecommenderAsker):
        from whence.explanation._fields import FieldAsker, field_game

        if isinstance(asker, FieldAsker):
            return field_game(asker, history, settings.masking, scalar)
    if settings.level != "event":
        return cell_game(asker, history, settings.masking, settings.level, settings.cells, scalar)
    players = (
        event_players(history)
        if settings.groups is None
        else group_players(history, settings.groups)
    )
    off = tokens_off(settings.masking, asker, history, settings.seed)
    return Game(asker, history, players, off, scalar)


def solve(
    problem: Problem, number: int = 0, auto: dict[str, int] = AUTO
) -> tuple[Game, str, Estimate]:
    """Divide the value among the players.

    Parameters
    ----------
    problem : Problem
    number : int
        Of the history, among those explained together; its stream of random numbers.
    auto : dict
        Players up to which "auto" is exact.

    Returns
    -------
    game : Game
        With the players left by pruning.
    method : str
    estimate : Estimate
    """
    settings, game = problem.settings, problem.game
    if settings.prune is not None:
        game = pruned(game, settings.prune)
    kind = "recurrent" if game.asker.cell is not None else "others"
    method = settings.method
    if method == "auto":
        method = "exact" if game.n <= auto[kind] else "permutation"
    budget = BUDGET[kind] if settings.budget is None else settings.budget
    seed = (settings.seed, number)
    if method == "exact":
        estimate = exact(game)
    elif method == "permutation":
        estimate = permutation(game, PermutationSettings(budget, settings.tolerance, seed))
    elif method == "kernel":
        budget = min(budget, max(2**14, 8 * game.n**2)) if settings.budget is None else budget
        estimate = kernel(game, KernelSettings(budget, settings.tolerance, seed, settings.order))
    elif method == "occlusion":
        estimate = occlusion(game)
    else:
        estimate = integrated_gradients(game, settings.n_steps)
    return game, method, estimate


def with_target(problem: Problem, target: Any) -> Problem:
    """The same players, another scalar."""
    scalar = scalar_of(target, problem.asker, problem.history, problem.frozen)
    game = problem.game.with_scalar(scalar)
    return replace(problem, game=game, settings=replace(problem.settings, target=target))
