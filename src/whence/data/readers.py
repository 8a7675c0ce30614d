"""Files to `Interactions` and back."""

from __future__ import annotations

import gzip
import io
import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data import _text
from whence.data._frames import Native, to_polars
from whence.data.columns import resolve_columns
from whence.data.files import atomic_path
from whence.data.interactions import Interactions
from whence.errors import (
    DataError,
    FileFormatError,
    ParameterError,
    check_choice,
    did_you_mean,
)

FORMATS = ("csv", "tsv", "txt", "parquet", "arrow", "session-lines", "basket-json")
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
    kind: str | None = None,
    separator: str | None = None,
    format: str | None = None,
) -> Interactions:
    """Read interactions from a file or a table.

    Parameters
    ----------
    source : path, table or Interactions
        A file, plain or compressed with gzip (``.gz``):

        - ``.csv``, ``.tsv``, ``.txt``: a table with a header line. The separator is recognised
          from it, whatever the ending says. Without a header and with nothing but integers and
          blanks it is read as ``"session-lines"``.
        - ``.parquet``, ``.arrow``, ``.feather``.
        - ``.json``: baskets of users, ``{user: [[item, ...], ...], ...}``, in order of time.
    session, user, item, time, basket, rating : str, optional
        Names of columns; see `Interactions.from_frame`.
    kind : {"sessions", "baskets"}, optional
    separator : str, optional
        One character between the columns of a text file.
    format : {"csv", "tsv", "txt", "parquet", "arrow", "session-lines", "basket-json"}, optional
        Instead of what the ending says. ``"session-lines"`` is one session per line, items
        separated by blanks, lines and items in order of time; session ids are the line numbers
        from 0.

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
            kind=kind,
        )
    path = Path(source)
    table = _read(path, separator, format)
    try:
        found_kind, columns = resolve_columns(table.columns, given, kind)
        ids = [columns.source, columns.item, columns.user, columns.basket]
        table = _text.infer_types(
            table,
            ids=[name for name in ids if name is not None],
            times=[] if columns.time is None else [columns.time],
        )
        return Interactions._build(table, found_kind, columns, Native("polars"))
    except DataError as error:
        raise type(error)(f"{path}: {error}") from error


def read_table(
    path: str | Path, *, separator: str | None = None, format: str | None = None
) -> pl.DataFrame:
    """Read any table in one of the formats of `read_interactions`, such as a list of items.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    return _text.infer_types(_read(Path(path), separator, format))


def write_interactions(
    interactions: Interactions | Any, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write interactions, or a table, with all columns in the order of the rows.

    Parameters
    ----------
    interactions : Interactions or table
    path : path
        Ending in ``.csv``, ``.tsv`` (either also ``.gz``), ``.parquet`` or ``.arrow``. The file
        is whole or not there: it is written under another name first.
    overwrite : bool, default False

    Returns
    -------
    Path

    Raises
    ------
    OutputExistsError
        The file exists and `overwrite` is False.
    FileFormatError
        The ending is none of these.
    DataError
        A column has values, such as lists, that the format cannot hold.
    """
    frame = interactions.frame if isinstance(interactions, Interactions) else None
    if frame is None:
        frame, _ = to_polars(interactions)
    path = Path(path)
    ending = _format_of(path, None)
    compressed = path.suffix.lower() == ".gz"
    if ending not in ("csv", "tsv", "parquet", "arrow") or (
        compressed and ending not in ("csv", "tsv")
    ):
        raise FileFormatError(
            f"{path} cannot be written; choose a name that ends in .csv, .tsv, .csv.gz, .tsv.gz, "
            ".parquet or .arrow."
        )
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            if ending == "parquet":
                frame.write_parquet(temporary)
            elif ending == "arrow":
                frame.write_ipc(temporary)
            else:
                content = frame.write_csv(separator="," if ending == "csv" else "\t").encode()
                # mtime=0: the same data make the same file
                temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"The table cannot be written as {ending} ({error}); "
                "leave such columns out, or write Parquet."
            ) from error
    return path


def _read(path: Path, separator: str | None, format: str | None) -> pl.DataFrame:
    """Return a file's table; columns of text files are all text still."""
    if not path.is_file():
        hint = did_you_mean(path.name, _neighbours(path))
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{path} {what}; give the path of a file.{hint}")
    chosen = _format_of(path, format)
    content = _text.read_bytes(path)
    if chosen in ("parquet", "arrow"):
        if separator is not None:
            raise ParameterError(f"separator is for text files, and {path} is {chosen}.")
        return _read_binary(content, chosen, path)
    text = _text.decode(content, path)
    if chosen == "basket-json":
        return _parse_baskets(text, path)
    if chosen == "session-lines":
        return _text.parse_session_lines(text)
    if text.lstrip()[:1] in ("{", "["):
        raise FileFormatError(
            f"{path} looks like JSON, not a table as its name says; rename it to end in .json "
            "or say format='basket-json'."
        )
    sniffed = _text.sniff(text, path, separator)
    if sniffed.session_lines:
        return _text.parse_session_lines(text)
    return _text.parse_table(text, sniffed.separator, path)


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


def _parse_baskets(text: str, path: Path) -> pl.DataFrame:
    """Return ``{user: [[item, ...], ...]}`` as user_id, basket_id (0, 1, ...) and item_id."""
    try:
        users = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise FileFormatError(
            f"{path} is not valid JSON{where}; it may be truncated, fetch it again."
        ) from error
    if not isinstance(users, dict):
        raise FileFormatError(_wrong_baskets(path))
    baskets_of = list(users.values())
    if not all(isinstance(baskets, list) for baskets in baskets_of):
        raise FileFormatError(_wrong_baskets(path))
    baskets = list(chain.from_iterable(baskets_of))
    if not all(isinstance(basket, list) for basket in baskets):
        raise FileFormatError(_wrong_baskets(path))
    items = list(chain.from_iterable(baskets))
    sizes = np.fromiter(map(len, baskets), dtype=np.int64, count=len(baskets))
    n_baskets = np.fromiter(map(len, baskets_of), dtype=np.int64, count=len(baskets_of))
    owner = np.repeat(np.arange(len(baskets_of)), n_baskets)
    first = np.cumsum(n_baskets) - n_baskets
    try:
        item_ids = pl.Series(items, dtype=None if items else pl.Int64, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise FileFormatError(
            f"{path} has items of mixed types; make them all integers or all text."
        ) from error
    if item_ids.dtype.is_nested() or isinstance(item_ids.dtype, pl.Object):
        raise FileFormatError(_wrong_baskets(path))
    return pl.DataFrame(
        {
            "user_id": pl.Series(list(users), dtype=pl.String).gather(np.repeat(owner, sizes)),
            "basket_id": np.repeat(np.arange(len(baskets)) - first[owner], sizes),
            "item_id": item_ids,
        }
    )


def _wrong_baskets(path: Path) -> str:
    return (
        f"{path} is JSON, but not baskets of users; it should be "
        '{"user": [["item", ...], ...], ...}.'
    )


def _neighbours(path: Path) -> list[str]:
    """Return the names beside a path, to suggest the right one."""
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return []
