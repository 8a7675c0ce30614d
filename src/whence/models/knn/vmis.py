"""VMIS-kNN: next items from the most similar of the most recent sessions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.data import Interactions
from whence.data._numbering import ROWS_AT_A_TIME, sorted_distinct
from whence.engines import Run
from whence.errors import DataWarning
from whence.evaluation.queries import Queries
from whence.models._blocks import Rows, RowsJob, in_blocks
from whence.models.base import CodeArray, FloatArray, Recommender
from whence.parameters import PositiveInt, field

_QUERIES_PER_TASK = 512


class SessionIndex(NamedTuple):
    """Sessions and their items, from both sides, sessions by *position* (0: most recent).

    Attributes
    ----------
    source_of : ndarray of int32, shape (positions,)
        Session number at each position.
    session_offsets, session_items : ndarray
        Distinct items of each session (ascending).
    posting_offsets, postings : ndarray
        Positions of the sessions with each item (ascending, most recent first).
    idf : ndarray of float64, shape (n_items,)
        ln(sessions / sessions with the item), of the data that gave the numbering.
    """

    source_of: npt.NDArray[np.int32]
    session_offsets: npt.NDArray[np.int64]
    session_items: npt.NDArray[np.int32]
    posting_offsets: npt.NDArray[np.int64]
    postings: npt.NDArray[np.int32]
    idf: FloatArray

    @property
    def n_items(self) -> int:
        """Number of items in the numbering."""
        return len(self.posting_offsets) - 1


def index_sessions(train: Interactions) -> SessionIndex:
    """Index sessions for candidate search."""
    present = np.flatnonzero(train.recency >= 0)
    source_of = present[np.argsort(train.recency[present])[::-1]].astype(np.int32)
    position_of = np.full(train.n_sources, -1, dtype=np.int64)
    position_of[source_of] = np.arange(len(source_of))

    # One array of a number for each row is all that is held beside the result, or two for a while.
    keys = np.empty(train.n_rows, dtype=np.int64)
    for start in range(0, train.n_rows, ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        keys[part] = position_of[train.source_codes[part]]
        keys[part] *= train.n_items
        keys[part] += train.item_codes[part]
    keys = sorted_distinct(keys, in_place=True)
    positions = keys // max(train.n_items, 1)
    np.remainder(keys, max(train.n_items, 1), out=keys)
    session_items = keys.astype(np.int32)
    frequency = np.bincount(keys, minlength=train.n_items)
    lengths = np.bincount(positions, minlength=len(source_of))
    keys *= len(source_of)
    keys += positions
    del positions
    keys.sort()  # by item, then by position; a third of a stable argsort
    np.remainder(keys, max(len(source_of), 1), out=keys)
    return SessionIndex(
        source_of=source_of,
        session_offsets=offsets_of(lengths),
        session_items=session_items,
        posting_offsets=offsets_of(frequency),
        postings=keys.astype(np.int32),
        idf=idf_of(frequency, len(source_of)),
    )


def idf_of(frequency: npt.NDArray[np.integer[Any]], n_sessions: int) -> FloatArray:
    """ln(sessions / sessions with the item), float64 [n_items], from the latter numbers."""
    idf: FloatArray = np.log(max(n_sessions, 1) / np.maximum(frequency, 1))
    return idf


def offsets_of(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each of several lists of these lengths begins, and the end, int64 [n + 1]."""
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


class VMISKNN(Recommender, name="vmis"):
    """Vector-multiplication indexed session kNN.

    For a query q with U distinct items, an item whose last occurrence lies r events before the
    end weighs ``(len(q) - r) / U``. Of the `m` most recent sessions that share an item with q,
    the `k` with the largest sum of shared weights are the neighbours; each gives its items
    ``0.1 * (10 - p) * similarity``, p being the place from the end of the most recent shared item
    (nothing beyond the ninth). All weights of a query are integers over a common denominator, so
    ties are exact. The last item of the query is never recommended.

    Parameters
    ----------
    k : int
        Number of neighbours.
    m : int
        Number of most recent matching sessions among which they are sought; with fewer than `k`
        all of them are neighbours, with a warning.
    idf : bool
        Multiply an item's score by ln(sessions / sessions with the item).

    Attributes
    ----------
    train_ : Interactions
        What it was fitted on.
    index_ : SessionIndex
        Inverted index of the sessions.

    References
    ----------
    Kersbergen, Sprangers, Schelter: Serenade - Low-Latency Session-Based Recommendation in
    e-Commerce at Scale. SIGMOD 2022.

    Examples
    --------
    >>> import polars as pl, whence
    >>> clicks = pl.DataFrame({"session_id": [1, 1, 2, 2, 2], "item_id": list("abbca"),
    ...                        "timestamp": [1, 2, 3, 4, 5]})
    >>> model = whence.VMISKNN(k=2, m=2).fit(clicks)
    >>> model.recommend(["b"], k=2)[0].tolist()
    ['a', 'c']
    """

    kinds = ("sessions",)

    k: PositiveInt = 100
    m: PositiveInt = 500
    idf: bool = False

    index_: SessionIndex = field(init=False)

    def _check_params(self) -> None:
        super()._check_params()
        if self.k > self.m:
            warnings.warn(
                f"k ({self.k} neighbours) is larger than m ({self.m} candidate sessions), so that "
                "all candidates are neighbours.",
                DataWarning,
                stacklevel=3,
            )

    @property
    def limits(self) -> tuple[int, int]:
        """The greatest numbers of neighbours and of candidates of a query."""
        m = min(self.m, max(1, len(self.index_.source_of)))
        return min(self.k, m), m

    def _fit(self, train: Interactions, run: Run) -> None:
        self.index_ = index_sessions(train)

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
        k, m = self.limits
        return _Asking(len(queries), self.index_, queries, self.idf, m, k, length)


@dataclass(frozen=True)
class _Asking(RowsJob):
    """Lists of `length` items with their scores, or without one the scores of all items."""

    index: SessionIndex
    queries: Queries
    idf: bool
    m: int
    k: int
    length: int | None

    def rows(self, start: int, stop: int) -> Rows:
        """See `RowsJob`."""
        queries = self.queries.block(start, stop).arrays
        given = queries, self.index, self.idf, self.m, self.k
        if self.length is not None:
            lists: Rows = kernels.vmis_recommend(*given, self.length)
            return lists
        scores = np.zeros((stop - start, self.index.n_items))
        kernels.vmis_score_all(*given, scores)
        return (scores,)
