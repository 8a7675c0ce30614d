"""``whence trace``: which training examples taught a model its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli._terminal import heading, say, table, working
from whence.cli._trace_items import text_of
from whence.parameters import Count, PositiveInt

if TYPE_CHECKING:
    import polars as pl

    from whence.influence import Influence


def _method(arguments: list[str]) -> Any:
    """The class of the method that is asked for."""
    from whence.influence import InfluenceFunction, TracIn

    given = [
        text.removeprefix("--method=") if text.startswith("--method=") else after
        for text, after in zip(arguments, [*arguments[1:], ""])
        if text == "--method" or text.startswith("--method=")
    ]
    return InfluenceFunction if given and given[-1] in _METHODS[1:] else TracIn


_METHODS = ("tracin", "influence", "influence-function")
_NOT_OPTIONS = ("checkpoints", "threads", "top", "learning_rate", "seed", "epoch")


@command(Parameters(_method, without=_NOT_OPTIONS))
def trace(
    given: Given,
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run of whence train.")],
    test: Annotated[
        Path | None,
        typer.Option(
            help="What the predictions are asked on; the run's own test data by default.",
            rich_help_panel="Data",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        list[Count] | None,
        typer.Option(
            "--query",
            help="Show who taught and who opposed this prediction; may be repeated.",
            show_default=False,
        ),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            metavar="TITLE",
            help="Trace the predictions of this item alone, by its title or id; may be repeated.",
            show_default=False,
        ),
    ] = None,
    self_influence: Annotated[
        bool,
        typer.Option(
            "--self-influence", help="Influence of each training example on itself instead."
        ),
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            help="tracin, through the steps of training, or influence, by the curvature where it "
            "ended; with --help, the parameters of that method are listed."
        ),
    ] = "tracin",
    n: Annotated[PositiveInt, typer.Option("-n", help="Rows of each table.")] = 5,
    *,
    threads: options.Threads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Trace predictions to training examples, through the checkpoints that the run kept.

    With --method influence by the model as it is, which needs no checkpoints.

    For example: whence trace runs/LSTMRec-20250101-120000 --query 0
    Which films taught it a film: whence trace RUN --item "Jaws (1975)" --by target
    """
    from whence.cli import _trace_items
    from whence.cli._models import load_trained
    from whence.cli._output import Results, check_free, marked
    from whence.errors import ConfigError, ParameterError, check_choice

    check_choice("--method", method, _METHODS)
    by_steps = method == "tracin"
    if self_influence and not by_steps:
        raise ConfigError("--self-influence is asked of tracin; leave --method out.")
    if item and (query or self_influence):
        raise ConfigError(
            "--item asks about the predictions of items; leave --query and --self-influence out."
        )
    if output is not None:
        check_free(output, overwrite=overwrite, resume=resume)
    elif resume:
        raise ConfigError("--resume goes on in a folder; name it with --output.")
    model = load_trained(source).model
    tracing = _method(["--method", method])(threads=threads, **given.parameters)
    tracing._check_params()
    tracing.check_model(model)
    if by_steps and not tracing.every_step:
        tracing.set_params(checkpoints=_checkpoints(source))
    asked = None if self_influence else _asked(source, model, test)
    most = 0 if asked is None else len(asked)
    if asked is not None and not by_steps:
        most = asked.ids[asked.ids.columns[0]].n_unique()
    for one in query or []:
        if one >= most:
            raise ParameterError(
                f"There is no query {one}: there are {most:,}, numbered from 0; choose another "
                "with --query."
            )

    def influence(folder: Path | None, asked: Any = asked) -> Influence:
        with working("Tracing", folder=folder, resume=resume) as run:
            if asked is None:
                found: Influence = tracing.self_influence(model, run=run)
            else:
                found = tracing.attribute(model, asked, run=run)
            return found

    chosen = None if not item else _trace_items.asked_of_items(model, asked, item)
    if output is None and chosen is not None:
        for name, n_queries, found in _trace_items.traced(chosen, influence, None):
            _trace_items.show(model, name, n_queries, found, n)
        return
    if output is None:
        _show(influence(None), query or [], n)
        return
    question = marked(
        "trace", model.train_, model=type(model).__name__, run=str(source.resolve()),
        tracing={k: str(v) for k, v in tracing.params.items() if k not in ("threads", "top")},
        test=None if test is None else str(test.resolve()), self_influence=self_influence,
        **({"items": item} if item else {}),
    )  # fmt: skip
    with Results(output, question, overwrite=overwrite, resume=resume).open():
        if chosen is not None:
            _trace_items.write(model, chosen, influence, output, n)
            return
        found = influence(output)
        _show(found, query or [], n)
        _write(found, output, query or [], n)


