"""The games of a model's queries, one small class per family of models.

Each hands the same arrays to the same solvers (`_solve_kernels`); only how a query's game is
built differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from whence.errors import UnsupportedError
from whence.evaluation import Metric, Queries
from whence.models import TIFUKNN, VMISKNN, Recommender
from whence.valuation import _tifu_kernels, _vmis_kernels
from whence.valuation._solve_kernels import Asked, Plan, Tally, Worth
from whence.valuation._walk_kernels import BANZHAF

IntArray = npt.NDArray[np.int64]

_MODES = {"none": 0, "additive": 1, "best": 2, "average_precision": 3}

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
    """

    def __init__(
        self, model: Recommender, queries: Queries, metric: Metric, candidates: str
    ) -> None:
        self.model = model
        self.queries = queries
        metric = metric.for_kind(queries.kind)
        self.asked = Asked(
            queries.history_items,
            queries.history_start,
            queries.history_end,
            queries.target_items,
            queries.target_start,
            queries.target_end,
            queries.users,
        )
        self.worth = Worth(
            _MODES[metric.mode],
            metric.k,
            metric.first_only,
            metric.gains(),
            metric.rank_weight * metric.scale(queries.count_distinct_targets()),
            metric.sustainability_weight if metric.needs_sustainable_items else 0.0,
            metric.sustainable_codes(model.vocabulary).astype(np.uint8),
        )
        self._prepare(candidates)

    @abstractmethod
    def _prepare(self, candidates: str) -> None:
        """Pack the model's arrays."""

    @abstractmethod
    def solve(
        self, first: int, last: int, plan: Plan, start: IntArray, units: IntArray, tally: Tally
    ) -> None:
        """Add the semivalues of queries [first, last) to a tally."""

    @abstractmethod
    def leave_out(self, first: int, last: int, plan: Plan, tally: Tally) -> None:
        """Add the leave-one-out values of queries [first, last) to a tally."""


class SessionGames(Games):
    """Games of VMIS-kNN: the players are sessions."""

    model: VMISKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        everyone = max(1, len(index.source_of))
        limits = {FIXED: model.m, ALL: everyone, ONE_MORE: model.m + 1}
        self._arrays = _vmis_kernels.Sessions(
            index.source_of,
            index.session_offsets,
            index.session_items,
            index.posting_offsets,
            index.postings,
            index.idf,
            model.idf,
            model.k,
            model.m,
            limits[candidates],
            candidates == ONE_MORE,
        )

    def solve(
        self, first: int, last: int, plan: Plan, start: IntArray, units: IntArray, tally: Tally
    ) -> None:
        """Add semivalues to a tally; see `Games.solve`."""
        by_subsets = plan.semivalue == BANZHAF
        kernel = (
            _vmis_kernels.solve_sessions_by_subsets if by_subsets else _vmis_kernels.solve_sessions
        )
        kernel(first, last, self.asked, self._arrays, self.worth, plan, start, units, tally)

    def leave_out(self, first: int, last: int, plan: Plan, tally: Tally) -> None:
        """Add leave-one-out values to a tally; see `Games.leave_out`."""
        _vmis_kernels.leave_out_sessions(
            first, last, self.asked, self._arrays, self.worth, plan, tally
        )


class UserGames(Games):
    """Games of TIFU-kNN: the players are users."""

    model: TIFUKNN

    def _prepare(self, candidates: str) -> None:
        model, index = self.model, self.model.index_
        own, vectors = model.query_vectors(self.queries), index.vectors
        everyone = max(1, len(vectors.offsets) - 1)
        limits = {FIXED: model.k, ALL: everyone, ONE_MORE: model.k + 1}
        self._arrays = _tifu_kernels.Users(
            own.offsets,
            own.items,
            own.values,
            own.own,
            vectors.offsets,
            vectors.items,
            vectors.values,
            vectors.neighbour,
            index.squared_norms,
            index.posting_offsets,
            index.postings,
            index.entries,
            model.similarity == "euclidean",
            model.k,
            min(limits[candidates], everyone),
        )

    def solve(
        self, first: int, last: int, plan: Plan, start: IntArray, units: IntArray, tally: Tally
    ) -> None:
        """Add semivalues to a tally; see `Games.solve`."""
        by_subsets = plan.semivalue == BANZHAF
        kernel = _tifu_kernels.solve_users_by_subsets if by_subsets else _tifu_kernels.solve_users
        kernel(first, last, self.asked, self._arrays, self.worth, plan, start, units, tally)

    def leave_out(self, first: int, last: int, plan: Plan, tally: Tally) -> None:
        """Add leave-one-out values to a tally; see `Games.leave_out`."""
        _tifu_kernels.leave_out_users(
            first, last, self.asked, self._arrays, self.worth, plan, tally
        )


_FAMILIES: dict[type[Recommender], type[Games]] = {VMISKNN: SessionGames, TIFUKNN: UserGames}


def make_games(
    model: Recommender, queries: Queries, metric: Metric, candidates: str, method: str
) -> Games:
    """Return the games of a model's queries; slower ones where the metric is a Python function.

    Raises
    ------
    UnsupportedError
        If Whence knows no games for this kind of model.
    """
    families: Mapping[type[Recommender], type[Games]] = _FAMILIES
    if metric.function is not None:
        from whence.valuation.custom import CUSTOM_FAMILIES

        families = CUSTOM_FAMILIES
    for family, games in families.items():
        if isinstance(model, family):
            return games(model, queries, metric, candidates)
    known = " and ".join(family.__name__ for family in _FAMILIES)
    raise UnsupportedError(
        f"{method} knows how the lists of {known} depend on their training data, but not those of "
        f"{type(model).__name__}; use RetrainingShapley or RetrainingLeaveOneOut, which refit."
    )
