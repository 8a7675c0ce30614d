"""Files to `Interactions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from whence.data import _text
from whence.data._folders import Found, find_data, find_side_tables
from whence.data._frames import Native
from whence.data.columns import Columns, resolve_columns, settle_by_type
from whence.data.formats import format_to_read
from whence.data.interactions import Interactions
from whence.data.tables import read_file
from whence.data.vocabulary import family
from whence.errors import DataError, ParameterError


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
        ``"session-lines"``, ``"user-lines"``, ``"basket-json"``, or one that was registered with
        `whence.register_format`.

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
    table, typed = read_file(found.data, separator, format)
    try:
        data = _build(table, typed, given, kind)
    except DataError as error:
        raise type(error)(f"{found.data}: {error}") from error
    return _with_tables(data, found) if side_tables else data


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
        format_to_read(path, format)
    if path.is_dir():
        return find_data(path, format)
    return Found(path, *find_side_tables(path))
