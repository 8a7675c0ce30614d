"""Shapley values from random orders of the players, in antithetic pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._controls import (
    Surrogate,
    adjusted,
    of_places,
    shares_of,
    table_cost,
    table_size,
)
from whence.explanation._estimates import Estimate
from whence.explanation._exact import exact, tail_values
from whence.explanation._games import Game

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FIRST_ROUND = 8
_FEWEST = 16  # pairs before a standard error is believed
_MANY = 32  # pairs that a budget should allow where the tail is enumerated
_TAIL = 2  # more players cost more orders of the others than they are worth
_FEW_PLAYERS = 8  # of which all coalitions are no more than the fewest pairs of orders have
_ROWS = 1 << 13


@dataclass(frozen=True)
class PermutationSettings:
    """How long to go on.

    Attributes
    ----------
    budget : int
        Coalitions of which a value is asked, at most.
    tolerance : float
        Stop when every standard error is below this share of ``|v(all) - v(none)|``.
    seed : int or sequence of int
    tail : int or None
        Players at the end whose coalitions are all enumerated for each order of the others; only
        of recurrent models. None: as many as pay.
    """

    budget: int
    tolerance: float
    seed: int | tuple[int, ...]
    tail: int | None = None


def permutation(game: Game, settings: PermutationSettings) -> Estimate:
    """Mean over random orders of what each player adds to those before it.

    Each random order is used with its reverse. Of recurrent models the coalitions of the last
    events cost next to nothing once the states before them are known, so for each order of the
    other players the mean over *all* places of the last players in it is taken, not one of them.
    What chance leaves that can be known beforehand is taken off; see `_controls`.
    """
    if game.n <= _TAIL + 1 or (game.n <= _FEW_PLAYERS and 1 << game.n <= settings.budget):
        whole = exact(game)
        return replace(whole, std_error=np.zeros(game.n))
    rng = np.random.default_rng(settings.seed)
    tail = tail_of(game, settings.budget) if settings.tail is None else settings.tail
    chain = game.n - tail
    rows_per_pair = 2 * (chain + 1) << tail
    m = table_size(game, settings.budget, tail)
    most = (settings.budget - table_cost(m)) // rows_per_pair
    if most < 2:
        raise ParameterError(
            f"budget={settings.budget} coalitions are too few for permutations of {game.n} "
            f"players, whose errors take two pairs; allow at least {2 * rows_per_pair}."
        )
    surrogate: Surrogate | None = None
    orders = np.empty((0, chain), dtype=np.int64)
    shares, controls = np.empty((0, game.n)), np.empty((0, 1, game.n))
    phi, errors = np.zeros(game.n), np.full(game.n, np.inf)
    stopped = "budget"
    while len(orders) < most:
        new = _orders(rng, chain, min(max(_FIRST_ROUND, len(orders)), most - len(orders)))
        orders = np.concatenate([orders, new])
        shares = np.concatenate([shares, _of_pairs(new, tail, partial(_shares, game))])
        controls = np.concatenate([controls, _controls(new, tail, surrogate, game.n)])
        if len(orders) < min(_FEWEST, most):
            continue
        phi, errors = adjusted(shares, controls, game.gap)
        if errors.max() <= settings.tolerance * abs(game.gap):
            stopped = "tolerance"
            break
        if m and surrogate is None and len(orders) < most:
            surrogate = Surrogate.of(game, m, tail, rng)
            controls = _controls(orders, tail, surrogate, game.n)
    return Estimate(
        phi=phi,
        std_error=errors,
        stopped=stopped,
        details={
            "n_permutations": 2 * len(orders),
            "n_coalitions": len(orders) * rows_per_pair + (table_cost(m) if surrogate else 0),
            "exact_tail": tail,
        },
    )


def tail_of(game: Game, budget: int) -> int:
    """How many of the last players to enumerate, so that enough pairs of orders are left."""
    if not game.in_steps:
        return 0
    tail = min(game.players.in_order(), _TAIL)
    while tail and 2 * (game.n - tail + 1) << tail > budget // _MANY:
        tail -= 1
    return tail


def _orders(rng: np.random.Generator, chain: int, n_pairs: int) -> IntArray:
    return rng.permuted(np.tile(np.arange(chain), (n_pairs, 1)), axis=1)


def _of_pairs(
    orders: IntArray, tail: int, work: Callable[[IntArray, int], FloatArray]
) -> FloatArray:
    """Means of what is found for each order [P, chain] and its reverse, in blocks of orders."""
    size = max(1, _ROWS // (2 * (orders.shape[1] + 1)))
    parts = []
    for start in range(0, len(orders), size):
        block = orders[start : start + size]
        found = work(np.concatenate([block, block[:, ::-1]]), tail)
        parts.append((found[: len(block)] + found[len(block) :]) / 2)
    return np.concatenate(parts)


def _controls(orders: IntArray, tail: int, surrogate: Surrogate | None, n: int) -> FloatArray:
    """Control variates of pairs of orders, float64 [P, q, n]."""
    places = of_places(orders, n)[:, None]
    if surrogate is None:
        return places
    of_table = _of_pairs(orders, tail, lambda both, _: surrogate.controls(both))
    return np.concatenate([places, of_table], axis=1)


def _shares(game: Game, orders: IntArray, tail: int) -> FloatArray:
    """What each player adds, float64 [R, n], over orders [R, n - tail] of the first players."""
    n_orders, chain = orders.shape
    rank = np.argsort(orders, axis=1)
    kept = rank[:, None, :] < np.arange(chain + 1)[None, :, None]
    flat = kept.reshape(-1, chain)
    values = tail_values(game, flat, tail) if tail else game.values(flat)
    table = values.reshape(1 << tail, n_orders, chain + 1)
    table[0, :, 0], table[-1, :, -1] = game.nothing, game.everything
    return shares_of(table, orders, tail)
