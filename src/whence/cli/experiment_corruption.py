"""``whence experiment corruption``: plant an attack, find it, clean."""

from __future__ import annotations

from typing import Any

from whence.cli import _options as options
from whence.cli.experiment import Asked, experiment


@experiment(
    "CorruptionExperiment", "What was planted, found and left out", options.MODEL,
    names={
        "attacks": ("--attack",), "methods": ("--method",), "shares": ("--clean-share",),
        "metrics": ("--metric",),
    },
    tables={"table.csv": "to_frame", "findings.csv": "rows"},
    pictures=lambda found: {"detection.png": found.plot},
)  # fmt: skip
def corruption(asked: Asked) -> Any:
    """Plant users that are not what they seem, value the data, find them, and clean.

    For example: whence experiment corruption ratings.csv --attack bandwagon --output corruption
    """
    from whence.experiments import CorruptionExperiment

    return CorruptionExperiment(model=asked.made_by("gru4rec"), **asked.parameters)
