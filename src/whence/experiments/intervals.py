"""Intervals of differences that are paired by seed and by who asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whence.experiments.results import t_interval

FloatArray = npt.NDArray[np.float64]
_NORMAL = 1.959963984540054


def paired(
    name: str, sums: FloatArray, counts: npt.NDArray[np.int64], *, of_lists: bool = False
) -> dict[str, Any]:
    """Mean of a difference, and its 95% interval over seeds and over who asks.

    Parameters
    ----------
    name : str
        Of the columns: `name`, and with ``_low`` and ``_high``.
    sums : float64 [n_seeds, n_askers]
        Of the differences of the queries of each session or user.
    counts : int64 [n_askers]
        Number of queries of each.
    of_lists : bool
        Whether the metric is of all lists together, not of single queries: its interval is over
        seeds alone, and there is none with one seed.

    Notes
    -----
    There are two reasons why the mean could have been another: other seeds, and other sessions or
    users. The half width over seeds is by Student's t, that over who asks from the standard error
    of a mean over clusters, on the mean of the seeds. Both squares are added, which counts what
    belongs to a seed and an asker together twice, so that the interval is rather too wide.
    """
    queries = counts.sum()
    by_seed = sums.sum(axis=1) / queries
    value = float(by_seed.mean())
    low, high = t_interval(by_seed)
    over_seeds = 0.0 if low is None or high is None else (high - low) / 2
    mean, n = sums.mean(axis=0), len(counts)
    if of_lists or n < 2:
        return {name: value, f"{name}_low": low, f"{name}_high": high}
    residuals = mean - counts * value
    error = float(np.sqrt((residuals @ residuals) * n / (n - 1)) / queries)
    half = float(np.hypot(over_seeds, _NORMAL * error))
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
