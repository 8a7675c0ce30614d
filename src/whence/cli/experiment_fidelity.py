"""``whence experiment fidelity``: do values predict what retraining does?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Rating, carry_out, made_by


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import FidelityExperiment

    return FidelityExperiment


@command(
    options.MODEL,
    Parameters(
        _experiment, without=("model", "seed", "threads"), names={"methods": ("--method",)},
        panel="Experiment",
    ),
)  # fmt: skip
def fidelity(
    given: Given,
    data: Data,
    *,
    valid: Annotated[
        Path | None,
        typer.Option(
            "--valid",
            help="Validation data; DATA is split if absent.",
            rich_help_panel="Data",
            show_default=False,
        ),
    ] = None,
    rating: Rating = None,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    seed: options.Seed = 42,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("fidelity"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Leave out random parts of the data, retrain, and compare with what values predict.

    Retrainings stay in the folder, so that --resume with another --method, more --masks or
    --starts goes on from them. For example: whence experiment fidelity ratings.csv --method replay
    --method tracin --output fidelity
    """
    from whence.data import read_interactions
    from whence.experiments import FidelityExperiment

    experiment = FidelityExperiment(model=made_by(given, "neumf"), seed=seed, **given.parameters)
    parts = [
        read_interactions(path, rating=rating, columns=columns, time_format=time_format, ties=ties)
        for path in (data, valid)
        if path is not None
    ]
    validation = parts[1] if len(parts) > 1 else None
    carry_out(
        "fidelity", experiment, parts[0], output, _write, "What values predict of retraining",
        overwrite=overwrite, resume=resume, threads=threads, validation=validation,
        free=("methods", "masks", "starts", "runs", "keep", "removals", "proponents", "pairs"),
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    for name in ("scores", "proponents", "costs"):
        write_interactions(getattr(found, name), folder / f"{name}.csv", overwrite=True)
    write_interactions(found.changes, folder / "changes.parquet", overwrite=True)
    outcomes = found.scores.drop_nulls("score")["outcome"].unique(maintain_order=True)
    return {f"{outcome}.png": partial(found.plot, outcome) for outcome in outcomes}
