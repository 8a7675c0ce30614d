"""Metrics in which a hit counts by the rating of the item: graded ``dcg`` and ``ndcg``.

The gain of a hit is its rating, linearly: DCG@K = Σ_{r ≤ K} rating(r) / log2(r + 1), and NDCG@K is
DCG@K over that of the targets in the order of their ratings, 0 where all ratings are 0 (Järvelin
and Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, TOIS 20(4), 2002). An item that
is not among the targets counts 0, and of several ratings of an item the latest counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.data import Interactions
from whence.errors import DataError
from whence.evaluation.metrics import Metric
from whence.evaluation.queries import Queries

FloatArray = npt.NDArray[np.float64]


def target_ratings(data: Interactions, queries: Queries) -> FloatArray:
    """Rating of each of the ``target_items`` of queries.

    Parameters
    ----------
    data : Interactions
        What the queries were made of.
    queries : Queries

    Returns
    -------
    float64 [n]

    Raises
    ------
    DataError
        If there is no column of ratings, or one is missing, not finite or below 0.
    """
    name = data.columns.rating
    if name is None:
        raise DataError(
            "gain='rating' needs ratings, but the validation data has no column of them; name it "
            "with rating=…, or leave gain out."
        )
    column = data.frame[name]
    if not column.dtype.is_numeric():
        raise DataError(
            f"Column {name!r} holds {column.dtype}, which cannot be ratings; cast it to numbers."
        )
    assert queries.target_rows is not None
    ratings = column.cast(float).fill_null(np.nan).to_numpy()[queries.target_rows]
    wrong = ~(np.isfinite(ratings) & (ratings >= 0.0))
    if wrong.any():
        raise DataError(
            f"Column {name!r} has {int(wrong.sum())} ratings that are missing, not finite or below "
            "0, which cannot be gains; drop those rows or shift the scale."
        )
    return ratings.astype(np.float64)


def graded_values(
    metric: Metric, lists: npt.NDArray[np.int32], queries: Queries, ratings: FloatArray
) -> FloatArray:
    """Value of each query.

    Parameters
    ----------
    metric : Metric
        ``dcg`` or ``ndcg``.
    lists : int32 [Q, >= K]
        As for `whence.evaluation.metrics.values_from_lists`.
    queries : Queries
    ratings : float64 [n]
        Of each of ``queries.target_items``.

    Returns
    -------
    float64 [Q]
    """
    lists = np.ascontiguousarray(lists[:, : metric.k], dtype=np.int32)
    given = queries.arrays
    items = given.target_items
    values, best = kernels.graded_values(
        lists,
        items,
        np.ascontiguousarray(ratings, dtype=np.float64),
        given.target_start,
        given.target_end,
        int(min(items.min(initial=0), 0)),
        int(max(items.max(initial=0), lists.max(initial=0))),
        metric.gains(),
    )
    if metric.base == "dcg":
        return np.asarray(values)
    shares: FloatArray = np.divide(values, best, out=np.zeros_like(values), where=best > 0.0)
    return shares
