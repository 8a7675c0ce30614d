"""The games of a model's queries, one small class per family of models.

Each hands the same arrays to the same solvers (`_solve_kernels`); only how a query's game is
built differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from whence.evaluation import Metric, Queries
from whence.evaluation.utility import utility_of
from whence.models import TIFUKNN, VMISKNN, Recommender
from whence.valuation import _tifu_kernels, _vmis_kernels
from whence.valuation._reading_kernels import READINGS
from whence.valuation._solve_kernels import Accumulator, Plan
from whence.valuation.weights import PERMUTATIONS, SUBSETS, CoalitionWeights, WeightTable

IntArray = npt.NDArray[np.int64]

# How many candidates become elements of a game.
FIXED, ALL, ONE_MORE = "fixed", "all", "one more"


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
    samplers : dict
        The kernel for each way of sampling.
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

    samplers: ClassVar[Mapping[str, Callable[..., tuple[int, int]]]]
    remover: ClassVar[Callable[..., None]]
    readings: ClassVar[int] = READINGS
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
        first: int,
        last: int,
        plan: Plan,
        table: WeightTable,
        start: IntArray,
        units: IntArray,
        accumulator: Accumulator,
    ) -> None:
        """Add the semivalues of queries [first, last) to an accumulator."""
        kernel, weights = self.samplers[table.semivalue.sampling], table.weights
        game = self.queries.arrays, self.arrays, self.utility
        while first < last:
            first, lacking = kernel(first, last, *game, plan, weights, start, units, accumulator)
            if lacking:
                weights = table.add(lacking)

    def leave_out(self, first: int, last: int, plan: Plan, accumulator: Accumulator) -> None:
        """Add the leave-one-out values of queries [first, last) to an accumulator."""
        self.remover(first, last, self.queries.arrays, self.arrays, self.utility, plan, accumulator)


class SessionGames(Games):
    """Games of VMIS-kNN: the players are sessions."""

    samplers = {  # noqa: RUF012
        PERMUTATIONS: _vmis_kernels.solve_sessions,
        SUBSETS: _vmis_kernels.solve_sessions_by_subsets,
    }
    remover = staticmethod(_vmis_kernels.leave_out_sessions)
    model: VMISKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        everyone, (self.n_neighbours, m) = max(1, len(index.source_of)), model.limits
        limits = {FIXED: m, ALL: everyone, ONE_MORE: m + 1}
        self.limit = min(limits[candidates], everyone)
        self.arrays = _vmis_kernels.Sessions(
            index,
            model.idf,
            self.n_neighbours,
            m,
            self.limit,
            candidates == ONE_MORE,
        )


class UserGames(Games):
    """Games of TIFU-kNN: the players are users."""

    samplers = {  # noqa: RUF012
        PERMUTATIONS: _tifu_kernels.solve_users,
        SUBSETS: _tifu_kernels.solve_users_by_subsets,
    }
    remover = staticmethod(_tifu_kernels.leave_out_users)
    model: TIFUKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        own, everyone = model.query_vectors(self.queries), max(1, len(index.squared_norms))
        self.n_neighbours = min(model.k, everyone)
        limits = {FIXED: model.k, ALL: everyone, ONE_MORE: model.k + 1}
        self.limit = min(limits[candidates], everyone)
        self.arrays = _tifu_kernels.Users(
            own, index, model.similarity == "euclidean", self.n_neighbours, self.limit
        )
