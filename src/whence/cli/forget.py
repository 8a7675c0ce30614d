"""``whence forget``: a run whose model has lost what some of its training data taught it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, command
from whence.cli._terminal import counted, heading, number, say, table, working
from whence.parameters import Count, PositiveInt

if TYPE_CHECKING:
    from whence.config import Config, Parts
    from whence.curation.forgetting import Audit, Forgotten
    from whence.data import Interactions

_PANEL = "What is forgotten"


def _what(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_PANEL, show_default=False)


@command()
def forget(
    given: Given,
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run of whence train.")],
    *,
    user: Annotated[
        list[str] | None,
        _what(
            "--user", help="Id of a user, or of a session of data without users; may be repeated."
        ),
    ] = None,
    users: Annotated[
        Path | None, _what("--users", help="File that lists users, one a line or a column.")
    ] = None,
    sessions: Annotated[Path | None, _what("--sessions", help="File that lists sessions.")] = None,
    rows: Annotated[
        Path | None,
        _what("--rows", help="File of single rows: with the columns of the training data."),
    ] = None,
    epochs: Annotated[
        Count,
        typer.Option(
            help="Networks: epochs of training on what is left.", rich_help_panel="Method"
        ),
    ] = 0,
    repeated: Annotated[
        PositiveInt,
        typer.Option(
            help="Serve the request as so many, one after another.", rich_help_panel="Method"
        ),
    ] = 1,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Train on what is left, too, and say how near the model is to that.",
            rich_help_panel="Method",
        ),
    ] = False,
    threads: options.Threads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Make a run of what a model is without some of its training data, without training afresh.

    For example: whence forget runs/EASE-20250101-120000 --user 42 --audit
    """
    from whence.cli._models import Trained
    from whence.cli._output import Results, check_free, marked
    from whence.cli._runs import METRICS as LAST
    from whence.cli._runs import default_folder, is_run
    from whence.config import load_config, read_parts
    from whence.engines import identity_of
    from whence.errors import ConfigError

    if not is_run(source):
        raise ConfigError(f"{source} is no run; give a folder that whence train has written.")
    if resume and output is None:
        raise ConfigError("--resume goes on in a folder; name it with --output.")
    if output is not None:
        check_free(output, overwrite=overwrite, resume=resume, last=LAST)
    model = Trained.load(source).model
    config = load_config(source / "config.yaml")
    asked = _asked(model, user, users, sessions, rows)
    from whence.curation.forgetting.forgetting import checked

    gone = checked(model, epochs=epochs, repeated=repeated, **asked)
    parts = _left(read_parts(config), gone.left, asked.get("users"), gone.train.columns.user)
    name = f"{type(model).__name__}-forgotten"
    folder = output or default_folder(config, name)
    # As they are when they are read again: numbered by what is left.
    read = [part and part.rebuild() for part in (gone.left, parts.validation, parts.test)]
    question = marked(
        "forget", *read, model=type(model).__name__,
        run=str(source.resolve()), rows=identity_of(gone.mask), epochs=epochs, repeated=repeated,
        audit=audit,
    )  # fmt: skip
    results = Results(
        folder, question, overwrite=overwrite, resume=resume, last=LAST,
        config=_sections(config, parts, folder),
    )  # fmt: skip
    with results.open():
        if results.finished:
            say(f"The results in {folder} are finished.")
            return
        _write_data(parts, folder)
        found = _forget(model, asked, epochs, repeated, threads)
        found.model.save(folder / "model.whence", overwrite=True)
        audited = _audit(found, config, parts, folder, threads, resume) if audit else None
        _finish(found, audited, load_config(folder / "config.yaml"), parts, folder, threads)


def _asked(
    model: Any,
    user: list[str] | None,
    users: Path | None,
    sessions: Path | None,
    rows: Path | None,
) -> dict[str, Any]:
    """What is to be forgotten, as arguments of `whence.forget`.

    Raises
    ------
    ConfigError
        If it is not said in one way.
    """
    from whence.cli._ids import ids_in, typed
    from whence.data import read_interactions
    from whence.errors import ConfigError

    ways = [way for way in (user, users, sessions, rows) if way]
    if len(ways) != 1:
        raise ConfigError(
            "Say what is to be forgotten in one way: --user ID, --users FILE, --sessions FILE or "
            "--rows FILE."
        )
    train: Interactions = model.train_
    if rows is not None:
        columns: dict[str, Any] = train.columns.as_arguments()
        return {"rows": read_interactions(rows, **columns)}
    if sessions is not None and train.columns.source == train.columns.user:
        raise ConfigError("The training data have users and no sessions; say --users FILE.")
    of_users = sessions is None and train.columns.user is not None
    column = str(train.columns.user if of_users else train.columns.source)
    file = users or sessions
    ids = list(user or []) if file is None else ids_in(file, column)
    known = train.source_ids if column == train.columns.source else train.frame[column]
    return {"users" if of_users else "sessions": typed(ids, known, column)}


