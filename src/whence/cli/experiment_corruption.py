"""``whence experiment corruption``: plant an attack, find it, clean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Rating, Seeds, carry_out, made_by


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import CorruptionExperiment

    return CorruptionExperiment


@command(
    options.MODEL,
    Parameters(
        _experiment, without=("model", "seeds"),
        names={
            "attacks": ("--attack",), "methods": ("--method",), "shares": ("--clean-share",),
            "metrics": ("--metric",),
        },
        panel="Experiment",
    ),
)  # fmt: skip
def corruption(
    given: Given,
    data: Data,
    *,
    rating: Rating = None,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    seeds: Seeds = 3,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("corruption"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Plant users that are not what they seem, value the data, find them, and clean.

    For example: whence experiment corruption ratings.csv --attack bandwagon --output corruption
    """
    from whence.data import read_interactions
    from whence.experiments import CorruptionExperiment

    experiment = CorruptionExperiment(
        model=made_by(given, "gru4rec"), seeds=tuple(range(seeds)), **given.parameters
    )
    interactions = read_interactions(
        data, rating=rating, columns=columns, time_format=time_format, ties=ties
    )
    carry_out(
        "corruption", experiment, interactions, output, _write,
        "What was planted, found and left out", overwrite=overwrite, resume=resume,
        threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "findings.csv", overwrite=True)
    return {"detection.png": found.plot}
