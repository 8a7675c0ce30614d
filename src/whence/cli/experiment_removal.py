"""``whence experiment removal``: what becomes of a model as training data are removed?"""

from __future__ import annotations

from typing import Any

from whence.cli.experiment import Asked, experiment, of_metrics


@experiment(
    "RemovalExperiment", "Removed, fitted again and measured on test data",
    without=("metrics", "sustainable_items", "sustainability_weight"),
    names={"methods": ("--method",)},
    parts=True,
    pictures=of_metrics,
)  # fmt: skip
def removal(asked: Asked) -> Any:
    """Remove ever more training data in several orders, fit again, and measure.

    The most or the least valuable first, the longest, at random. For example: whence experiment
    removal config.toml --method shapley --method length --method random --up-to 0.2 --output curves
    """
    from whence.experiments import RemovalExperiment

    return RemovalExperiment(**asked.of_parts(), **asked.parameters)
