"""Removing the least valuable sources, and how much of it does good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from whence.attribution import Attribution
from whence.attribution.pruning import lowest, without
from whence.data import Interactions
from whence.engines import Checkpoints, ListJob, Run, identity_of, settled
from whence.engines import run as run_job
from whence.errors import ColumnError, ParameterError, did_you_mean
from whence.evaluation import Queries, evaluate, make_queries
from whence.models.base import require
from whence.models.identity import data_identity, model_identity, told_apart

FRACTIONS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def prune(
    attribution: Attribution,
    interactions: Any,
    *,
    fraction: float | None = None,
    n: int | None = None,
    below: float | None = None,
    standard_errors: float | None = None,
) -> Any:
    """Return the interactions without the least valuable sources; see `Attribution.prune`.

    Parameters
    ----------
    attribution : Attribution
        Values of the sources.
    interactions : Interactions or data frame
        What the values were computed from.
    fraction, n, below, standard_errors
        How much to remove.

    Returns
    -------
    As `interactions`
        The rest.
    """
    return attribution.prune(
        interactions, fraction=fraction, n=n, below=below, standard_errors=standard_errors
    )


def prune_curve(
    model: Any,
    attribution: Attribution,
    data: Mapping[str, Any],
    *,
    metric: Any = "mrr@20",
    fractions: Sequence[float] = FRACTIONS,
    threads: int | None = None,
    run: Run | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Refit without ever more of the least valuable sources, and evaluate.

    Vocabulary, queries and the order of ties stay those of the full training data, so that only
    the removal makes a difference.

    Parameters
    ----------
    model : fitted recommender
        Says what to refit, and holds the training data. It is left as it is.
    attribution : Attribution
        Values of its training sources.
    data : mapping of str to Interactions or data frame
        Evaluation data by name, such as ``{"validation": …, "test": …}``.
    metric : str, Metric or callable, default "mrr@20"
        What to measure.
    fractions : sequence of float
        Shares of the sources to remove; 0 is the full data.
    threads : int, optional
        Threads to use; those of the run by default, else all cores.
    run : Run, optional
        How the work is done. With a folder, what was measured is kept there.
    **options
        Passed on to `whence.evaluate`, such as ``sustainable_items``.

    Returns
    -------
    polars.DataFrame
        Columns ``fraction``, ``n_removed``, ``data`` and ``value``.

    Examples
    --------
    Choose the fraction on validation data, look at it on test data::

        curve = prune_curve(model, values, {"validation": validation, "test": test})
        curve.filter(pl.col("fraction") == best_fraction(curve))
    """
    require(model, "refit", "Pruning")
    run = settled(run, None)
    threads = run.threads if threads is None else threads
    queries = {name: make_queries(model, part) for name, part in data.items()}
    job = Refits(model, attribution, queries, metric, threads, options)
    identity = {
        "work": "prune curve",
        "model": model_identity(model),
        "values": identity_of(attribution.totals),
        "data": {name: data_identity(part) for name, part in data.items()},
        "metric": getattr(metric, "name", metric),
        "fractions": told_apart(list(fractions)),
        "options": told_apart(options),
    }
    with Checkpoints(run, identity) as kept:
        parts = run_job(job, fractions, run, message="fitting again", kept=kept)
    return pl.DataFrame([row for part in parts for row in part])


@dataclass(frozen=True)
class Refits(ListJob[float, list[dict[str, Any]]]):
    """A model fitted again and measured; a shard is the share of the sources that is removed.

    Attributes
    ----------
    model : fitted recommender
    attribution : Attribution
    queries : dict of str to Queries
    metric
    threads : int or None
        Of the evaluation; fits come one after another.
    options : dict
        Of the evaluation.
    """

    alone = True

    model: Any
    attribution: Attribution
    queries: dict[str, Queries]
    metric: Any
    threads: int | None
    options: dict[str, Any]

    def run(self, shard: float) -> list[dict[str, Any]]:
        """Remove, fit and evaluate."""
        train: Interactions = self.model.train_
        removed = lowest(self.attribution, fraction=shard)
        left = without(self.attribution, train, removed)
        if not left.n_rows:
            raise ParameterError(
                f"Removing {shard:.0%} of the {self.attribution.noun} leaves no training data; "
                "choose smaller fractions."
            )
        refitted = type(self.model)(**self.model.params).fit(left)
        return [
            {
                "fraction": float(shard),
                "n_removed": len(removed),
                "data": name,
                "value": float(
                    evaluate(refitted, asked, self.metric, threads=self.threads, **self.options)
                ),
            }
            for name, asked in self.queries.items()
        ]


def best_fraction(curve: pl.DataFrame, data: str = "validation") -> float:
    """Choose the fraction to remove: the one with the best value, the smallest of equal ones.

    Parameters
    ----------
    curve : polars.DataFrame
        As `prune_curve` gives it.
    data : str, default "validation"
        The data to choose on. Choosing on the data that is reported would flatter the result.

    Raises
    ------
    ColumnError
        If the curve was not measured on `data`.
    """
    names = curve.get_column("data").unique().to_list()
    if data not in names:
        raise ColumnError(
            f"The curve was not measured on {data!r} but on {', '.join(map(repr, sorted(names)))}."
            f"{did_you_mean(data, names)}"
        )
    measured = curve.filter(pl.col("data") == data)
    best = measured.sort(["value", "fraction"], descending=[True, False])
    return float(best.get_column("fraction")[0])
