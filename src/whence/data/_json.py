"""Tables in JSON: an object for each row, one a line or in an array; and baskets of users."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl

from whence.data._baskets import parse_baskets
from whence.data._objects import plain_table
from whence.data._text import first_line, infer_types
from whence.data.columns import is_usual_name
from whence.errors import DataError, FileFormatError, ParameterError


def parse_json(text: str, path: Path, columns: tuple[str, ...] | None = None) -> pl.DataFrame:
    """Return a ``.json`` file as a table, whichever of its forms it has.

    Parameters
    ----------
    text : str
        An array of objects (or of arrays, whose columns the caller names); an object a line; or
        baskets of users, ``{user: [[item, ...], ...], ...}``.
    path : Path
        For messages.
    columns : tuple of str, optional
        Names of the columns of arrays.

    Raises
    ------
    FileFormatError
        It is not valid, or of no such form.
    """
    start = text.lstrip()[:1]
    body = text.strip()
    first, several = first_line(body), "\n" in body
    if start == "[":
        if several and _is_row(first):
            return parse_json_lines(text, path, columns)
        return _table(_loaded(text, path), path, columns)
    if start == "{" and _is_row(first) and (several or any(map(is_usual_name, json.loads(first)))):
        return parse_json_lines(text, path, columns)
    return infer_types(parse_baskets(text, path))


def parse_json_lines(text: str, path: Path, columns: tuple[str, ...] | None = None) -> pl.DataFrame:
    """Return a text of one JSON object, or array, per line as a table.

    Raises
    ------
    FileFormatError
        A line is not valid; it is named.
    """
    if text.lstrip()[:1] == "{" and columns is None:
        try:
            return pl.read_ndjson(io.BytesIO(text.encode()), infer_schema_length=None)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            pass  # which line it is, is found below
    rows = [
        _loaded(line, path, number)
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    return _table(rows, path, columns)


def _table(rows: Any, path: Path, columns: tuple[str, ...] | None) -> pl.DataFrame:
    if not isinstance(rows, list) or not all(isinstance(row, (dict, list)) for row in rows):
        raise FileFormatError(
            f"{path} is JSON, but no rows; it should have an object for each row, such as "
            '{"user_id": 1, "item_id": 2}, in an array or one a line.'
        )
    try:
        return plain_table(rows, columns)
    except (DataError, ParameterError) as error:
        raise type(error)(f"{path}: {error}") from error


def _is_row(line: str) -> bool:
    """Whether a line is a row by itself, and not a user's baskets."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if isinstance(row, list):
        return bool(row) and not any(isinstance(value, (dict, list)) for value in row)
    return bool(row) and not all(isinstance(value, list) for value in row.values())


def _loaded(text: str, path: Path, number: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) if number is None else number
        where = f" (line {line})" if line else ""
        raise FileFormatError(
            f"{path} is not valid JSON{where}; it may be truncated, fetch it again."
        ) from error
