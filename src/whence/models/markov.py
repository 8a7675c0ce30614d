"""MarkovChain: what usually follows the last item."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whence import _native as kernels
from whence.data import Interactions, Sequences
from whence.engines import Run
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows, last_items
from whence.models.base import Recommender
from whence.parameters import NonNegative, field

FloatArray = npt.NDArray[np.float64]
CodeArray = npt.NDArray[np.int32]

_BLOCK = 1024


class MarkovChain(Recommender, name="markov"):
    """Recommend what most often came right after the last item.

    A first-order Markov chain over items: with n_ij the number of times that item j came right
    after item i in a training session (or in the rows of a user, in order of time), n_i their sum
    over j, and p_j the share of item j in all training rows, the score of j after i is

        P(j | i) = (n_ij + smoothing · p_j) / (n_i + smoothing).

    Without smoothing that is the maximum likelihood estimate, and only items that have followed
    the last one are recommended: after an item that nothing has followed, none. With smoothing
    the estimate backs off to popularity: it is the posterior mean under a Dirichlet prior worth
    `smoothing` transitions, so that up to 1.0 every item that has followed comes before all
    that have not, and popular items fill the rest of the list.

    Parameters
    ----------
    smoothing : float, default 0.0
        Weight of popularity, in transitions; 0 for no back-off.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.

    Attributes
    ----------
    transitions_ : scipy.sparse.csr_array of float64, shape (n_items, n_items)
        n_ij: how often item j came right after item i.
    popularity_ : ndarray of float64, shape (n_items,)
        p_j: share of each item in the training rows.

    References
    ----------
    -  Rendle, Freudenthaler and Schmidt-Thieme. Factorizing personalized Markov chains for
       next-basket recommendation. WWW 2010: the chain without factors, their MC.
    -  MacKay and Peto. A hierarchical Dirichlet language model. Natural Language Engineering
       1(3), 1995.

    Examples
    --------
    >>> import polars as pl
    >>> clicks = pl.DataFrame({"session": [1, 1, 1, 2, 2], "item": ["a", "b", "c", "b", "a"]})
    >>> items, scores = MarkovChain().fit(clicks).recommend(["b"], k=3)
    >>> items.tolist(), scores.tolist()
    (['a', 'c'], [0.5, 0.5])
    """

    kinds = ("sessions",)

    smoothing: NonNegative = 0.0
    exclude_seen: bool | None = None

    transitions_: sparse.csr_array = field(init=False)
    popularity_: FloatArray = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        counts = np.bincount(train.item_codes, minlength=train.n_items)
        self._count(transitions_of(train.sequences, train.n_items), counts.astype(np.int64))

    def _count(self, transitions: sparse.csr_array, counts: npt.NDArray[np.int64]) -> None:
        """Take the numbers of transitions [n_items, n_items] and of rows [n_items]."""
        self.transitions_ = transitions
        self._counts = counts
        self.popularity_ = counts / max(int(counts.sum()), 1)
        # n_i, as a row per item: the divisor of the scores after it.
        self._totals = np.asarray(self.transitions_.sum(axis=1), dtype=np.float64)
        order = np.argsort(-counts, kind="stable")
        self._ranking = order[counts[order] > 0].astype(np.int32)

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> FloatArray:
        """Score every item for every query, float64 [Q, n_items]; see `Recommender`."""
        self._check_fitted()
        last = last_items(queries)
        scores: FloatArray = self._after(last).toarray()
        if self.smoothing > 0.0:
            scores += self.smoothing * self.popularity_
        scores /= self._divisors(last)[:, None]
        scores[last < 0] = 0.0
        if self._leaves_out_seen(queries):
            scores[history_rows(queries, self.train_).nonzero()] = 0.0
        return scores

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[CodeArray, FloatArray]:
        """Recommend item numbers, int32 and float64 [Q, k]; see `Recommender`."""
        self._check_fitted()
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.zeros((len(queries), k))
        for start in range(0, len(queries), _BLOCK):
            part = queries.block(start, start + _BLOCK)
            rows = slice(start, start + len(part))
            lists[rows], scores[rows] = self._best(part, k)
        return lists, scores

    def _best(self, queries: Queries, k: int) -> tuple[CodeArray, FloatArray]:
        """Lists without a score for every item."""
        last = last_items(queries)
        counts = self._after(last)
        divisors = np.repeat(self._divisors(last), np.diff(counts.indptr))
        added = self.smoothing * self.popularity_[counts.indices] if self.smoothing > 0.0 else 0.0
        values = sparse.csr_array(
            ((counts.data + added) / divisors, counts.indices, counts.indptr), shape=counts.shape
        )
        closed = sparse.csr_array(counts.shape)
        if self._leaves_out_seen(queries):
            closed = history_rows(queries, self.train_)
            # Exactly 0, and so below the floor.
            values = sparse.csr_array(values - values.multiply(closed))
        lists, scores = kernels.top_of_rows(
            values.indptr.astype(np.int64),
            values.indices.astype(np.int32),
            values.data,
            np.full(len(queries), -1, dtype=np.int32),
            k,
        )
        if self.smoothing == 0.0:
            return lists, scores
        return _merge(lists, scores, *self._popular(last, closed + counts, k), k)

    def _popular(
        self, last: CodeArray, taken: sparse.csr_array, k: int
    ) -> tuple[CodeArray, FloatArray]:
        """The k most popular items that have not followed and are not closed."""
        longest = int(np.diff(taken.indptr).max(initial=0))
        best = self._ranking[: k + longest]
        allowed = taken[:, best].toarray() == 0.0
        allowed[last < 0] = False
        place = np.cumsum(allowed, axis=1) - 1
        row, column = np.nonzero(allowed & (place < k))
        lists = np.full((len(last), k), -1, dtype=np.int32)
        scores = np.zeros((len(last), k))
        lists[row, place[row, column]] = best[column]
        weights = self.smoothing * self.popularity_[best[column]]
        scores[row, place[row, column]] = weights / self._divisors(last)[row]
        return lists, scores

    def _after(self, last: CodeArray) -> sparse.csr_array:
        """Transitions from the last item of each query; none from -1."""
        rows = sparse.csr_array(self.transitions_[np.maximum(last, 0)])
        rows.data = rows.data.copy()
        rows.data[np.repeat(last < 0, np.diff(rows.indptr))] = 0.0
        rows.eliminate_zeros()
        return rows

    def _divisors(self, last: CodeArray) -> FloatArray:
        """n_i + smoothing, or 1 where that is 0 and so is what it divides."""
        divisors = self._totals[np.maximum(last, 0)] + self.smoothing
        return np.where(divisors > 0.0, divisors, 1.0)


def transitions_of(sequences: Sequences, n_items: int) -> sparse.csr_array:
    """How often each item came right after each other one, float64 [n_items, n_items]."""
    offsets, items = sequences.offsets, sequences.items
    follows = np.ones(len(items), dtype=bool)
    follows[offsets[:-1][np.diff(offsets) > 0]] = False
    after = np.flatnonzero(follows)
    transitions = sparse.csr_array(
        (np.ones(len(after)), (items[after - 1], items[after])), shape=(n_items, n_items)
    )
    transitions.sort_indices()
    return transitions


def _merge(
    lists: CodeArray, scores: FloatArray, others: CodeArray, other_scores: FloatArray, k: int
) -> tuple[CodeArray, FloatArray]:
    """The k best of two lists per row, by (score descending, item number)."""
    items = np.concatenate([lists, others], axis=1)
    values = np.concatenate([scores, other_scores], axis=1)
    order = np.lexsort((items, -values), axis=1)[:, :k]
    return np.take_along_axis(items, order, axis=1), np.take_along_axis(values, order, axis=1)
