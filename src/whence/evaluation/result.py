"""What an evaluation found: values over all queries, and for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
from whence._words import counted
from whence.errors import MetricError, did_you_mean
from whence.evaluation._names import canonical_name
from whence.evaluation.metrics import Metric


@dataclass(frozen=True, eq=False)
class Evaluation(ShownAsTable):
    """Values of metrics, over all queries and for each.

    Attributes
    ----------
    metrics : tuple of Metric
        What was computed, in the order asked for.
    per_query : polars.DataFrame
        One row per query: the columns that name it, then one per metric that has a value for each.
        The first names the source: the session or user that asks.
    n_queries : int
        Number of queries, all of which count in the mean.
    protocol : {"prefixes", "users", "baskets"}
        What was asked: beginnings of sessions, users, or users with baskets.
    per : {"query", "source"}
        Whether the value is the mean over queries, or over sources of their means.
    n_empty : int
        Queries without a known item (or user), which count with value 0.
    n_unknown_rows : int
        Validation rows whose item is unknown to the training data.
    n_without_targets : int
        Users of the training data who have nothing to be found, and so are no query.
    n_new_users : int
        Users unknown to the training data, who were asked by their own earlier rows.
    n_targets, n_seen_targets : int
        Targets, and those that are in the history of their query already; of the beginnings of a
        session the next item alone counts, so that no row counts twice.
    exclude_seen : bool or None
        Whether the model leaves out what is in the history, so that these cannot be found; None
        if that is not known.
    n_eligible : int or None
        Items that may be recommended, where not all may.
    aggregates, aggregate_errors : dict
        Values of the metrics that are not a mean over the queries, and their standard errors
        where there are any, by name.
    negatives : int, "given" or None
        What each target was ranked against: this many items drawn, those of the data, or all.
    seed : int or None
        Of the items drawn.

    Notes
    -----
    ``evaluation["mrr@20"]`` is one value, and ``float(evaluation)`` the value where one metric
    was asked for.
    """

    metrics: tuple[Metric, ...]
    per_query: pl.DataFrame
    n_queries: int
    protocol: str = "prefixes"
    per: str = "query"
    n_empty: int = 0
    n_unknown_rows: int = 0
    n_without_targets: int = 0
    n_new_users: int = 0
    n_targets: int = 0
    n_seen_targets: int = 0
    exclude_seen: bool | None = None
    n_eligible: int | None = None
    aggregates: dict[str, float] = field(default_factory=dict)
    aggregate_errors: dict[str, float | None] = field(default_factory=dict)
    negatives: int | str | None = None
    seed: int | None = None

    @cached_property
    def scores(self) -> dict[str, float]:
        """Value over all queries, by canonical name of the metric: the mean, of most metrics."""
        return {metric.name: self._score(metric.name) for metric in self.metrics}

    def _score(self, name: str) -> float:
        if name in self.aggregates:
            return self.aggregates[name]
        values = self.values(name)
        if self.per == "source":
            values = np.bincount(self.sources, weights=values) / np.bincount(self.sources)
        return float(np.mean(values, dtype=np.float64))

    @cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """Number of the session or user that asks each query, int64 [n_queries]."""
        codes = self.per_query.to_series(0).rank("dense").to_numpy().astype(np.int64)
        return codes - 1

    @property
    def n_sources(self) -> int:
        """Number of sessions or users that ask."""
        return int(self.sources.max(initial=-1)) + 1

    def values(self, metric: str | None = None) -> npt.NDArray[np.float64]:
        """Value of each query.

        Parameters
        ----------
        metric : str, optional
            May be left out where one metric was asked for.

        Returns
        -------
        float64 [n_queries]

        Raises
        ------
        MetricError
            If the metric was not evaluated, several were and none is named, or it is of all lists
            together and has no value for each query.
        """
        name = self.metric_name(metric)
        if name not in self.per_query.columns:
            raise MetricError(
                f"'{name}' is one value of the lists of all queries together, not one for each: "
                f"take it from evaluation['{name}']."
            )
        return self.per_query[name].to_numpy()

    def to_frame(self) -> pl.DataFrame:
        """Table of the metrics: columns ``metric``, ``value`` and ``std_error``.

        The standard error is that of `std_error`; null where there is none.
        """
        errors = [self.std_error(name) for name in self.scores]
        return pl.DataFrame(
            {
                "metric": list(self.scores),
                "value": list(self.scores.values()),
                "std_error": pl.Series(errors, dtype=pl.Float64),
            }
        )

    def std_error(self, metric: str | None = None) -> float | None:
        """Standard error of a value, with sessions or users taken as independent of each other.

        Queries of one session, and targets of one user, are not independent: with the residuals
        r_q of the queries of source g summed up to R_g = Σ r_q, the standard error of a mean over
        Q queries of G sources is √(G/(G-1) Σ_g R_g²) / Q. With one query each that is the usual
        one.

        Parameters
        ----------
        metric : str, optional
            May be left out where one metric was asked for.

        Returns
        -------
        float or None
            None for a value of all lists together, and for a single source.

        Raises
        ------
        MetricError
            If the metric was not evaluated, or several were and none is named.

        References
        ----------
        Liang and Zeger. Longitudinal data analysis using generalized linear models. Biometrika
        73(1), 1986: the variance from sums over clusters.
        """
        name = self.metric_name(metric)
        if name in self.aggregates:
            return self.aggregate_errors.get(name)
        values, sources = self.values(name), self.sources
        if self.per == "source":
            values = np.bincount(sources, weights=values) / np.bincount(sources)
            sources = np.arange(len(values))
        return clustered_error(values, sources)

    def metric_name(self, metric: str | None = None) -> str:
        """Canonical name of an evaluated metric; of the only one, if none is given.

        Raises
        ------
        MetricError
            As :meth:`values`.
        """
        names = [wanted.name for wanted in self.metrics]
        if metric is None:
            if len(names) == 1:
                return names[0]
            raise MetricError(f"Say which metric: this evaluation has {', '.join(names)}.")
        if metric in names:
            return metric
        try:
            name = canonical_name(metric)
        except MetricError:
            name = str(metric)
        if name in names:
            return name
        raise MetricError(
            f"Metric {metric!r} was not evaluated.{did_you_mean(name, names)} "
            f"This evaluation has {', '.join(names)}."
        )

    def __getitem__(self, metric: str) -> float:
        return self.scores[self.metric_name(metric)]

    def __contains__(self, metric: object) -> bool:
        try:
            self.metric_name(str(metric))
        except MetricError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.metrics)

    def __float__(self) -> float:
        return self.scores[self.metric_name(None)]

    def __repr__(self) -> str:
        notes = [counted(self.n_queries, "queries"), f"protocol {self.protocol}"]
        if self.per != "query":
            notes.append(f"mean over {counted(self.n_sources, 'sources')}")
        if self.n_new_users:
            notes.append(counted(self.n_new_users, "new users"))
        if self.n_empty:
            notes.append(f"{self.n_empty:,} of them empty")
        if self.n_unknown_rows:
            notes.append(f"{counted(self.n_unknown_rows, 'rows')} with unknown items")
        if self.n_without_targets:
            notes.append(f"{counted(self.n_without_targets, 'users')} without test items left out")
        if self.n_seen_targets:
            hidden = ", which cannot be found" if self.exclude_seen else ""
            notes.append(
                f"{self.n_seen_targets:,} of {self.n_targets:,} targets seen before{hidden}"
            )
        if self.n_eligible is not None:
            notes.append(counted(self.n_eligible, "eligible items"))
        if self.negatives is not None:
            how = "given" if self.negatives == "given" else f"{self.negatives} drawn"
            notes.append(f"{how} negatives")
        width = max(len(name) for name in self.scores)
        lines = [f"  {name:<{width}}  {value:.6f}" for name, value in self.scores.items()]
        return "\n".join([f"Evaluation({', '.join(notes)})", *lines])


def clustered_error(
    values: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64]
) -> float | None:
    """Standard error of a mean over values that are independent between clusters only.

    Parameters
    ----------
    values : float64 [n]
    clusters : int64 [n]
        Number of the cluster of each, from 0 on.

    Returns
    -------
    float or None
        None for a single cluster.
    """
    n = int(clusters.max(initial=-1)) + 1
    if n < 2:
        return None
    sums = np.bincount(clusters, weights=values - values.mean(dtype=np.float64), minlength=n)
    return float(np.sqrt((sums @ sums) * n / (n - 1)) / len(values))
