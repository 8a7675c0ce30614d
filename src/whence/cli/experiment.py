"""``whence experiment``: remove, retrain, compare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli._commands import Commands, Given
from whence.cli._terminal import heading, say, working
from whence.parameters import PositiveInt

if TYPE_CHECKING:
    from whence.data import Interactions


class _Experiments(Commands):
    homes = {  # noqa: RUF012 (a class is never changed)
        "corruption": "whence.cli.experiment_corruption:corruption",
        "fidelity": "whence.cli.experiment_fidelity:fidelity",
        "disclosure": "whence.cli.experiment_disclosure:disclosure",
        "explanation-fidelity": "whence.cli.experiment_explanation:explanation_fidelity",
        "forgetting": "whence.cli.experiment_forgetting:forgetting",
        "opponents": "whence.cli.experiment_opponents:opponents",
    }


experiment_app = typer.Typer(
    cls=_Experiments,
    no_args_is_help=True,
    add_completion=False,
    help="Experiments that retrain: remove, refit, compare, with controls.",
)


@experiment_app.callback()
def _group() -> None:
    pass


Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Users with their items, in any format.")
]
Seeds = Annotated[PositiveInt, typer.Option(help="Number of seeds.", rich_help_panel="Run")]
Rating = Annotated[
    str | None,
    typer.Option(
        "--rating-column", help="Column of the rating.", rich_help_panel="Data",
        show_default=False,
    ),
]  # fmt: skip


def carry_out(
    name: str,
    experiment: Any,
    data: Interactions,
    folder: Path,
    write: Callable[[Any, Path], Mapping[str, Any]],
    title: str,
    *,
    overwrite: bool,
    resume: bool,
    threads: int | None,
    validation: Interactions | None = None,
    free: Collection[str] = (),
) -> None:
    """Run an experiment in a folder, print its table and write its results.

    Parameters
    ----------
    name : str
        Of the command.
    experiment : object
        With ``run(data, run=...)``.
    data : Interactions
    folder : Path
    write : callable
        Writes tables into the folder; gives the pictures: name of a file to ``draw(axes)``.
    title : str
    overwrite, resume, threads
        As on the command line.
    validation : Interactions, optional
        Given to the experiment, where it takes any.
    free : collection of str
        Parameters that may change when the work is gone on with.
    """
    from whence.cli._output import SUMMARY, Results, check_free, marked, write_json
    from whence.data.files import atomic_path
    from whence.plots import picture

    check_free(folder, overwrite=overwrite, resume=resume)
    experiment._check_params()
    without = {"model", "seeds", "threads", *free}  # more seeds may follow
    params = {key: str(value) for key, value in experiment.params.items() if key not in without}
    question = marked(f"experiment {name}", data, validation, experiment=params)
    results = Results(folder, question, overwrite=overwrite, resume=resume)
    with results.open():
        with working(name.capitalize(), threads=threads, folder=folder, resume=resume) as run:
            more = {} if validation is None else {"validation": validation}
            found = experiment.run(data, run=run, **more)
        heading(title)
        table = found.to_markdown()
        say(table)
        with atomic_path(folder / "table.md", overwrite=True) as path:
            path.write_text(table + "\n", encoding="utf-8")
        for file, draw in write(found, folder).items():
            with picture(folder / file, overwrite=True) as axes:
                draw(ax=axes)
        settings = getattr(found, "settings", None) or found.metadata
        write_json({"settings": settings}, folder / SUMMARY)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".md", ".csv", ".png"))
    say(f"Written to {folder}: {', '.join(names)}.")


def made_by(given: Given, usual: str) -> Callable[[int], Any] | None:
    """Return ``model(seed)`` of the options; None for the experiment's own model."""
    if not (given.keys or given.extra):
        return None
    # Checked here, and built for each seed with it.
    given.config(model__name=usual).build_model()._check_params()

    def make(seed: int) -> Any:
        return given.config(model__name=usual, training__seed=seed).build_model()

    return make