def _left(parts: Parts, left: Interactions, users: Any, column: str | None) -> Parts:
    """The data of the new run: also without the users' rows in validation and test data."""
    from dataclasses import replace

    import polars as pl

    def without(part: Interactions | None) -> Interactions | None:
        if part is None or users is None or column is None or column not in part.frame.columns:
            return part
        gone = part.frame[column].is_in(pl.Series(users, dtype=part.frame[column].dtype).implode())
        kept = part.keep_rows(~gone.to_numpy()) if gone.any() else part
        return kept if kept.n_rows else None

    return replace(
        parts,
        train=left,
        validation=without(parts.validation),
        test=without(parts.test),
        split=None,
    )


def _files(parts: Parts, folder: Path) -> dict[str, Path]:
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return {name: folder / "data" / f"{name}.parquet" for name, part in named.items() if part}


def _write_data(parts: Parts, folder: Path) -> None:
    """Write the data that are left, in their order, so that training again forgets them, too."""
    from whence.data import write_interactions

    (folder / "data").mkdir(exist_ok=True)
    for name, path in _files(parts, folder).items():
        part = getattr(parts, name)
        write_interactions(part.frame[part.rows], path, overwrite=True)


def _sections(config: Config, parts: Parts, folder: Path) -> dict[str, Any]:
    """The configuration of the new run: that of the old one, of the data that are left."""
    from whence.cli._output import sections_of

    sections = sections_of(config)
    kept = ("item_table", "user_table", "kind", "sustainable_items", "unknown", "target")
    data = {name: value for name, value in sections.get("data", {}).items() if name in kept}
    columns = parts.train.columns.as_arguments()
    data |= {role: name for role, name in columns.items() if name is not None}
    data |= {name: str(path.resolve()) for name, path in _files(parts, folder).items()}
    rest = {name: keys for name, keys in sections.items() if name not in ("data", "split")}
    return {"data": data, **rest}


def _forget(
    model: Any, asked: Mapping[str, Any], epochs: int, repeated: int, threads: int | None
) -> Forgotten:
    from whence.curation import forget as forget_

    with working("Forgetting", threads=threads) as run:
        found = forget_(model, epochs=epochs, repeated=repeated, run=run, **asked)
    heading(f"{type(model).__name__} without {counted(found.n_rows, 'row')}")
    seconds = f"{found.seconds:.2f}"
    say(f"{found.certificate.text} It took {seconds} s.")
    return found


def _audit(
    found: Forgotten, config: Config, parts: Parts, folder: Path, threads: int | None, resume: bool
) -> Audit:
    """Train as the run was, on what is left, and compare."""
    import shutil

    from whence.cli._fitting import fit, parsed
    from whence.engines import Run

    began = folder / "audit"
    seeds: list[Any] = []

    def retrain(train: Interactions, seed: int | None) -> Any:
        seeds.append(seed)
        model = type(found.original)(**found.original.params)
        if seed is not None:
            model.set_params(seed=seed)
        place = began / str(len(seeds))
        return fit(
            config, parts, model=model, folder=place, resume=resume and place.is_dir(),
            threads=threads,
        )  # fmt: skip

    metric = parsed(config, parts, config.evaluation.metrics[0])
    audited = found.audit(parts.test, metric=metric, retrain=retrain, run=Run(threads=threads))
    audited.to_frame().write_csv(folder / "audit.csv")
    if began.is_dir():
        shutil.rmtree(began)
    heading("Beside a model trained on what is left")
    rows = [
        [row["measure"], row["model"], number(row["value"]), _interval(row)]
        for row in audited.to_frame().iter_rows(named=True)
    ]
    table(["measure", "model", "value", "95% interval"], rows, text=("model", "95% interval"))
    return audited


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"


def _finish(
    found: Forgotten,
    audited: Audit | None,
    config: Config,
    parts: Parts,
    folder: Path,
    threads: int | None,
) -> None:
    """Evaluate as a run of training is evaluated, and write what marks the run as whole."""
    from whence.cli._fitting import evaluate_all, show, summary
    from whence.cli._output import write_json
    from whence.cli._runs import METRICS as LAST

    data = {"validation": parts.validation, "test": parts.test}
    named = {name: part for name, part in data.items() if part is not None}
    results = evaluate_all(found.model, named, config, parts, threads=threads)
    if results:
        show(results)
    certificate = found.certificate
    write_json(
        {
            "certificate": certificate.kind,
            "text": certificate.text,
            **certificate.figures,
            "rows": found.n_rows,
            "sources": found.n_sources,
            "seconds": found.seconds,
        },
        folder / "forgotten.json",
    )
    metrics: dict[str, Any] = {name: summary(result) for name, result in results.items()}
    write_json(metrics, folder / LAST)
    listed = ["model.whence", "metrics.json", "forgotten.json", "config.yaml", "data/"]
    listed += ["audit.csv"] if audited is not None else []
    say()
    say(f"Written to {folder}: {', '.join(listed)}.")
    say(f"Next: whence evaluate {folder}, or whence recommend {folder} --user ...")
