"""``whence experiment prune``: how much of the least valuable data to remove, and its worth."""

from __future__ import annotations

from typing import Any

from whence.cli.experiment import Asked, experiment


@experiment(
    "PruneExperiment", "The chosen share removed, fitted again and measured on test data",
    without=("metrics", "sustainable_items", "sustainability_weight"),
    names={"methods": ("--method",), "shares": ("--share",), "values": ("--value-metric",)},
    parts=True,
    pictures=lambda found: {
        "choice.png" if found.settings["aim"] is None else "frontier.png": found.plot
    },
)  # fmt: skip
def prune(asked: Asked) -> Any:
    """Remove the least valuable share that a part of the validation data prefers, and test.

    With --aim st@20 and --sustainable FILE, as much as makes recommendations most sustainable
    without loss. For example: whence experiment prune config.toml --method shapley --output pruning
    """
    from whence.experiments import PruneExperiment

    return PruneExperiment(**asked.of_parts(), **asked.parameters)
