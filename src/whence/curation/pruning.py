"""Removing the least valuable sources, and how much of it does good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from whence.attribution import Attribution
from whence.attribution.pruning import lowest, without
from whence.data import Interactions
from whence.errors import ColumnError, ParameterError, did_you_mean
from whence.evaluation import evaluate, make_queries
from whence.models.base import require

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
        Threads to use; all cores by default.
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
    train: Interactions = model.train_
    queries = {name: make_queries(model, part) for name, part in data.items()}
    rows = []
    for fraction in fractions:
        removed = lowest(attribution, fraction=fraction)
        left = without(attribution, train, removed)
        if not left.n_rows:
            raise ParameterError(
                f"Removing {fraction:.0%} of the {attribution.noun} leaves no training data; "
                "choose smaller fractions."
            )
        refitted = type(model)(**model.params).fit(left)
        for name, asked in queries.items():
            result = evaluate(refitted, asked, metric, threads=threads, **options)
            rows.append(
                {
                    "fraction": float(fraction),
                    "n_removed": len(removed),
                    "data": name,
                    "value": float(result),
                }
            )
    return pl.DataFrame(rows)


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
