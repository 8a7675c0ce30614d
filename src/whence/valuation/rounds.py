"""Sampling in rounds: where the budget goes, what is known so far, when to stop.

Every round is an unbiased estimate of all values. Rounds are averaged with weights proportional
to their cost, fixed before the round is drawn; so nothing per query and player need be kept, and
memory does not grow with the number of permutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from whence import _native, engines
from whence.engines import Checkpoints, Run
from whence.errors import ParameterError
from whence.valuation.accumulation import EXACT, SAMPLED, Accumulation, Block
from whence.valuation.games import Games, Plan
from whence.valuation.weights import WeightTable

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Blocks of queries: of many queries more, for the processors of a cluster.
_TASKS, _MOST_TASKS = 64, 4096
_FEWEST_QUERIES, _MANY_QUERIES = 32, 2048
# Most work of one round, which an interruption may cost, in steps of a walk (a few nanoseconds
# each), or as a share of what has been done: so the rounds stay few.
_MOST_WORK = 1.5e9
_LARGEST_SHARE = 0.25
_STATE_VERSION = 2


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
    drawn : ndarray of int64, shape (Q,)
        Replicates so far.
    units : list of ndarray of int32, shape (Q,)
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
    drawn: IntArray
    units: list[npt.NDArray[np.int32]] = field(default_factory=list)
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
            drawn=np.zeros(n_queries, dtype=np.int64),
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
        units = np.asarray(self.units, dtype=np.int32).reshape(len(self.units), n_queries)
        return {
            "version": np.asarray([_STATE_VERSION]),
            "units": units,
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
    def from_state(
        cls, state: dict[str, npt.NDArray[np.generic]], n_players: int, n_queries: int
    ) -> Estimate:
        """Take up what `to_state` gave.

        Raises
        ------
        ParameterError
            If it cannot be the state of so many players and queries.
        """
        nothing = cls.nothing(n_players, n_queries).to_state()
        if list(state.get("version", ())) not in ([], [_STATE_VERSION]):
            raise ParameterError(
                "These values cannot be resumed: another version of Whence drew them, "
                "in another way; value again without them."
            )
        n_rounds = np.size(state.get("weights", ()))
        for name, usual in nothing.items():
            array = state.get(name)
            length = n_rounds if name in ("units", "weights") else len(usual)
            if (
                array is None
                or array.shape != (length, *usual.shape[1:])
                or not np.can_cast(array.dtype, usual.dtype, "same_kind")
            ):
                raise ParameterError(
                    f"These values cannot be resumed: {name!r} in the state of the sampling is "
                    "missing or damaged; value again without them."
                )
        arrays = {name: np.array(state[name]) for name in nothing if name != "version"}
        units = arrays.pop("units").astype(np.int32)
        weights = [float(weight) for weight in arrays.pop("weights")]
        drawn = units.sum(axis=0, dtype=np.int64)
        return cls(**arrays, drawn=drawn, units=list(units), weights=weights)


@dataclass(frozen=True)
class Round(Accumulation):
    """One round of sampling.

    Attributes
    ----------
    games : Games
    plan : Plan
    table : WeightTable
    drawn, units : int64 (Q,)
        Replicates of each query before, and in this round.
    """

    lasting = ("games",)

    games: Games
    plan: Plan
    table: WeightTable
    drawn: IntArray
    units: IntArray

    def fill(self, shard: Block, sums: _native.Sums) -> None:
        """Add the semivalues of a block of queries."""
        self.games.solve(shard, self.plan, self.table, self.drawn, self.units, sums)


@dataclass(frozen=True)
class Sampler:
    """What draws rounds.

    Attributes
    ----------
    games : Games
    table : WeightTable
    run : Run
    kept : Checkpoints or None
    """

    games: Games
    table: WeightTable
    run: Run
    kept: Checkpoints | None = None

    def draw(
        self,
        plan: Plan,
        estimate: Estimate,
        units: IntArray,
        weight: float | None,
        message: str = "",
        blocks: Sequence[Block] | None = None,
    ) -> Estimate:
        """Draw one round; the estimate with it.

        Parameters
        ----------
        plan : Plan
        estimate : Estimate
            Of the rounds before; left as it is.
        units : ndarray of int64, shape (Q,)
            Replicates of each query.
        weight : float, optional
            Weight of the round; by default its work, for the first round, whose cost is not known.
        message : str
            For the progress.
        blocks : sequence, optional
            Of queries; all by default.
        """
        n_players, n_queries = len(estimate.exact), len(estimate.status)
        if blocks is None:
            blocks = cut(np.ones(n_queries) if plan.fresh else units * estimate.unit_work)
        job = Round(n_players, n_queries, self.games, plan, self.table, estimate.drawn, units)
        stage = f"round-{len(estimate.units)}"
        found = engines.run(job, blocks, self.run, message=message, kept=self.kept, stage=stage)
        if weight is None:
            weight = float(found.work.sum()) or 1.0
        if plan.fresh:
            estimate = replace(
                estimate,
                exact=estimate.exact + found.exact,
                appearances=estimate.appearances + found.appearances,
                status=found.status,
                value_all=found.value_all,
                value_nothing=found.value_nothing,
            )
        sampled = np.where(estimate.status == SAMPLED, units, 0)
        estimate = replace(
            estimate,
            means=estimate.means + weight * found.means,
            variances=estimate.variances + weight**2 * found.variances,
            spread=estimate.spread + found.spread * units,
            work=estimate.work + found.work,
            drawn=estimate.drawn + sampled,
            units=[*estimate.units, sampled.astype(np.int32)],
            weights=[*estimate.weights, weight],
        )
        if self.kept is not None:
            self.kept.save("estimate", estimate.to_state())
            self.kept.drop(stage)
        return estimate


def cut(work: FloatArray) -> list[Block]:
    """Cut queries into blocks of about equal work, whatever the number of threads."""
    few = int(np.clip(len(work) // _FEWEST_QUERIES, 1, _TASKS))
    return engines.cut(work, max(few, min(len(work) // _MANY_QUERIES, _MOST_TASKS)))


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
    most = max(_MOST_WORK, _LARGEST_SHARE * spent, smallest)
    size = max(min(size, left, most), min(smallest, left))
    if by_variance:
        share = np.sqrt(np.where(sampled, estimate.unit_spread, 0.0) * cost)
        share = np.where(sampled, share / max(float(share.sum()), 1e-300), 0.0)
        units = np.rint(size * share / np.maximum(cost, 1e-300))
    else:
        units = np.full(len(sampled), np.rint(size / cost.sum()))
    units = np.where(sampled, np.maximum(units, 2), 0).astype(np.int64)
    return units, float((units * cost).sum())


__all__ = ["EXACT", "SAMPLED", "Estimate", "Sampler", "cut", "next_units"]
