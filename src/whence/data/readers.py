"""Files to `Interactions`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl

from whence.data import _text
from whence.data._baskets import parse_baskets
from whence.data._folders import Found, find_data, find_side_tables
from whence.data._frames import Native
from whence.data._lines import check_fields, decode_titles
from whence.data.atomic import is_atomic, parse_atomic
from whence.data.columns import Columns, resolve_columns, settle_by_type
from whence.data.interactions import Interactions
from whence.data.movielens import has_known_name, is_headerless, parse_movielens, split_genres
from whence.data.vocabulary import family
from whence.data.writers import write_interactions
from whence.errors import (
    DataError,
    FileFormatError,
    ParameterError,
    check_choice,
    did_you_mean,
)

__all__ = ["read_interactions", "read_table", "write_interactions"]

FORMATS = (
    "csv",
    "tsv",
    "txt",
    "parquet",
    "arrow",
    "atomic",
    "movielens",
    "rechorus",
    "session-lines",
    "user-lines",
    "basket-json",
)
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".json": "basket-json",
    ".inter": "atomic",
    ".item": "atomic",
    ".user": "atomic",
    ".data": "movielens",
    ".base": "movielens",
    ".test": "movielens",
    ".dat": "movielens",
}


def read_interactions(
    source: Any,
    *,
    session: str | None = None,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    basket: str | None = None,
    rating: str | None = None,
    negatives: str | None = None,
    kind: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    side_tables: bool = True,
) -> Interactions:
    """Read interactions from a file, a folder or a table.

    Parameters
    ----------
    source : path, table or Interactions
        A file, plain or compressed with gzip (``.gz``):

        - ``.csv``, ``.tsv``, ``.txt``: a table with a header line. The separator is recognised
          from it, whatever the ending says. Without a header and with nothing but integers and
          blanks it is read as ``"session-lines"``. ReChorus's files are such tables, with lists of
          negatives as ``[1, 2, 3]``.
        - ``.parquet``, ``.arrow``, ``.feather``.
        - ``.inter``: RecBole's atomic files; any text whose header has the types is read so.
        - ``u.data`` (and ``u1.base``, ...), ``ratings.dat``, ``ratings.csv``: MovieLens.
        - ``.json``: baskets of users, ``{user: [[item, ...], ...], ...}``, in order of time.

        Or a folder that has a single ``.inter`` file (or one named as the folder), or one of
        MovieLens's.
    session, user, item, time, basket, rating, negatives : str, optional
        Names of columns; see `Interactions.from_frame`.
    kind : {"sessions", "baskets"}, optional
    separator : str, optional
        One character between the columns of a text file.
    format : str, optional
        Instead of what the name and the first line say: ``"csv"``, ``"tsv"``, ``"txt"``,
        ``"parquet"``, ``"arrow"``, ``"atomic"``, ``"movielens"``, ``"rechorus"``,
        ``"session-lines"``, ``"user-lines"`` or ``"basket-json"``.

        ``"session-lines"`` is one session per line, items separated by blanks, lines and items in
        order of time; session ids are the line numbers from 0. ``"user-lines"`` is one user per
        line, the user's id first, then the items in order of time. Nothing in such a file tells
        it from one of sessions, so it is never guessed.
    side_tables : bool, default True
        Read the tables of items and users that lie beside the file: ``x.item`` and ``x.user``
        beside ``x.inter``, ``u.item`` and ``u.user`` beside ``u.data``, ``movies.dat`` and
        ``users.dat`` beside ``ratings.dat``, ``movies.csv`` beside ``ratings.csv``; in a folder,
        any of these.

    Returns
    -------
    Interactions

    Raises
    ------
    FileFormatError
        The file is missing, truncated, unreadable or not what its ending says.
    ColumnError, DataError
        As in `Interactions.from_frame`, with the name of the file.

    Notes
    -----
    Ids in text files are integers only where that loses nothing: ``007`` stays text, and so does
    its whole column.
    """
    given = {
        "session": session,
        "user": user,
        "item": item,
        "time": time,
        "basket": basket,
        "rating": rating,
        "negatives": negatives,
    }
    if not isinstance(source, (str, Path)):
        if separator is not None or format is not None:
            raise ParameterError("separator and format are for files, and a table was given.")
        return Interactions.from_frame(
            source,
            session=session,
            user=user,
            item=item,
            time=time,
            basket=basket,
            rating=rating,
            negatives=negatives,
            kind=kind,
        )
    found = _find(Path(source), format)
    table, typed = _read(found.data, separator, format)
    try:
        data = _build(table, typed, given, kind)
    except DataError as error:
        raise type(error)(f"{found.data}: {error}") from error
    return _with_tables(data, found) if side_tables else data


def read_table(
    path: str | Path, *, separator: str | None = None, format: str | None = None
) -> pl.DataFrame:
    """Read any table in one of the formats of `read_interactions`, such as a list of items.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    table, typed = _read(Path(path), separator, format)
    return table if typed else _text.infer_types(table)


