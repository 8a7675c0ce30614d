"""Sampling in rounds: where the budget goes, what is known so far, when to stop.

Every round is an unbiased estimate of all values. Rounds are averaged with weights proportional
to their cost, fixed before the round is drawn; so nothing per query and player need be kept, and
memory does not grow with the number of permutations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.engines import map_ordered
from whence.valuation._solve_kernels import EXACT, SAMPLED, Accumulator, Plan
from whence.valuation.games import Games
from whence.valuation.weights import WeightTable

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Report = Callable[[float, float, str], None]

_MOST_TASKS = 64
_FEWEST_QUERIES = 32
# Work of one round, in steps of a walk (a few nanoseconds each): what an interruption may cost.
_MOST_WORK = 1.5e9
_STATE_VERSION = 1


@dataclass
class Estimate:
    """What is known after some rounds.

    Attributes
    ----------
    exact : ndarray of float64, shape (P, 2)
        Sum over queries of exactly known values; column 0 as a neighbour, 1 in own queries.
    means, variances : ndarray of float64, shape (P, 2)
        Sums over rounds of weight times estimate, and of squared weight times its variance.
    appearances : ndarray of int64, shape (P,)
        Queries in which a player is a candidate.
    status : ndarray of uint8, shape (Q,)
        Whether a query is sampled, exactly known, or constant.
    value_all, value_nothing : ndarray of float64, shape (Q,)
        Value with everyone and with nobody.
    spread, work : ndarray of float64, shape (Q,)
        Sums over rounds: replicates times the variance of one; work done.
    units : list of ndarray of int64, shape (Q,)
        Replicates of each round.
    weights : list of float
        Weights of the rounds.
    """

    exact: FloatArray
    means: FloatArray
    variances: FloatArray
    appearances: IntArray
    status: npt.NDArray[np.uint8]
    value_all: FloatArray
    value_nothing: FloatArray
    spread: FloatArray
    work: FloatArray
    units: list[IntArray] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    @classmethod
    def nothing(cls, n_players: int, n_queries: int) -> Estimate:
        """Nothing is known yet."""
        return cls(
            exact=np.zeros((n_players, 2)),
            means=np.zeros((n_players, 2)),
            variances=np.zeros((n_players, 2)),
            appearances=np.zeros(n_players, dtype=np.int64),
            status=np.zeros(n_queries, dtype=np.uint8),
            value_all=np.zeros(n_queries),
            value_nothing=np.zeros(n_queries),
            spread=np.zeros(n_queries),
            work=np.zeros(n_queries),
        )

    @property
    def values(self) -> FloatArray:
        """Values of the players, shape (P, 2): mean over queries."""
        total = sum(self.weights)
        sampled = self.means / total if total > 0 else self.means
        return np.asarray((self.exact + sampled) / len(self.status))

    @property
    def std_errors(self) -> FloatArray:
        """Standard errors of `values`, shape (P, 2)."""
        total = sum(self.weights)
        if total <= 0:
            return np.zeros_like(self.variances)
        return np.asarray(np.sqrt(self.variances) / total / len(self.status))

    @property
    def relative_error(self) -> float:
        """Mean standard error relative to the mean absolute value."""
        size = float(np.abs(self.values).mean())
        error = float(self.std_errors.mean())
        return error / size if size > 0 else (0.0 if error == 0 else np.inf)

    @property
    def drawn(self) -> IntArray:
        """Replicates of each query so far."""
        none = np.zeros(len(self.status), dtype=np.int64)
        return np.sum(self.units, axis=0, dtype=np.int64) if self.units else none

    @property
    def unit_work(self) -> FloatArray:
        """Work of one replicate of each query."""
        return np.asarray(self.work / np.maximum(self.drawn, 1))

    @property
    def unit_spread(self) -> FloatArray:
        """Variance of one replicate of each query, summed over players; smoothed.

        Few replicates may show no variance by chance; a query must not starve for that, so each
        estimate is drawn towards the mean one as if by one more replicate.
        """
        drawn = self.drawn
        sampled = drawn > 0
        spread = self.spread / np.maximum(drawn, 1)
        mean = spread[sampled].mean() if sampled.any() else 0.0
        return np.asarray((spread * drawn + mean) / (drawn + 1.0))

    def to_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, as arrays to be saved."""
        n_queries = len(self.status)
        units = np.asarray(self.units, dtype=np.int64).reshape(len(self.units), n_queries)
        return {
            "version": np.asarray([_STATE_VERSION]),
            "units": units.astype(np.int32),
            "weights": np.asarray(self.weights, dtype=np.float64),
            **{
                name: getattr(self, name)
                for name in (
                    "exact", "means", "variances", "appearances", "status", "value_all",
                    "value_nothing", "spread", "work",
                )
            },
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, npt.NDArray[np.generic]]) -> Estimate:
        """Take up what `to_state` gave."""
        arrays = {name: np.array(array) for name, array in state.items() if name != "version"}
        units = [row.astype(np.int64) for row in arrays.pop("units")]
        weights = [float(weight) for weight in arrays.pop("weights")]
        return cls(**arrays, units=units, weights=weights)


