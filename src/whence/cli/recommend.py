"""``whence recommend``: what a trained model recommends to users, or after a history."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._terminal import counted, heading, say, table
from whence.parameters import PositiveInt

if TYPE_CHECKING:
    import polars as pl

_USERS_AT_A_TIME = 20_000
_REASONS = ("because", "because_title", "share")
"""Columns of why an item is recommended."""


def recommend(
    source: options.Trained,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", help="Id of a user or session; may be repeated.", show_default=False
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            help="File of ids: one per line, or a table with the column of users.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All users or sessions of the training data.")
    ] = False,
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            help="Items so far, as in 'a,b,c', oldest first; baskets as in 'a,b;c'. May be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[PositiveInt, typer.Option("-k", help="Length of the lists.")] = 10,
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            help="File that lists the only items that may be recommended.",
            show_default=False,
        ),
    ] = None,
    reasons: Annotated[
        bool,
        typer.Option(
            "--because", help="With each item the event of the history that carries most of it."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to .csv, .tsv, .parquet, .arrow instead of printing."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Recommend items to users of the training data, or to people with a history of their own.

    For example: whence recommend runs/BPRMF-20250101-120000 --user 42 --user 7 -k 5
    """
    from whence.cli._ids import ids_in
    from whence.cli._models import load_trained
    from whence.cli._output import check_new
    from whence.data import write_interactions
    from whence.data.formats import format_to_write
    from whence.errors import ConfigError

    asked = list(user or [])
    if not (asked or users or every or history):
        raise ConfigError("Say for whom: --user 42, --users FILE, --all or --history 'a,b,c'.")
    check_new(output, overwrite=overwrite)
    if output is not None:
        format_to_write(output, None)
    model = load_trained(source).model
    among = None
    if items is not None:
        from whence.data import read_table
        from whence.evaluation._names import external_ids

        among = external_ids(read_table(items))
    if users is not None:
        asked += ids_in(users, model.train_.columns.source)
    if every and output is not None and not (asked or history or reasons):
        _stream(model, k, among, output, overwrite)
        return
    if every:
        asked += [str(one) for one in model.vocabulary.sources.to_list()]
    lists = _for_users(model, asked, k, among) if asked else []
    lists += _for_histories(model, history, k, among) if history else []
    frame = _frame(model, lists)
    if reasons:
        frame = _with_reasons(model, frame, asked, history or [])
    if not history:  # ids as they are in the data; a history is a text
        frame = frame.with_columns(frame[frame.columns[0]].cast(model.vocabulary.sources.dtype))
    if output is not None:
        write_interactions(frame, output, overwrite=overwrite)
        say(f"{counted(frame.height, 'recommendation')} for {len(lists):,} are in {output}.")
    else:
        _show(frame, [label for label, _, _ in lists], asked)


def _stream(model: Any, k: int, among: Any, output: Path, overwrite: bool) -> None:
    """Recommend to everybody, some users at a time, and write each part when it is made."""
    import polars as pl

    from whence.cli._terminal import working
    from whence.data import write_interactions
    from whence.data.writers import STREAMED, write_parts

    sources, written = model.vocabulary.sources, 0

    def typed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(frame[frame.columns[0]].cast(sources.dtype))

    def parts(report: Any) -> Iterator[pl.DataFrame]:
        nonlocal written
        for first in range(0, len(sources), _USERS_AT_A_TIME):
            some = sources.slice(first, _USERS_AT_A_TIME)
            items, scores = model.recommend(model.user_queries(some.to_list()), k, items=among)
            frame = typed(_frame(model, list(zip(some.cast(pl.String).to_list(), items, scores))))
            written += frame.height
            yield frame
            report(first + len(some), len(sources), "users")

    with working("Recommending") as run:
        made = parts(run.progress)
        if output.suffix in STREAMED:
            write_parts(made, typed(_frame(model, [])).schema, output, overwrite=overwrite)
        else:
            write_interactions(pl.concat(list(made)), output, overwrite=overwrite)
    say(f"{counted(written, 'recommendation')} for {len(sources):,} are in {output}.")


def _for_users(model: Any, asked: list[str], k: int, among: Any) -> list[tuple[str, Any, Any]]:
    from whence.cli._ids import known_users

    items, scores = model.recommend(model.user_queries(known_users(model, asked)), k, items=among)
    return list(zip(asked, items, scores))


def _for_histories(model: Any, asked: list[str], k: int, among: Any) -> list[tuple[str, Any, Any]]:
    from whence.cli._ids import history_of

    queries = model.fold_in([history_of(model, text) for text in asked])
    items, scores = model.recommend(queries, k, items=among)
    return list(zip(asked, items, scores))


