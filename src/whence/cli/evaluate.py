"""``whence evaluate``: how good a recommender is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli import _options as options
from whence.cli._terminal import heading, say, table

if TYPE_CHECKING:
    from whence.config import Config
    from whence.evaluation import Evaluation


def evaluate_command(
    config: options.ConfigFile = None,
    train: options.Train = None,
    valid: options.Valid = None,
    test: options.Test = None,
    session: options.Session = None,
    user: options.User = None,
    item: options.Item = None,
    time: options.Time = None,
    basket: options.Basket = None,
    sustainable: options.Sustainable = None,
    unknown: options.Unknown = None,
    model: options.Model = None,
    k: options.K = None,
    m: options.M = None,
    r_b: options.RB = None,
    r_g: options.RG = None,
    alpha: options.Alpha = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Such as mrr@20; may be repeated.", show_default=False),
    ] = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Fit a model and say how good its recommendations are.

    For example: whence evaluate --train train.csv --valid valid.csv --model vmis --metric mrr@20
    """
    chosen = options.configured(
        config,
        set_,
        data__train=train,
        data__validation=valid,
        data__test=test,
        data__session=session,
        data__user=user,
        data__item=item,
        data__time=time,
        data__basket=basket,
        data__sustainable_items=sustainable,
        data__unknown=unknown,
        model__name=model,
        model__k=k,
        model__m=m,
        model__r_b=r_b,
        model__r_g=r_g,
        model__alpha=alpha,
        evaluation__metrics=metric,
        attribution__seed=seed,
        attribution__threads=threads,
    )
    _run(chosen, output, overwrite)


def _run(config: Config, folder: Path | None, overwrite: bool) -> None:
    from whence.cli._output import check_free
    from whence.config import read_parts
    from whence.errors import ConfigError
    from whence.evaluation import evaluate

    if folder is not None:
        check_free(folder, overwrite=overwrite)
    parts = read_parts(config)
    asked = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in asked.items() if part is not None}
    if not data:
        raise ConfigError(
            "There is nothing to evaluate on; name a file with --valid or --test, or say how to "
            "split the training file with --set data.split=temporal."
        )
    recommender = config.model.build().fit(parts.train)
    results = {
        name: evaluate(
            recommender,
            part,
            config.evaluation.metrics,
            sustainable_items=parts.sustainable_items,
            sustainability_weight=config.evaluation.sustainability_weight,
            relevant=config.evaluation.relevant,
            unknown=config.data.unknown,
            target=config.data.target,
            threads=config.attribution.threads,
        )
        for name, part in data.items()
    }
    _show(recommender, parts.train, results)
    if folder is not None:
        _write(folder, config, results, overwrite)
        say(f"Written to {folder}: summary.json, config.yaml and the value of every query.")


def _show(recommender: object, train: object, results: dict[str, Evaluation]) -> None:
    heading(f"{_described(recommender)} fitted on {str(train).strip('<>')}")
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
        line = f"{name}: {result.n_queries:,} queries"
        if result.n_empty:
            line += (
                f", {result.n_empty:,} of them with nothing known to the model (they count as 0)"
            )
        if result.n_unknown_rows:
            line += f"; {result.n_unknown_rows:,} rows have an item unknown to it"
        say(line + ".")


def _described(recommender: object) -> str:
    params = getattr(recommender, "params", {})
    return f"{type(recommender).__name__}({', '.join(f'{k}={v}' for k, v in params.items())})"


def _write(folder: Path, config: Config, results: dict[str, Evaluation], overwrite: bool) -> None:
    from whence.attribution.record import versions
    from whence.cli._output import SUMMARY, new_folder, write_config, write_json

    with new_folder(folder, overwrite=overwrite) as new:
        summary = {
            name: {
                "scores": result.scores,
                "n_queries": result.n_queries,
                "n_empty_queries": result.n_empty,
                "n_unknown_rows": result.n_unknown_rows,
            }
            for name, result in results.items()
        }
        for name, result in results.items():
            result.per_query.write_parquet(new / f"{name}-queries.parquet")
        write_config(config, new / "config.yaml")
        write_json({"results": summary, "versions": versions()}, new / SUMMARY)
