"""Games whose worth is a Python function of the list: slower, and written from the definitions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence import _native
from whence.engines.sharing import Lock
from whence.evaluation import Metric, Queries
from whence.evaluation.answers import external_targets
from whence.evaluation.metrics import values_from_ids
from whence.models import TIFUKNN, VMISKNN, Recommender
from whence.valuation.accumulation import CONSTANT, EXACT, Block
from whence.valuation.games import ALL, FIXED, ONE_MORE, Games, Plan
from whence.valuation.weights import (
    SUBSETS,
    CoalitionWeights,
    WeightTable,
    checked_size_weights,
    sampling_weights,
)

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Cost of one coalition in steps of the compiled walks, which measure the work of a round.
_WORK_OF_COALITION = 2000.0
# Most cells of a table of coalitions by candidates made at once.
_MOST_CELLS = 2**22


@dataclass(frozen=True)
class Candidates:
    """The candidates of one query, best first, and what each adds to which item.

    Attributes
    ----------
    sources : ndarray of int32, shape (n,)
        Session or user of each.
    by_age : ndarray of int64, shape (n,)
        Their ranks from the most recent on.
    offsets, items, values : ndarray of int64
        Rows: local items, and what is added to their scores.
    own : ndarray of int64, shape (L,)
        What the query's own history adds, once for each neighbour.
    numbers : ndarray of int32, shape (L,)
        Item number of each local item.
    owner : int
        User without whom the list is empty; -1 for none.
    """

    sources: npt.NDArray[np.int32]
    by_age: IntArray
    offsets: IntArray
    items: IntArray
    values: IntArray
    own: IntArray
    numbers: npt.NDArray[np.int32]
    owner: int


class _Play:
    """The game of one query among its players: what each coalition of them is worth."""

    def __init__(
        self, games: CustomGames, query: int, candidates: Candidates, plan: Plan, own_player: bool
    ) -> None:
        self.games, self.query, self.candidates = games, query, candidates
        sources = candidates.sources
        groups = plan.group_of[sources] if len(plan.group_of) else sources
        owner = candidates.owner if own_player else -1
        if owner >= 0 and len(plan.group_of):
            owner = int(plan.group_of[owner])
        together = np.append(groups, owner) if owner >= 0 else groups
        ids, of = np.unique(together, return_inverse=True)
        self.ids = ids.astype(np.int64)
        self.player_of = of[: len(sources)]
        self.owner = int(of[-1]) if owner >= 0 else -1
        self._known: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> IntArray:
        """Column of the sums for each player: 1 for the owner, else 0."""
        return np.where(np.arange(len(self)) == self.owner, 1, 0)

    def values(self, coalitions: BoolArray) -> FloatArray:
        """Value of each coalition, bool (B, P)."""
        block = max(1, _MOST_CELLS // max(1, len(self.candidates.sources)))
        parts = [
            self._values(coalitions[start : start + block])
            for start in range(0, len(coalitions), block)
        ]
        return np.concatenate(parts)

    def _values(self, coalitions: BoolArray) -> FloatArray:
        of, games = self.candidates, self.games
        length = min(games.metric.k, games.model.n_items)
        lists = np.full((len(coalitions), length), -1, dtype=np.int32)
        present = np.ascontiguousarray(coalitions[:, self.player_of])
        _native.coalition_lists(
            present, of.by_age, games.m, games.k, of.offsets, of.items, of.values, of.own,
            of.numbers, lists,
        )  # fmt: skip
        if self.owner >= 0:
            lists[~coalitions[:, self.owner]] = -1
        return np.asarray([self._value(row) for row in lists])

    def _value(self, row: npt.NDArray[np.int32]) -> float:
        key = row.tobytes()
        if key not in self._known:
            self._known[key] = self.games.value(self.query, row)
        return self._known[key]


class CustomGames(Games):
    """Base of the games of all queries where a list is worth what a Python function says.

    The function is called by one thread at a time, and once for each different list of a query.
    """

    readings = 1
    k: int
    m: int

    def __init__(
        self, model: Recommender, queries: Queries, metric: Metric, candidates: str
    ) -> None:
        self.model, self.queries, self.metric = model, queries, metric
        self._items = np.array(model.vocabulary.items.to_list(), dtype=object)
        self._targets = external_targets(queries, model.vocabulary)
        self._lock = Lock()
        self._prepare(candidates)

    def __getstate__(self) -> dict[str, Any]:
        """All: the candidates are found with the model."""
        return self.__dict__

    @abstractmethod
    def candidates(self, query: int) -> Candidates:
        """The candidates of a query."""

    def value(self, query: int, row: npt.NDArray[np.int32]) -> float:
        """Value of one list, int32 (K,) padded with -1."""
        recommended = self._items[row[row >= 0]].tolist()
        targets = list(self._targets[query])
        return float(values_from_ids(self.metric, [recommended], [targets], query)[0])

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
        semivalue = table.semivalue
        with self._lock:
            for query in range(*block):
                if plan.fresh or units[query] > 0:
                    self._solve(query, plan, semivalue, int(start[query]), int(units[query]), sums)

    def _solve(
        self,
        query: int,
        plan: Plan,
        semivalue: CoalitionWeights,
        first: int,
        units: int,
        block: _native.Sums,
    ) -> None:
        play = _Play(self, query, self.candidates(query), plan, plan.own_player)
        if plan.fresh and _begin(query, play, plan, semivalue, block):
            return
        if units == 0:
            return
        sums, squares = np.zeros(len(play)), np.zeros(len(play))
        passes = 2 if plan.antithetic else 1
        gain = _gains_by_subset if semivalue.sampling == SUBSETS else _gains_by_permutation
        weights = sampling_weights(semivalue, len(play))
        for replicate in range(first, first + units):
            rng = np.random.default_rng([int(plan.seed), query, replicate])
            mean = gain(play, weights, rng, passes) / passes
            sums += mean
            squares += mean * mean
        means = sums / units
        variances = np.zeros(len(play))
        if units > 1:
            variances = np.maximum(squares - units * means**2, 0.0) / (units - 1)
        block.add_estimates(play.ids, play.columns, means, variances / units)
        work = _WORK_OF_COALITION * units * passes * (len(play) + 1)
        block.note_sample(query, variances.sum(), work)

    def leave_out(self, block: Block, plan: Plan, sums: _native.Sums) -> None:
        """Add the leave-one-out values of a block of queries."""
        with self._lock:
            for query in range(*block):
                play = _Play(self, query, self.candidates(query), plan, plan.own_player)
                n = len(play)
                without = ~np.eye(n + 2, n, k=-1, dtype=bool)
                without[n + 1] = False
                values = play.values(without)
                sums.note_values(query, values[0], values[n + 1])
                sums.note_status(query, EXACT if n else CONSTANT)
                sums.add_exact(play.ids, play.columns, values[0] - values[1 : n + 1])


def _begin(
    query: int, play: _Play, plan: Plan, semivalue: CoalitionWeights, sums: _native.Sums
) -> bool:
    """In the first round: note the extreme values, solve exactly what can be; is that all?"""
    n = len(play)
    extremes = np.zeros((2, n), dtype=bool)
    extremes[1] = True
    value_nothing, value_all = play.values(extremes)
    sums.note_values(query, value_all, value_nothing)
    sums.count(play.ids[play.columns == 0])
    if n == 0:
        sums.note_status(query, CONSTANT)
        return True
    if n >= 62 or 2**n > plan.exact_limit:
        return False
    subsets = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)
    values, sizes = play.values(subsets), subsets.sum(axis=1)
    weights = np.append(checked_size_weights(semivalue, n), 0.0)
    # As the coalition that a member completes, and as the one that an outsider joins.
    joined, missed = weights[sizes - 1] * values, weights[sizes] * values
    sums.add_exact(play.ids, play.columns, joined @ subsets - missed @ ~subsets)
    sums.note_status(query, EXACT)
    return True


def _gains_by_permutation(
    play: _Play, weights: FloatArray, rng: np.random.Generator, passes: int
) -> FloatArray:
    """Weighted gains of the players in a random permutation (and its reverse), summed."""
    n = len(play)
    order = rng.permutation(n)
    gains = np.zeros(n)
    for _ in range(passes):
        place = np.argsort(order)
        values = play.values(place < np.arange(n + 1)[:, None])
        gains[order] += weights * np.diff(values)
        order = order[::-1]
    return gains


def _gains_by_subset(
    play: _Play, weights: FloatArray, rng: np.random.Generator, passes: int
) -> FloatArray:
    """Weighted effect of each player on a random subset (and its complement), summed."""
    n = len(play)
    subset = rng.integers(0, 2, n).astype(bool)
    gains = np.zeros(n)
    for _ in range(passes):
        # The subset itself, then with each player in turn on the other side.
        values = play.values(subset ^ np.eye(n + 1, n, k=-1, dtype=bool))
        effects = np.where(subset, 1.0, -1.0) * (values[0] - values[1:])
        gains += weights[subset.sum() - subset] * effects
        subset = ~subset
    return gains


class CustomSessionGames(CustomGames):
    """Custom games of VMIS-kNN."""

    model: VMISKNN

    def _prepare(self, candidates: str) -> None:
        model = self.model
        self.k, self.m = model.limits
        self.n_neighbours = self.k
        everyone = len(model.index_.source_of)
        limits = {FIXED: self.m, ALL: everyone, ONE_MORE: self.m + 1}
        self.limit = min(limits[candidates], everyone)
        self._arrays = self.queries.arrays

    def candidates(self, query: int) -> Candidates:
        """The most recent sessions with an item of the query, by similarity."""
        queries, index = self._arrays, self.model.index_
        found, weights, order = _native.session_candidates(query, queries, index, self.limit)
        start, end = queries.history_start[query], queries.history_end[query]
        length, n = int(end - start), len(found)
        last = queries.history_items[end - 1] if length else -1
        rows = [_row(index.session_offsets, index.session_items, found[c], last) for c in order]
        if n <= self.k:
            # Without competition a session that gives no item any weight changes nothing.
            kept = [r for r, c in enumerate(order) if weights[c] > 0 and len(rows[r])]
            order, rows = order[kept], [rows[r] for r in kept]
        values = [np.full(len(row), weights[c]) for row, c in zip(rows, order)]
        if self.model.idf:
            unit = 1 << _native.idf_shift(length, self.k)
            values = [
                given * np.rint(index.idf[row] * unit).astype(np.int64)
                for row, given in zip(rows, values)
            ]
        nothing = np.empty(0, dtype=np.int64)
        by_age = np.argsort(order).astype(np.int64)  # candidates were found most recent first
        sources = index.source_of[found[order]]
        return _assemble(sources, by_age, rows, values, nothing.astype(np.int32), nothing, -1)


class CustomUserGames(CustomGames):
    """Custom games of TIFU-kNN."""

    model: TIFUKNN

    def _prepare(self, candidates: str) -> None:
        model = self.model
        self._own = model.query_vectors(self.queries)
        everyone = len(model.index_.vectors.offsets) - 1
        limits = {FIXED: model.k, ALL: everyone, ONE_MORE: model.k + 1}
        self.limit = min(limits[candidates], everyone)
        self.k, self.m = min(model.k, everyone), everyone
        self.n_neighbours = self.k

    def candidates(self, query: int) -> Candidates:
        """The nearest other users; none where the query's user has no history."""
        own, index, vectors = self._own, self.model.index_, self.model.index_.vectors
        window = slice(own.offsets[query], own.offsets[query + 1])
        user = int(self.queries.users[query])
        sources = np.empty(0, dtype=np.int32)
        if window.stop > window.start:
            euclidean = self.model.similarity == "euclidean"
            sources = _native.nearest_users(
                own.items[window], own.values[window], user, euclidean, index, self.limit
            )
        else:
            user = -1
        windows = [slice(vectors.offsets[u], vectors.offsets[u + 1]) for u in sources]
        return _assemble(
            sources,
            np.arange(len(sources)),
            [vectors.items[w] for w in windows],
            [vectors.neighbour[w] for w in windows],
            own.items[window],
            own.own[window],
            user,
        )


