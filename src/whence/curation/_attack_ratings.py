"""Ratings of planted profiles: on the scale of the real ones, and distributed as they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import DataError

_LEVELS = 100
"""A rating with no more distinct values than this is one of steps."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class ScaleOfRatings:
    """The scale of the ratings, and how real ones are distributed.

    Parameters
    ----------
    data : Interactions
    name : str
        Of the column.
    """

    def __init__(self, data: Interactions, name: str) -> None:
        column = data.frame[name]
        if not column.dtype.is_numeric() or column.null_count() or column.is_nan().any():
            raise DataError(
                f"The rating column {name!r} has a value that is no number, so that planted "
                "ratings have no scale; drop such rows."
            )
        self.name, self.dtype = name, column.dtype
        values = column.cast(pl.Float64).to_numpy()[data.rows]
        self.levels = np.unique(values)
        self.mean, self.deviation = float(values.mean()), float(values.std())
        counts = np.maximum(np.bincount(data.item_codes, minlength=data.n_items), 1)
        sums = np.bincount(data.item_codes, weights=values, minlength=data.n_items)
        squares = np.bincount(data.item_codes, weights=values**2, minlength=data.n_items)
        self.means = sums / counts
        self.deviations = np.sqrt(np.maximum(squares / counts - self.means**2, 0.0))

    def extreme(self, *, high: bool) -> float:
        """The highest or lowest rating of the scale."""
        return float(self.levels[-1 if high else 0])

    def drawn(self, items: IntArray | None, n: int, generator: np.random.Generator) -> FloatArray:
        """Ratings around the mean of all, or of each item, on the scale."""
        means = self.mean if items is None else self.means[items]
        deviations = self.deviation if items is None else self.deviations[items]
        values = np.clip(generator.normal(means, deviations, n), self.levels[0], self.levels[-1])
        if len(self.levels) > _LEVELS:
            return values
        nearest = np.abs(values[:, None] - self.levels).argmin(axis=1)
        found: FloatArray = self.levels[nearest]
        return found

    def column(self, values: FloatArray) -> pl.Series:
        """The ratings as the table has them."""
        return pl.Series(self.name, values).cast(self.dtype)
