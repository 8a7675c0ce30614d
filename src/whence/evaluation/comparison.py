"""Is one recommender better than another, or was it luck? Paired tests on the same queries."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence import _native as kernels
from whence._html import ShownAsTable
from whence.errors import (
    DataError,
    DataWarning,
    MetricError,
    ParameterError,
    check_float,
    check_int,
)
from whence.evaluation.cautions import SHARE_OF_SEEN
from whence.evaluation.result import Evaluation


@dataclass(frozen=True)
class Comparison(ShownAsTable):
    """Difference of a metric between two evaluations of the same queries.

    Attributes
    ----------
    metric : str
        Name of the metric.
    value_a, value_b : float
        Its means.
    difference : float
        ``value_a - value_b``: above 0 where `a` is better.
    low, high : float
        Bootstrap confidence interval of the difference.
    confidence : float
        Coverage of the interval.
    p_value : float
        Two-sided sign-flip permutation test of no difference.
    n_queries, n_groups : int
        Number of queries, and of the independent groups they form.
    """

    metric: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    n_queries: int
    n_groups: int

    def to_frame(self) -> pl.DataFrame:
        """Table with one row and a column per attribute."""
        return pl.DataFrame([asdict(self)])

    def __repr__(self) -> str:
        return (
            f"Comparison({self.metric}: {self.value_a:.6f} - {self.value_b:.6f} = "
            f"{self.difference:+.6f}, {self.confidence:.0%} interval [{self.low:+.6f}, "
            f"{self.high:+.6f}], p = {self.p_value:.4g}, {self.n_queries} queries in "
            f"{self.n_groups} groups)"
        )


def compare(
    a: Evaluation,
    b: Evaluation,
    metric: str | None = None,
    seed: int = 0,
    n: int = 10_000,
    *,
    by: str | None = "source",
    confidence: float = 0.95,
) -> Comparison:
    """Compare two evaluations of the same queries, pairwise.

    The confidence interval is the percentile interval of `n` bootstrap resamples of the paired
    differences. The p-value is that of the two-sided sign-flip permutation test: how often random
    signs give a total difference at least as large. It is exact, over all signs, where `n` allows.

    What is compared is the mean over the queries, or over sources where the evaluations are. Of
    ``rmse`` and ``mae`` that is the mean over the users, not the value over all rows; ``coverage``
    and ``gini`` have no value for a query and cannot be compared.

    Parameters
    ----------
    a, b : Evaluation
        Of two models, on the same queries.
    metric : str, optional
        May be left out where the two have one metric in common.
    seed : int
        Seed of the resamples and the signs.
    n : int
        Number of resamples, and of sign flips.
    by : str or None
        What is resampled and flipped as a whole. ``"source"``: all queries of a session or user,
        which are not independent of each other; None: each query alone; or a column of
        ``per_query``.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If the two are not of the same queries.
    MetricError
        If the metric is not in both, or several are and none is named.
    ParameterError
        If `n`, `seed`, `by` or `confidence` makes no sense.

    References
    ----------
    Smucker, Allan and Carterette. A comparison of statistical significance tests for information
    retrieval evaluation. CIKM 2007.
    """
    check_int("n", n, minimum=1)
    check_int("seed", seed, minimum=0)
    check_float("confidence", confidence, 0.0, 1.0)
    name = _common_metric(a, b, metric)
    ids = _common_ids(a, b)
    _warn_of_seen(a, b)
    values_a, values_b = a.values(name), b.values(name)
    if a.per == "source":
        if by != "source":
            raise ParameterError(
                f"by={by!r} does not go with evaluations that are means over sources: leave it out."
            )
        values_a, values_b = (_means(values, ids) for values in (values_a, values_b))
        by = None
    sums, sizes = _groups(values_a - values_b, ids, by)
    streams = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    means = kernels.bootstrap_means(sums, sizes, streams[0], n)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Comparison(
        metric=name,
        value_a=float(values_a.mean()),
        value_b=float(values_b.mean()),
        difference=float(sums.sum() / sizes.sum()),
        low=float(low),
        high=float(high),
        confidence=float(confidence),
        p_value=_sign_flip_p(sums[sums != 0.0], streams[1], n),
        n_queries=len(ids),
        n_groups=len(sums),
    )


def _warn_of_seen(a: Evaluation, b: Evaluation) -> None:
    """Warn where one model alone leaves out what was seen, and that matters."""
    seen = max(a.n_seen_targets, b.n_seen_targets)
    differ = None not in (a.exclude_seen, b.exclude_seen) and a.exclude_seen != b.exclude_seen
    if differ and seen > SHARE_OF_SEEN * a.n_targets:
        warnings.warn(
            f"One of the two models leaves out what was seen and the other does not: of {seen} of "
            f"the {a.n_targets} targets only one of them can find any; fit both with the same "
            "exclude_seen.",
            DataWarning,
            stacklevel=3,
        )


def _means(values: npt.NDArray[np.float64], ids: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Mean over the queries of each source, float64 [G]."""
    sums, sizes = _groups(values, ids, "source")
    return sums / sizes


