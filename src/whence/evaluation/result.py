"""What an evaluation found: values over all queries, and for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
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
    n_queries : int
        Number of queries, all of which count in the mean.
    n_empty : int
        Queries without a known item (or user), which count with value 0.
    n_unknown_rows : int
        Validation rows whose item is unknown to the training data.
    n_without_targets : int
        Users of the training data who have nothing to be found, and so are no query.
    aggregates : dict
        Values of the metrics that are not the mean over the queries, by name.
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
    n_empty: int = 0
    n_unknown_rows: int = 0
    n_without_targets: int = 0
    aggregates: dict[str, float] = field(default_factory=dict)
    negatives: int | str | None = None
    seed: int | None = None

    @cached_property
    def scores(self) -> dict[str, float]:
        """Value over all queries, by canonical name of the metric: the mean, of most metrics."""
        return {metric.name: self._score(metric.name) for metric in self.metrics}

    def _score(self, name: str) -> float:
        if name in self.aggregates:
            return self.aggregates[name]
        return float(np.mean(self.values(name), dtype=np.float64))

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

        The standard error is that of the mean over queries taken as independent; null where the
        value is not a mean.
        """
        errors = [
            None if name in self.aggregates else _std_error(self.values(name))
            for name in self.scores
        ]
        return pl.DataFrame(
            {
                "metric": list(self.scores),
                "value": list(self.scores.values()),
                "std_error": pl.Series(errors, dtype=pl.Float64),
            }
        )

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
        notes = [f"{self.n_queries} queries"]
        if self.n_empty:
            notes.append(f"{self.n_empty} of them empty")
        if self.n_unknown_rows:
            notes.append(f"{self.n_unknown_rows} rows with unknown items")
        if self.n_without_targets:
            notes.append(f"{self.n_without_targets} users without test items left out")
        if self.negatives is not None:
            how = "given" if self.negatives == "given" else f"{self.negatives} drawn"
            notes.append(f"{how} negatives")
        width = max(len(name) for name in self.scores)
        lines = [f"  {name:<{width}}  {value:.6f}" for name, value in self.scores.items()]
        return "\n".join([f"Evaluation({', '.join(notes)})", *lines])


def _std_error(values: npt.NDArray[np.float64]) -> float | None:
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
