"""``whence experiment disclosure``: strategies retrained and compared, over λ and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli.experiment import Data, Rating, Seeds, carry_out, made_by


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import DisclosureExperiment

    return DisclosureExperiment


def _disclosure(arguments: list[str]) -> Any:
    from whence.curation.disclosure import Disclosure

    return Disclosure


_SEARCH = ("runs", "outcome", "rounds", "delta", "calibrate")
"""Parameters of `Disclosure` that are options here."""


@command(
    options.MODEL,
    Parameters(
        _experiment, without=("model", "seeds", "fractions", "disclosure"), panel="Experiment",
        names={
            "shares": ("--share",), "strategies": ("--strategy",), "controls": ("--control",),
            "metrics": ("--metric",), "starts": ("--start",),
        },
    ),
    Parameters(
        _disclosure, panel="Strategy",
        without=(
            "strategy", "lam", "n", "wv", "start", "anchors", "rate", "influence", "own_influence",
            "within", "tolerance", "seed",
        ),
    ),
)  # fmt: skip
def disclosure(
    given: Given,
    data: Data,
    *,
    rating: Rating = None,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    seeds: Seeds = 3,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("disclosure"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Choose what is disclosed by several strategies, retrain for each, and compare.

    For example: whence experiment disclosure ratings.csv --seeds 5 --output disclosure
    """
    from whence.curation.disclosure import Disclosure
    from whence.data import read_interactions
    from whence.experiments import DisclosureExperiment

    make = made_by(given, "mf")
    model = None if make is None else lambda train, seed: make(seed)
    searched = {name: given.parameters.pop(name) for name in _SEARCH if name in given.parameters}
    experiment = DisclosureExperiment(
        model=model, seeds=tuple(range(seeds)), disclosure=Disclosure(**searched),
        **given.parameters,
    )  # fmt: skip
    interactions = read_interactions(
        data, rating=rating, columns=columns, time_format=time_format, ties=ties
    )
    carry_out(
        "disclosure", experiment, interactions, output, _write,
        "Strategies of disclosure, retrained and measured on test data", overwrite=overwrite,
        resume=resume, threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions

    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "runs.csv", overwrite=True)
    return {"frontier.png": found.plot}
