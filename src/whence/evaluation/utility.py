"""A metric as arrays, for kernels that say what a list is worth without a call of Python."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from whence.data import Vocabulary
from whence.evaluation._modes import MODES
from whence.evaluation.metrics import Metric
from whence.evaluation.queries import Queries


class Utility(NamedTuple):
    """What the lists of some queries are worth.

    The value of a list is ``rank_factors[q]`` times its ranking part and ``sustainable_factor``
    times its share of sustainable items.

    Attributes
    ----------
    mode : int
        How ranks become the ranking part, one of `_modes`.
    length : int
        K: items of a list.
    first_only : bool
        Whether only the first target counts.
    gains : float64 (K + 1,)
        Gain of a hit by rank.
    rank_factors : float64 (Q,)
    sustainable_factor : float
    sustainable : uint8 (n_items,)
        Whether an item is sustainable.
    """

    mode: int
    length: int
    first_only: bool
    gains: npt.NDArray[np.float64]
    rank_factors: npt.NDArray[np.float64]
    sustainable_factor: float
    sustainable: npt.NDArray[np.uint8]


def utility_of(metric: Metric, queries: Queries, vocabulary: Vocabulary) -> Utility:
    """Return a metric of lists, but no Python function, as arrays.

    Parameters
    ----------
    metric : Metric
    queries : Queries
    vocabulary : Vocabulary
        Of the training data.

    Raises
    ------
    MetricError
        If none of the metric's sustainable items occurs in the training data.
    """
    metric = metric.for_kind(queries.kind)
    return Utility(
        mode=MODES[metric.mode],
        length=min(metric.k, len(vocabulary.items)),
        first_only=metric.first_only,
        gains=metric.gains(),
        rank_factors=metric.rank_weight * metric.scale(queries.count_distinct_targets()),
        sustainable_factor=metric.sustainability_weight if metric.needs_sustainable_items else 0.0,
        sustainable=metric.sustainable_codes(vocabulary).astype(np.uint8),
    )