def _sign_flip_p(sums: npt.NDArray[np.float64], stream: np.uint64, n: int) -> float:
    """Two-sided p-value; groups without a difference change nothing and are left out."""
    # Sums in another order differ in the last digits, and equal ones must count as such.
    observed = abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())
    if len(sums) < 63 and 2 ** len(sums) <= n:
        return float(np.mean(np.abs(kernels.all_sign_flip_sums(sums)) >= observed))
    flipped = kernels.sign_flip_sums(sums, stream, n)
    # The observed signs are one of the permutations, so that p is never 0.
    return float((np.count_nonzero(np.abs(flipped) >= observed) + 1) / (n + 1))


def _groups(
    differences: npt.NDArray[np.float64], ids: pl.DataFrame, by: str | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum of the differences of each group, and its number of queries; float64 [G] both."""
    if by is None:
        return differences, np.ones(len(differences), dtype=np.float64)
    column = ids.columns[0] if by == "source" and by not in ids.columns else by
    if column not in ids.columns:
        raise ParameterError(
            f"by={by!r} is no column that names the queries: choose 'source', None or one of "
            f"{', '.join(ids.columns)}."
        )
    codes = ids[column].rank("dense").to_numpy().astype(np.int64) - 1
    sizes = np.bincount(codes).astype(np.float64)
    return np.bincount(codes, weights=differences).astype(np.float64), sizes


def _common_metric(a: Any, b: Any, metric: str | None) -> str:
    for given in (a, b):
        if not isinstance(given, Evaluation):
            raise ParameterError(
                f"compare takes two Evaluations, not {type(given).__name__}: "
                f"get them from evaluate(model, data)."
            )
    if metric is not None:
        names = [a.metric_name(metric)]
        b.metric_name(metric)
        together = [name for name in names if not _has_values(a, name)]
        if together:
            raise MetricError(
                f"'{together[0]}' is one value of the lists of all queries together, so that it "
                "cannot be compared query by query: compare a metric with a value for each."
            )
    else:
        names = [name for name in a if name in b and _has_values(a, name)]
    if len(names) != 1:
        raise MetricError(
            f"The evaluations have {len(names)} metrics in common that have a value for each "
            f"query: say which one to compare with metric=…, of {', '.join(a)} and {', '.join(b)}."
        )
    name = str(names[0])
    kinds = {
        (wanted.relevant, wanted.gain, wanted.rank_weight, wanted.sustainability_weight)
        for wanted in (*a.metrics, *b.metrics)
        if wanted.name == name
    }
    if len(kinds) != 1:
        raise MetricError(
            f"The two evaluations computed '{name}' differently: evaluate both with the same "
            f"relevant, gain and sustainability_weight."
        )
    return name


def _has_values(evaluation: Evaluation, name: str) -> bool:
    return name in evaluation.per_query.columns


def _common_ids(a: Evaluation, b: Evaluation) -> pl.DataFrame:
    if (a.negatives, a.seed, a.n_eligible) != (b.negatives, b.seed, b.n_eligible):
        raise DataError(
            "The two evaluations ranked the targets against other items: evaluate both with the "
            "same negatives and seed, or the same items."
        )
    if a.per != b.per:
        raise DataError(
            "One of the two evaluations is a mean over sources and the other over queries: "
            "evaluate both with the same per."
        )
    ids = a.per_query.drop(list(a), strict=False)
    if not ids.equals(b.per_query.drop(list(b), strict=False)):
        raise DataError(
            "The two evaluations are not of the same queries in the same order: "
            "evaluate both models on the same validation data."
        )
    return ids
