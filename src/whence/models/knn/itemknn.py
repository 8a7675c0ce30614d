"""Item-based nearest neighbours: "those who have this also have that"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.data import Interactions
from whence.engines import Run
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows, incidence, last_items
from whence.models.base import Recommender
from whence.parameters import NonNegative, PositiveInt, field

if TYPE_CHECKING:
    from scipy import sparse

_BLOCK = 1024


class ItemKNN(Recommender, name="itemknn"):
    """Recommend the items most similar to those of the history.

    Items i and j are similar if the same sessions (or users) have both. With n_i of them having i,
    n_j having j and c having both, the similarity is

    - ``"cosine"``: c / √(n_i · n_j),
    - ``"jaccard"``: c / (n_i + n_j - c),
    - ``"cooccurrence"``: c,

    times c / (c + shrinkage), which discounts what rests on few sessions. Each item keeps its `k`
    most similar ones (ties by item number), and the score of an item is the sum of its similarities
    to the distinct items of the history that have it among their `k`. The last item of a session is
    never recommended; the items of a user's earlier baskets may be.

    Parameters
    ----------
    k : int, default 100
        Number of similar items kept per item.
    similarity : {"cosine", "jaccard", "cooccurrence"}, default "cosine"
        Similarity of two items.
    shrinkage : float, default 0.0
        Number of common sessions at which a similarity is halved; 0 for none.
    exclude_seen : bool, optional
        Leave out all items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.

    Attributes
    ----------
    similarities_ : scipy.sparse.csr_array of float64, shape (n_items, n_items)
        Row i holds the similarities of item i to its `k` most similar items.

    References
    ----------
    -  Sarwar, Karypis, Konstan and Riedl. Item-based collaborative filtering recommendation
       algorithms. WWW 2001.
    -  Linden, Smith and York. Amazon.com recommendations: item-to-item collaborative
       filtering. IEEE Internet Computing 7(1), 2003.

    Examples
    --------
    >>> import polars as pl
    >>> clicks = pl.DataFrame({"session": [1, 1, 2, 2, 3], "item": ["a", "b", "b", "c", "b"]})
    >>> items, scores = ItemKNN().fit(clicks).recommend(["a"], k=2)
    >>> items.tolist(), scores.round(3).tolist()
    (['b'], [0.577])
    """

    k: PositiveInt = 100
    similarity: Literal["cosine", "jaccard", "cooccurrence"] = "cosine"
    shrinkage: NonNegative = 0.0
    exclude_seen: bool | None = None

    similarities_: sparse.csr_array = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        from scipy import sparse  # here and below: it takes long to load

        has = incidence(train)
        self._counts = np.asarray(has.sum(axis=0), dtype=np.float64)
        items = sparse.csr_array(has.T)
        blocks = []
        # In blocks, so that only the similarities that are kept are ever held all at once.
        for start in range(0, train.n_items, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, train.n_items), dtype=np.int32)
            common = sparse.csr_array(items[start : start + _BLOCK] @ has)
            blocks.append(self._most_similar(self._similarities(common, numbers), numbers))
        self.similarities_ = sparse.csr_array(sparse.vstack(blocks, format="csr"))

    def _similarities(
        self, common: sparse.csr_array, numbers: npt.NDArray[np.int32]
    ) -> sparse.csr_array:
        """Similarities of some items to all, in place of their common counts [n, n_items]."""
        first = np.repeat(self._counts[numbers], np.diff(common.indptr))
        second = self._counts[common.indices]
        both = common.data
        if self.similarity == "cosine":
            values = both / np.sqrt(first * second)
        elif self.similarity == "jaccard":
            values = both / (first + second - both)
        else:
            values = both.copy()
        if self.shrinkage > 0.0:
            values *= both / (both + self.shrinkage)
        common.data = values
        return common

    def _most_similar(
        self, similar: sparse.csr_array, numbers: npt.NDArray[np.int32]
    ) -> sparse.csr_array:
        """The k largest similarities of each of some items, but to itself."""
        from scipy import sparse

        columns, kept = _top(similar, numbers, min(self.k, similar.shape[1]))
        inside = columns >= 0
        indptr = np.concatenate(([0], np.cumsum(inside.sum(axis=1))))
        rows = sparse.csr_array((kept[inside], columns[inside], indptr), shape=similar.shape)
        rows.sort_indices()
        return rows

    def _scores(self, queries: Queries) -> tuple[sparse.csr_array, npt.NDArray[np.int32]]:
        """Sparse scores [Q, n_items], and the item of each query that must not be recommended."""
        history = history_rows(queries, self.train_)
        if queries.kind == "baskets":
            excluded = np.full(len(queries), -1, dtype=np.int32)
        else:
            excluded = last_items(queries)
        sums = (history @ self.similarities_).tocsr()
        if self._leaves_out_seen(queries):
            sums = (sums - sums.multiply(history)).tocsr()
        return sums, excluded

    def score_codes(
        self, queries: Queries, *, threads: int | None = None
    ) -> npt.NDArray[np.float64]:
        """Score every item for every query, float64 [Q, n_items]; see `Recommender`."""
        self._check_fitted()
        sums, excluded = self._scores(queries)
        scores: npt.NDArray[np.float64] = sums.toarray()
        some = np.flatnonzero(excluded >= 0)
        scores[some, excluded[some]] = 0.0
        return scores

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Recommend item numbers, int32 and float64 [Q, k]; see `Recommender`."""
        self._check_fitted()
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.zeros((len(queries), k))
        for start in range(0, len(queries), _BLOCK):
            sums, excluded = self._scores(queries.block(start, start + _BLOCK))
            rows = slice(start, start + len(excluded))
            lists[rows], scores[rows] = _top(sums, excluded, k)
        return lists, scores


def _top(
    rows: sparse.csr_array, excluded: npt.NDArray[np.int32], k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    columns, values = kernels.top_of_rows(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, excluded, k
    )
    return columns, values
