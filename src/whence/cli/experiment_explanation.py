"""``whence experiment explanation-fidelity``: are explanations true to the model?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli._terminal import say
from whence.cli.experiment import Asked, experiment


def _pictures(found: Any) -> Mapping[str, Any]:
    from whence.explanation.fidelity import MEASURES

    accuracy = found.settings["accuracy"]
    if accuracy is not None:
        say(f"The model's recall@10 on the last item of each user: {accuracy:.4f}.")
    return {f"{measure}.png": partial(found.plot, measure) for measure in MEASURES}


@experiment(
    "ExplanationFidelityExperiment", "Fidelity of explanations",
    names={
        "k": ("-k",), "n": ("-n",), "methods": ("--method",), "maskings": ("--masking",),
    },
    seeds=None, rating=False,
    pictures=_pictures,
)  # fmt: skip
def explanation_fidelity(
    asked: Asked,
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN or MODEL",
            help="A run of whence train, or its model; else a GRU4Rec is trained on the data.",
            show_default=False,
        ),
    ] = None,
) -> Any:
    """Compare methods of explanation with orders of events that know nothing of the answer.

    For example: whence experiment explanation-fidelity ratings.csv --output fidelity
    """
    from whence.cli._ids import masking_of
    from whence.cli._models import load_trained
    from whence.experiments import ExplanationFidelityExperiment

    items, column = asked.data.vocabulary.items, asked.data.columns.item
    settings = dict(asked.given.parameters)
    if "maskings" in settings:
        settings["maskings"] = tuple(masking_of(one, items, column) for one in settings["maskings"])
    return ExplanationFidelityExperiment(
        model=None if model is None else load_trained(model).model, seed=asked.seed, **settings
    )
