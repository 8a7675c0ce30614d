"""``whence experiment explanation-fidelity``: are explanations true to the model?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli._terminal import say
from whence.cli.experiment import Data, carry_out


def _experiment(arguments: list[str]) -> Any:
    from whence.experiments import ExplanationFidelityExperiment

    return ExplanationFidelityExperiment


@command(
    Parameters(
        _experiment, without=("model", "seed", "threads"), panel="Experiment",
        names={
            "k": ("-k",), "n": ("-n",), "methods": ("--method",), "maskings": ("--masking",),
        },
    )
)  # fmt: skip
def explanation_fidelity(
    given: Given,
    data: Data,
    *,
    columns: options.Columns = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = "order",
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN or MODEL",
            help="A run of whence train, or its model; else a GRU4Rec is trained on the data.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 42,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("explanation-fidelity"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Compare methods of explanation with orders of events that know nothing of the answer.

    For example: whence experiment explanation-fidelity ratings.csv --output fidelity
    """
    from whence.cli._ids import masking_of
    from whence.cli._models import load_trained
    from whence.data import read_interactions
    from whence.experiments import ExplanationFidelityExperiment

    interactions = read_interactions(data, columns=columns, time_format=time_format, ties=ties)
    items, column = interactions.vocabulary.items, interactions.columns.item
    settings = dict(given.parameters)
    if "maskings" in settings:
        settings["maskings"] = tuple(masking_of(one, items, column) for one in settings["maskings"])
    experiment = ExplanationFidelityExperiment(
        model=None if model is None else load_trained(model).model, seed=seed, **settings
    )
    carry_out(
        "explanation-fidelity", experiment, interactions, output, _write,
        "Fidelity of explanations", overwrite=overwrite, resume=resume, threads=threads,
    )  # fmt: skip


def _write(found: Any, folder: Path) -> Mapping[str, Any]:
    from whence.data import write_interactions
    from whence.explanation.fidelity import MEASURES

    accuracy = found.settings["accuracy"]
    if accuracy is not None:
        say(f"The model's recall@10 on the last item of each user: {accuracy:.4f}.")
    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "rows.csv", overwrite=True)
    return {f"{measure}.png": partial(found.plot, measure) for measure in MEASURES}
