"""The formats that Whence reads and writes itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from whence.data import _text
from whence.data._baskets import parse_baskets
from whence.data._lines import check_fields
from whence.data.atomic import is_atomic, parse_atomic, write_atomic
from whence.data.formats import Source, ending_of, register_format
from whence.data.movielens import has_known_name, is_headerless, parse_movielens
from whence.errors import FileFormatError, ParameterError

_MOVIELENS_ENDINGS = (".data", ".base", ".test", ".dat")


def _parse_table(source: Source) -> pl.DataFrame:
    """A table with a header, or sessions of integers, one a line, without one."""
    text, path = source.text, source.path
    if text.lstrip()[:1] in ("{", "["):
        raise FileFormatError(
            f"{path} looks like JSON, not a table as its name says; rename it to end in .json "
            "or say format='basket-json'."
        )
    sniffed = _text.sniff(text, path, source.separator)
    if sniffed.session_lines:
        return _text.parse_session_lines(text)
    return _with_header(text, sniffed.separator, path)


def _with_header(text: str, separator: str, path: Path) -> pl.DataFrame:
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


def _parse_binary(name: str, read: Callable[[bytes], pl.DataFrame], source: Source) -> pl.DataFrame:
    if source.separator is not None:
        raise ParameterError(f"separator is for text files, and {source.path} is {name.lower()}.")
    try:
        return read(source.content)
    except Exception as error:  # damaged files surface as errors of many kinds
        raise FileFormatError(
            f"{source.path} is not a readable {name} file (truncated, or of another format); "
            "write or fetch it again."
        ) from error


def _read_arrow(content: bytes) -> pl.DataFrame:
    if content.startswith(b"ARROW1"):
        return pl.read_ipc(io.BytesIO(content))
    return pl.read_ipc_stream(io.BytesIO(content))


def _is_movielens(source: Source) -> bool:
    """Whether a file has one of MovieLens's names, or an ending that it has and no header."""
    if has_known_name(source.path):
        return True
    return ending_of(source.path) in _MOVIELENS_ENDINGS and is_headerless(source.content)


register_format(
    "csv",
    endings=(".csv",),
    parse=_parse_table,
    write=lambda table, path: table.write_csv(path),
    typed=False,
    compressed=True,
)
register_format(
    "tsv",
    endings=(".tsv",),
    parse=_parse_table,
    write=lambda table, path: table.write_csv(path, separator="\t"),
    typed=False,
    compressed=True,
)
register_format(
    "txt",
    endings=(".txt", *_MOVIELENS_ENDINGS),
    parse=_parse_table,
    typed=False,
)
register_format(
    "parquet",
    endings=(".parquet", ".pq"),
    parse=partial(_parse_binary, "Parquet", lambda content: pl.read_parquet(io.BytesIO(content))),
    write=lambda table, path: table.write_parquet(path),
)
register_format(
    "arrow",
    endings=(".arrow", ".feather", ".ipc"),
    parse=partial(_parse_binary, "Arrow", _read_arrow),
    write=lambda table, path: table.write_ipc(path),
)
register_format(
    "atomic",
    endings=(".inter", ".item", ".user"),
    sniff=lambda source: is_atomic(source.first_line),
    parse=lambda source: parse_atomic(source.text, source.path, source.separator),
    write_files=write_atomic,
    compressed=True,
)
register_format(
    "movielens",
    sniff=_is_movielens,
    parse=lambda source: parse_movielens(source.content, source.path),
)
register_format("rechorus", parse=_parse_table, typed=False)
register_format(
    "session-lines",
    parse=lambda source: _text.parse_session_lines(source.text),
    typed=False,
)
register_format(
    "user-lines",
    parse=lambda source: _text.parse_user_lines(source.text, source.path),
    typed=False,
)
register_format(
    "basket-json",
    endings=(".json",),
    parse=lambda source: parse_baskets(source.text, source.path),
    typed=False,
)
