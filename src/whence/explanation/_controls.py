"""Control variates of estimates from random orders: what is known beforehand of a game.

An antithetic pair of orders is exact for every game of pairs of players. What is left to chance has
two causes that can be known. Where a player is neither early nor late it comes after fewer of the
threes that it belongs to; and of recurrent models the last players decide most, of which every
coalition can be asked, the others being all there, half of them, or none. Both give each pair of
orders a number whose mean over all orders has a closed form; regression takes it off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whence.explanation._estimates import (
    chain_weights,
    signed_weights,
    sizes,
    weighted_differences,
)
from whence.explanation._exact import tail_values
from whence.explanation._games import Game

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOST = 12  # last players of which every coalition is asked
_FEWEST = 4
_SHARE = 2  # the table costs at most one in so many of the coalitions that may be asked
_CONTEXTS = 4
_TABLES = (0, 0, 1, 2, 2)  # of each term
_PAIRS = 6  # pairs of orders for each control, at least


@dataclass(frozen=True)
class Surrogate:
    """A game that is close to another, and whose Shapley values are known.

    Its value is a sum of terms, each a polynomial in p, the share of the other players that are
    there, times a table over the coalitions of the last players: ``(1 - p) T[0]``,
    ``(1 - p)**2 T[0]``, ``4 p (1 - p) T[1]``, ``p T[2]`` and ``p**2 T[2]``. The factor of each term
    is left to the regression.

    Attributes
    ----------
    tables : float64 [3, 2**m]
        Values with none of the others, with half of them (mean of a random half and its
        complement), and with all.
    n : int
        Players.
    tail : int
        Last players over whose places in an order the mean is taken.
    expected : float64 [5, n]
        Shapley values of the terms.
    """

    tables: FloatArray
    n: int
    tail: int
    expected: FloatArray

    @classmethod
    def of(cls, game: Game, m: int, tail: int, rng: np.random.Generator) -> Surrogate:
        """Ask every coalition of the last m players, with four coalitions of the others."""
        others = game.n - m
        half = rng.permutation(others) < others // 2
        contexts = np.stack([np.zeros_like(half), half, ~half, np.ones_like(half)])
        values = tail_values(game, contexts, m).T
        tables = np.stack([values[0], values[1:3].mean(axis=0), values[3]])
        _, after = chain_weights(others, m)  # [others + 1, m]
        expected = np.empty((len(_TABLES), game.n))
        shares = _terms(np.arange(others + 1) / others)
        for term, number in enumerate(_TABLES):
            table = tables[number]
            own = weighted_differences(table[None], (shares[term] @ after)[None])
            rest = shares[term, -1] * table[-1] - shares[term, 0] * table[0] - own.sum()
            expected[term] = np.concatenate([np.full(others, rest / others), own])
        return cls(tables, game.n, tail, expected)

    def controls(self, orders: IntArray) -> FloatArray:
        """What the terms give for orders [R, n - tail], less what they give on average."""
        m = int(self.tables.shape[1]).bit_length() - 1
        others, chain = self.n - m, orders.shape[1]
        bits = np.where(orders >= others, 1 << np.maximum(orders - others, 0), 0)
        start = np.zeros((len(orders), 1), dtype=np.int64)
        number = np.concatenate([start, np.cumsum(bits, axis=1)], axis=1)
        present = np.concatenate([start, np.cumsum(orders < others, axis=1)], axis=1)
        shares = _terms(present / others)
        found = np.empty((len(orders), len(_TABLES), self.n))
        by_tail = self.tables.reshape(3, 1 << self.tail, 1 << (chain - others))
        along = [np.take(table, number, axis=1) for table in by_tail]
        for term, table in enumerate(_TABLES):
            value = along[table] * shares[term]
            found[:, term] = shares_of(value, orders, self.tail) - self.expected[term]
        return found


def table_size(game: Game, budget: int, tail: int) -> int:
    """Of how many last players every coalition is asked; 0 where that does not pay."""
    if not game.in_steps:
        return 0
    m = min(_MOST, game.n // 2, game.players.in_order())
    while m and _CONTEXTS << m > budget // _SHARE:
        m -= 1
    return m if m >= max(_FEWEST, tail + 1) else 0


def table_cost(m: int) -> int:
    """Coalitions that a table takes."""
    return _CONTEXTS << m if m else 0


def _terms(p: FloatArray) -> FloatArray:
    terms: FloatArray = np.stack([1 - p, (1 - p) ** 2, 4 * p * (1 - p), p, p**2])
    return terms


def of_places(orders: IntArray, n: int) -> FloatArray:
    """How far each player is from both ends of its order, less the mean, float64 [R, n]."""
    chain = orders.shape[1]
    grid = np.arange(chain) / (chain - 1)
    inside = grid * (1 - grid)
    found = np.zeros((len(orders), n))
    np.put_along_axis(found, orders, np.tile(inside - inside.mean(), (len(orders), 1)), axis=1)
    return found


def shares_of(table: FloatArray, orders: IntArray, tail: int) -> FloatArray:
    """What each player adds over orders of the first players.

    Parameters
    ----------
    table : float64 [2**tail, R, n - tail + 1]
        Values of the coalitions along each order, joined to each coalition of the last players.
    orders : int64 [R, n - tail]
    tail : int

    Returns
    -------
    float64 [R, n]
    """
    n_orders, chain = orders.shape
    shares = np.empty((n_orders, chain + tail))
    step, tail_step = chain_weights(chain, tail)
    by_coalition = step[:, sizes(tail)]
    added = np.einsum("ab,bra->ra", by_coalition, np.diff(table, axis=2))
    np.put_along_axis(shares, orders, added, axis=1)
    if tail:
        signed = signed_weights(tail_step)
        shares[:, chain:] = np.tensordot(table, signed, axes=([0, 2], [1, 2]))
    return shares


def adjusted(shares: FloatArray, controls: FloatArray, gap: float) -> tuple[FloatArray, FloatArray]:
    """Means whose controls are taken off by least squares, and their standard errors.

    Parameters
    ----------
    shares : float64 [P, n]
        Of each pair of orders; they add up to `gap`.
    controls : float64 [P, q, n]
        With mean 0 over all orders. No more of them are used than there are pairs for.
    gap : float

    Returns
    -------
    phi, std_error : float64 [n]

    References
    ----------
    Owen. Monte Carlo theory, methods and examples, section 8.9, 2013.
    """
    n_pairs, n = shares.shape
    x = controls[:, : n_pairs // _PAIRS].transpose(2, 0, 1)  # [n, P, q]
    scale = np.sqrt(np.einsum("npq,npq->nq", x, x))
    x = x / np.where(scale > 0, scale, 1.0)[:, None]
    mean_x, mean_y = x.mean(axis=1), shares.mean(axis=0)
    x = x - mean_x[:, None]
    y = (shares - mean_y).T
    inverse = np.linalg.pinv(x.transpose(0, 2, 1) @ x, rcond=1e-9, hermitian=True)
    slope = (inverse @ (x.transpose(0, 2, 1) @ y[:, :, None]))[:, :, 0]
    phi = mean_y - np.einsum("nq,nq->n", mean_x, slope)
    residual = y - np.einsum("npq,nq->np", x, slope)
    leverage = 1 / n_pairs + np.einsum("nq,nqr,nr->n", mean_x, inverse, mean_x)
    leverage /= n_pairs - 1 - x.shape[2]
    variance = (residual**2).sum(axis=1) * leverage
    # Each pair's shares add up to the gap, and the controls' parts need not: what is too much is
    # taken from the players in proportion to their variances.
    total = variance.sum()
    part = variance / total if total > 0 else np.full(n, 1.0 / n)
    phi -= part * (phi.sum() - gap)
    residual -= part[:, None] * residual.sum(axis=0)
    return phi, np.sqrt((residual**2).sum(axis=1) * leverage)
