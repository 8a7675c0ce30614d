"""EASE: a linear model of each item by all others, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from whence.data import Interactions
from whence.engines import Job, Run, run
from whence.errors import DataError
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows, incidence
from whence.models._user_items import close, has_rows
from whence.models.base import Recommender, restored
from whence.parameters import Positive, PositiveInt, field

FloatArray = npt.NDArray[np.float64]

_ITEMS_PER_BLOCK = 1024
_ITEMS_PER_TASK = 64


class EASE(Recommender, name="ease"):
    """Embarrassingly shallow autoencoder: each item is predicted from all the others.

    With the binary matrix X of sources (sessions or users) and items, the weights B minimise
    ‖X - X B‖² + l2 ‖B‖² among the matrices with a zero diagonal, so that no item predicts itself.
    With P = (XᵀX + l2 I)⁻¹ they are B_ij = -P_ij / P_jj. The score of item j is the sum of B_ij
    over the distinct items i of the history, whoever has it: a history never seen is as good as
    one of the training data.

    Parameters
    ----------
    l2 : float, default 250.0
        Weight of the penalty, above 0; in numbers of sources, as XᵀX counts them.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.
    max_items : int, default 20000
        Refuse a larger catalogue: memory is 8 bytes times the square of the number of items
        (3.2 GB for 20,000), and time grows with its cube.

    Attributes
    ----------
    weights_ : ndarray of float64, shape (n_items, n_items)
        B. Row and column of an item without training rows are 0.

    References
    ----------
    Steck. Embarrassingly shallow autoencoders for sparse data. WWW 2019.

    Examples
    --------
    >>> import polars as pl
    >>> clicks = pl.DataFrame({"session": [1, 1, 2, 2, 3], "item": ["a", "b", "b", "c", "b"]})
    >>> items, scores = EASE(l2=1.0).fit(clicks).recommend(["a"], k=2)
    >>> items.tolist(), scores.round(3).tolist()
    (['b', 'a'], [0.5, 0.0])
    """

    floor = -np.inf
    levels = frozenset({"score", "refit", "structured"})

    l2: Positive = 250.0
    exclude_seen: bool | None = None
    max_items: PositiveInt = 20_000

    weights_: FloatArray = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        if train.n_items > self.max_items:
            raise DataError(
                f"EASE on {train.n_items:,} items needs {train.n_items**2 * 8e-9:.1f} GB for its "
                f"weights between items, and max_items is {self.max_items:,}; drop rare items, "
                "choose ItemKNN or ALS, or raise max_items."
            )
        self._learned = has_rows(train)
        self.weights_, self._diagonal = _weights(incidence(train), self.l2)

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {"weights": self.weights_, "diagonal": self._diagonal}

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._learned = has_rows(self.train_)
        self.weights_ = restored(state, "weights", (self.n_items, self.n_items))
        if "diagonal" in state:
            self._diagonal = restored(state, "diagonal", (self.n_items,))
        else:  # a file of version 0.1
            self._diagonal = _diagonal_of(self.weights_, incidence(self.train_), self.l2)

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> FloatArray:
        """Score every item for every query, float64 [Q, n_items]; see `Recommender`."""
        self._check_fitted()
        history = history_rows(queries, self.train_)
        # With few items in the histories a narrow copy of all weights is not worth its while.
        width = _ITEMS_PER_TASK if history.nnz > self.n_items else self.n_items
        columns = [(one, min(one + width, self.n_items)) for one in range(0, self.n_items, width)]
        scores = run(_Products(history, self.weights_), columns, Run(threads=threads))
        close(scores, history, self._learned, self._leaves_out_seen(queries))
        return scores


@dataclass(frozen=True)
class _Products(Job[tuple[int, int], tuple[int, FloatArray], FloatArray]):
    """Histories [Q, n_items] times weights [n_items, n_items], columns by columns."""

    history: sparse.csr_array
    weights: FloatArray

    def run(self, shard: tuple[int, int]) -> tuple[int, FloatArray]:
        # Sparse times dense adds the items of a history in their order, so that a score does
        # not depend on what else is asked; the few columns stay in the processor's cache.
        return shard[0], self.history @ np.ascontiguousarray(self.weights[:, slice(*shard)])

    def start(self) -> FloatArray:
        return np.empty(self.history.shape)

    def add(self, total: FloatArray, part: tuple[int, FloatArray]) -> FloatArray:
        first, columns = part
        if columns.shape == total.shape:
            return columns
        total[:, first : first + columns.shape[1]] = columns
        return total


def _weights(has: sparse.csr_array, l2: float) -> tuple[FloatArray, FloatArray]:
    """B of the class, and the diagonal of P, from the binary matrix of sources and items."""
    n_items = has.shape[1]
    items = sparse.csr_array(has.T)
    gram = np.empty((n_items, n_items))
    for start in range(0, n_items, _ITEMS_PER_BLOCK):
        rows = slice(start, start + _ITEMS_PER_BLOCK)
        gram[rows] = (items[rows] @ has).toarray()
    gram[np.diag_indices(n_items)] += l2
    inverse = _inverse(gram)
    return weights_of(inverse)


def weights_of(inverse: FloatArray) -> tuple[FloatArray, FloatArray]:
    """B and the diagonal of P, which is overwritten: it is the largest thing here."""
    diagonal = np.diag(inverse).copy()
    weights = inverse
    weights /= -diagonal
    np.fill_diagonal(weights, 0.0)
    return weights, diagonal


def _diagonal_of(weights: FloatArray, has: sparse.csr_array, l2: float) -> FloatArray:
    """The diagonal of P: that of (XᵀX + l2 I) P is 1, and the rest of a column of P is B's."""
    squares = np.asarray(has.sum(axis=0)) + l2
    common: FloatArray = np.asarray(has.multiply(has @ weights).sum(axis=0))
    diagonal: FloatArray = 1.0 / (squares - common)
    return diagonal


def _inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a positive definite matrix, which is overwritten: it is the largest thing here."""
    # In column order the same symmetric matrix; LAPACK then works in place.
    factor, failed = linalg.lapack.dpotrf(matrix.T, lower=0, overwrite_a=1)
    pivots = np.diag(factor) ** 2
    lost = np.finfo(np.float64).eps * len(pivots) * pivots.max()
    if failed or pivots.min() <= lost:
        raise DataError("The weights of EASE are lost in rounding errors; raise l2.")
    inverse, _ = linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)
    result: FloatArray = inverse.T
    for i in range(len(result)):
        result[i, i + 1 :] = result[i + 1 :, i]
    return result
