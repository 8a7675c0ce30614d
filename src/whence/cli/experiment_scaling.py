"""``whence experiment scaling``: time and memory against clicks, queries and threads."""

from __future__ import annotations

from functools import partial
from typing import Any

from whence.cli.experiment import Asked, experiment


@experiment(
    "ScalingExperiment", "Time and memory",
    without=("metric", "seed", "sustainable_items", "sustainability_weight"),
    names={"methods": ("--method",)},
    seeds=None, parts=True, generated=True,
    pictures=lambda found: {
        f"{size}.png": partial(found.plot, f"n_{size}") for size in ("clicks", "queries")
    },
)  # fmt: skip
def scaling(asked: Asked) -> Any:
    """Measure time and memory of fitting, evaluating and valuing as data and threads grow.

    On generated sessions where no data are given. For example: whence experiment scaling
    --clicks 10000 --clicks 100000 --queries 3000 --method loo --output scaling
    """
    from whence.experiments import ScalingExperiment

    given = asked.of_parts()
    metric = given.pop("metrics")[0]
    return ScalingExperiment(**given, metric=metric, seed=asked.seed, **asked.given.parameters)
