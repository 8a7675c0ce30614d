"""``whence train``: from data to a trained, evaluated and saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli import _options as options
from whence.cli._commands import Given, Key, command
from whence.cli._terminal import complain, counted, heading, say

if TYPE_CHECKING:
    from whence.config import Config, Parts
    from whence.evaluation import Evaluation

METRICS = ("ndcg@10", "recall@10", "mrr@10", "hitrate@10")


@command(
    *options.DATA, options.TEST, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE,
    options.UNKNOWN, options.MODEL, options.START, *options.NEIGHBOURS,
    Key("training.epochs", ("--epochs",), int, "Model"),
    Key("training.device", ("--device",), str, "Model"),
    Key("training.checkpoint_every", ("--checkpoint-every",), str, "Run",
        "Steps, or a time such as 90s, 10min or 2h, after which the state within an epoch is kept, "
        "to be gone on from. (10min)"),
    options.METRICS, *options.ASKED, options.SEED, *options.OUTPUT,
)  # fmt: skip
def train(
    given: Given,
    source: options.ConfigFile = None,
    threads: options.Threads = None,
    resume: options.Resume = False,
) -> None:
    """Train a model, evaluate it and save it, with everything that it takes to repeat the run.

    For example: whence train --data ratings.csv --model BPRMF
    """
    from whence.cli._fitting import check_metrics, check_parts
    from whence.cli._output import Results, check_free
    from whence.cli._runs import METRICS as LAST
    from whence.cli._runs import (
        WITHIN,
        default_folder,
        described_run,
        epochs_done,
        found_config,
        resolved,
    )
    from whence.config import read_parts

    file, repeated = found_config(source)
    config = with_metrics(given.config(file))
    folder = folder_of(config, repeated, resume, "train")
    overwrite = config.output.overwrite
    if folder is not None:
        check_free(folder, overwrite=overwrite, resume=resume, last=LAST)
    parts = read_parts(config)
    check_metrics(config, parts)
    model = config.build_model()
    model._check_params()
    check_parts(config, parts, model)
    folder = folder or default_folder(config, type(model).__name__)

    def begun(folder: Path) -> str:
        begun = "a part of the first epoch" if (folder / WITHIN).is_file() else ""
        return counted(epochs_done(folder), "epoch") if epochs_done(folder) else begun

    results = Results(
        folder, described_run("train", config, model, parts), overwrite=overwrite, resume=resume,
        config=resolved(config, model, parts), last=LAST, begun=begun,
        again=f"whence train {folder} --resume",
    )  # fmt: skip
    with results.open():
        found = _train(config, parts, model, folder, resume, threads)
    _next_steps(folder, found)
    if repeated is not None and not resume:
        _compare_with(repeated, folder)


def with_metrics(config: Config) -> Config:
    """Return a configuration with the usual metrics of its model, where none are named.

    Raises
    ------
    ConfigError
        If no model is named.
    """
    from whence.cli._fitting import RATING_METRICS
    from whence.config import MODELS
    from whence.errors import ConfigError

    if "name" not in config.model.model_fields_set:
        raise ConfigError(
            "No model is named; choose one with --model or model.name, such as BPRMF for users, "
            "GRU4Rec for sessions or TIFUKNN for baskets."
        )
    if "metrics" in config.evaluation.model_fields_set:
        return config
    levels = MODELS[config.model.name].levels
    rates = "rating" in levels and config.model.given().get("loss") != "logistic"
    metrics = RATING_METRICS if rates else METRICS
    evaluation = config.evaluation.model_copy(update={"metrics": metrics})
    return config.model_copy(update={"evaluation": evaluation})


def folder_of(config: Config, repeated: Path | None, resume: bool, command: str) -> Path | None:
    """Return the folder that is asked for; None for one of its own name.

    Raises
    ------
    ConfigError
        If work is to be gone on with, and its folder is not named.
    """
    from whence.errors import ConfigError

    named = config.output.directory
    if named is not None:
        return Path(named)
    if not resume:
        return None
    if repeated is None:
        raise ConfigError(
            f"--resume goes on with work that was broken off; name its folder: whence {command} "
            "FOLDER --resume."
        )
    return repeated


def _train(
    config: Config, parts: Parts, model: Any, folder: Path, resume: bool, threads: int | None
) -> dict[str, Evaluation]:
    from whence.cli._fitting import described, evaluate_all, fit, show
    from whence.cli._runs import METRICS as LAST
    from whence.cli._runs import epochs_done
    from whence.errors import TrainingError

    for note in parts.notes:
        say(note)
    say(_about(parts))
    before = folder / LAST
    if before.is_file() and epochs_done(folder):
        before.unlink()  # there is more to do, and until then this is no whole run
    try:
        fit(config, parts, model=model, folder=folder, resume=resume, threads=threads)
    except TrainingError as error:
        if epochs_done(folder):
            raise TrainingError(
                f"{error} The last good checkpoint is {folder / 'checkpoints' / 'last.pt'}."
            ) from error
        raise
    heading(f"{described(model)} fitted on {str(parts.train).strip('<>')}")
    named = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in named.items() if part is not None}
    results = evaluate_all(model, data, config, parts, threads=threads)
    best = getattr(model, "best_", {})
    if best:
        say(
            f"Best of {counted(len(model.history_), 'epoch')} by {best['metric']} on validation: "
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
    from whence.cli._runs import METRICS as LAST
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
    write_json(found, folder / LAST)


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
    from whence.cli._output import RUN, read_json
    from whence.cli._runs import METRICS as LAST

    if not (repeated / LAST).is_file():
        return
    before, after = (read_json(run / RUN)["data"] for run in (repeated, folder))
    if before != after:
        complain(f"Note: the data are not those of {repeated}.")
    old, new = (read_json(run / LAST) for run in (repeated, folder))
    sets = [name for name in new if name != "training"]
    same = all(old.get(name, {}).get("scores") == new[name]["scores"] for name in sets)
    say(
        f"The metrics are {'the same as' if same else 'not those'} {'in' if same else 'of'} "
        f"{repeated}."
    )
