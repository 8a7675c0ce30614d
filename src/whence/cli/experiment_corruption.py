"""``whence experiment corruption``: plant an attack, find it, clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli.experiment import Asked, experiment


@experiment(
    "CorruptionExperiment", "What was planted, found and left out",
    options.MODEL, *options.NEIGHBOURS,
    names={
        "attacks": ("--attack",), "methods": ("--method",), "shares": ("--clean-share",),
        "metrics": ("--metric",),
    },
    pictures=lambda found: {"detection.png": found.plot},
)  # fmt: skip
def corruption(
    asked: Asked,
    *,
    valid: Annotated[
        Path | None,
        typer.Option(
            help="Validation data of other sessions; with --test, all of DATA is for training.",
            rich_help_panel="Data",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Test data of other sessions.", rich_help_panel="Data", show_default=False
        ),
    ] = None,
) -> Any:
    """Plant users that are not what they seem, value the data, find them, and clean.

    Of neighbour models, with data of their own to test on: whence experiment corruption train.csv
    --valid valid.csv --test test.csv --model vmis --attack duplicated. For example:
    whence experiment corruption ratings.csv --attack bandwagon --output corruption
    """
    from whence.experiments import CorruptionExperiment

    made = CorruptionExperiment(model=asked.made_by("gru4rec"), **asked.parameters)
    files = {"validation": valid, "test": test}
    return made, {name: asked.read(path) for name, path in files.items() if path is not None}
