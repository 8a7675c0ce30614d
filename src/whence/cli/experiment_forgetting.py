"""``whence experiment forgetting``: what is left of users who are forgotten?"""

from __future__ import annotations

from typing import Any

from whence.cli import _options as options
from whence.cli.experiment import Asked, experiment


@experiment(
    "ForgettingExperiment", "Forgotten, and trained afresh", options.MODEL,
    names={"shares": ("--share",), "epochs": ("--epochs",)},
)  # fmt: skip
def forgetting(asked: Asked) -> Any:
    """Forget single users, shares of all and a stream of them; compare with training afresh.

    For example: whence experiment forgetting ratings.csv --model NeuMF --output forgetting
    """
    from whence.experiments import ForgettingExperiment

    return ForgettingExperiment(model=asked.made_by("ease"), **asked.parameters)