def _frame(model: Any, lists: list[tuple[str, Any, Any]]) -> pl.DataFrame:
    """One row per recommendation: for whom, rank, item, title where there is one, and score."""
    import polars as pl

    columns, own = model.train_.columns, ("rank", "title", "score")
    source, item = (columns.beside(name, own) for name in (columns.source, columns.item))
    frame = pl.DataFrame(
        {
            source: pl.Series([label for label, items, _ in lists for _ in items], dtype=pl.String),
            "rank": pl.Series(
                [rank for _, items, _ in lists for rank in range(1, len(items) + 1)],
                dtype=pl.Int64,
            ),
            item: pl.Series(
                [one for _, items, _ in lists for one in items.tolist()],
                dtype=model.vocabulary.items.dtype,
            ),
            "score": pl.Series(
                [float(score) for _, _, scores in lists for score in scores], dtype=pl.Float64
            ),
        }
    )
    titles = model.train_.item_titles
    if titles is not None:
        numbers = model.vocabulary.item_codes(frame[item])
        frame = frame.insert_column(3, titles.gather(numbers).alias("title"))
    return frame


def _with_reasons(
    model: Any, frame: pl.DataFrame, users: list[str], histories: list[str]
) -> pl.DataFrame:
    """With the event of the history that carries most of each item's score, and its share."""
    import polars as pl

    from whence.cli._ids import histories_of, history_of
    from whence.cli._terminal import working
    from whence.errors import DataWarning
    from whence.explanation import because

    source, item = frame.columns[0], frame.columns[2]
    if model.asks == "users" and not _folds_in(model):
        return _with_taught(model, frame, users)
    asked = dict(zip(users, histories_of(model, users).values()))
    asked |= {text: history_of(model, text) for text in histories}
    listed = {
        label: part[item].to_list()
        for (label,), part in frame.group_by(source, maintain_order=True)
    }
    asked = {label: asked[label] for label in listed}
    if not asked:
        return frame
    with working("Finding reasons") as run, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # lists, too, are of what the model looks at
        found = because(model, asked, run=run, recommended=listed)
    names = {name: name for name in _REASONS if name in found.columns}
    # The id of a reason would be a second column of the item's name.
    found = found.select(pl.col("history").alias(source), pl.col("rank").cast(pl.Int64), *names)
    return frame.join(found, on=[source, "rank"], how="left", maintain_order="left")


def _folds_in(model: Any) -> bool:
    """Whether a model takes histories, of people whom it does not know."""
    from whence.errors import UnsupportedError
    from whence.explanation._problems import as_asker

    asker = as_asker(model)
    history = asker.encode([model.vocabulary.items[0]])
    try:
        with asker.quiet():
            asker.check(history.tokens[None], history)
    except UnsupportedError:
        return False
    return True


def _with_taught(model: Any, frame: pl.DataFrame, users: list[str]) -> pl.DataFrame:
    """Of models that know users: the own training row to which an item's score is due most.

    By the influence of each of the user's rows on the score, the parameters of the user and the
    item alone being solved for.
    """
    import polars as pl

    from whence.cli._ids import known_users
    from whence.cli._terminal import working
    from whence.influence import InfluenceFunction

    source, item = frame.columns[0], frame.columns[2]
    ids = dict(zip(users, known_users(model, users)))
    titles = model.train_.item_titles
    influence, rows = InfluenceFunction(solver="block"), []
    with working("Finding reasons") as run:
        quiet = run.changed(progress=False)
        for label, one in frame.select(source, item).iter_rows():
            found = influence.explain_prediction(model, ids[label], one, run=quiet).top(1)
            score = found["score"][0]
            reason = found[model.train_.columns.item][0] if score > 0 else None
            number = model.vocabulary.item_codes([reason])[0] if score > 0 else None
            title = None if titles is None or number is None else titles[int(number)]
            rows.append((reason, title, score if score > 0 else None))
    made = pl.DataFrame(
        {
            "because": pl.Series([row[0] for row in rows], dtype=model.vocabulary.items.dtype),
            "because_title": pl.Series([row[1] for row in rows], dtype=pl.String),
            "share": pl.Series([row[2] for row in rows], dtype=pl.Float64),
        }
    )
    return frame.hstack(made.drop("because_title") if titles is None else made)


def _show(frame: pl.DataFrame, labels: list[str], users: list[str]) -> None:
    import polars as pl

    source, item = frame.columns[0], frame.columns[2]
    optional = [name for name in ("title", *_REASONS) if name in frame.columns]
    words = [name for name in optional if name != "share"] if "because" in optional else []
    shown = [name for name in frame.columns[1:] if name in ("rank", item, "score", *optional)]
    for label in dict.fromkeys(labels):
        part = frame.filter(frame[source].cast(pl.String) == label)
        heading(f"{source} {label}" if label in users else f"after {label}")
        if not part.height:
            say("Nothing: the model may know only users of its training data, or too little here.")
            continue
        rows = [
            ["" if cell is None else f"{cell:.4f}" if name in ("score", "share") else cell
             for name, cell in zip(shown, row)]
            for row in part.select(shown).iter_rows()
        ]  # fmt: skip
        table(shown, rows, text=words)