def _row(
    offsets: IntArray, items: npt.NDArray[np.int32], position: int, left_out: int
) -> npt.NDArray[np.int32]:
    row = items[offsets[position] : offsets[position + 1]]
    return np.asarray(row[row != left_out])


def _assemble(
    sources: npt.NDArray[np.int32],
    by_age: IntArray,
    rows: list[npt.NDArray[np.int32]],
    values: list[IntArray],
    own_items: npt.NDArray[np.int32],
    own_values: IntArray,
    owner: int,
) -> Candidates:
    """Number the items of all rows, and of the own history, locally."""
    flat = np.concatenate([own_items, *rows])
    numbers, local = np.unique(flat, return_inverse=True)
    own = np.zeros(len(numbers), dtype=np.int64)
    own[local[: len(own_items)]] = own_values
    lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
    return Candidates(
        sources=np.ascontiguousarray(sources),
        by_age=by_age,
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=local[len(own_items) :].astype(np.int64),
        values=np.concatenate([np.empty(0, dtype=np.int64), *values]).astype(np.int64),
        own=own,
        numbers=numbers.astype(np.int32),
        owner=owner,
    )


CUSTOM_FAMILIES: dict[type[Recommender], type[CustomGames]] = {
    VMISKNN: CustomSessionGames,
    TIFUKNN: CustomUserGames,
}
