"""How far values measured again would agree with those at hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def reliability(by_run: npt.NDArray[np.float64]) -> float | None:
    """How far the mean over runs would agree with that of other runs; None for one run.

    The correlation of the means of both halves of the runs, stepped up to all of them by the
    formula of Spearman and Brown, 2r / (1 + r). Two rows may as well be the values that two halves
    of the queries give.

    Parameters
    ----------
    by_run : float64 [R, n]
    """
    if len(by_run) < 2 or by_run.shape[1] < 2:
        return None
    halves = by_run[0::2].mean(axis=0), by_run[1::2].mean(axis=0)
    if min(half.std() for half in halves) == 0:
        return None
    r = float(np.corrcoef(*halves)[0, 1])
    return 2 * r / (1 + r) if r > 0 else r
