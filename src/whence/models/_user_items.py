"""The user-item matrix, and which of its entries may be recommended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whence.data import Interactions
from whence.errors import ColumnError, DataError


def confidences(train: Interactions, use_ratings: bool = False) -> sparse.csr_matrix:
    """How strongly each source has shown that it wants each item.

    Parameters
    ----------
    train : Interactions
    use_ratings : bool
        Add up the ratings of a source's rows of an item, instead of counting the rows.

    Returns
    -------
    csr_matrix of float32, shape (n_sources, n_items)
        0 where there is no row. A matrix, not an array, as other libraries expect.

    Raises
    ------
    ColumnError
        If ratings are wanted and there are none.
    DataError
        If a rating is not above 0.
    """
    values = _ratings(train) if use_ratings else np.ones(train.n_rows, dtype=np.float32)
    rows = train.source_codes.astype(np.int64)
    shape = (train.n_sources, train.n_items)
    matrix = sparse.csr_matrix((values, (rows, train.item_codes)), shape=shape, dtype=np.float32)
    matrix.sort_indices()
    return matrix


def _ratings(train: Interactions) -> npt.NDArray[np.float32]:
    """Ratings in canonical order."""
    name = train.columns.rating
    if name is None:
        raise ColumnError(
            "use_ratings=True needs a rating column and these data have none; name it with "
            "rating='...', or leave use_ratings out."
        )
    ratings = train.frame[name].gather(train.rows)
    if not ratings.dtype.is_numeric():
        raise DataError(f"Column {name!r} has ratings of type {ratings.dtype}; cast it to numbers.")
    values = ratings.cast(float).fill_null(np.nan).to_numpy()
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise DataError(
            f"Column {name!r} has the rating {ratings[int(wrong[0])]}, but a confidence must be a "
            "number above 0; drop those rows, shift the scale, or leave use_ratings out."
        )
    return values.astype(np.float32)


def has_rows(train: Interactions) -> npt.NDArray[np.bool_]:
    """Items that the training data say anything about, bool [n_items]."""
    return np.bincount(train.item_codes, minlength=train.n_items) > 0


def close(
    scores: npt.NDArray[np.floating],
    history: sparse.csr_array,
    learned: npt.NDArray[np.bool_],
    exclude_seen: bool,
) -> None:
    """Set to minus infinity, in place, the scores of what must not be recommended.

    Parameters
    ----------
    scores : float32 or float64 [Q, n_items]
    history : csr_array [Q, n_items]
        Nonzero where the item is in the history; a query without any gets nothing.
    learned : bool [n_items]
        Items that were in the training data; those whose rows are gone are never recommended.
    exclude_seen : bool
        Close the items of the history too.
    """
    scores[:, ~learned] = -np.inf
    scores[np.diff(history.indptr) == 0] = -np.inf
    if exclude_seen:
        scores[history.nonzero()] = -np.inf
