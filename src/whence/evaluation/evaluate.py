"""Ask a recommender the queries of a validation set and say how good its answers are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from whence.data import Interactions, Vocabulary
from whence.engines import Run
from whence.errors import (
    DataError,
    DataWarning,
    MetricError,
    ParameterError,
    UnsupportedError,
    check_choice,
    check_int,
    check_list,
)
from whence.evaluation._names import external_ids
from whence.evaluation._shards import rank_by
from whence.evaluation.answers import (
    RATING_METRICS,
    Answers,
    Asked,
    evaluation_of,
    with_cautions,
)
from whence.evaluation.asking import make_queries
from whence.evaluation.cautions import (
    check_answerable,
)
from whence.evaluation.foreign import foreign_lists, known_to_foreign
from whence.evaluation.metrics import (
    DEFAULT_SUSTAINABILITY_WEIGHT,
    Metric,
)
from whence.evaluation.negatives import resolve_negatives
from whence.evaluation.parsing import parse_metric
from whence.evaluation.queries import Protocol, Queries, Target, Unknown
from whence.evaluation.ranking import Ranking, rank_catalogue, rank_negatives
from whence.evaluation.ratings import rating_errors
from whence.evaluation.result import Evaluation

CodeArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]
Per = Literal["query", "source", "session", "user"]
MetricLike = str | Metric | Callable[[Sequence[Any], Sequence[Any]], float]


def evaluate(
    model: Any,
    data: Any,
    metrics: MetricLike | Sequence[MetricLike] = "mrr@20",
    *,
    sustainable_items: Any = None,
    sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
    relevant: str | None = None,
    gain: str = "binary",
    unknown: Unknown = "ignore",
    target: Target = "rest",
    protocol: Protocol | None = None,
    history: Any = None,
    max_prefixes: int | None = None,
    per: Per = "query",
    items: Any = None,
    negatives: int | str | None = None,
    seed: int = 42,
    train: Any = None,
    threads: int | None = None,
    run: Run | None = None,
) -> Evaluation:
    """Evaluate a recommender on validation data.

    Every query counts alike, unless `per` says otherwise: U = (1/Q) Σ_q metric(list of q), where a
    query left without a known item has an empty list and the value 0. ``coverage`` and ``gini``
    are of all lists together, ``rmse`` and ``mae`` of all rows of the validation data.

    What would mislead is counted in the result and warned of: targets that a model leaves out as
    they were seen, a session or user that asks a large share of the queries, most users unknown.

    Parameters
    ----------
    model : fitted recommender, or any object with ``recommend(queries, k)``
        An object that is not Whence's is asked all queries at once: a list of histories (lists of
        item ids, oldest first) for sessions, a list of user ids for users and baskets (histories
        for users too, if its attribute ``asks`` is ``"histories"``). It returns a list of lists of
        item ids, best first, or a tuple ``(items, scores)`` of such lists. For ``rmse`` and
        ``mae`` it needs ``predict(users, items)``, which returns a number for each pair.
    data : Interactions, dataframe or Queries
        Validation data; `unknown`, `target`, `protocol` and `history` do not apply to Queries.
    metrics : str, Metric, callable, or a sequence of them
        As :func:`~whence.evaluation.parsing.parse_metric` takes them.
    sustainable_items, sustainability_weight, relevant, gain
        As in :func:`~whence.evaluation.parsing.parse_metric`.
    unknown, target, protocol, history, max_prefixes
        As in :func:`~whence.evaluation.asking.make_queries`: what to do with items unknown to the
        training data, whether all of the target is to be found or its first item only, whether
        beginnings of sessions are asked or users, what is known of users beyond the training
        data, and how many beginnings of one session are asked at most.
    per : {"query", "source"}
        What counts alike: each query, or each session or user, with the mean over its queries
        (also as ``"session"`` and ``"user"``). It applies to the means over queries; ``rmse`` and
        ``mae`` become means over users.
    items : sequence of ids, optional
        Only these may be recommended, such as those in stock. Other targets cannot be found.
    negatives : int or "given", optional
        Rank each target by itself against this many items, drawn from those that are neither in
        the history nor a target of the query, or against the list in its row of the validation
        data. Default: against all items.
    seed : int
        Of the items drawn.
    train : Interactions or dataframe, optional
        For an object that is not Whence's: what it was trained on, so that items it cannot know
        are treated as unknown. Without it every item of `data` counts as known.
    threads : int, optional
        Number of threads; the values do not depend on it.
    run : Run, optional
        Where lists are made: by the engine of the run. Negatives are ranked in this process.

    Returns
    -------
    Evaluation

    Raises
    ------
    MetricError
        If a metric cannot be understood or computed.
    ParameterError
        If `protocol`, `history` or `negatives` does not apply.
    DataError
        If the validation data fits the training data badly or leaves no query, there are fewer
        items than `negatives`, or the model gives a score that is not a number.
    UnsupportedError
        If the model has no way to recommend, or returns something else than lists of items.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.Popularity().fit(data.train)
    >>> result = whence.evaluate(model, data.validation, ["mrr@20", "recall@20"])
    >>> list(result.scores)
    ['mrr@20', 'recall@20']
    """
    wanted = _parse_all(metrics, sustainable_items, sustainability_weight, relevant, gain)
    check_int("seed", seed, minimum=0)
    check_choice("per", per, get_args(Per))
    how = {"unknown": unknown, "target": target, "history": history, "max_prefixes": max_prefixes}
    asked = _ask(model, data, train, _protocol(wanted, model, protocol), how)
    resolved = tuple(metric.for_kind(asked.queries.kind) for metric in wanted)
    eligible = None if items is None else asked.vocabulary.item_mask(items)
    _check_metrics(resolved, asked, negatives, eligible)
    if any(metric.base not in RATING_METRICS for metric in resolved):
        check_answerable(asked.queries, asked.vocabulary)
    rated = [metric for metric in resolved if metric.base in RATING_METRICS]
    errors = None
    if rated:
        errors = rating_errors(model, asked.data, asked.vocabulary, unknown)
    ranking, vocabulary = Ranking(asked.queries, np.empty((0, 0), np.int32)), asked.vocabulary
    if len(rated) < len(resolved):
        run = Run(threads=threads) if run is None else run
        run = run if threads is None else run.changed(threads=threads)
        ranking, vocabulary = _rank(model, asked, resolved, negatives, eligible, seed, run)
    answers = Answers(ranking, errors, vocabulary, asked, eligible)
    found = evaluation_of(resolved, answers, negatives, seed)
    return with_cautions(found, model, answers, "query" if per == "query" else "source")


def value_of(
    model: Any, queries: Queries, metric: Metric, *, train: Any = None, threads: int | None = None
) -> float:
    """Value of a metric of lists, without counts and warnings: for what is asked many times.

    Parameters
    ----------
    model, train, threads
        As for `evaluate`.
    queries : Queries
        None of them need be answerable, as where users were removed.
    metric : Metric
    """
    asked = _ask(model, queries, train, None, {})
    resolved = (metric.for_kind(queries.kind),)
    run = Run(threads=threads)
    ranking, vocabulary = _rank(model, asked, resolved, None, None, 0, run)
    return float(evaluation_of(resolved, Answers(ranking, None, vocabulary, asked, None), None, 0))


def _parse_all(
    metrics: Any,
    sustainable_items: Any,
    sustainability_weight: float,
    relevant: str | None,
    gain: str,
) -> list[Metric]:
    """Metrics in the order given, repetitions left out."""
    alone = isinstance(metrics, (str, Metric)) or callable(metrics)
    given = [metrics] if alone else check_list("metrics", metrics, "names such as 'mrr@20'")
    if not given:
        raise MetricError("There is no metric to evaluate: name at least one, such as 'mrr@20'.")
    if sustainable_items is not None and not isinstance(sustainable_items, Sequence):
        # An iterator would be used up by the first metric.
        sustainable_items = tuple(external_ids(sustainable_items))
    parsed: dict[str, Metric] = {}
    for item in given:
        metric = parse_metric(
            item,
            sustainable_items=sustainable_items,
            sustainability_weight=sustainability_weight,
            relevant=relevant,
            gain=gain,
        )
        if parsed.setdefault(metric.name, metric) != metric:
            raise MetricError(
                f"Two different metrics are called '{metric.name}': give one of them another "
                f"name with Metric.custom(function, k=…, name=…)."
            )
    return list(parsed.values())


def _protocol(metrics: list[Metric], model: Any, protocol: Protocol | None) -> Any:
    """The protocol asked for; that of users for metrics of ratings, which are of users."""
    rated = [metric.name for metric in metrics if metric.base in RATING_METRICS]
    if not rated:
        return getattr(model, "protocol", None) if protocol is None else protocol
    if protocol == "prefixes":
        raise MetricError(
            f"'{rated[0]}' is of the ratings of users: leave protocol='prefixes' out, or ask for "
            "metrics of lists."
        )
    return "users"


def _ask(
    model: Any, data: Any, train: Any, protocol: Protocol | None, how: dict[str, Any]
) -> Asked:
    """Make the queries, `how` as `make_queries` takes it."""
    if hasattr(model, "recommend_codes"):
        vocabulary, known = model.vocabulary, model
        train = getattr(model, "train_", None)
    else:
        known = known_to_foreign(model, data, train)
        vocabulary = known.vocabulary
        if train is not None or getattr(model, "train_", None) is not None:
            train = known
        if train is None and protocol is None:
            # What the users did before is not known; the data is not both history and target.
            protocol = "prefixes" if known.kind == "sessions" else None
        elif train is None and protocol == "users" and not isinstance(data, Queries):
            raise DataError(
                f"Without its training data it is not known what {type(model).__name__} knew of "
                "each user: pass train=…, or protocol='prefixes'."
            )
    if isinstance(data, Queries):
        queries, data = data, None
    else:
        data = Interactions.from_frame(data, kind=None if train is None else train.kind)
        queries = make_queries(known, data, protocol=protocol, **how)
    if len(queries) == 0:
        raise DataError("There is no query to evaluate: give validation data with queries.")
    return Asked(queries, vocabulary, train, data)


def _check_metrics(
    metrics: tuple[Metric, ...],
    asked: Asked,
    negatives: Any,
    eligible: npt.NDArray[np.bool_] | None,
) -> None:
    """Refuse what cannot be computed for these queries, before anything is."""
    n_items = len(asked.vocabulary.items)
    if eligible is not None:
        n_items = int(eligible.sum())
        if negatives is not None:
            raise ParameterError(
                "items= and negatives= both say what a target is ranked against: leave one out."
            )
    for metric in metrics:
        if metric.base == "auc" and eligible is not None:
            raise MetricError("'auc' is of the ranking of all items: evaluate it without items=.")
        if metric.gain == "rating" and asked.data is None:
            raise MetricError(
                f"'{metric.name}' with gain='rating' is of the ratings in the validation data, "
                "which Queries do not hold: pass the validation data itself."
            )
        if metric.name in asked.queries.ids.columns:
            raise MetricError(
                f"A metric cannot have the name of a column of ids, '{metric.name}': "
                f"give it another name with Metric.custom(function, k=…, name=…)."
            )
        if metric.base in RATING_METRICS and negatives is not None:
            raise MetricError(
                f"'{metric.name}' is of ratings, which have no negatives: evaluate it by itself."
            )
        if metric.base in RATING_METRICS and asked.data is None:
            raise MetricError(
                f"'{metric.name}' is of the ratings in the validation data, which Queries do not "
                "hold: pass the validation data itself."
            )
        if metric.base == "averagepopularity" and asked.train is None:
            raise MetricError(
                f"'{metric.name}' counts the interactions of the training data: pass train=…."
            )
    longest = max(metrics, key=lambda metric: metric.k)
    if longest.k > n_items and longest.function is None and asked.train is not None:
        warnings.warn(
            f"{longest.name} looks at {longest.k} items but the catalogue has {n_items}, so that "
            f"no list is that long; choose a K of at most {n_items}.",
            DataWarning,
            stacklevel=3,
        )


def _rank(
    model: Any,
    asked: Asked,
    metrics: tuple[Metric, ...],
    negatives: Any,
    eligible: npt.NDArray[np.bool_] | None,
    seed: int,
    run: Run,
) -> tuple[Ranking, Vocabulary]:
    """Lists of the model, and the vocabulary that their numbers belong to."""
    threads = run.threads
    k = max(metric.k for metric in metrics)
    auc = any(metric.base == "auc" for metric in metrics)
    if not hasattr(model, "recommend_codes"):
        if auc or negatives is not None or eligible is not None:
            raise UnsupportedError(
                f"{type(model).__name__} gives lists without the scores of all items, which auc, "
                "negatives and items need: evaluate metrics of lists."
            )
        lists, vocabulary = foreign_lists(model, asked.queries, asked.vocabulary, k)
        return Ranking(asked.queries, lists), vocabulary
    k = min(k, len(asked.vocabulary.items))
    if negatives is None and run.engine != "threads":
        return rank_by(run, model, asked.queries, k, auc, eligible), asked.vocabulary
    if negatives is None:
        ranking = rank_catalogue(
            model, asked.queries, k, auc=auc, eligible=eligible, threads=threads
        )
        return ranking, asked.vocabulary
    against = resolve_negatives(
        negatives, asked.data, asked.queries, asked.vocabulary, asked.train, seed
    )
    ranking = rank_negatives(
        model, asked.queries, against, k, vocabulary=asked.vocabulary, threads=threads
    )
    return ranking, asked.vocabulary