def _checkpoints(run: Path) -> Path:
    from whence.errors import FileFormatError

    folder = run / "checkpoints"
    if not any(folder.glob("epoch-*.pt")):
        raise FileFormatError(
            f"{run} kept no checkpoints of epochs, which influence is traced through; train again "
            "with --set training.checkpoints=5 (every fifth epoch), or take --every-step, which "
            "does training again."
        )
    return folder


def _asked(run: Path, model: Any, data: Path | None) -> Any:
    """Return what is asked: of a file, or of the run's test data with validation as history.

    A query is what the model has a loss of: of users every item.
    """
    from whence.config import load_config, read_parts
    from whence.config.parts import reading
    from whence.data import read_interactions
    from whence.errors import ConfigError
    from whence.influence import query_examples

    config = load_config(run / "config.yaml")
    if data is not None:
        given = {**model.train_.columns.as_arguments(), **reading(config)}
        return query_examples(model, read_interactions(data, **given))
    parts = read_parts(config)
    if parts.test is None:
        raise ConfigError("The run has no test data; name a file with --test.")
    history = parts.validation if parts.test.by_user else None
    return query_examples(model, parts.test, history=history)


def _show(influence: Influence, queries: list[int], n: int) -> None:
    say(influence.summary())
    for title, frame in (("Highest", influence.top(n)), ("Lowest", influence.bottom(n))):
        heading(f"{title} values")
        shown = [name for name in frame.columns if name != "n_queries"]
        table(shown, [[text_of(value) for value in row] for row in frame.select(shown).iter_rows()])
    for number in queries:
        _show_query(influence, number, n)


def _show_query(influence: Influence, query: int, n: int) -> None:
    found = {
        "proponents": influence.proponents(query, n),
        "opponents": influence.opponents(query, n),
    }
    asked = influence.queries()[query]
    words = {name: text_of(value) for name, value in asked.row(0, named=True).items()}
    heading(f"Query {query}: " + ", ".join(f"{name} {value}" for name, value in words.items()))
    for name, frame in found.items():
        say(f"{name}:")
        rows = [[text_of(value) for value in row] for row in frame.iter_rows()]
        table(list(frame.columns), rows, text=("target", "sequence"))


def _of_queries(influence: Influence, queries: list[int], n: int) -> pl.DataFrame:
    """Proponents and opponents of some predictions, a row each, with what was asked in words."""
    import polars as pl

    asked = influence.queries()
    parts: list[pl.DataFrame] = []
    for query in queries:
        words = {name: text_of(value) for name, value in asked.row(query, named=True).items()}
        about = "; ".join(f"{name} {text}" for name, text in words.items() if name != "query")
        for side, frame in (
            ("proponent", influence.proponents(query, n)),
            ("opponent", influence.opponents(query, n)),
        ):
            texts = {
                column: pl.Series([text_of(value) for value in frame[column]], dtype=pl.String)
                for column in ("target", "sequence")
                if column in frame.columns
            }
            constants = {"query": query, "asked": about, "side": side}
            more = [pl.lit(value).alias(name) for name, value in constants.items()]
            parts.append(frame.with_columns(**texts).select(*more, pl.all()))
    return pl.concat(parts)


def _write(influence: Influence, folder: Path, queries: list[int], n: int) -> None:
    from whence.cli._output import SUMMARY, write_json
    from whence.data.files import atomic_path
    from whence.plots import picture

    influence.save(folder / "influence.parquet", overwrite=True)
    with picture(folder / "influence.png", overwrite=True) as axes:
        influence.plot(ax=axes)
    made = "influence.parquet, influence.png"
    if queries:
        with atomic_path(folder / "queries.parquet", overwrite=True) as path:
            _of_queries(influence, queries, n).write_parquet(path)
        made += ", queries.parquet"
    write_json(influence.metadata, folder / SUMMARY)
    say(f"Written to {folder}: {made}, summary.json.")
