"""``whence tune``: search for the settings that are best on the validation data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Key, command
from whence.cli._terminal import counted, heading, say, table

if TYPE_CHECKING:
    from whence.cli._search import Search


@command(
    *options.DATA, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE, options.UNKNOWN,
    options.MODEL, Key("tune.trials", ("--trials",), int), options.METRICS,
    Key("tune.seed training.seed evaluation.seed", options.SEED.names, int, help=options.SEED.help),
    *options.OUTPUT,
)  # fmt: skip
def tune(
    given: Given,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="YAML or TOML configuration with a section tune, or the folder of a search to be "
            "resumed.",
        ),
    ],
    threads: options.Threads = None,
    resume: options.Resume = False,
) -> None:
    """Try settings of a model and write the best of them as a configuration.

    For example: whence tune config.yaml --trials 50
    """
    from whence.cli._fitting import check_metrics
    from whence.cli._output import check_free
    from whence.cli._runs import default_folder, found_config
    from whence.cli._search import Search, check_space
    from whence.cli.train import folder_of, with_metrics
    from whence.config import read_parts
    from whence.errors import ConfigError

    file, before = found_config(source)
    config = with_metrics(given.config(file))
    check_space(config)
    folder = folder_of(config, before, resume, "tune")
    if folder is not None:
        check_free(folder, overwrite=config.output.overwrite, resume=resume)
    parts = read_parts(config)
    if parts.validation is None:
        raise ConfigError(
            "A search needs validation data; name a file with --valid, or one to be split with "
            "--data."
        )
    check_metrics(config, parts)
    folder = folder or default_folder(config, f"tune-{config.model.class_name}")
    search = Search(config, parts, folder, threads)
    search.run(resume=resume)
    _show(search)


def _show(search: Search, n: int = 10) -> None:
    from whence.errors import TrainingError

    names = list(search.config.tune.space)
    trials = search.numbered()
    heading(f"Best of {counted(len(trials), 'trial')} by {search.metric} on validation")
    rows: list[list[Any]] = []
    for place, trial in trials[:n]:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        rows.append(
            [place, value, *(_short(trial.params.get(name)) for name in names),
             trial.state.name.lower()]
        )  # fmt: skip
    table(["trial", search.metric, *names, "state"], rows)
    say()
    if trials[0][1].state.name != "COMPLETE":
        raise TrainingError(
            f"None of the {counted(len(trials), 'trial')} ended well, see "
            f"{search.folder / 'trials.csv'}; choose another space."
        )
    say(f"Written to {search.folder}: best.yaml, trials.csv.")
    say(f"Next: whence train {search.folder / 'best.yaml'}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
