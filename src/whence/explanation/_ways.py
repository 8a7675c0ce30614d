"""The ways in which a value is divided among players, each with its title."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from whence.explanation._estimates import Estimate
from whence.explanation._exact import exact
from whence.explanation._games import Game
from whence.explanation._kernel import KernelSettings, kernel
from whence.explanation._permutations import PermutationSettings, permutation

if TYPE_CHECKING:
    from whence.explanation.explainer import Explainer

_BUDGET = {"recurrent": 400_000, "others": 40_000}

Seed = tuple[int, ...]


class Way(NamedTuple):
    """A way to divide a value.

    Attributes
    ----------
    title : str
        For people.
    solve : callable
        From a game, what is asked and a seed to an estimate.
    is_shapley : bool
    draws : bool
        Whether it needs random numbers.
    """

    title: str
    solve: Callable[[Game, Explainer, Seed], Estimate]
    is_shapley: bool = True
    draws: bool = False


def kind_of(game: Game) -> str:
    """What the costs of a game depend on: "recurrent" or "others"."""
    return "recurrent" if game.in_steps else "others"


def _budget(game: Game, asked: Explainer) -> int:
    return _BUDGET[kind_of(game)] if asked.budget is None else asked.budget


def _exact(game: Game, asked: Explainer, seed: Seed) -> Estimate:
    return exact(game)


def _permutation(game: Game, asked: Explainer, seed: Seed) -> Estimate:
    assert asked.tolerance is not None
    settings = PermutationSettings(_budget(game, asked), asked.tolerance, seed)
    return permutation(game, settings)


def _kernel(game: Game, asked: Explainer, seed: Seed) -> Estimate:
    assert asked.tolerance is not None
    budget = _budget(game, asked)
    if asked.budget is None:
        budget = min(budget, max(2**14, 8 * game.n**2))
    return kernel(game, KernelSettings(budget, asked.tolerance, seed, asked.order))


def _occlusion(game: Game, asked: Explainer, seed: Seed) -> Estimate:
    from whence.explanation._cheap import occlusion

    return occlusion(game)


def _integrated_gradients(game: Game, asked: Explainer, seed: Seed) -> Estimate:
    from whence.explanation._cheap import integrated_gradients

    return integrated_gradients(game, asked.n_steps)


WAYS = {
    "exact": Way("Shapley values (exact)", _exact),
    "permutation": Way("Shapley values (permutations)", _permutation, draws=True),
    "kernel": Way("Shapley values (kernel regression)", _kernel, draws=True),
    "occlusion": Way("Occlusion (not Shapley values)", _occlusion, is_shapley=False),
    "integrated_gradients": Way(
        "Integrated gradients (not Shapley values)", _integrated_gradients, is_shapley=False
    ),
}


def shares(game: Game, asked: Explainer, seed: Seed) -> npt.NDArray[np.float64]:
    """Shapley values that only rank players: exact where there are few, else from random orders."""
    few = game.n <= (12 if game.in_steps else 8)
    found = _exact(game, asked, seed) if few else _permutation(game, asked, seed)
    return found.phi
