"""What ``train``, ``evaluate`` and ``tune`` share: fit a configured model, and evaluate it."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli._terminal import counted, say, table, working

if TYPE_CHECKING:
    from whence.config import Config, Parts
    from whence.data import Interactions
    from whence.engines import Callback
    from whence.evaluation import Evaluation

_MANY = 6
RATING_METRICS = ("rmse", "mae")


def fit(
    config: Config,
    parts: Parts,
    *,
    model: Any = None,
    folder: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Any:
    """Fit the model of a configuration, with validation where the model knows such a thing.

    Parameters
    ----------
    config : Config
    parts : Parts
    model : recommender, optional
        Already built.
    folder : Path, optional
        For checkpoints, the log and TensorBoard.
    resume : bool
        Go on from the checkpoints in `folder`.
    threads : int, optional
        All cores by default; steps of networks have their own, see ``training.torch_threads``.
    callbacks : sequence of callable
        Called with the record of each epoch.
    """
    model = config.build_model() if model is None else model
    accepted = inspect.signature(model.fit).parameters
    options = config.fit_arguments(model)
    if "metric" in options:
        options["metric"] = [parsed(config, parts, name) for name in options["metric"]]
    with working(
        "Training", silent=config.training.progress is False, threads=threads, folder=folder,
        resume=resume, callbacks=callbacks,
    ) as run:  # fmt: skip
        if folder is not None and "tensorboard" in accepted:
            options["tensorboard"] = _wants_curves(config)
        validation = queries_of_validation(config, parts, model)
        return model.fit(parts.train, validation=validation, run=run, **options)


def parsed(config: Config, parts: Parts, metric: Any) -> Any:
    """Return a metric with what the configuration says about it.

    Raises
    ------
    MetricError
        If it is unknown, or lacks what it needs.
    """
    from whence.evaluation import parse_metric

    return parse_metric(
        metric,
        sustainable_items=parts.sustainable_items,
        sustainability_weight=config.evaluation.sustainability_weight,
        relevant=config.evaluation.relevant,
    )


def check_metrics(config: Config, parts: Parts, metrics: Sequence[str | None] = ()) -> None:
    """Refuse metrics that cannot be understood or measured, before any work is done.

    Parameters
    ----------
    config : Config
    parts : Parts
    metrics : sequence of str or None
        Those of the evaluation, of training and of a search if empty.

    Raises
    ------
    MetricError
        If one is unknown, or lacks what it needs.
    UnsupportedError
        If one is of predicted ratings, which the model does not predict.
    """
    from whence.models.base import require

    wanted = metrics or [
        *config.evaluation.metrics, config.training.metric, config.tune.metric
    ]  # fmt: skip
    for name in wanted:
        if name is not None and parsed(config, parts, name).base in RATING_METRICS:
            require(config.build_model(), "rating", f"The metric {name}")


def check_parts(config: Config, parts: Parts, model: Any) -> None:
    """Refuse data of which no query can be answered, before any work is done.

    Parameters
    ----------
    config : Config
    parts : Parts
    model : recommender

    Raises
    ------
    DataError
        If nothing is known of any query of the validation or the test data, or of the items that
        may be recommended.
    """
    if parts.items is not None:
        parts.train.vocabulary.item_mask(parts.items)
    for part in (parts.validation, parts.test):
        if part is not None:
            queries_as_configured(config, parts, model, part)


def queries_of_validation(config: Config, parts: Parts, model: Any) -> Any:
    """Validation data, or the queries made of it where they are not the usual ones."""
    data, evaluation = config.data, config.evaluation
    usual = data.unknown_of_queries == "ignore" and data.target == "rest"
    usual = usual and evaluation.protocol is None and evaluation.max_prefixes is None
    if parts.validation is None or usual or "rating" in model.levels:
        return parts.validation
    return queries_as_configured(config, parts, model, parts.validation)


def queries_as_configured(config: Config, parts: Parts, model: Any, part: Interactions) -> Any:
    """Queries as a configuration wants them."""
    from whence.evaluation import queries_for

    return queries_for(
        model,
        model._numbered(parts.train),
        part,
        unknown=config.data.unknown_of_queries,
        target=config.data.target,
        protocol=config.evaluation.protocol or model.protocol,
        max_prefixes=config.evaluation.max_prefixes,
    )


def evaluate_all(
    model: Any,
    data: Mapping[str, Interactions],
    config: Config,
    parts: Parts,
    metrics: Sequence[str] | None = None,
    threads: int | None = None,
) -> dict[str, Evaluation]:
    """Evaluate a model on sets of data by name; a test set with the validation data as history."""
    from whence.evaluation import evaluate

    options = config.evaluation_arguments(parts)
    wanted = metrics or config.evaluation.metrics
    results = {}
    for name, part in data.items():
        history = data.get("validation", parts.validation) if name == "test" else None
        if history is not None and not _asks_users(model, part, config):
            history = None
        with working(f"Evaluating on {name} data", threads=threads) as run:
            results[name] = evaluate(model, part, wanted, history=history, run=run, **options)
    return results


def show(results: Mapping[str, Evaluation]) -> None:
    """Print a table of metrics, and a line about the queries of each set."""
    frames = {name: result.to_frame() for name, result in results.items()}
    columns = ["metric"]
    for name in frames:
        columns += [name, "± std. error"]
    rows: list[list[str]] = []
    for position, metric in enumerate(next(iter(results.values())).scores):
        row = [metric]
        for frame in frames.values():
            error = frame["std_error"][position]
            row += [f"{frame['value'][position]:.4f}", "" if error is None else f"{error:.4f}"]
        rows.append(row)
    table(columns, rows)
    for name, result in results.items():
        say(f"{name}: {queries_of(result)}.")


def summary(result: Evaluation) -> dict[str, Any]:
    """What is written of an evaluation, as JSON can hold it."""
    return {
        "scores": result.scores,
        "n_queries": result.n_queries,
        "n_empty_queries": result.n_empty,
        "n_unknown_rows": result.n_unknown_rows,
        "n_without_targets": result.n_without_targets,
        "protocol": result.protocol,
        "per": result.per,
        "n_new_users": result.n_new_users,
        "n_targets": result.n_targets,
        "n_seen_targets": result.n_seen_targets,
        "exclude_seen": result.exclude_seen,
        "std_errors": {name: result.std_error(name) for name in result.scores},
    }


def described(model: Any) -> str:
    """A model with its parameters; of many only those that differ from the defaults."""
    given = getattr(model, "params", {})
    params = {name: value for name, value in given.items() if value is not None}
    if len(params) > _MANY:
        usual = model.parameter_defaults()
        params = {name: value for name, value in params.items() if value != usual.get(name)}
    return f"{type(model).__name__}({', '.join(f'{k}={v}' for k, v in params.items())})"


def queries_of(result: Evaluation) -> str:
    """Say how many queries an evaluation had, and what was special about them."""
    asked = {"prefixes": "beginnings of sessions", "users": "users", "baskets": "users of baskets"}
    line = f"{counted(result.n_queries, 'query')} ({asked[result.protocol]})"
    if result.per == "source":
        line += f", mean over {result.n_sources:,} sources"
    if result.n_empty:
        line += f", {result.n_empty:,} of them with nothing known to the model (they count as 0)"
    if result.n_unknown_rows:
        rows = counted(result.n_unknown_rows, "row")
        line += f"; {rows} {'has' if rows == '1 row' else 'have'} an item unknown to it"
    if result.n_without_targets:
        line += f"; {counted(result.n_without_targets, 'user')} with nothing to be found left out"
    if result.n_new_users:
        line += f"; {counted(result.n_new_users, 'new user')} asked by their own earlier rows"
    if result.n_seen_targets:
        line += f"; {result.n_seen_targets:,} of {result.n_targets:,} targets were seen before"
        line += " and cannot be found" if result.exclude_seen else ""
    if result.n_eligible is not None:
        line += f"; {counted(result.n_eligible, 'item')} may be recommended"
    if result.negatives is not None:
        how = "those given" if result.negatives == "given" else f"{result.negatives} drawn"
        line += f"; each target is ranked against {how}"
    return line


def _asks_users(model: Any, data: Interactions, config: Config) -> bool:
    """Whether a query is a user, of whom more can be known than the training data."""
    from whence.evaluation import make_queries

    queries = make_queries(
        model,
        data,
        unknown=config.data.unknown_of_queries,
        target=config.data.target,
        protocol=config.evaluation.protocol,
    )
    return queries.kind == "users"


def _wants_curves(config: Config) -> bool:
    if config.training.tensorboard is not None:
        return config.training.tensorboard
    return importlib.util.find_spec("tensorboard") is not None
