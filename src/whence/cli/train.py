"""``whence train``: from data to a trained, evaluated and saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._terminal import complain, heading, say

if TYPE_CHECKING:
    from whence.config import Config, Parts
    from whence.evaluation import Evaluation

METRICS = ("ndcg@10", "recall@10", "mrr@10", "hitrate@10")
RATING_METRICS = ("rmse", "mae")


def train_command(
    *,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="YAML or TOML configuration (RecBole's flat keys are understood), or the folder "
            "of a run to be repeated or resumed; options given beside it win.",
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
    model: options.Model = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training data.", rich_help_panel="Model", show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda.", rich_help_panel="Model", show_default=False),
    ] = None,
    metric: options.Metrics = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    threads: options.TrainingThreads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a run that was broken off.", rich_help_panel="Run"
        ),
    ] = False,
) -> None:
    """Train a model, evaluate it and save it, with everything that it takes to repeat the run.

    For example: whence train --data ratings.csv --model BPRMF
    """
    from whence.cli._runs import found_config

    file, run = found_config(source)
    config = options.configured(
        file,
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
        model__name=model,
        training__epochs=epochs,
        training__device=device,
        training__seed=seed,
        training__threads=threads,
        evaluation__metrics=metric,
        output__directory=output,
        output__overwrite=overwrite,
    )
    _run(config, run, resume)


def _run(config: Config, repeated: Path | None, resume: bool) -> None:
    from whence.cli._output import check_free
    from whence.cli._runs import default_folder, run_folder
    from whence.config import read_parts

    config = with_metrics(config)
    folder = _folder(config, repeated, resume)
    overwrite = config.output.overwrite
    if folder is not None and not resume:
        check_free(folder, overwrite=overwrite)
    parts = read_parts(config)
    built = config.build_model()
    folder = folder or default_folder(config, type(built).__name__)
    try:
        with run_folder(folder, overwrite=overwrite, resume=resume):
            results = _train(config, parts, built, folder, resume)
    except KeyboardInterrupt:
        raise _interrupted(folder) from None
    _next_steps(folder, results)
    if repeated is not None and not resume:
        _compare_with(repeated, folder)


def with_metrics(config: Config) -> Config:
    """Return a configuration with the usual metrics of its model, where none are named.

    Raises
    ------
    ConfigError
        If no model is named.
    """
    from whence.config.models import model_class
    from whence.errors import ConfigError

    if "name" not in config.model.model_fields_set:
        raise ConfigError(
            "No model is named; choose one with --model or model.name, such as BPRMF for users, "
            "GRU4Rec for sessions or TIFUKNN for baskets."
        )
    if "metrics" in config.evaluation.model_fields_set:
        return config
    levels = model_class(config.model.name).levels
    rates = "rating" in levels and config.model.given().get("loss") != "logistic"
    metrics = RATING_METRICS if rates else METRICS
    evaluation = config.evaluation.model_copy(update={"metrics": metrics})
    return config.model_copy(update={"evaluation": evaluation})


def check_metrics(config: Config, parts: Parts) -> None:
    """Refuse metrics that cannot be understood, before anything is trained.

    Raises
    ------
    MetricError
        If one is unknown, or lacks what it needs.
    """
    from whence.evaluation import parse_metric

    wanted = config.evaluation
    named = [config.training.metric, config.tune.metric]
    for metric in (*wanted.metrics, *(name for name in named if name is not None)):
        parse_metric(
            metric,
            sustainable_items=parts.sustainable_items,
            sustainability_weight=wanted.sustainability_weight,
            relevant=wanted.relevant,
        )


def _folder(config: Config, repeated: Path | None, resume: bool) -> Path | None:
    """The folder that is asked for; None for one of its own name."""
    from whence.errors import ConfigError

    named = config.output.directory
    if named is not None:
        return Path(named)
    if not resume:
        return None
    if repeated is None:
        raise ConfigError(
            "--resume goes on with a run; name its folder: whence train FOLDER --resume."
        )
    return repeated


def _train(
    config: Config, parts: Parts, model: Any, folder: Path, resume: bool
) -> dict[str, Evaluation]:
    from whence.cli._fitting import described, evaluate_all, fit, show
    from whence.cli._runs import epochs_done, write_start
    from whence.errors import TrainingError

    for note in parts.notes:
        say(note)
    check_metrics(config, parts)
    model._check_params()
    write_start(folder, config, model, parts)
    say(_about(parts))
    try:
        fit(config, parts, model=model, folder=folder, resume=resume)
    except TrainingError as error:
        if epochs_done(folder):
            raise TrainingError(
                f"{error} The last good checkpoint is {folder / 'checkpoints' / 'last.pt'}."
            ) from error
        raise
    heading(f"{described(model)} fitted on {str(parts.train).strip('<>')}")
    named = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in named.items() if part is not None}
    results = evaluate_all(model, data, config, parts, threads=config.training.threads)
    best = getattr(model, "best_", {})
    if best:
        say(
            f"Best of {len(model.history_)} epochs by {best['metric']} on validation: "
            f"{best['epoch']}."
        )
    if results:
        show(results)
    else:
        say("There is neither validation nor test data, so nothing was evaluated.")
    _write(folder, model, results)
    return results


def _about(parts: Parts) -> str:
    """What the model learns from and is tested on."""
    sizes = [f"{parts.train.n_rows:,} training"]
    sizes += [
        f"{part.n_rows:,} {name}"
        for name, part in (("validation", parts.validation), ("test", parts.test))
        if part is not None
    ]
    how = f"Split {parts.split}: " if parts.split else ""
    return f"{how}{', '.join(sizes)} rows."


def _write(folder: Path, model: Any, results: dict[str, Evaluation]) -> None:
    """Write the model and what it reached; the metrics last, as the mark of a whole run."""
    from whence.cli._fitting import summary
    from whence.cli._output import write_json
    from whence.cli._runs import METRICS as METRICS_FILE
    from whence.cli._runs import MODEL
    from whence.data.files import atomic_path

    model.save(folder / MODEL, overwrite=True)
    for name, result in results.items():
        with atomic_path(folder / f"{name}-queries.parquet", overwrite=True) as path:
            result.per_query.write_parquet(path)
    found: dict[str, Any] = {name: summary(result) for name, result in results.items()}
    history = getattr(model, "history_", [])
    if history:
        found["training"] = {
            "epochs": len(history),
            "best": getattr(model, "best_", {}),
            "loss": history[-1]["loss"],
            "seconds": sum(entry["seconds"] for entry in history),
        }
    with atomic_path(folder / METRICS_FILE, overwrite=True) as path:
        write_json(found, path)


def _interrupted(folder: Path) -> typer.Exit:
    from whence.cli._runs import epochs_done

    done = epochs_done(folder)
    if done:
        complain(
            f"Interrupted after {done} epoch{'s' * (done > 1)}; go on with: whence train {folder} "
            "--resume"
        )
    else:
        complain("Interrupted before the first epoch ended; nothing was written.")
    return typer.Exit(130)


def _next_steps(folder: Path, results: dict[str, Evaluation]) -> None:
    listed = ["model.whence", "metrics.json" if results else "", "config.yaml"]
    if (folder / "checkpoints").is_dir():
        listed.append("checkpoints/")
    if (folder / "tensorboard").is_dir():
        listed.append("tensorboard/")
    say()
    say(f"Written to {folder}: {', '.join(name for name in listed if name)}.")
    say(f"Next: whence recommend {folder} --user ..., or whence evaluate {folder} another-run")


def _compare_with(repeated: Path, folder: Path) -> None:
    """Say whether a run that was repeated has the same data and the same result."""
    from whence.cli._output import RUN
    from whence.cli._runs import METRICS as METRICS_FILE
    from whence.cli._runs import read_json

    if not (repeated / METRICS_FILE).is_file():
        return
    before, after = (read_json(run / RUN)["data"] for run in (repeated, folder))
    if before != after:
        complain(f"Note: the data are not those of {repeated}.")
    old, new = (read_json(run / METRICS_FILE) for run in (repeated, folder))
    sets = [name for name in new if name != "training"]
    same = all(old.get(name, {}).get("scores") == new[name]["scores"] for name in sets)
    say(
        f"The metrics are {'the same as' if same else 'not those'} {'in' if same else 'of'} "
        f"{repeated}."
    )
