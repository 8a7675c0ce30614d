"""``whence trace``: which training examples taught a model its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli._terminal import heading, progress, say, table

if TYPE_CHECKING:
    from whence.influence import Influence


def trace_command(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run of whence train.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="What the predictions are asked on; the run's own test data by default.",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        list[int] | None,
        typer.Option(
            "--query",
            help="Show who taught and who opposed this prediction; may be repeated.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="Who is credited: example, interaction, user, session or item.")
    ] = "example",
    layers: Annotated[str, typer.Option(help="all, last or embedding.")] = "all",
    normalise: Annotated[
        str | None, typer.Option(help="cosine: divide by the lengths of gradients.")
    ] = None,
    weighting: Annotated[str, typer.Option(help="sgd, adam or adam-factored.")] = "sgd",
    self_influence: Annotated[
        bool, typer.Option("--self", help="Influence of each training example on itself instead.")
    ] = False,
    n: Annotated[int, typer.Option("-n", help="Rows of each table.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the values and the picture."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Trace predictions to training examples, through the checkpoints that the run kept.

    For example: whence trace runs/LSTMRec-20250101-120000 --query 0
    """
    from whence.cli._models import Trained
    from whence.cli._output import check_free
    from whence.influence import TracIn

    if output is not None:
        check_free(output, overwrite=overwrite)
    model = Trained.load(run).model
    method: dict[str, Any] = {
        "checkpoints": _checkpoints(run),
        "layers": layers,
        "by": by,
        "normalise": normalise,
        "weighting": weighting,
        "threads": threads,
    }
    with progress("Tracing") as report:
        tracing = TracIn(**method, progress=report)
        if self_influence:
            influence = tracing.self_influence(model)
        else:
            influence = tracing.attribute(model, _asked(run, model, data))
    say(influence.summary())
    _show(influence, "Highest", influence.top(n))
    _show(influence, "Lowest", influence.bottom(n))
    for number in query or []:
        _show_query(influence, number, n)
    if output is not None:
        _write(influence, output, overwrite)


def _checkpoints(run: Path) -> Path:
    from whence.errors import FileFormatError

    folder = run / "checkpoints"
    if not any(folder.glob("epoch-*.pt")):
        raise FileFormatError(
            f"{run} kept no checkpoints of epochs, which influence is traced through; train again "
            "with --set training.checkpoints=5 (every fifth epoch)."
        )
    return folder


def _asked(run: Path, model: Any, data: Path | None) -> Any:
    """Return the queries: of a file, or of the run's test data with validation as history."""
    from whence.config import load_config, read_parts
    from whence.data import read_interactions
    from whence.errors import ConfigError
    from whence.evaluation import make_queries

    if data is not None:
        given = model.train_.columns.as_arguments()
        return make_queries(model, read_interactions(data, **given))
    parts = read_parts(load_config(run / "config.yaml"))
    if parts.test is None:
        raise ConfigError("The run has no test data; name a file with --data.")
    history = parts.validation if parts.test.by_user else None
    return make_queries(model, parts.test, history=history)


def _show(influence: Influence, title: str, frame: Any) -> None:
    heading(f"{title} values")
    shown = [name for name in frame.columns if name != "n_queries"]
    table(shown, [[_text(value) for value in row] for row in frame.select(shown).iter_rows()])


def _show_query(influence: Influence, query: int, n: int) -> None:
    found = {
        "proponents": influence.proponents(query, n),
        "opponents": influence.opponents(query, n),
    }
    asked = influence.queries()[query]
    words = {name: _text(value) for name, value in asked.row(0, named=True).items()}
    heading(f"Query {query}: " + ", ".join(f"{name} {value}" for name, value in words.items()))
    for name, frame in found.items():
        say(f"{name}:")
        rows = [[_text(value) for value in row] for row in frame.iter_rows()]
        table(list(frame.columns), rows, text=("target", "sequence"))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) or hasattr(value, "to_list"):
        items = [str(item) for item in value]
        return " · ".join(items[-3:]) if len(items) <= 3 else "… " + " · ".join(items[-3:])
    return str(value)


def _write(influence: Influence, folder: Path, overwrite: bool) -> None:
    from whence.cli._output import SUMMARY, new_folder, write_json
    from whence.plots import picture

    with new_folder(folder, overwrite=overwrite) as new:
        influence.save(new / "influence.parquet")
        with picture(new / "influence.png") as axes:
            influence.plot(ax=axes)
        write_json(influence.metadata, new / SUMMARY)
    say(f"Written to {folder}: influence.parquet, influence.png, summary.json.")
