"""From lists to an evaluation: values, what was counted, and what would mislead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.evaluation._names import WHOLE_NAMES
from whence.evaluation.catalogue import average_popularity, coverage, gini
from whence.evaluation.cautions import (
    count_seen_targets,
    leaves_out_seen,
    warn_of_dominance,
    warn_of_ineligible,
    warn_of_seen,
)
from whence.evaluation.graded import graded_values, target_ratings
from whence.evaluation.metrics import Metric, values_from_ids, values_from_lists
from whence.evaluation.queries import Queries
from whence.evaluation.ranking import Ranking
from whence.evaluation.ratings import RatingErrors
from whence.evaluation.result import Evaluation

FloatArray = npt.NDArray[np.float64]

RATING_METRICS = tuple(name for name in WHOLE_NAMES if name != "auc")


@dataclass(frozen=True)
class Asked:
    """The queries, and what they were made of: the last two are None where Queries were given."""

    queries: Queries
    vocabulary: Vocabulary
    train: Interactions | None
    data: Any


@dataclass(frozen=True)
class Answers:
    """What metrics are computed from."""

    ranking: Ranking
    errors: RatingErrors | None
    vocabulary: Vocabulary
    asked: Asked
    eligible: npt.NDArray[np.bool_] | None


def evaluation_of(
    metrics: tuple[Metric, ...], answers: Answers, negatives: Any, seed: int
) -> Evaluation:
    """Compute the metrics, and say what was counted when the queries were made."""
    queries, n_items = answers.ranking.queries, len(answers.vocabulary.items)
    values: dict[str, FloatArray] = {}
    aggregates: dict[str, float] = {}
    errors: dict[str, float | None] = {}
    for metric in metrics:
        lists = answers.ranking.lists[:, : metric.k]
        if metric.base == "coverage":
            aggregates[metric.name] = coverage(lists, n_items, answers.eligible)
        elif metric.base == "gini":
            aggregates[metric.name] = gini(lists, n_items, answers.eligible)
        else:
            values[metric.name] = _values(metric, answers)
        if metric.base in RATING_METRICS and answers.errors is not None:
            aggregates[metric.name] = answers.errors.over_all(metric.base)
            errors[metric.name] = answers.errors.std_error(metric.base)
    drawn = negatives is not None and negatives != "given"
    return Evaluation(
        metrics=metrics,
        per_query=queries.ids.with_columns(**{n: pl.Series(v) for n, v in values.items()}),
        n_queries=len(queries),
        protocol=queries.protocol,
        n_empty=queries.n_empty,
        n_unknown_rows=queries.n_unknown_rows,
        n_without_targets=queries.n_without_targets,
        n_new_users=queries.n_new_users,
        aggregates=aggregates,
        aggregate_errors=errors,
        negatives=int(negatives) if drawn else negatives,
        seed=seed if drawn else None,
    )


def with_cautions(found: Evaluation, model: Any, answers: Answers, per: str) -> Evaluation:
    """The same, with what was asked counted, and warnings where the values would mislead."""
    if all(metric.base in RATING_METRICS for metric in found.metrics):
        return _per(found, per)
    queries = answers.asked.queries
    n_seen, n_targets = count_seen_targets(queries, answers.asked.train)
    hidden = leaves_out_seen(model, queries)
    if hidden:
        warn_of_seen(model, n_seen, n_targets)
    n_eligible = None
    if answers.eligible is not None:
        n_eligible = int(answers.eligible.sum())
        warn_of_ineligible(queries, answers.eligible)
    if per == "query":
        warn_of_dominance(answers.ranking.queries)
    counted = replace(
        found,
        n_targets=n_targets,
        n_seen_targets=n_seen,
        exclude_seen=hidden,
        n_eligible=n_eligible,
    )
    return _per(counted, per)


def _per(found: Evaluation, per: str) -> Evaluation:
    """The same as means over sources, if that is wanted: ratings have no other aggregate then."""
    if per == "query":
        return found
    of_users = [metric.name for metric in found.metrics if metric.base in RATING_METRICS]
    aggregates = {name: v for name, v in found.aggregates.items() if name not in of_users}
    return replace(found, per=per, aggregates=aggregates, aggregate_errors={})


def _values(metric: Metric, answers: Answers) -> FloatArray:
    """Value of each query."""
    queries, lists, vocabulary = answers.ranking.queries, answers.ranking.lists, answers.vocabulary
    if metric.base in RATING_METRICS:
        assert answers.errors is not None
        return answers.errors.per_user(metric.base)
    if metric.base == "auc":
        assert answers.ranking.auc is not None
        return answers.ranking.auc
    if metric.base == "averagepopularity":
        assert answers.asked.train is not None
        counts = np.bincount(answers.asked.train.item_codes, minlength=len(vocabulary.items))
        return average_popularity(lists[:, : metric.k], counts)
    if metric.gain == "rating":
        return graded_values(metric, lists, queries, target_ratings(answers.asked.data, queries))
    if metric.function is None:
        return values_from_lists(metric, lists, queries, metric.sustainable_codes(vocabulary))
    items = np.array([*vocabulary.items.to_list(), None], dtype=object)
    recommended = [items[row[row >= 0]].tolist() for row in lists[:, : metric.k]]
    return values_from_ids(metric, recommended, external_targets(queries, vocabulary))


def external_targets(queries: Queries, vocabulary: Vocabulary) -> list[list[Any]]:
    """Targets of each query as external ids; None for an unknown item whose id was not kept."""
    items = np.array([*vocabulary.items.to_list(), None], dtype=object)
    unknown = queries.unknown_items
    strangers = np.array([None] if unknown is None else [*unknown.to_list(), None], dtype=object)
    targets = []
    for start, end in zip(queries.target_start, queries.target_end):
        codes = queries.target_items[start:end]
        other = np.minimum(-1 - np.minimum(codes, -1), len(strangers) - 1)
        known = items[np.maximum(codes, -1)]
        targets.append(np.where(codes >= 0, known, strangers[other]).tolist())
    return targets
