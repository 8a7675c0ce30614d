"""``whence experiment``: remove, retrain, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli._terminal import heading, progress, say
from whence.cli.experiment_disclosure import disclosure_command
from whence.cli.experiment_explanation import explanation_fidelity_command
from whence.cli.experiment_fidelity import fidelity_command

experiment_app = typer.Typer(
    no_args_is_help=True, help="Experiments that retrain: remove, refit, compare, with controls."
)


@experiment_app.callback()
def _group() -> None:
    pass


experiment_app.command("fidelity")(fidelity_command)


experiment_app.command("disclosure")(disclosure_command)


experiment_app.command("explanation-fidelity")(explanation_fidelity_command)


@experiment_app.command("opponents")
def opponents_command(
    data: Annotated[Path, typer.Argument(help="Users with their items, in any format.")],
    n: Annotated[int, typer.Option(help="Training examples to leave out.")] = 500,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 5,
    planted: Annotated[
        float, typer.Option(help="Users with random items that are added, as a share.")
    ] = 0.0,
    protocol: Annotated[
        str, typer.Option(help="honest, or original: that of the study.")
    ] = "honest",
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of each fit.", show_default=False)
    ] = None,
    max_queries: Annotated[
        int | None,
        typer.Option(help="Validation queries to choose opponents on.", show_default=False),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; a run that was broken off goes on there."),
    ] = Path("opponents"),
) -> None:
    """Leave out the training examples that oppose the predictions, fit again, and compare.

    For example: whence experiment opponents ratings.csv --planted 0.1 --output opponents
    """
    from whence.data import read_interactions

    experiment = _experiment(protocol, epochs, n, seeds, planted, max_queries)
    interactions = read_interactions(data)
    with progress("Fitting") as report:
        tell: Any = report if callable(report) else None
        result = experiment.run(interactions, folder=output, progress=tell)
    output.mkdir(parents=True, exist_ok=True)
    heading("Opponents left out, fitted again")
    say(result.to_markdown())
    _write(result, output)
    say(f"Written to {output}: table.md, table.csv, fits.csv, and a picture of each metric.")


def _experiment(
    protocol: str, epochs: int | None, n: int, seeds: int, planted: float, max_queries: int | None
) -> Any:
    from whence.experiments import OpponentsExperiment

    settings: dict[str, Any] = {
        "n": n,
        "seeds": tuple(range(seeds)),
        "planted": planted,
        "max_queries": max_queries,
    }
    if protocol == "original":
        if epochs is not None:
            settings["checkpoints"] = (max(1, epochs * 3 // 10), max(1, epochs * 9 // 10))
        return OpponentsExperiment.original(epochs=epochs, **settings)
    return OpponentsExperiment(protocol=protocol, epochs=epochs, **settings)


def _write(result: Any, folder: Path) -> None:
    from whence.data import write_interactions
    from whence.data.files import atomic_path
    from whence.plots import picture

    with atomic_path(folder / "table.md", overwrite=True) as temporary:
        temporary.write_text(result.to_markdown() + "\n", encoding="utf-8")
    write_interactions(result.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(result.rows, folder / "fits.csv", overwrite=True)
    for metric in result.metrics:
        with picture(folder / f"{metric.replace('@', '-at-')}.png", overwrite=True) as axes:
            result.plot(metric, ax=axes)
