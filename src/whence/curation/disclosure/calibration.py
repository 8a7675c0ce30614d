"""From influences measured on a sample of outcomes to what to expect of them.

Influence is the slope of a validation loss at full disclosure. Two things make a strategy that
believes it to the letter do worse on new data than its sums promise. The validation data are few:
each influence is mostly chance, and choosing by it fits that chance. And losses are curved: the
slopes at an optimum add up to about nothing, though half of the data is much worse than all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

FACTORS = (0.02, 0.05, 0.1, 0.3, 1.0)
LAMS = (0.7, 1.5)
_TYPICAL = 3.0


@dataclass(frozen=True)
class Calibration:
    """Expected worth of interactions: ``worth + factor · clip(V - median, ± limit)``.

    Attributes
    ----------
    worth : float
        What an interaction is worth on average: the quality with all of them less that with a
        random half, retrained, over the number of the others.
    factor : float
        How much of an influence is to be believed: chosen by retraining with the influence on one
        half of the validation data and looking at the other, and raised for what all of them know
        better than a half (Spearman-Brown).
    median, limit : float
        Of the influences; the limit is three times the median distance from the median.
    """

    worth: float
    factor: float
    median: float
    limit: float

    @classmethod
    def of(cls, values: FloatArray, worth: float, factor: float) -> Calibration:
        """Calibration with the median and limit of some influences."""
        median = float(np.median(values))
        limit = _TYPICAL * float(np.median(np.abs(values - median)))
        return cls(worth, factor, median, limit)

    @staticmethod
    def factor_of_all(factor: float, first: FloatArray, second: FloatArray) -> float:
        """The factor for all validation data, given that for each half and their influences."""
        spread = float(first.std() * second.std())
        alike = float(((first - first.mean()) * (second - second.mean())).mean())
        correlation = min(max(alike / spread, 0.0), 1.0) if spread > 0 else 1.0
        return min(1.0, factor * 2.0 / (1.0 + correlation))

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expected worth, float64 [N], of interactions with these influences."""
        clipped = np.clip(values - self.median, -self.limit, self.limit)
        expected: FloatArray = self.worth + self.factor * clipped
        return expected
