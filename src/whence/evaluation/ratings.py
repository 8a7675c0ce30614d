"""Metrics of predicted ratings: ``rmse``, the root of the mean squared error, and ``mae``.

Both are over all rows of the validation data; the values per query are those over the rows of each
user, and their mean is not the value over all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, UnsupportedError
from whence.evaluation.queries import Unknown
from whence.evaluation.result import clustered_error

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RatingErrors:
    """Differences between predicted and given ratings.

    Attributes
    ----------
    errors : float64 [n_rows]
        Prediction minus rating.
    users : int64 [n_rows]
        Position of the row's user among the users asked, in their order in the validation data.
    """

    errors: FloatArray
    users: npt.NDArray[np.int64]

    def over_all(self, base: str) -> float:
        """``"rmse"`` or ``"mae"`` over all rows."""
        if base == "mae":
            return float(np.mean(np.abs(self.errors)))
        return float(np.sqrt(np.mean(self.errors**2)))

    def std_error(self, base: str) -> float | None:
        """Standard error of the value over all rows, with users taken as independent.

        That of ``"rmse"`` follows from that of the mean squared error by the delta method.
        """
        if base == "mae":
            return clustered_error(np.abs(self.errors), self.users)
        error, value = clustered_error(self.errors**2, self.users), self.over_all("rmse")
        return error if error is None or value == 0.0 else error / (2.0 * value)

    def per_user(self, base: str) -> FloatArray:
        """``"rmse"`` or ``"mae"`` over the rows of each user, float64 [number of users]."""
        parts = np.abs(self.errors) if base == "mae" else self.errors**2
        means = np.bincount(self.users, weights=parts) / np.bincount(self.users)
        return means if base == "mae" else np.sqrt(means)


def rating_errors(
    model: Any, data: Interactions, vocabulary: Vocabulary, unknown: Unknown
) -> RatingErrors:
    """Predict the rating of every row.

    Parameters
    ----------
    model : object
        With ``predict_codes(users, items)``, of numbers in the training data, -1 for what is
        unknown; or with ``predict(users, items)``, of ids.
    data : Interactions
        With a column of ratings.
    vocabulary : Vocabulary
        Of the training data.
    unknown : {"ignore", "drop"}
        Whether rows with items unknown to the training data are predicted, or left out.

    Raises
    ------
    DataError
        If there are no ratings, or no numbers in their column.
    UnsupportedError
        If the model predicts no ratings, or not one number for each row.
    """
    ratings = _ratings(data)
    items = vocabulary.item_codes(data.vocabulary.items)[data.item_codes].astype(np.int32)
    sources = data.source_codes
    kept = np.flatnonzero(items >= 0) if unknown == "drop" else np.arange(len(items))
    if not len(kept):
        raise DataError(
            "No rating is left to predict: none of the items of the validation data is known to "
            "the training data; check that both use the same ids."
        )
    sources, items, ratings = sources[kept], items[kept], ratings[kept]
    predicted = _predictions(model, data, vocabulary, sources, items, kept)
    users = np.unique(sources, return_inverse=True)[1]
    return RatingErrors(predicted - ratings, users.astype(np.int64))


def _ratings(data: Interactions) -> FloatArray:
    """Ratings in canonical order."""
    name = data.columns.rating
    if name is None:
        raise DataError(
            "rmse and mae need ratings, but the validation data has no column of them; name it "
            "with Interactions.from_frame(table, rating=…)."
        )
    column = data.frame[name]
    if not column.dtype.is_numeric():
        raise DataError(
            f"Column {name!r} holds {column.dtype}, which cannot be ratings; cast it to numbers."
        )
    ratings = column.to_numpy().astype(np.float64)[data.rows]
    if not np.isfinite(ratings).all():
        raise DataError(
            f"Column {name!r} has {int((~np.isfinite(ratings)).sum())} ratings that are missing or "
            "not finite; drop those rows."
        )
    return ratings


def _predictions(
    model: Any,
    data: Interactions,
    vocabulary: Vocabulary,
    sources: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    kept: npt.NDArray[np.int64],
) -> FloatArray:
    name = type(model).__name__
    if callable(getattr(model, "predict_codes", None)):
        users = vocabulary.source_codes(data.vocabulary.sources)[sources].astype(np.int32)
        result = model.predict_codes(users, items)
    elif callable(getattr(model, "predict", None)):
        rows = data.rows[kept]
        result = model.predict(
            data.frame[data.columns.source].gather(rows).to_list(),
            data.frame[data.columns.item].gather(rows).to_list(),
        )
    else:
        raise UnsupportedError(
            f"{name} predicts no ratings, which rmse and mae are of; evaluate a model such as "
            "BiasedMF, or a ranking metric such as 'ndcg@10'."
        )
    try:
        predicted = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        predicted = np.empty(0)
    if predicted.shape != items.shape:
        raise UnsupportedError(
            f"{name} must predict one number for each of the {len(items)} pairs of user and item; "
            f"it gave an array of shape {predicted.shape}."
        )
    if np.isnan(predicted).any():
        raise DataError(
            f"{name} predicted a rating that is not a number (NaN); fit it again, with a lower "
            "learning rate if it has one."
        )
    return predicted
