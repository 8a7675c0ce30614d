"""``whence experiment opponents``: is a model better without what opposes its predictions?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from whence.cli.experiment import Asked, experiment, of_metrics


@experiment(
    "OpponentsExperiment", "Opponents left out, fitted again",
    without=("protocol",), names={"n": ("-n",)}, seeds=5, rating=False,
    pictures=of_metrics,
)  # fmt: skip
def opponents(
    asked: Asked,
    *,
    protocol: Annotated[
        Literal["honest", "original"],
        typer.Option(help="honest, or original: that of the study.", rich_help_panel="Experiment"),
    ] = "honest",
) -> Any:
    """Leave out the training examples that oppose the predictions, fit again, and compare.

    For example: whence experiment opponents ratings.csv --planted 0.1 --output opponents
    """
    from whence.experiments import OpponentsExperiment

    settings = asked.parameters
    if protocol == "honest":
        return OpponentsExperiment(**settings)
    epochs = settings.get("epochs")
    if epochs is not None:
        settings.setdefault("checkpoints", (max(1, epochs * 3 // 10), max(1, epochs * 9 // 10)))
    return OpponentsExperiment.original(**settings)
