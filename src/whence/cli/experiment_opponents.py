"""``whence experiment opponents``: is a model better without what opposes its predictions?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Seeds, carry_out


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import OpponentsExperiment

    return OpponentsExperiment


@command(
    Parameters(
        _experiment, without=("model", "seeds", "protocol"), names={"n": ("-n",)},
        panel="Experiment",
    )
)  # fmt: skip
def opponents(
    given: Given,
    data: Data,
    *,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    seeds: Seeds = 5,
    protocol: Annotated[
        Literal["honest", "original"],
        typer.Option(help="honest, or original: that of the study.", rich_help_panel="Experiment"),
    ] = "honest",
    threads: options.Threads = None,
    output: options.OutputFolder = Path("opponents"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Leave out the training examples that oppose the predictions, fit again, and compare.

    For example: whence experiment opponents ratings.csv --planted 0.1 --output opponents
    """
    from whence.data import read_interactions
    from whence.experiments import OpponentsExperiment

    settings: dict[str, Any] = {**given.parameters, "seeds": tuple(range(seeds))}
    if protocol == "original":
        epochs = settings.get("epochs")
        if epochs is not None:
            settings.setdefault("checkpoints", (max(1, epochs * 3 // 10), max(1, epochs * 9 // 10)))
        experiment = OpponentsExperiment.original(**settings)
    else:
        experiment = OpponentsExperiment(**settings)
    interactions = read_interactions(data, columns=columns, time_format=time_format, ties=ties)
    carry_out(
        "opponents", experiment, interactions, output, _write,
        "Opponents left out, fitted again", overwrite=overwrite, resume=resume, threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "fits.csv", overwrite=True)
    return {
        f"{metric.replace('@', '-at-')}.png": partial(found.plot, metric)
        for metric in found.metrics
    }
