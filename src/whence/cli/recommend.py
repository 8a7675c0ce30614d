"""``whence recommend``: what a trained model recommends to users, or after a history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli._terminal import heading, say, table

if TYPE_CHECKING:
    import polars as pl


def recommend_command(
    source: Annotated[
        Path, typer.Argument(metavar="RUN or MODEL", help="A run of whence train, or its model.")
    ],
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
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            help="Items so far, as in 'a,b,c', oldest first; baskets as in 'a,b;c'. May be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Length of the lists.")] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to .csv, .tsv, .parquet, .arrow instead of printing."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Recommend items to users of the training data, or to people with a history of their own.

    For example: whence recommend runs/BPRMF-20250101-120000 --user 42 --user 7 -k 5
    """
    from whence.cli._models import Trained, are_models
    from whence.data import write_interactions
    from whence.errors import ConfigError, OutputExistsError

    asked = list(user or [])
    if not (asked or users or history):
        raise ConfigError("Say for whom: --user 42, --users FILE or --history 'a,b,c'.")
    if output is not None and output.exists() and not overwrite:
        raise OutputExistsError(
            f"{output} exists already; choose another name with --output, or replace it with "
            "--overwrite."
        )
    if not are_models([source]):
        raise ConfigError(
            f"{source} is neither a run nor a saved model; give what whence train has written."
        )
    model = Trained.load(source).model
    name = model.train_.columns.source
    if users is not None:
        asked += _ids_in(users, name)
    lists = _for_users(model, asked, k) if asked else []
    lists += _for_histories(model, history, k) if history else []
    frame = _frame(model, lists)
    if not history:  # ids as they are in the data; a history is a text
        frame = frame.with_columns(frame[frame.columns[0]].cast(model.vocabulary.sources.dtype))
    if output is not None:
        write_interactions(frame, output, overwrite=overwrite)
        say(f"{frame.height:,} recommendations for {len(lists):,} are in {output}.")
    else:
        _show(frame, [label for label, _, _ in lists], asked)


def _for_users(model: Any, asked: list[str], k: int) -> list[tuple[str, Any, Any]]:
    ids = _typed(asked, model.vocabulary.sources, model.train_.columns.source)
    items, scores = model.recommend(model.user_queries(ids), k)
    return list(zip(asked, items, scores))


def _for_histories(model: Any, asked: list[str], k: int) -> list[tuple[str, Any, Any]]:
    from whence.errors import DataError

    column, known = model.train_.columns.item, model.vocabulary.items
    histories: list[Any] = []
    for text in asked:
        baskets = [
            _typed([item.strip() for item in part.split(",") if item.strip()], known, column)
            for part in text.split(";")
        ]
        flat = [item for basket in baskets for item in basket]
        unknown = [item for item in flat if model.vocabulary.item_codes([item])[0] < 0]
        if unknown:
            raise DataError(
                f"{column} {unknown[0]!r} is unknown to the model; give items of its training data."
            )
        if not flat:
            raise DataError(f"The history {text!r} has no items; write it as in 'a,b,c'.")
        histories.append(baskets if model.train_.kind == "baskets" else flat)
    items, scores = model.recommend(model.fold_in(histories), k)
    return list(zip(asked, items, scores))


def _typed(texts: list[str], known: pl.Series, column: str) -> list[Any]:
    """Ids in the type of those known to the model.

    Raises
    ------
    DataError
        If one cannot be of this type, and so is unknown.
    """
    import polars as pl

    from whence.errors import DataError

    values = pl.Series(texts, dtype=pl.String)
    cast = values.cast(known.dtype, strict=False)
    if cast.null_count():
        wrong = values.filter(cast.is_null())[0]
        raise DataError(
            f"{column} {wrong!r} is unknown to the model, whose ids are {known.dtype} such as "
            f"{known[0]}."
        )
    return cast.to_list()


def _ids_in(path: Path, column: str) -> list[str]:
    """Ids in a file: lines of a .txt, else the column of that name or the first of a table."""
    import polars as pl

    from whence.data import read_table
    from whence.errors import FileFormatError

    if path.suffix.lower() in (".txt", ""):
        if not path.is_file():
            raise FileFormatError(f"There is no file {path}; check the path.")
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    found = read_table(path)
    name = column if column in found.columns else found.columns[0]
    return found[name].unique(maintain_order=True).cast(pl.String).to_list()


def _frame(model: Any, lists: list[tuple[str, Any, Any]]) -> pl.DataFrame:
    """One row per recommendation: for whom, rank, item, title where there is one, and score."""
    import polars as pl

    columns = model.train_.columns
    source = columns.source if columns.source != columns.item else "query"
    frame = pl.DataFrame(
        {
            source: pl.Series([label for label, items, _ in lists for _ in items], dtype=pl.String),
            "rank": [rank for _, items, _ in lists for rank in range(1, len(items) + 1)],
            columns.item: pl.Series(
                [item for _, items, _ in lists for item in items.tolist()],
                dtype=model.vocabulary.items.dtype,
            ),
            "score": pl.Series(
                [float(score) for _, _, scores in lists for score in scores], dtype=pl.Float64
            ),
        }
    )
    titles = model.train_.item_titles
    if titles is not None:
        numbers = model.vocabulary.item_codes(frame[columns.item])
        frame = frame.insert_column(3, titles.gather(numbers).alias("title"))
    return frame


def _show(frame: pl.DataFrame, labels: list[str], users: list[str]) -> None:
    import polars as pl

    source, item = frame.columns[0], frame.columns[2]
    shown = ["rank", item, *(["title"] if "title" in frame.columns else []), "score"]
    for label in dict.fromkeys(labels):
        part = frame.filter(frame[source].cast(pl.String) == label)
        heading(f"{source} {label}" if label in users else f"after {label}")
        if not part.height:
            say("Nothing: the model may know only users of its training data, or too little here.")
            continue
        rows = [
            [*row[:-1], f"{row[-1]:.4f}"]
            for row in part.select(shown).with_columns(*_filled(shown)).iter_rows()
        ]
        table(shown, rows)


def _filled(shown: list[str]) -> list[Any]:
    import polars as pl

    return [pl.col("title").fill_null("")] if "title" in shown else []
