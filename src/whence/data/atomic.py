"""RecBole's atomic files: ``.inter``, ``.user`` and ``.item``, with the type of each column."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from whence.data._lines import parse_lines
from whence.data._text import SEPARATORS, first_line, integers_or_text
from whence.data.files import atomic_path
from whence.errors import DataError, FileFormatError, did_you_mean

if TYPE_CHECKING:
    from whence.data.interactions import Interactions

TYPES = ("token", "token_seq", "float", "float_seq")
_TYPED = re.compile(rf".+:({'|'.join(TYPES)})$")


def is_atomic(line: str) -> bool:
    """Tell whether all columns of a header line have a type."""
    return all(_TYPED.match(cell.strip()) for cell in line.split(_separator(line)))


def parse_atomic(text: str, path: Path, separator: str | None = None) -> pl.DataFrame:
    """Return an atomic file as a table, its columns without their types.

    Parameters
    ----------
    text : str
        The first line is a header such as ``user_id:token``, ``rating:float``, separated by tabs.
    path : Path
        For messages.
    separator : str, optional
        Default: recognised from the header.

    Returns
    -------
    polars.DataFrame
        ``token`` columns are text, or integers where all of them would be printed the same;
        ``float`` columns are floats; the ``_seq`` types are lists of these. Fields are literal:
        quotes have no meaning. Empty fields are null, or empty lists.

    Raises
    ------
    FileFormatError
        The header has columns without a type, with an unknown one or with one name, or a line
        does not fit it.
    """
    header = first_line(text)
    separator = separator or _separator(header)
    types = _types(header.split(separator), path)
    table = parse_lines(text, separator, types, path, header=True)
    tokens = [name for name, kind in types if kind.startswith("token")]
    return table.with_columns(integers_or_text(table[name]) for name in tokens)


def write_atomic(interactions: Interactions | pl.DataFrame, path: Path, overwrite: bool) -> None:
    """Write interactions to an ``.inter`` file, and their side tables beside it.

    Columns are ``float`` where they are the time, a rating or floats, else ``token``; lists are
    ``float_seq`` or ``token_seq``, as their elements are. Dates are written as seconds since 1970.

    Raises
    ------
    OutputExistsError
        One of the files exists, and `overwrite` is False.
    DataError
        A text has a tab or a line break, or is empty; an element of a list has a blank.
    """
    with ExitStack() as stack:
        for table, floats, target in _parts(interactions, path):
            temporary = stack.enter_context(atomic_path(target, overwrite=overwrite))
            content = _as_text(table, floats).encode()
            compressed = target.suffix.lower() == ".gz"
            # mtime=0: the same data make the same file
            temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)


def stem_of(path: Path) -> str:
    """Return the name of an atomic file without its endings."""
    return re.sub(
        r"(\.(inter|item|user))?(\.(gz|bz2|xz|zst|zip))?$", "", path.name, flags=re.IGNORECASE
    )


def _parts(
    interactions: Interactions | pl.DataFrame, path: Path
) -> Iterable[tuple[pl.DataFrame, set[str], Path]]:
    """Yield each table to write, its columns that are numbers by role, and its path."""
    if isinstance(interactions, pl.DataFrame):
        yield interactions, set(), path
        return
    columns = interactions.columns
    floats = {name for name in (columns.time, columns.rating) if name is not None}
    yield interactions.frame, floats, path
    ending = ".gz" if path.suffix.lower() == ".gz" else ""
    tables = {"item": interactions.item_table, "user": interactions.user_table}
    for what, table in tables.items():
        if table is not None:
            yield table, set(), path.with_name(f"{stem_of(path)}.{what}{ending}")


def _as_text(table: pl.DataFrame, floats: set[str]) -> str:
    columns, header = [], []
    for name in table.columns:
        kind, values = _typed(table[name], name in floats)
        if any(mark in name for mark in "\t\r\n"):
            raise DataError(f"The name {name!r} has a tab or a line break; rename the column.")
        header.append(f"{name}:{kind}")
        columns.append(values)
    body = pl.DataFrame(columns).write_csv(
        separator="\t", include_header=False, quote_style="never"
    )
    return "\t".join(header) + "\n" + body


def _typed(column: pl.Series, is_float: bool) -> tuple[str, pl.Series]:
    """Return the type that a column has in an atomic file, and its values as they are written."""
    dtype = column.dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        return _list_typed(column.cast(pl.List(dtype.inner)))
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        return "float", column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    if dtype.is_nested() or isinstance(dtype, (pl.Object, pl.Binary)):
        raise DataError(
            f"Column {column.name!r} has values of type {dtype}, which an atomic file cannot "
            "hold; leave it out."
        )
    if dtype.is_float() or dtype.is_decimal() or (is_float and dtype.is_numeric()):
        return "float", column
    text = column.cast(pl.String)
    bad = text.str.contains("[\t\r\n\0]") | (text == "")
    if bad.any():
        raise DataError(
            f"Column {column.name!r} has the text {text.filter(bad)[0]!r}, and an atomic file "
            "cannot hold empty texts, tabs or line breaks; leave the column out or write Parquet."
        )
    return "token", text


def _list_typed(column: pl.Series) -> tuple[str, pl.Series]:
    kind = "float_seq" if column.dtype.inner.is_float() else "token_seq"  # type: ignore[attr-defined]
    words = column.cast(pl.List(pl.String))
    flat = words.filter(words.list.len() > 0).explode()
    bad = flat.is_null() | flat.str.contains(r"[ \t\r\n\x00]").fill_null(False) | (flat == "")
    if bad.any():
        raise DataError(
            f"Column {column.name!r} has lists with {flat.filter(bad)[0]!r}, and an atomic file "
            "cannot hold nulls, empty texts or blanks in lists; leave the column out or write "
            "Parquet."
        )
    return kind, words.list.join(" ").fill_null("").replace("", None)


def _types(cells: list[str], path: Path) -> list[tuple[str, str]]:
    types: list[tuple[str, str]] = []
    for cell in map(str.strip, cells):
        name, colon, kind = cell.rpartition(":")
        if not colon or not name:
            raise FileFormatError(
                f"The header of {path} has {cell!r}, which should be a name and a type "
                f"such as '{cell.strip(':') or 'item_id'}:token'; "
                f"types are {', '.join(TYPES)}."
            )
        if kind not in TYPES:
            raise FileFormatError(
                f"The header of {path} has {cell!r} of the unknown type {kind!r}; "
                f"types are {', '.join(TYPES)}.{did_you_mean(kind, TYPES)}"
            )
        if name in dict(types):
            raise FileFormatError(f"{path} has several columns named {name!r}; rename all but one.")
        types.append((name, kind))
    return types


def _separator(header: str) -> str:
    counts = {candidate: header.count(candidate) for candidate in SEPARATORS}
    best = max(SEPARATORS, key=lambda candidate: counts[candidate])
    return best if counts[best] else (" " if " " in header.strip() else "\t")
