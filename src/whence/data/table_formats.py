"""The formats that Whence reads and writes itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from whence.data import _text
from whence.data._baskets import parse_baskets
from whence.data._headerless import parse_named
from whence.data._json import parse_json, parse_json_lines
from whence.data._lines import check_fields, check_quoted_fields
from whence.data.atomic import is_atomic, parse_atomic, write_atomic
from whence.data.formats import Source, ending_of, register_format
from whence.data.movielens import has_known_name, looks_like_ratings, parse_movielens
from whence.errors import FileFormatError, ParameterError

_MOVIELENS_ENDINGS = (".data", ".base", ".test", ".dat")


def _parse_table(source: Source) -> pl.DataFrame:
    """A table, with a header or names that are given, or sessions of integers, one a line."""
    text, path = source.text, source.path
    if text.lstrip()[:1] in ("{", "["):
        raise FileFormatError(
            f"{path} looks like JSON, not a table as its name says; rename it to end in .json, or "
            ".jsonl if it has a row per line, or say format='json'."
        )
    if source.columns is not None:
        return parse_named(text, source.columns, source.separator, path)
    sniffed = _text.sniff(text, path, source.separator)
    if sniffed.session_lines:
        sessions = _text.parse_session_lines(text)
        _text.refuse_unclear_lines(sessions, path)
        return sessions
    return _with_header(text, sniffed.separator, path)


def _with_header(text: str, separator: str, path: Path) -> pl.DataFrame:
    """Return a table with a header, or name the line that does not fit it."""
    n_fields = _text.first_line(text).count(separator) + 1
    try:
        table = _text.parse_table(text, separator, path)
        fits = not table[:, -1].null_count()  # which an absent field makes, or an empty one
    except FileFormatError:
        _check_rows(text, separator, n_fields, path)
        raise
    if not fits:
        _check_rows(text, separator, n_fields, path)
    return table


def _check_rows(text: str, separator: str, n_fields: int, path: Path) -> None:
    if separator == " ":  # words between blanks may be no table at all
        return
    if '"' in text:  # in quotes a separator may be part of a field
        check_quoted_fields(text, separator, None, path)
    else:
        check_fields(text, separator, n_fields, path, header=True)


def _parse_binary(name: str, read: Callable[[bytes], pl.DataFrame], source: Source) -> pl.DataFrame:
    if source.separator is not None:
        raise ParameterError(f"separator is for text files, and {source.path} is {name.lower()}.")
    try:
        return read(source.content)
    except (Exception, pl.exceptions.PanicException) as error:  # of many kinds
        raise FileFormatError(
            f"{source.path} is not a readable {name} file (truncated, or of another format); "
            "write or fetch it again."
        ) from error


def _read_arrow(content: bytes) -> pl.DataFrame:
    if content.startswith(b"ARROW1"):
        return pl.read_ipc(io.BytesIO(content))
    return pl.read_ipc_stream(io.BytesIO(content))


def _is_movielens(source: Source) -> bool:
    """Whether a file has one of MovieLens's names, or an ending that it has and ratings as it."""
    name = source.name or source.path
    if has_known_name(name):
        return True
    return ending_of(name) in _MOVIELENS_ENDINGS and looks_like_ratings(source.text, name)


register_format(
    "csv",
    endings=(".csv",),
    parse=_parse_table,
    write=lambda table, path: table.write_csv(path),
    typed=False,
    compressed=True,
    takes_names=True,
)
register_format(
    "tsv",
    endings=(".tsv",),
    parse=_parse_table,
    write=lambda table, path: table.write_csv(path, separator="\t"),
    typed=False,
    compressed=True,
    takes_names=True,
)
register_format(
    "txt",
    endings=(".txt", *_MOVIELENS_ENDINGS),
    parse=_parse_table,
    typed=False,
    takes_names=True,
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
    parse=lambda source: parse_movielens(source.content, source.path, source.name),
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
    parse=lambda source: parse_baskets(source.text, source.path),
    typed=False,
)
register_format(
    "json",
    endings=(".json",),
    parse=lambda source: parse_json(source.text, source.path, source.columns),
    takes_names=True,
)
register_format(
    "json-lines",
    endings=(".jsonl", ".ndjson"),
    parse=lambda source: parse_json_lines(source.text, source.path, source.columns),
    takes_names=True,
)
