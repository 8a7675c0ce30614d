"""The most popular items, for everybody: the baseline that every recommender must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from whence.data import Interactions
from whence.engines import Run
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows
from whence.models.base import Recommender
from whence.parameters import field

if TYPE_CHECKING:
    from scipy import sparse

_BLOCK = 1024


class Popularity(Recommender, name="popularity", aliases=("pop",)):
    """Recommend the items with the most interactions in the training data.

    The score of an item is its number of interactions (rows), the same for every query. Somebody
    of whom nothing is known is recommended the most popular items, too. In an evaluation, as for
    every model, a query without a known item, and a user without history, gets an empty list.

    Parameters
    ----------
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.

    Attributes
    ----------
    counts_ : ndarray of int64, shape (n_items,)
        Number of interactions of each item.

    Examples
    --------
    >>> import polars as pl
    >>> clicks = pl.DataFrame({"session": [1, 1, 2, 2, 3], "item": ["a", "b", "b", "c", "b"]})
    >>> items, scores = Popularity().fit(clicks).recommend(["c"], k=2)
    >>> items.tolist(), scores.tolist()
    (['b', 'a'], [3.0, 1.0])
    """

    exclude_seen: bool | None = None

    counts_: npt.NDArray[np.int64] = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        self._count(np.bincount(train.item_codes, minlength=train.n_items).astype(np.int64))

    def _count(self, counts: npt.NDArray[np.int64]) -> None:
        """Take the numbers of interactions, int64 [n_items]."""
        self.counts_ = counts
        order = np.argsort(-self.counts_, kind="stable")
        self._ranking = order[self.counts_[order] > 0].astype(np.int32)

    def _answered(self, queries: Queries, history: sparse.csr_array) -> npt.NDArray[np.bool_]:
        """Which queries get a list, bool [Q]: in an evaluation, which has targets, the known."""
        known: npt.NDArray[np.bool_] = np.diff(history.indptr) > 0
        return known if len(queries.target_items) else np.ones_like(known)

    def score_codes(
        self, queries: Queries, *, threads: int | None = None
    ) -> npt.NDArray[np.float64]:
        """Score every item for every query, float64 [Q, n_items]; see `Recommender`."""
        self._check_fitted()
        history = history_rows(queries, self.train_)
        scores = np.zeros(history.shape)
        scores[self._answered(queries, history)] = self.counts_
        if self._leaves_out_seen(queries):
            scores[history.nonzero()] = 0.0
        return scores

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Recommend item numbers, int32 and float64 [Q, k]; see `Recommender`."""
        self._check_fitted()
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        for start in range(0, len(queries), _BLOCK):
            block = queries.block(start, start + _BLOCK)
            history = history_rows(block, self.train_)
            lengths = np.diff(history.indptr)
            excluded = self._leaves_out_seen(block)
            seen = int(lengths.max(initial=0)) if excluded else 0
            # However many of them a query has seen, k are left of the first k + seen.
            best = self._ranking[: k + seen]
            answered = self._answered(block, history)
            allowed = np.repeat(answered[:, None], len(best), axis=1)
            if excluded:
                allowed &= history[:, best].toarray() == 0.0
            place = np.cumsum(allowed, axis=1) - 1
            row, column = np.nonzero(allowed & (place < k))
            lists[start + row, place[row, column]] = best[column]
        return lists, np.where(lists >= 0, self.counts_[lists], 0).astype(np.float64)
