"""``whence tune``: search for the settings that are best on the validation data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._terminal import complain, heading, say, table

if TYPE_CHECKING:
    from whence.cli._search import Search
    from whence.config import Config


def tune_command(
    *,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="YAML or TOML configuration with a section tune, or the folder of a search to be "
            "resumed.",
        ),
    ],
    data: options.Data = None,
    train: options.Train = None,
    valid: options.Valid = None,
    model: options.Model = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="How many settings are tried.", rich_help_panel="Run", show_default=False
        ),
    ] = None,
    metric: options.Metrics = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    threads: options.TrainingThreads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a search.", rich_help_panel="Run"),
    ] = False,
) -> None:
    """Try settings of a model and write the best of them as a configuration.

    For example: whence tune config.yaml --trials 50
    """
    from whence.cli._runs import found_config

    file, before = found_config(source)
    config = options.configured(
        file,
        set_,
        data__path=data,
        data__train=train,
        data__validation=valid,
        model__name=model,
        training__threads=threads,
        evaluation__metrics=metric,
        tune__trials=trials,
        tune__seed=seed,
        output__directory=output,
        output__overwrite=overwrite,
    )
    _run(config, before, resume)


def _run(config: Config, before: Path | None, resume: bool) -> None:
    from whence.cli._output import check_free
    from whence.cli._runs import default_folder
    from whence.cli._search import Search, check_space
    from whence.cli.train import check_metrics, with_metrics
    from whence.config import read_parts
    from whence.errors import ConfigError

    config = with_metrics(config)
    check_space(config)
    named = config.output.directory
    if resume and named is None and before is None:
        raise ConfigError(
            "--resume goes on with a search; name its folder: whence tune FOLDER --resume."
        )
    folder = before if resume and named is None else None if named is None else Path(named)
    if folder is not None and not resume:
        check_free(folder, overwrite=config.output.overwrite)
    parts = read_parts(config)
    if parts.validation is None:
        raise ConfigError(
            "A search needs validation data; name a file with --valid, or one to be split with "
            "--data."
        )
    check_metrics(config, parts)
    folder = folder or default_folder(config, f"tune-{config.model.class_name}")
    search = Search(config, parts, folder)
    try:
        search.run(resume=resume)
    except KeyboardInterrupt:
        raise _interrupted(search) from None
    _show(search)


def _interrupted(search: Search) -> typer.Exit:
    done = len(search.finished()) if search.folder.exists() else 0
    if done:
        complain(
            f"Interrupted after {done} trial{'s' * (done > 1)}; go on with: whence tune "
            f"{search.folder} --resume"
        )
    else:
        complain("Interrupted before the first trial ended; nothing was written.")
    return typer.Exit(130)


def _show(search: Search, n: int = 10) -> None:
    from whence.errors import TrainingError

    names = list(search.config.tune.space)
    trials = search.ranked()
    heading(f"Best of {len(trials)} trials by {search.metric} on validation")
    rows: list[list[Any]] = []
    for trial in trials[:n]:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        rows.append(
            [trial.number, value, *(_short(trial.params.get(name)) for name in names),
             trial.state.name.lower()]
        )  # fmt: skip
    table(["trial", search.metric, *names, "state"], rows)
    say()
    if trials[0].state.name != "COMPLETE":
        raise TrainingError(
            f"None of the {len(trials)} trials ended well, see {search.folder / 'trials.csv'}; "
            "choose another space."
        )
    say(f"Written to {search.folder}: best.yaml, trials.csv.")
    say(f"Next: whence train {search.folder / 'best.yaml'}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
