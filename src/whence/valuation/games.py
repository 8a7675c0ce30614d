"""The games of a model's queries, one small class per family of models.

Each hands the same arrays to the same solvers; only how a query's game is built differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from whence import _native
from whence.evaluation import Metric, Queries
from whence.evaluation.utility import utility_of
from whence.models import TIFUKNN, VMISKNN, Recommender
from whence.models.knn.tifu import UserIndex, UserVectors
from whence.models.knn.vmis import SessionIndex
from whence.valuation.accumulation import Block
from whence.valuation.weights import SUBSETS, CoalitionWeights, WeightTable

IntArray = npt.NDArray[np.int64]

# How many candidates become elements of a game.
FIXED, ALL, ONE_MORE = "fixed", "all", "one more"


class Plan(NamedTuple):
    """What to compute.

    Attributes
    ----------
    exact_limit : int
        Most coalitions that are enumerated.
    seed : int
    antithetic, shared : bool
        Whether a permutation is drawn with its reverse, and is the same for all queries.
    group_of : int32 (n_sources,)
        The player each source belongs to; empty where every source is one.
    own_player : bool
        Whether a query's user is a player without whom the value is 0.
    fresh : bool
        Whether this is the first round, in which exact values are computed.
    """

    exact_limit: int
    seed: int
    antithetic: bool
    shared: bool
    group_of: npt.NDArray[np.int32]
    own_player: bool
    fresh: bool


class Sessions(NamedTuple):
    """A fitted VMISKNN, as arrays.

    Attributes
    ----------
    train : SessionIndex
    use_idf : bool
    k, m : int
    limit : int
        Number of most recent matching sessions that become elements.
    one_out : bool
        Whether only one session at a time will be removed; those that can be neighbours then
        suffice.
    """

    train: SessionIndex
    use_idf: bool
    k: int
    m: int
    limit: int
    one_out: bool


class Users(NamedTuple):
    """A fitted TIFUKNN and the query users, as arrays.

    Attributes
    ----------
    own : UserVectors
        Of the query users.
    train : UserIndex
        Of the training users.
    euclidean : bool
    k : int
    limit : int
        Number of nearest users that become elements.
    """

    own: UserVectors
    train: UserIndex
    euclidean: bool
    k: int
    limit: int


class Games(ABC):
    """The games of all queries.

    Parameters
    ----------
    model : Recommender
        A fitted model of the family.
    queries : Queries
        What it is asked.
    metric : Metric
        What an answer is worth.
    candidates : {"fixed", "all", "one more"}
        Players of a query: its candidates under the full data; everyone who could ever be one; or
        its candidates and the next in line, who takes a place set free.

    Attributes
    ----------
    solver : callable
        The kernel that samples.
    remover : callable
        The kernel that leaves out one source at a time.
    arrays : tuple
        What the kernels are told of the model.
    utility : Utility
        And of the metric.
    limit : int
        Most elements of a game.
    n_neighbours : int
        Most neighbours of a query.
    readings : int
        How often a replicate of permutations sees each contribution, and once more in reverse.
    """

    solver: ClassVar[Callable[..., tuple[int, int]]]
    remover: ClassVar[Callable[..., None]]
    readings: ClassVar[int] = _native.READINGS
    model: Any
    limit: int
    n_neighbours: int
    arrays: tuple[Any, ...]

    def __init__(
        self, model: Recommender, queries: Queries, metric: Metric, candidates: str
    ) -> None:
        self.model = model
        self.queries = queries
        self.utility = utility_of(metric, queries, model.vocabulary)
        self._prepare(candidates)

    def __getstate__(self) -> dict[str, Any]:
        """What other processes need: the arrays, without the model and all that it learned from."""
        return {**self.__dict__, "model": None}

    @abstractmethod
    def _prepare(self, candidates: str) -> None:
        """Pack the model's arrays, and set `limit`."""

    def weigh(self, semivalue: CoalitionWeights, exact: int) -> WeightTable:
        """Return the tables of a semivalue, of games of up to ``2**exact`` coalitions exactly."""
        # Enumerated are games of few players, and those where all can be neighbours.
        most_exact = max(exact, min(self.n_neighbours + 1, 2**exact))
        return WeightTable(semivalue, self.limit + 1, most_exact)

    def solve(
        self,
        block: Block,
        plan: Plan,
        table: WeightTable,
        start: IntArray,
        units: IntArray,
        sums: _native.Sums,
    ) -> None:
        """Add the semivalues of a block of queries."""
        (first, last), weights = block, table.weights
        game = self.queries.arrays, self.arrays, self.utility, plan
        by_subsets = table.semivalue.sampling == SUBSETS
        while first < last:
            first, lacking = self.solver(
                first, last, *game, weights, by_subsets, start, units, sums
            )  # fmt: skip
            if lacking:
                weights = table.add(lacking)

    def leave_out(self, block: Block, plan: Plan, sums: _native.Sums) -> None:
        """Add the leave-one-out values of a block of queries."""
        self.remover(*block, self.queries.arrays, self.arrays, self.utility, plan, sums)


class SessionGames(Games):
    """Games of VMIS-kNN: the players are sessions."""

    solver = staticmethod(_native.solve_sessions)
    remover = staticmethod(_native.leave_out_sessions)
    model: VMISKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        everyone, (self.n_neighbours, m) = max(1, len(index.source_of)), model.limits
        limits = {FIXED: m, ALL: everyone, ONE_MORE: m + 1}
        self.limit = min(limits[candidates], everyone)
        one_out = candidates == ONE_MORE
        self.arrays = Sessions(index, model.idf, self.n_neighbours, m, self.limit, one_out)


class UserGames(Games):
    """Games of TIFU-kNN: the players are users."""

    solver = staticmethod(_native.solve_users)
    remover = staticmethod(_native.leave_out_users)
    model: TIFUKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        own, everyone = model.query_vectors(self.queries), max(1, len(index.squared_norms))
        self.n_neighbours = min(model.k, everyone)
        limits = {FIXED: model.k, ALL: everyone, ONE_MORE: model.k + 1}
        self.limit = min(limits[candidates], everyone)
        euclidean = model.similarity == "euclidean"
        self.arrays = Users(own, index, euclidean, self.n_neighbours, self.limit)