def read_side_table(path: str | Path) -> pl.DataFrame:
    """Read a table of items or users, perhaps in latin-1, its genres as lists.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    table, typed = _read(Path(path), None, None, latin=True)
    if typed:
        return table
    return split_genres(_text.infer_types(table, texts=("title", "zip_code")))


def _build(
    table: pl.DataFrame, typed: bool, given: dict[str, str | None], kind: str | None
) -> Interactions:
    found_kind, columns = resolve_columns(table.columns, given, kind)
    ids = [columns.source, columns.item, columns.user, columns.basket]
    table = _text.infer_types(
        table,
        ids=[name for name in ids if name is not None],
        times=[] if columns.time is None else [columns.time],
        texts=[name for name in table.columns if typed and name != columns.time],
    )
    table = _typed_negatives(table, columns)
    columns = settle_by_type(table, columns, given)
    return Interactions._build(table, found_kind, columns, Native("polars"))


def _typed_negatives(table: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Return the table with lists of negatives of the type of the items."""
    name = columns.negatives
    if name is None:
        return table
    values = table[name]
    if values.dtype == pl.String:
        values = _text.parse_lists(values)
    if not isinstance(values.dtype, pl.List):
        return table
    item = table.schema[columns.item]
    values = _text.integers_or_text(values.cast(pl.List(pl.String)))
    inner = values.dtype.inner  # type: ignore[attr-defined]
    if family(item) == "integer" and family(inner) == "text" and values.list.len().sum():
        raise DataError(
            f"Column {name!r} has ids that are text, but those in {columns.item!r} are integers; "
            "write them alike."
        )
    return table.with_columns(values.cast(pl.List(item)))


def _with_tables(data: Interactions, found: Found) -> Interactions:
    """Return the interactions with the tables that were found beside them."""
    path = found.items
    try:
        data = data.with_tables(items=path)
        path = found.users if data.columns.user is not None else None
        return data.with_tables(users=path)
    except DataError as error:
        raise type(error)(
            f"{path}: {error} To read the interactions alone, say side_tables=False."
        ) from error


def _find(path: Path, format: str | None) -> Found:
    if format is not None:
        check_choice("format", format, FORMATS)
    if path.is_dir():
        return find_data(path, format)
    return Found(path, *find_side_tables(path))


def _read(
    path: Path, separator: str | None, format: str | None, latin: bool = False
) -> tuple[pl.DataFrame, bool]:
    """Return a file's table, and whether its columns have their types or are all text still."""
    if not path.is_file():
        hint = did_you_mean(path.name, _neighbours(path))
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{path} {what}; give the path of a file.{hint}")
    chosen = _format_of(path, format)
    content = _text.read_bytes(path)
    if chosen in ("parquet", "arrow"):
        if separator is not None:
            raise ParameterError(f"separator is for text files, and {path} is {chosen}.")
        return _read_binary(content, chosen, path), True
    if format == "movielens" or has_known_name(path):
        return parse_movielens(content, path), True
    if chosen == "movielens" and is_headerless(content):
        return parse_movielens(content, path), True
    is_side_table = path.suffix.lower() in (".item", ".user") or latin
    text = decode_titles(content, path) if is_side_table else _text.decode(content, path)
    if chosen == "atomic" or is_atomic(text.lstrip("\r\n").partition("\n")[0].rstrip("\r")):
        return parse_atomic(text, path, separator), True
    return _parse_text(text, path, chosen, separator), False


def _parse_text(text: str, path: Path, chosen: str, separator: str | None) -> pl.DataFrame:
    """Return the table in a text, its columns still text."""
    if chosen == "basket-json":
        return parse_baskets(text, path)
    if chosen == "session-lines":
        return _text.parse_session_lines(text)
    if chosen == "user-lines":
        return _text.parse_user_lines(text, path)
    if text.lstrip()[:1] in ("{", "["):
        raise FileFormatError(
            f"{path} looks like JSON, not a table as its name says; rename it to end in .json "
            "or say format='basket-json'."
        )
    sniffed = _text.sniff(text, path, separator)
    if sniffed.session_lines:
        return _text.parse_session_lines(text)
    return _parse_table(text, sniffed.separator, path)


def _parse_table(text: str, separator: str, path: Path) -> pl.DataFrame:
    """Return a table with a header, or name the line that does not fit it."""
    n_fields = text.lstrip("\r\n").partition("\n")[0].count(separator) + 1
    # In quotes a separator may be part of a field; words between blanks may be no table at all.
    countable = '"' not in text and separator != " "
    try:
        table = _text.parse_table(text, separator, path)
    except FileFormatError:
        if countable:
            check_fields(text, separator, n_fields, path, header=True)
        raise
    if countable and table[:, -1].null_count():
        check_fields(text, separator, n_fields, path, header=True)
    return table


def _format_of(path: Path, format: str | None) -> str:
    if format is not None:
        return check_choice("format", format, FORMATS)
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings[-1:] == [".gz"]:
        endings.pop()
    ending = endings[-1] if endings else ""
    if ending not in _ENDINGS:
        raise FileFormatError(
            f"The format of {path} is not known by its ending; it should be one of "
            f"{', '.join(_ENDINGS)} (or these with .gz), or say format=..."
        )
    return _ENDINGS[ending]


def _read_binary(content: bytes, format: str, path: Path) -> pl.DataFrame:
    name = {"parquet": "Parquet", "arrow": "Arrow"}[format]
    buffer = io.BytesIO(content)
    try:
        if format == "parquet":
            return pl.read_parquet(buffer)
        if content.startswith(b"ARROW1"):
            return pl.read_ipc(buffer)
        return pl.read_ipc_stream(buffer)
    except Exception as error:  # damaged files surface as errors of many kinds
        raise FileFormatError(
            f"{path} is not a readable {name} file (truncated, or of another format); "
            "write or fetch it again."
        ) from error


def _neighbours(path: Path) -> list[str]:
    """Return the names beside a path, to suggest the right one."""
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return []
