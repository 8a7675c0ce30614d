"""``whence experiment forgetting``: what is left of users who are forgotten?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Rating, Seeds, carry_out, made_by


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import ForgettingExperiment

    return ForgettingExperiment


@command(
    options.MODEL,
    Parameters(
        _experiment, without=("model", "seeds"), panel="Experiment",
        names={"shares": ("--share",), "epochs": ("--epochs",)},
    ),
)  # fmt: skip
def forgetting(
    given: Given,
    data: Data,
    *,
    rating: Rating = None,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    seeds: Seeds = 3,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("forgetting"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Forget single users, shares of all and a stream of them; compare with training afresh.

    For example: whence experiment forgetting ratings.csv --model NeuMF --output forgetting
    """
    from whence.data import read_interactions
    from whence.experiments import ForgettingExperiment

    experiment = ForgettingExperiment(
        model=made_by(given, "ease"), seeds=tuple(range(seeds)), **given.parameters
    )
    interactions = read_interactions(
        data, rating=rating, columns=columns, time_format=time_format, ties=ties
    )
    carry_out(
        "forgetting", experiment, interactions, output, _write, "Forgotten, and trained afresh",
        overwrite=overwrite, resume=resume, threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "requests.csv", overwrite=True)
    return {}
