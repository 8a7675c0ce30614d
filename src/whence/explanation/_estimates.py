"""What a method finds, and the arithmetic of Shapley values that methods share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, gammaln

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Shares of players.

    Attributes
    ----------
    phi : float64 [n]
    std_error : float64 [n] or None
        None for exact methods and for those that are not estimates.
    stopped : str
        Why it came to an end.
    details : dict
        What the method decided, for the metadata.
    interactions : float64 [n, n] or None
        Shapley interaction indices of pairs, where the method gives them.
    """

    phi: FloatArray
    std_error: FloatArray | None = None
    stopped: str = "exact"
    details: dict[str, Any] = field(default_factory=dict)
    interactions: FloatArray | None = None


@cache
def sizes(n: int) -> npt.NDArray[np.uint8]:
    """Number of players in each coalition, uint8 [2**n], by the bits of its number."""
    count = np.zeros(1 << n, dtype=np.uint8)
    for bit in range(n):
        np.add(count[: 1 << bit], 1, out=count[1 << bit : 2 << bit])
    count.setflags(write=False)
    return count


def shapley_values(values: FloatArray) -> FloatArray:
    """Shapley values of the 2**n values of all coalitions, in O(2**n).

    A player's value is a sum over the coalitions with it minus one over those without it, and with
    weights by size alone, ``w(s - 1) + w(s)``, the second is a sum over all minus the first. The
    sums over coalitions with a player follow from halving the table once per player.

    Parameters
    ----------
    values : float64 [2**n]
        By the bits of the coalition's number.

    Returns
    -------
    float64 [n]
    """
    n = len(values).bit_length() - 1
    return weighted_differences((values - values[0])[None], size_weights(n)[None])


def size_weights(n: int) -> FloatArray:
    """Share of the orders of n players in which one comes after s given others, float64 [n]."""
    s = np.arange(n)
    weights: FloatArray = np.exp(gammaln(s + 1) + gammaln(n - s) - gammaln(n + 1))
    return weights


def weighted_differences(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Sums over rows and coalitions S of ``weights[row, |S|] (v(S with i) - v(S))``.

    Parameters
    ----------
    values : float64 [R, 2**n]
    weights : float64 [R, n]

    Returns
    -------
    float64 [n]
    """
    n = int(values.shape[1]).bit_length() - 1
    if not n:
        return np.empty(0)
    size = sizes(n)
    zeros = np.zeros((len(weights), 1))
    with_ = np.concatenate([zeros, weights], axis=1)  # by the size with the player
    without = np.concatenate([weights, zeros], axis=1)
    lost = np.einsum("rs,rs->", np.take(without, size, axis=1), values)
    table = np.einsum("rs,rs->s", np.take(with_ + without, size, axis=1), values)
    phi = np.empty(n)
    for player in range(n - 1, -1, -1):
        half = 1 << player
        phi[player] = table[half:].sum()
        table = table[:half] + table[half:]
    return phi - float(lost)


def signed_weights(weights: FloatArray) -> FloatArray:
    """With which factor the value of each coalition enters the share of each player.

    Parameters
    ----------
    weights : float64 [R, n]
        As of `weighted_differences`.

    Returns
    -------
    float64 [n, 2**n, R]
        Of coalitions with the player the weight of one fewer, of those without it minus their own.
    """
    n = weights.shape[1]
    size = sizes(n).astype(np.int64)
    has = (np.arange(1 << n)[None] >> np.arange(n)[:, None]) & 1 == 1
    signed: FloatArray = np.where(
        has[:, :, None],
        weights.T[np.maximum(size - 1, 0)][None],
        -weights.T[np.minimum(size, n - 1)][None],
    )
    return signed


def chain_weights(chain: int, tail: int) -> tuple[FloatArray, FloatArray]:
    """Weights of tail coalitions where the order of the other players is known.

    All orders that keep the order of `chain` players are equally likely. With arrival times uniform
    in [0, 1], the next of the chain after a others arrives at a time distributed Beta(a + 1,
    chain - a), and each of the `tail` others has arrived by a time t with probability t.

    Returns
    -------
    step : float64 [chain, tail + 1]
        Probability that exactly a given b players of the tail come before chain player a.
    tail_step : float64 [chain + 1, max(tail, 1)]
        Probability that the first a players of the chain, and exactly a given b others of the
        tail, come before a given player of the tail.
    """
    a = np.arange(chain)[:, None]
    b = np.arange(tail + 1)[None]
    step = np.exp(betaln(a + 1 + b, chain - a + tail - b) - betaln(a + 1, chain - a))
    a = np.arange(chain + 1)[:, None]
    b = np.arange(max(tail, 1))[None]
    ways = gammaln(chain + 1) - gammaln(a + 1) - gammaln(chain - a + 1)
    tail_step = np.exp(ways + betaln(a + b + 1, chain - a + max(tail, 1) - b))
    return step, tail_step