def run_round(
    games: Games,
    plan: Plan,
    table: WeightTable,
    estimate: Estimate,
    units: IntArray,
    weight: float | None,
    threads: int | None,
    report: Report,
    message: str,
) -> None:
    """Draw one round and add it to an estimate, all of it or, if interrupted, nothing.

    Parameters
    ----------
    units : ndarray of int64, shape (Q,)
        Replicates of each query.
    weight : float, optional
        Weight of the round; by default its work, for the first round, whose cost is not known.
    """
    n_players, n_queries = estimate.exact.shape[0], len(estimate.status)
    first_replicate = estimate.drawn
    status, value_all = estimate.status.copy(), estimate.value_all.copy()
    value_nothing = estimate.value_nothing.copy()
    spread, work = np.zeros(n_queries), np.zeros(n_queries)
    bounds = cut(n_queries)
    sums = [np.zeros((n_players, 2)) for _ in range(3)]
    appearances = np.zeros(n_players, dtype=np.int64)

    def task(block: tuple[int, int]) -> Accumulator:
        accumulator = fresh_accumulator(n_players, status, spread, work, value_all, value_nothing)
        games.solve(*block, plan, table, first_replicate, units, accumulator)
        return accumulator

    for done, accumulator in enumerate(map_ordered(task, bounds, threads), start=1):
        for total, part in zip(sums, (accumulator.exact, accumulator.means, accumulator.variances)):
            total += part
        appearances += accumulator.appearances
        report(done, len(bounds), message)

    if weight is None:
        weight = float(work.sum()) or 1.0
    if plan.fresh:
        estimate.exact += sums[0]
        estimate.appearances += appearances
        estimate.status, estimate.value_all = status, value_all
        estimate.value_nothing = value_nothing
    estimate.means += weight * sums[1]
    estimate.variances += weight**2 * sums[2]
    estimate.spread += spread * units
    estimate.work += work
    estimate.units.append(np.where(estimate.status == SAMPLED, units, 0))
    estimate.weights.append(weight)


def fresh_accumulator(n_players: int, *by_query: npt.NDArray[Any]) -> Accumulator:
    """Return an accumulator with nothing in it, over the arrays `by_query` of all queries."""
    exact, means, variances = (np.zeros((n_players, 2)) for _ in range(3))
    status, spread, work, value_all, value_nothing = by_query
    appearances = np.zeros(n_players, dtype=np.int64)
    return Accumulator(
        exact, means, variances, appearances, status, spread, work, value_all, value_nothing
    )


def cut(n_queries: int) -> list[tuple[int, int]]:
    """Cut the queries into blocks; the same ones whatever the number of threads."""
    n_blocks = int(np.clip(n_queries // _FEWEST_QUERIES, 1, _MOST_TASKS))
    edges = np.linspace(0, n_queries, n_blocks + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]


def next_units(
    estimate: Estimate, budget: float, passes: int, tolerance: float, by_variance: bool
) -> tuple[IntArray, float] | None:
    """Share out the work of the next round.

    The variance of a mean falls as 1 / replicates, so the total variance at a given cost is least
    when a query's replicates are in proportion to the root of variance over cost.

    Parameters
    ----------
    budget : float
        Work allowed in all.
    passes : int
        Permutations of one replicate.
    tolerance : float
        The relative error wanted.

    Returns
    -------
    units : ndarray of int64, shape (Q,)
    weight : float
        The planned work.
    """
    sampled = estimate.status == SAMPLED
    spent = float(estimate.work.sum())
    left = budget - spent
    cost = np.where(sampled, estimate.unit_work, 0.0)
    smallest = 2.0 * float(cost.sum())
    if left < 0.5 * smallest or smallest == 0:
        return None
    size = left
    if tolerance > 0:
        wanted = spent * ((estimate.relative_error / tolerance) ** 2 * 1.05 - 1.0)
        size = float(np.clip(wanted, 0.25 * spent, 3.0 * spent))
    size = max(min(size, left, max(_MOST_WORK, smallest)), min(smallest, left))
    if by_variance:
        share = np.sqrt(np.where(sampled, estimate.unit_spread, 0.0) * cost)
        share = np.where(sampled, share / max(float(share.sum()), 1e-300), 0.0)
        units = np.rint(size * share / np.maximum(cost, 1e-300))
    else:
        units = np.full(len(sampled), np.rint(size / cost.sum()))
    units = np.where(sampled, np.maximum(units, 2), 0).astype(np.int64)
    return units, float((units * cost).sum())


__all__ = ["EXACT", "SAMPLED", "Estimate", "cut", "next_units", "run_round"]
