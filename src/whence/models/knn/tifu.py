"""TIFU-kNN: the next basket from a user's own decayed history and that of similar users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.data import Interactions
from whence.data._numbering import sorted_distinct
from whence.engines import Run
from whence.evaluation.queries import Queries
from whence.models._blocks import Rows, RowsJob, in_blocks
from whence.models.base import CodeArray, FloatArray, Recommender
from whence.parameters import PositiveInt, Share, field

IntArray = npt.NDArray[np.int64]

FIXED_POINT = 2.0**40
# Coarser, so that squares and their sums are exact in 64-bit floats: ties of distances are ties.
DISTANCE_GRID = 2.0**24
_QUERIES_PER_TASK = 64


class UserVectors(NamedTuple):
    """Sparse vectors of users or queries, row by row, items ascending.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n + 1,)
    items : ndarray of int32
    values : ndarray of float64
        Entries of the vectors in steps of 2**-24, for distances: whole numbers.
    own, neighbour : ndarray of int64
        alpha and (1 - alpha) times the values in fixed point (steps of 2**-40): sums of these do
        not depend on the order of the terms.
    """

    offsets: IntArray
    items: CodeArray
    values: FloatArray
    own: IntArray
    neighbour: IntArray


class UserIndex(NamedTuple):
    """Vectors of the training users, from both sides.

    Attributes
    ----------
    vectors : UserVectors
        One row per user of the numbering; empty for users without rows.
    squared_norms : ndarray of float64, shape (n_users,)
    posting_offsets, postings, entries : ndarray
        Users with each item, ascending, and where the item stands in ``vectors.items``.
    """

    vectors: UserVectors
    squared_norms: FloatArray
    posting_offsets: IntArray
    postings: CodeArray
    entries: IntArray


class TIFUKNN(Recommender, name="tifu"):
    """Temporal item frequency kNN for next-basket recommendation.

    A user's baskets are cut into `m` groups; later baskets weigh more in their group (`r_b`) and
    later groups more in the user's vector (`r_g`). The score of an item is ``alpha`` times the
    user's own entry plus ``1 - alpha`` times the mean entry of the `k` most similar other users.

    Vectors are held in fixed point (steps of 2**-40; for distances, 2**-24), so that sums do not
    depend on their order and the effect of removing a user is exact.

    Parameters
    ----------
    k : int
        Number of neighbours.
    m : int
        Number of groups. The earlier groups have ``t // m`` of a user's t baskets, the last
        ``t % m`` ones have one more.
    r_b, r_g : float
        Decay within a group and between groups, in [0, 1].
    alpha : float
        Weight of the user's own vector, in [0, 1].
    similarity : {"jaccard", "euclidean"}
        Of the item sets, above 0; or nearness of the vectors, as in the paper.
    grouping : {"single", "paper"}
        A user with fewer than m baskets has them in a single group (the first of m), or each
        basket in a group of its own.

    Attributes
    ----------
    train_ : Interactions
        What it was fitted on.
    index_ : UserIndex
        Vectors of the users.

    References
    ----------
    Hu, He, Gao, Zhang: Modeling Personalized Item Frequency Information for Next-basket
    Recommendation. SIGIR 2020, equations 1 to 4.
    """

    kinds = ("baskets",)

    k: PositiveInt = 100
    m: PositiveInt = 7
    r_b: Share = 0.9
    r_g: Share = 0.7
    alpha: Share = 0.7
    similarity: Literal["jaccard", "euclidean"] = "jaccard"
    grouping: Literal["single", "paper"] = "single"

    index_: UserIndex = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        sequences = train.sequences
        assert sequences.baskets is not None
        owner = np.repeat(np.arange(train.n_sources), np.diff(sequences.offsets))
        vectors = self._vectors(owner, sequences.baskets, sequences.items, train.n_sources)
        by_item = np.argsort(vectors.items, kind="stable").astype(np.int64)
        rows = np.repeat(np.arange(train.n_sources), np.diff(vectors.offsets))
        counts = np.bincount(vectors.items, minlength=train.n_items)
        self.index_ = UserIndex(
            vectors=vectors,
            squared_norms=np.bincount(rows, vectors.values**2, minlength=train.n_sources).astype(
                np.float64
            ),
            posting_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            postings=rows[by_item].astype(np.int32),
            entries=by_item,
        )

    def _vectors(
        self,
        owner: npt.NDArray[np.integer],
        baskets: npt.NDArray[np.integer],
        items: npt.NDArray[np.integer],
        n_owners: int,
    ) -> UserVectors:
        """Decayed item frequencies of each owner's baskets, numbered 0, 1, … in order."""
        n_items = self.n_items
        n_baskets = np.zeros(n_owners, dtype=np.int64)
        np.maximum.at(n_baskets, owner, baskets.astype(np.int64) + 1)
        # A basket is a set: a repeated item counts once. Sorted by owner, item, basket.
        longest = int(n_baskets.max(initial=1))
        keys = sorted_distinct((owner.astype(np.int64) * n_items + items) * longest + baskets)
        cells, basket = np.divmod(keys, longest)
        weight = self._basket_weights(n_baskets[cells // n_items], basket)
        start = np.flatnonzero(np.diff(cells, prepend=-1))
        cells = cells[start]
        values = np.add.reduceat(weight, start) if len(start) else np.empty(0)
        rows, columns = np.divmod(cells, n_items)
        counts = np.bincount(rows, minlength=n_owners)
        return UserVectors(
            offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            items=columns.astype(np.int32),
            **self._rounded(values),
        )

    def _rounded(self, values: FloatArray) -> dict[str, npt.NDArray[Any]]:
        """Entries of vectors as `UserVectors` holds them: for distances, own and neighbours'."""
        return {
            "values": np.rint(values * DISTANCE_GRID),
            "own": np.rint(self.alpha * values * FIXED_POINT).astype(np.int64),
            "neighbour": np.rint((1 - self.alpha) * values * FIXED_POINT).astype(np.int64),
        }

    def _basket_weights(self, t: IntArray, basket: IntArray) -> FloatArray:
        """Weight of basket number `basket` (from 0) in the vector of a user with t baskets."""
        m = self.m
        size = t // m
        longer = t % m
        n_short = (m - longer) * size
        short = basket < n_short
        divisor = np.maximum(size, 1)
        rest = basket - n_short
        group = np.where(short, basket // divisor, m - longer + rest // (size + 1))
        place = np.where(short, basket % divisor, rest % (size + 1))
        group_size = np.where(short, size, size + 1)
        n_groups = np.full_like(t, m)
        few = t < m
        if self.grouping == "paper":
            group, place = np.where(few, basket, group), np.where(few, 0, place)
            group_size = np.where(few, 1, group_size)
            n_groups = np.where(few, t, n_groups)
        else:
            group, place = np.where(few, 0, group), np.where(few, basket, place)
            group_size = np.where(few, t, group_size)
        within = np.power(self.r_b, group_size - 1 - place) / group_size
        return np.asarray(within * np.power(self.r_g, n_groups - 1 - group) / n_groups)

    def query_vectors(self, queries: Queries) -> UserVectors:
        """Own vectors of the users asked about; empty for a user without history."""
        vectors = self.index_.vectors
        if queries.history_baskets is not None:
            lengths = queries.history_end - queries.history_start
            owner = np.repeat(np.arange(len(queries)), lengths)
            inside = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            window = inside + np.repeat(queries.history_start, lengths)
            return self._vectors(
                owner, queries.history_baskets[window], queries.history_items[window], len(queries)
            )
        starts = np.where(queries.users < 0, 0, vectors.offsets[queries.users])
        ends = np.where(queries.users < 0, 0, vectors.offsets[queries.users + 1])
        counts = ends - starts
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        window = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        return UserVectors(
            offsets,
            vectors.items[window],
            vectors.values[window],
            vectors.own[window],
            vectors.neighbour[window],
        )

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[CodeArray, FloatArray]:
        """Recommend item numbers; see `Recommender.recommend_codes`."""
        lists, scores = in_blocks(self._asking(queries, k), _QUERIES_PER_TASK, threads)
        return lists, scores

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> FloatArray:
        """Score every item; see `Recommender.score_codes`."""
        (scores,) = in_blocks(self._asking(queries, None), _QUERIES_PER_TASK, threads)
        return scores

    def _asking(self, queries: Queries, length: int | None) -> _Asking:
        own, users = self.query_vectors(queries), queries.arrays.users
        euclidean = self.similarity == "euclidean"
        k = min(self.k, self.train_.n_sources)
        return _Asking(len(queries), self.index_, own, users, self.n_items, euclidean, k, length)


@dataclass(frozen=True)
class _Asking(RowsJob):
    """Lists of `length` items with their scores, or without one the scores of all items."""

    index: UserIndex
    own: UserVectors
    users: CodeArray
    n_items: int
    is_euclidean: bool
    k: int
    length: int | None

    def rows(self, start: int, stop: int) -> Rows:
        """See `RowsJob`."""
        own = self.own._replace(offsets=self.own.offsets[start : stop + 1])
        users = self.users[start:stop]
        given = own, users, self.is_euclidean, self.k, self.index, 1.0 / FIXED_POINT
        if self.length is not None:
            lists: Rows = kernels.tifu_recommend(*given, self.length)
            return lists
        scores = np.zeros((len(users), self.n_items))
        kernels.tifu_score_all(*given, scores)
        return (scores,)
