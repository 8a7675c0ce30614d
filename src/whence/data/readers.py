"""Files to `Interactions`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from whence.data._folders import Found, find_files
from whence.data._frames import Native
from whence.data._headerless import column_names
from whence.data._mapped import mapped_table
from whence.data._ties import tie_seed
from whence.data.columns import is_usual_name
from whence.data.formats import format_to_read
from whence.data.interactions import Interactions
from whence.data.tables import read_files
from whence.errors import ColumnError, DataError, ParameterError, UnsupportedError, check_path


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
    columns: str | Sequence[str] | None = None,
    time_format: str | None = None,
    ties: str = "order",
    seed: int = 42,
    side_tables: bool = True,
    memory_map: str | Path | None = None,
) -> Interactions:
    """Read interactions from a file, a folder or a table.

    Parameters
    ----------
    source : path, table, object or Interactions
        A file, plain or compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``, or ``.zip`` with one
        file in it):

        - ``.csv``, ``.tsv``, ``.txt``: a table with a header line. The separator is recognised
          from it, whatever the ending says. Without a header the columns are named by `columns`;
          lines of nothing but integers and blanks, of different lengths, are read as
          ``"session-lines"``. ReChorus's files are such tables, with lists of negatives as
          ``[1, 2, 3]``.
        - ``.parquet``, ``.arrow``, ``.feather``.
        - ``.jsonl``, ``.ndjson``: a JSON object per line; ``.json``: the same, or an array of
          them, or baskets of users, ``{user: [[item, ...], ...], ...}``, in order of time.
        - ``.inter``: RecBole's atomic files; any text whose header has the types is read so.
        - ``u.data`` (and ``u1.base``, ...), ``ratings.dat``, ``ratings.csv``: MovieLens.

        Or a folder that has a single ``.inter`` file (or one named as the folder), or one of
        MovieLens's, or parts of one table, such as ``part-0.parquet``; a pattern of such parts,
        such as ``"2019-*.csv"``, or a list of their paths. ``~`` is the user's folder, and
        ``/dev/stdin`` is read to its end.

        Tables and objects are as in `Interactions.from_frame`.
    session, user, item, time, basket, rating, negatives : str, optional
        Names of columns; see `Interactions.from_frame`.
    kind : {"sessions", "baskets"}, optional
    separator : str, optional
        One character between the columns of a text file; with `columns` also ``"::"``.
    format : str, optional
        Instead of what the name and the first line say: ``"csv"``, ``"tsv"``, ``"txt"``,
        ``"parquet"``, ``"arrow"``, ``"atomic"``, ``"movielens"``, ``"rechorus"``,
        ``"session-lines"``, ``"user-lines"``, ``"json"``, ``"json-lines"``, ``"basket-json"``, or
        one that was registered with `whence.register_format`.

        ``"session-lines"`` is one session per line, items separated by blanks, lines and items in
        order of time; session ids are the line numbers from 0. ``"user-lines"`` is one user per
        line, the user's id first, then the items in order of time. Nothing in such a file tells
        it from one of sessions, so it is never guessed.
    columns : str or sequence of str, optional
        Names of all columns in their order, of a file without a header line:
        ``"user item rating time"``. ``_`` is left out.
    time_format : str, optional
        How times are written, as of ``strftime``: ``"%d.%m.%Y %H:%M"``. Without it, numbers and
        dates that begin with the year are read, and others where day and month cannot be taken
        for each other.
    ties, seed
        Whether rows of equal time are in a random order; see `Interactions.from_frame`.
    side_tables : bool, default True
        Read the tables of items and users that lie beside the file: ``x.item`` and ``x.user``
        beside ``x.inter``, ``u.item`` and ``u.user`` beside ``u.data``, ``movies.dat`` and
        ``users.dat`` beside ``ratings.dat``, ``movies.csv`` beside ``ratings.csv``; in a folder,
        any of these.
    memory_map : path, optional
        A folder for what need not be in memory: the file (Parquet, Arrow, or CSV and TSV with a
        header line) is copied into it part after part, without the columns that have no role, and
        the rows and their numbers are mapped from there: read when they are needed, and given back
        when something else needs the memory. For tables of a size with the memory or above.

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
    given: dict[str, Any] = {
        "session": session,
        "user": user,
        "item": item,
        "time": time,
        "basket": basket,
        "rating": rating,
        "negatives": negatives,
    }
    if not is_path(source):
        if separator is not None or format is not None or memory_map is not None:
            raise ParameterError(
                "separator, format and memory_map are for files, and a table was given."
            )
        return Interactions.from_frame(
            source, **given, kind=kind, columns=columns, time_format=time_format, ties=ties,
            seed=seed,
        )  # fmt: skip
    names, random = column_names(columns), tie_seed(ties, seed)
    found = _find(source, format)
    folder = None if memory_map is None else check_path("memory_map", memory_map)
    if folder is None:
        table, typed = read_files(found, separator, format, names)
    elif names is not None or format is not None:
        raise ParameterError(
            "memory_map is for files whose names say their format and whose columns have names; "
            "leave format and columns out."
        )
    else:
        named = [name for name in given.values() if isinstance(name, str)]
        table, typed = mapped_table(found.files, folder, named, separator), True
    try:
        data = Interactions._read(
            table, Native("polars"), given, kind, typed=typed, written=True,
            time_format=time_format, tie_seed=random, folder=folder,
        )  # fmt: skip
    except ColumnError as error:
        raise ColumnError(f"{found.data}: {error}{_perhaps_a_row(table, typed)}") from error
    except (DataError, UnsupportedError) as error:
        raise type(error)(f"{found.data}: {error}") from error
    return with_side_tables(data, found) if side_tables else data


def is_path(source: Any) -> bool:
    """Whether this is the path of a file, or a list of paths."""
    if isinstance(source, (list, tuple)) and source:
        return all(isinstance(one, (str, os.PathLike)) for one in source)
    return isinstance(source, (str, os.PathLike))


def _perhaps_a_row(table: pl.DataFrame, typed: bool) -> str:
    """Return a hint, where none of the names in a header line is recognised."""
    if typed or any(map(is_usual_name, table.columns)):
        return ""
    return (
        " If its first line is a row, it has no header line: name the columns in their order with "
        "columns='user item rating time'."
    )


def with_side_tables(data: Interactions, found: Found) -> Interactions:
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


def _find(source: Any, format: str | None) -> Found:
    if format is not None:
        format_to_read(Path("file"), format)
    if isinstance(source, (list, tuple)):
        return Found(Path(source[0]), parts=tuple(map(Path, source)))
    return find_files(Path(source), format, folders=True)
