"""Metrics of what is recommended, whether it is wanted or not: coverage, Gini index, popularity.

============================ ======================================================================
``coverage@K``               share of the catalogue that is in at least one list
``gini@K``                   Σ_i (2i - n - 1) x_i / (n Σ_i x_i), where x_1 ≤ … ≤ x_n is how often
                             each of the n items is recommended: 0 if all alike, near 1 if only one
``averagepopularity@K``      mean over the queries of the mean number of training interactions of
                             the items in the list
============================ ======================================================================

The first two are of the lists of all queries together; their lists are cut at K items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CodeArray = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def coverage(lists: CodeArray, n_items: int, eligible: Mask | None = None) -> float:
    """Share of the catalogue that occurs in the lists.

    Parameters
    ----------
    lists : int32 [Q, K]
        Item numbers, padded with -1.
    n_items : int
    eligible : bool [n_items], optional
        The items that may be recommended, which are the catalogue then.
    """
    times = _times_recommended(lists, n_items, eligible)
    return float(np.count_nonzero(times) / len(times))


def gini(lists: CodeArray, n_items: int, eligible: Mask | None = None) -> float:
    """Gini index of how often each item of the catalogue is recommended; 0 if none is.

    Parameters
    ----------
    lists : int32 [Q, K]
        Item numbers, padded with -1.
    n_items : int
    eligible : bool [n_items], optional
        As for `coverage`.
    """
    times = np.sort(_times_recommended(lists, n_items, eligible))
    n_items, total = len(times), int(times.sum())
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(np.dot(weights, times) / (n_items * total))


def average_popularity(lists: CodeArray, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean popularity of the items of each list; 0 for an empty list.

    Parameters
    ----------
    lists : int32 [Q, K]
        Item numbers, padded with -1.
    counts : int64 [n_items]
        Number of interactions of each item.

    Returns
    -------
    float64 [Q]
    """
    inside = lists >= 0
    totals = np.where(inside, counts[lists], 0).sum(axis=1)
    return np.asarray(totals / np.maximum(inside.sum(axis=1), 1), dtype=np.float64)


def _times_recommended(
    lists: CodeArray, n_items: int, eligible: Mask | None
) -> npt.NDArray[np.int64]:
    times = np.bincount(lists[lists >= 0], minlength=n_items).astype(np.int64)
    return times if eligible is None else times[eligible]
