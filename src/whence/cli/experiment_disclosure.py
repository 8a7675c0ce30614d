"""``whence experiment disclosure``: strategies retrained and compared, over λ and seeds."""

from __future__ import annotations

from typing import Any

from whence.cli import _options as options
from whence.cli._commands import Parameters
from whence.cli.experiment import Asked, experiment


def _disclosure(arguments: list[str]) -> Any:
    from whence.curation.disclosure import Disclosure

    return Disclosure


_SEARCH = ("runs", "outcome", "rounds", "delta", "calibrate")
"""Parameters of `Disclosure` that are options here."""


@experiment(
    "DisclosureExperiment", "Strategies of disclosure, retrained and measured on test data",
    options.MODEL,
    without=("fractions", "disclosure"),
    names={
        "shares": ("--share",), "strategies": ("--strategy",), "controls": ("--control",),
        "metrics": ("--metric",), "starts": ("--start",),
    },
    last=Parameters(
        _disclosure, panel="Strategy",
        without=(
            "strategy", "lam", "n", "wv", "start", "anchors", "rate", "influence", "own_influence",
            "within", "tolerance", "seed",
        ),
    ),
    pictures=lambda found: {"frontier.png": found.plot},
)  # fmt: skip
def disclosure(asked: Asked) -> Any:
    """Choose what is disclosed by several strategies, retrain for each, and compare.

    For example: whence experiment disclosure ratings.csv --seeds 5 --output disclosure
    """
    from whence.curation.disclosure import Disclosure
    from whence.experiments import DisclosureExperiment

    make, given = asked.made_by("mf"), asked.parameters
    searched = {name: given.pop(name) for name in _SEARCH if name in given}
    return DisclosureExperiment(
        model=None if make is None else lambda train, seed: make(seed),
        disclosure=Disclosure(**searched),
        **given,
    )
