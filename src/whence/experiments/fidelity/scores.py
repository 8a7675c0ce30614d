"""How well predicted changes agree with actual ones: rank correlations and their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DRAWS = 1000
_SEED = 0x1D5


class Score(NamedTuple):
    """A mean rank correlation.

    Attributes
    ----------
    mean, low, high : float or None
        With its 95% interval; None where nothing changed that could be predicted.
    slope : float or None
        Of the actual change on the predicted one, by least squares through the origin.
    n_outcomes : int
        Those that changed.
    """

    mean: float | None
    low: float | None
    high: float | None
    slope: float | None
    n_outcomes: int


def linear_datamodeling_score(predicted: FloatArray, actual: FloatArray) -> Score:
    """Spearman correlation over masks of predicted and actual changes, mean over outcomes.

    The interval is a bootstrap over masks and outcomes together, of which each is drawn from
    another user or session; with one outcome over masks alone. Ranks are those among all masks.
    An outcome that no mask changes is left out. A prediction that is the same for all masks says
    nothing of an outcome, and has 0 there.

    Parameters
    ----------
    predicted, actual : float64 [masks, outcomes]

    References
    ----------
    Park, Georgiev, Ilyas, Leclerc and Madry. TRAK: Attributing model behavior at scale. ICML 2023.
    """
    changed = np.ptp(actual, axis=0) > 0 if len(actual) else np.zeros(actual.shape[1], dtype=bool)
    predicted, actual = predicted[:, changed], actual[:, changed]
    n_masks, n_outcomes = actual.shape
    if n_masks < 2 or not n_outcomes:
        return Score(None, None, None, None, 0)
    ranks = rankdata(predicted, axis=0), rankdata(actual, axis=0)
    rng = np.random.default_rng(_SEED)
    even = np.full(n_masks, 1.0 / n_masks)
    masks = np.vstack([even, rng.multinomial(n_masks, even, size=_DRAWS) / n_masks])
    each = _weighted_correlations(*ranks, masks)
    shares = np.full(n_outcomes, 1.0 / n_outcomes)
    drawn = rng.multinomial(n_outcomes, shares, size=_DRAWS) / n_outcomes
    draws = np.einsum("bk,bk->b", each[1:], drawn)
    low, high = (float(value) for value in np.percentile(draws, [2.5, 97.5]))
    return Score(float(each[0].mean()), low, high, _slope(predicted, actual), n_outcomes)


def clustered_score(predicted: FloatArray, actual: FloatArray, clusters: IntArray) -> Score:
    """Spearman correlation over removals, each with an outcome of its own.

    Parameters
    ----------
    predicted, actual : float64 [removals]
    clusters : int64 [removals]
        Removals of one user or session; the bootstrap draws clusters.
    """
    if len(actual) < 2 or np.ptp(actual) == 0:
        return Score(None, None, None, None, 0)
    ranks = rankdata(predicted)[:, None], rankdata(actual)[:, None]
    _, which = np.unique(clusters, return_inverse=True)
    n = int(which.max()) + 1
    rng = np.random.default_rng(_SEED)
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=_DRAWS)[:, which]
    weights = np.vstack([np.ones(len(actual)), counts])
    each = _weighted_correlations(*ranks, weights / weights.sum(1, keepdims=True))[:, 0]
    low, high = (float(value) for value in np.percentile(each[1:], [2.5, 97.5]))
    return Score(float(each[0]), low, high, _slope(predicted, actual), len(actual))


def mean_and_interval(values: FloatArray) -> tuple[float, float | None, float | None]:
    """Mean of independent values, and its 95% interval by Student's t."""
    from whence.experiments.results import t_interval

    return (float(values.mean()), *t_interval(values))


def metasmoothness(alone: FloatArray, after: FloatArray) -> float:
    """Agreement of what one removal does alone with what it does after a second one.

    The share of the changes of all outcomes that have the same sign in both, less the share that
    have not, weighted by the size of the changes alone: 1 where effects add up, 0 where the
    first says nothing of the second.

    Parameters
    ----------
    alone, after : float64 [outcomes]
        Changes by the removal.

    References
    ----------
    Engstrom, Ilyas, Chen, Feldmann, Moses and Madry. Optimizing ML training with metagradient
    descent. 2025.
    """
    sizes = np.abs(alone)
    total = float(sizes.sum())
    return float((sizes * np.sign(alone) * np.sign(after)).sum() / total) if total > 0 else 1.0


def _weighted_correlations(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    """Pearson correlations under weights of the rows, float64 [draws, outcomes]."""
    # Centred first, so that nothing is lost in the difference of large numbers.
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    mean_x, mean_y = weights @ x, weights @ y
    shared = weights @ (x * y) - mean_x * mean_y
    spread = (weights @ x**2 - mean_x**2) * (weights @ y**2 - mean_y**2)
    found: FloatArray = np.zeros_like(shared)
    np.divide(shared, np.sqrt(np.maximum(spread, 0.0)), out=found, where=spread > 1e-9)
    return np.clip(found, -1.0, 1.0)


def _slope(predicted: FloatArray, actual: FloatArray) -> float | None:
    squares = float((predicted**2).sum())
    return float((predicted * actual).sum()) / squares if squares > 0 else None
