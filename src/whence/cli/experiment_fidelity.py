"""``whence experiment fidelity``: influence functions against retraining."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Rating, carry_out, made_by


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import FidelityExperiment

    return FidelityExperiment


@command(
    options.MODEL,
    Parameters(
        _experiment, without=("model", "seed", "threads"), names={"solvers": ("--solver",)},
        panel="Experiment",
    ),
)  # fmt: skip
def fidelity(
    given: Given,
    data: Data,
    *,
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
    """Retrain without interactions; compare with what influence functions predict.

    For example: whence experiment fidelity ratings.csv --output fidelity
    """
    from whence.data import read_interactions
    from whence.experiments import FidelityExperiment

    experiment = FidelityExperiment(model=made_by(given, "mf"), seed=seed, **given.parameters)
    interactions = read_interactions(
        data, rating=rating, columns=columns, time_format=time_format, ties=ties
    )
    carry_out(
        "fidelity", experiment, interactions, output, _write,
        "Predicted and actual changes without interactions", overwrite=overwrite, resume=resume,
        threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.changes, folder / "changes.csv", overwrite=True)
    return {
        f"{outcome.replace(' ', '-')}.png": partial(found.plot, outcome)
        for outcome in ("own user", "total")
    }
