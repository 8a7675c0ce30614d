"""``whence experiment explanation-fidelity``: are explanations true to the model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli._terminal import heading, progress, say


def explanation_fidelity_command(
    *,
    data: Annotated[
        Path, typer.Argument(help="Users or sessions with their items, in any format.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN or MODEL",
            help="A run of whence train, or its model; else a GRU4Rec is trained on the data.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="exact, permutation, kernel, occlusion or integrated_gradients; may be repeated; "
            "all if absent.",
            show_default=False,
        ),
    ] = None,
    masking: Annotated[
        list[str] | None,
        typer.Option(
            help="What takes the place of an event that is left out, as in whence explain; may be "
            "repeated; remove and pad if absent.",
            show_default=False,
        ),
    ] = None,
    users: Annotated[int, typer.Option(help="Users whose recommendations are explained.")] = 200,
    events: Annotated[int, typer.Option(help="Latest events of each user.")] = 14,
    k: Annotated[int, typer.Option("-k", "--k", help="Recommended items to explain.")] = 10,
    n: Annotated[int, typer.Option(help="Most important events that are taken away.")] = 3,
    budget: Annotated[
        int, typer.Option(help="Sets of events that the methods that draw may ask for.")
    ] = 2_000,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the fit.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random numbers.")] = 42,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; a run that was broken off goes on there."),
    ] = Path("explanation-fidelity"),
) -> None:
    """Compare methods of explanation with orders of events that know nothing of the answer.

    For example: whence experiment explanation-fidelity ratings.csv --output fidelity
    """
    from whence.cli.explain import masking_of
    from whence.data import read_interactions
    from whence.experiments import ExplanationFidelityExperiment
    from whence.experiments.explanation_fidelity import METHODS

    interactions = read_interactions(data)
    items, column = interactions.vocabulary.items, interactions.columns.item
    experiment = ExplanationFidelityExperiment(
        model=None if model is None else _trained(model),
        methods=tuple(method) if method else METHODS,
        maskings=tuple(masking_of(one, items, column) for one in masking or ("remove", "pad")),
        n_users=users,
        n_events=events,
        k=k,
        n=n,
        budget=budget,
        epochs=epochs,
        seed=seed,
    )
    with progress("Explaining") as report:
        tell: Any = report if callable(report) else None
        result = experiment.run(interactions, folder=output, progress=tell)
    output.mkdir(parents=True, exist_ok=True)
    heading("Fidelity of explanations")
    accuracy = result.settings["accuracy"]
    if accuracy is not None:
        say(f"The model's recall@10 on the last item of each user: {accuracy:.4f}.")
    say()
    say(result.to_markdown())
    _write(result, output)
    say()
    say(f"Written to {output}: table.md, table.csv, rows.csv, and a picture of each measure.")


def _trained(source: Path) -> Any:
    from whence.cli._models import Trained, are_models
    from whence.errors import ConfigError

    if not are_models([source]):
        raise ConfigError(
            f"{source} is neither a run nor a saved model; give what whence train has written."
        )
    return Trained.load(source).model


def _write(result: Any, folder: Path) -> None:
    from whence.data import write_interactions
    from whence.data.files import atomic_path
    from whence.explanation.fidelity import MEASURES
    from whence.plots import picture

    with atomic_path(folder / "table.md", overwrite=True) as temporary:
        temporary.write_text(result.to_markdown() + "\n", encoding="utf-8")
    write_interactions(result.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(result.rows, folder / "rows.csv", overwrite=True)
    for measure in MEASURES:
        with picture(folder / f"{measure}.png", overwrite=True) as axes:
            result.plot(measure, ax=axes)
