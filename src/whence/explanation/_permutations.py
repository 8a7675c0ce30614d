"""Shapley values from random orders of the players, in antithetic pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._estimates import Estimate, chain_weights, signed_weights, sizes
from whence.explanation._exact import exact, tail_values
from whence.explanation._games import Game

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FIRST_ROUND = 8
_FEWEST = 16  # pairs before a standard error is believed
_MANY = 64  # pairs that a budget should allow where the tail is enumerated
_TAIL = 3  # more players cost more orders of the others than they are worth
_FEW_PLAYERS = _TAIL + 1
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
    """
    if game.n <= _FEW_PLAYERS:
        whole = exact(game)
        return replace(whole, std_error=np.zeros(game.n))
    rng = np.random.default_rng(settings.seed)
    tail = tail_of(game, settings.budget) if settings.tail is None else settings.tail
    chain = game.n - tail
    rows_per_pair = 2 * (chain + 1) << tail
    most = settings.budget // rows_per_pair
    if most < 2:
        raise ParameterError(
            f"budget={settings.budget} coalitions are too few for permutations of {game.n} "
            f"players, whose errors take two pairs; allow at least {2 * rows_per_pair}."
        )
    found = np.empty((0, game.n))
    stopped = "budget"
    while len(found) < most:
        n_pairs = min(max(_FIRST_ROUND, len(found)), most - len(found))
        found = np.concatenate([found, _pairs(game, rng, n_pairs, tail)])
        if len(found) >= min(_FEWEST, most) and _errors(found).max() <= settings.tolerance * abs(
            game.gap
        ):
            stopped = "tolerance"
            break
    return Estimate(
        phi=found.mean(axis=0),
        std_error=_errors(found),
        stopped=stopped,
        details={
            "n_permutations": 2 * len(found),
            "n_coalitions": len(found) * rows_per_pair,
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


def _errors(found: FloatArray) -> FloatArray:
    errors: FloatArray = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return errors


def _pairs(game: Game, rng: np.random.Generator, n_pairs: int, tail: int) -> FloatArray:
    """Estimates float64 [n_pairs, n], each the mean of an order and its reverse."""
    chain = game.n - tail
    size = max(1, _ROWS // (2 * (chain + 1)))
    parts = []
    for start in range(0, n_pairs, size):
        count = min(size, n_pairs - start)
        orders = rng.permuted(np.tile(np.arange(chain), (count, 1)), axis=1)
        both = np.stack([orders, orders[:, ::-1]], axis=1).reshape(2 * count, chain)
        shares = _shares(game, both, tail)
        parts.append(shares.reshape(count, 2, game.n).mean(axis=1))
    return np.concatenate(parts)


def _shares(game: Game, orders: IntArray, tail: int) -> FloatArray:
    """What each player adds, float64 [R, n], over orders [R, n - tail] of the first players."""
    n_orders, chain = orders.shape
    rank = np.argsort(orders, axis=1)
    kept = rank[:, None, :] < np.arange(chain + 1)[None, :, None]
    flat = kept.reshape(-1, chain)
    shares = np.empty((n_orders, game.n))
    if not tail:
        values = game.values(flat).reshape(n_orders, chain + 1)
        values[:, 0], values[:, -1] = game.nothing, game.everything
        np.put_along_axis(shares, orders, np.diff(values, axis=1), axis=1)
        return shares
    table = tail_values(game, flat, tail).reshape(1 << tail, n_orders, chain + 1)
    table[0, :, 0], table[-1, :, -1] = game.nothing, game.everything
    step, tail_step = chain_weights(chain, tail)
    by_coalition = step[:, sizes(tail)]
    added = np.einsum("ab,bra->ra", by_coalition, np.diff(table, axis=2))
    np.put_along_axis(shares, orders, added, axis=1)
    signed = signed_weights(tail_step)
    shares[:, chain:] = np.tensordot(table, signed, axes=([0, 2], [1, 2]))
    return shares
