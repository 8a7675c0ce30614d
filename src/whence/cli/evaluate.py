"""``whence evaluate``: how good a recommender is, and whether one is better than another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli import _options as options
from whence.cli._fitting import described, evaluate_all, fit, show, summary
from whence.cli._terminal import heading, say

if TYPE_CHECKING:
    from whence.config import Config
    from whence.evaluation import Evaluation


def evaluate_command(
    *,
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
    data: options.Data = None,
    train: options.Train = None,
    valid: options.Valid = None,
    test: options.Test = None,
    session: options.Session = None,
    user: options.User = None,
    item: options.Item = None,
    time: options.Time = None,
    basket: options.Basket = None,
    rating: options.Rating = None,
    split: options.Split = None,
    sustainable: options.Sustainable = None,
    unknown: options.Unknown = None,
    model: options.Model = None,
    k: options.K = None,
    m: options.M = None,
    r_b: options.RB = None,
    r_g: options.RG = None,
    alpha: options.Alpha = None,
    metric: options.Metrics = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Fit a model, or take one that was trained, and say how good its recommendations are.

    For example: whence evaluate --train train.csv --valid valid.csv --model vmis --metric mrr@20
    or, for the difference of two runs: whence evaluate runs/first runs/second
    """
    from whence.cli._compare import compare_models
    from whence.cli._models import Trained, are_models, config_of

    sources = sources or []
    trained = are_models(sources)
    if trained:
        changed = {
            "--data": data, "--train": train, "--split": split, "--model": model, "--k": k,
            "--m": m, "--r-b": r_b, "--r-g": r_g, "--alpha": alpha,
        }  # fmt: skip
        _refuse([name for name, value in changed.items() if value is not None])
    chosen = options.configured(
        config_of(sources[0]) if trained else next(iter(sources), None),
        set_,
        data__path=data,
        data__train=train,
        data__validation=valid,
        data__test=test,
        data__session=session,
        data__user=user,
        data__item=item,
        data__time=time,
        data__basket=basket,
        data__rating=rating,
        split__method=split,
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
    if trained:
        given = {"validation": valid, "test": test}
        models = [Trained.load(source) for source in sources]
        compare_models(models, chosen, given, output, overwrite)
    else:
        _run(chosen, output, overwrite)


def _refuse(names: list[str]) -> None:
    from whence.errors import ConfigError

    if names:
        raise ConfigError(
            f"{names[0]} is for a model to be fitted, and a trained one was given; leave it out, "
            "or train another with whence train."
        )


def _run(config: Config, folder: Path | None, overwrite: bool) -> None:
    from whence.cli._output import check_free
    from whence.config import read_parts
    from whence.errors import ConfigError

    if folder is not None:
        check_free(folder, overwrite=overwrite)
    parts = read_parts(config)
    asked = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in asked.items() if part is not None}
    if not data:
        raise ConfigError(
            "There is nothing to evaluate on; name a file with --valid or --test, or say how to "
            "split the training file with --set split.method=temporal."
        )
    recommender = fit(config, parts)
    results = evaluate_all(recommender, data, config, parts, threads=config.attribution.threads)
    heading(f"{described(recommender)} fitted on {str(parts.train).strip('<>')}")
    show(results)
    if folder is not None:
        _write(folder, config, results, overwrite)
        say(f"Written to {folder}: summary.json, config.yaml and the value of every query.")


def _write(folder: Path, config: Config, results: dict[str, Evaluation], overwrite: bool) -> None:
    from whence.attribution.record import versions
    from whence.cli._output import SUMMARY, new_folder, write_config, write_json

    with new_folder(folder, overwrite=overwrite) as new:
        for name, result in results.items():
            result.per_query.write_parquet(new / f"{name}-queries.parquet")
        write_config(config, new / "config.yaml")
        found = {name: summary(result) for name, result in results.items()}
        write_json({"results": found, "versions": versions()}, new / SUMMARY)
