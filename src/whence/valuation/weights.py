"""Semivalues as data: how much a contribution to a coalition of each size counts.

A semivalue is the mean of a player's contributions to the coalitions of the n - 1 others, with a
probability of each coalition that depends on its size alone. The kernels take these numbers as
tables by n (`Weights`), made here, so that a new semivalue is a few lines of Python.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from whence.engines.sharing import Lock
from whence.errors import ParameterError

FloatArray = npt.NDArray[np.float64]

PERMUTATIONS, SUBSETS = "permutations", "subsets"

# Enumerated games have no more players, beyond which numbers of coalitions overflow.
_MOST_EXACT = 1000
# Rows up to this many players are made at once, those of larger games when one is met.
_MOST_AT_ONCE = 512
# Most numbers of larger games held (64 MB).
_MOST_HELD = 2**23


class CoalitionWeights(ABC):
    """What makes a semivalue: the probability of a coalition of each size.

    Attributes
    ----------
    sampling : {"permutations", "subsets"}
        What is drawn where enumeration costs too much: random permutations, in which a player
        joins coalitions of all sizes alike, as Shapley values want it; or random subsets, in which
        all coalitions are alike, as Banzhaf values want it. Every semivalue can be estimated from
        both; the nearer its own probabilities, the less noise.
    """

    sampling: ClassVar[str] = PERMUTATIONS

    @abstractmethod
    def size_weights(self, n: int) -> FloatArray:
        """Probability of one coalition of each size among the n - 1 others.

        Parameters
        ----------
        n : int
            Number of players, at least 1.

        Returns
        -------
        float64 (n,)
            Entry s is that of a single coalition of s others; with ``C(n - 1, s)`` of them, all
            add up to 1.
        """

    def sampling_weights(self, n: int) -> FloatArray | None:
        """Factor of a sampled contribution to a coalition of each size.

        It is the semivalue's probability of the coalition over that of meeting it in the sample:
        ``1 / (n C(n - 1, s))`` in a permutation, ``2**(1 - n)`` in a subset. A semivalue of
        thousands of players, whose size weights are too small for floating point, defines this
        as well.

        Returns
        -------
        float64 (n,) or None
            None where it is 1 whatever the size and n.

        Raises
        ------
        ParameterError
            If the size weights are no probabilities.
        """
        weights = checked_size_weights(self, n)
        chances = -_log_combinations(n) - np.log(n)
        if self.sampling == SUBSETS:
            chances = np.full(n, (1 - n) * np.log(2.0))
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(np.log(weights) - chances))


def _log_combinations(n: int) -> FloatArray:
    """Logarithm of the number of coalitions of each size among n - 1; float64 (n,)."""
    sizes = np.arange(n)
    from scipy.special import gammaln  # here: it takes long to load

    return np.asarray(gammaln(n) - gammaln(sizes + 1) - gammaln(n - sizes))


def checked_size_weights(semivalue: CoalitionWeights, n: int) -> FloatArray:
    """Size weights of a semivalue, float64 (n,).

    Raises
    ------
    ParameterError
        If they are not as many as there are sizes, or the probabilities do not add up to 1.
    """
    weights = np.asarray(semivalue.size_weights(n), dtype=np.float64)
    name = type(semivalue).__name__
    if weights.shape != (n,):
        raise ParameterError(
            f"{name}.size_weights({n}) has the shape {weights.shape}; give one weight for each "
            f"size from 0 to n - 1, so {n} of them."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        total = float(np.exp(np.log(weights) + _log_combinations(n)).sum())
    if not abs(total - 1.0) < 1e-6:
        raise ParameterError(
            f"The coalitions of {name}.size_weights({n}) have the probability {total:.6g} in all, "
            "not 1; give the probability of one coalition of each size, and for many players, "
            "where that is too small for a float, sampling_weights(n) as well."
        )
    return weights


def sampling_weights(semivalue: CoalitionWeights, n: int) -> FloatArray:
    """The factors of `CoalitionWeights.sampling_weights`, also where all are 1; float64 (n,)."""
    weights = semivalue.sampling_weights(n)
    return np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)


def beta_size_weights(alpha: float, beta: float, n: int) -> FloatArray:
    """B(s + β, n - 1 - s + α) / B(α, β) for s = 0 … n - 1 (Kwon and Zou, AISTATS 2022, eq. 5).

    By the quotients of neighbours; (1, 1) is Shapley: s! (n - 1 - s)! / n!.
    """
    weights = [math.prod((alpha + i) / (alpha + beta + i) for i in range(n - 1))]
    for s in range(1, n):
        weights.append(weights[-1] * (s - 1 + beta) / (n - 1 - s + alpha))
    return np.asarray(weights, dtype=np.float64)


class Weights(NamedTuple):
    """A semivalue: tables of one row of n numbers for each number n of players.

    Attributes
    ----------
    size_starts : int64 (N,); sizes : float64
        Where row n begins, and the probability of one coalition of each size; games of N players
        and more are not enumerated.
    sample_starts : int64 (most players + 1,); samples : float64
        Where row n begins, -1 where it is not there yet, and the factor of a sampled contribution
        to a coalition of each size.
    """

    size_starts: npt.NDArray[np.int64]
    sizes: FloatArray
    sample_starts: npt.NDArray[np.int64]
    samples: FloatArray


class WeightTable:
    """The weights of a semivalue by number of players, made as games of that size are met.

    Parameters
    ----------
    semivalue : CoalitionWeights
    most_players : int
        Of any game.
    most_exact : int
        Of a game that is enumerated.

    Attributes
    ----------
    semivalue : CoalitionWeights
    weights : Weights
        What the kernels take.
    """

    def __init__(self, semivalue: CoalitionWeights, most_players: int, most_exact: int) -> None:
        self.semivalue = semivalue
        self._limits = most_players, most_exact
        self._lock = Lock()
        exact = range(min(most_players, most_exact, _MOST_EXACT) + 1)
        sizes = [checked_size_weights(semivalue, n) if n else np.empty(0) for n in exact]
        starts = np.full(most_players + 1, -1, dtype=np.int64)
        if semivalue.sampling_weights(1) is None:
            starts[:] = 0
            samples = np.ones(most_players)
        else:
            at_once = range(min(most_players, _MOST_AT_ONCE) + 1)
            starts[at_once] = _starts(at_once)
            rows = [sampling_weights(semivalue, n) if n else np.empty(0) for n in at_once]
            samples = np.concatenate(rows)
        self._at_once = len(samples)
        self._used = len(samples)
        self.weights = Weights(_starts(exact), np.concatenate(sizes), starts, samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return WeightTable, (self.semivalue, *self._limits)

    def add(self, n: int) -> Weights:
        """Add the row of games of n players; the weights with it."""
        row = sampling_weights(self.semivalue, n)
        with self._lock:
            # Others may be reading the arrays, so that what they hold is never written again.
            starts, samples = self.weights.sample_starts.copy(), self.weights.samples
            if starts[n] >= 0:
                return self.weights
            if self._used + n > max(_MOST_HELD, self._at_once + n):
                starts[_MOST_AT_ONCE + 1 :] = -1
                samples, self._used = samples[: self._at_once], self._at_once
            if self._used + n > len(samples):
                samples = np.concatenate([samples[: self._used], np.empty(self._used + n)])
            starts[n] = self._used
            samples[self._used : self._used + n] = row
            self._used += n
            self.weights = self.weights._replace(sample_starts=starts, samples=samples)
            return self.weights


def _starts(rows: range) -> npt.NDArray[np.int64]:
    """Where row n of n numbers begins, for n = 0, 1, …"""
    n = np.asarray(rows, dtype=np.int64)
    return n * (n - 1) // 2
