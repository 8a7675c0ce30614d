"""``whence experiment fidelity``: do values predict what retraining does?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli.experiment import Asked, experiment


def _pictures(found: Any) -> Mapping[str, Any]:
    outcomes = found.scores.drop_nulls("score")["outcome"].unique(maintain_order=True)
    return {f"{outcome}.png": partial(found.plot, outcome) for outcome in outcomes}


@experiment(
    "FidelityExperiment", "What values predict of retraining", options.MODEL,
    names={"methods": ("--method",)}, seeds=None,
    pictures=_pictures,
    free=("methods", "masks", "starts", "runs", "keep", "removals", "proponents", "pairs"),
)  # fmt: skip
def fidelity(
    asked: Asked,
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
) -> Any:
    """Leave out random parts of the data, retrain, and compare with what values predict.

    Retrainings stay in the folder, so that --resume with another --method, more --masks or
    --starts goes on from them. For example: whence experiment fidelity ratings.csv --method replay
    --method tracin --output fidelity
    """
    from whence.experiments import FidelityExperiment

    made = FidelityExperiment(
        model=asked.made_by("neumf"), seed=asked.seed, **asked.given.parameters
    )
    return made, {} if valid is None else {"validation": asked.read(valid)}
