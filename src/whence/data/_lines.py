"""Text tables without quotes: one row per line, fields between separators, all else literal."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from whence.data._text import decode, refuse_binary
from whence.errors import FileFormatError

_EXACT = 2.0**53  # whole numbers beyond it are not all floats


def decode_titles(content: bytes, path: Path) -> str:
    """Return text in UTF-8, or else in latin-1, as old files with titles are.

    Raises
    ------
    FileFormatError
        It is of a known binary format or has NUL bytes.
    """
    refuse_binary(content, path)
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode()
    return decode(content, path)


def parse_lines(
    text: str,
    separator: str,
    types: Sequence[tuple[str, str]],
    path: Path,
    *,
    header: bool,
) -> pl.DataFrame:
    """Return the columns of a text, typed as said.

    Parameters
    ----------
    text : str
    separator : str
        One character, or ``"::"``.
    types : sequence of (name, type)
        Type is ``"token"`` (stays text), ``"float"``, ``"token_seq"`` or ``"float_seq"`` (lists,
        their elements separated by blanks).
    path : Path
        For messages.
    header : bool
        Whether to skip the first line.

    Returns
    -------
    polars.DataFrame
        Empty fields are null, or empty lists. Floats are whole numbers (Int64) only where the
        column has one that a float would change.

    Raises
    ------
    FileFormatError
        A line has another number of fields, or a number is none; the line is named.
    """
    body = _without_blank_lines(text)
    names = [name for name, _ in types]
    if not body or (header and body.find("\n") in (-1, len(body) - 1)):
        return pl.DataFrame(schema={name: _DTYPES[kind] for name, kind in types})
    plain = separator
    if len(separator) > 1:
        if "\t" in body:
            check_fields(text, separator, len(types), path, header)
        body, plain = body.replace(separator, "\t"), "\t"
    schema = {name: pl.Float64() if kind == "float" else pl.String() for name, kind in types}
    try:
        table = _read(body, plain, header, schema)
    except pl.exceptions.PolarsError as error:
        check_fields(text, separator, len(types), path, header)
        table = _read(body, plain, header, dict.fromkeys(names, pl.String()))
        for number, (name, kind) in enumerate(types):
            if kind == "float":
                _explain_numbers(table[name], text, header, number, path)
        raise FileFormatError(
            f"{path} cannot be read as lines separated by {separator!r} "
            f"({str(error).strip().splitlines()[0]})."
        ) from error
    if table[names[-1]].null_count():  # an empty last field, or none at all
        check_fields(text, separator, len(types), path, header)
    if _beyond_floats(table):
        table = _exactly(table, _read(body, plain, header, dict.fromkeys(names, pl.String())))
    lists = [
        _split(table[name], kind, text, header, number, path)
        for number, (name, kind) in enumerate(types)
        if kind.endswith("_seq")
    ]
    return table.with_columns(lists)


_DTYPES: dict[str, pl.DataType] = {
    "token": pl.String(),
    "float": pl.Float64(),
    "token_seq": pl.List(pl.String()),
    "float_seq": pl.List(pl.Float64()),
}


def _without_blank_lines(text: str) -> str:
    body = text.replace("\r\n", "\n") if "\r" in text else text
    body = body.lstrip("\n")
    return re.sub("\n{2,}", "\n", body) if "\n\n" in body else body


def _read(
    body: str, separator: str, header: bool, schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    return pl.read_csv(
        body.encode(),
        separator=separator,
        has_header=False,
        skip_lines=int(header),
        schema=schema,
        quote_char=None,
    )


def _beyond_floats(table: pl.DataFrame) -> bool:
    floats = table.select(pl.col(pl.Float64))
    if not floats.width or not floats.height:
        return False
    largest = floats.select(pl.all().fill_nan(0.0).abs().max()).row(0)
    return any(value is not None and _EXACT < value < 2.0**63 for value in largest)


def _exactly(table: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the table with whole numbers for floats, where these are not exact."""
    exact = []
    for name in table.select(pl.col(pl.Float64)).columns:
        whole = texts[name].cast(pl.Int64, strict=False)
        floats = table[name]
        if whole.null_count() == floats.null_count() and (whole.abs() > _EXACT).any():
            exact.append(whole)
    return table.with_columns(exact)


def _split(
    column: pl.Series, kind: str, text: str, header: bool, number: int, path: Path
) -> pl.Series:
    parts = column.fill_null("").str.split(" ")
    words = parts.list.eval(pl.element().filter(pl.element() != ""))
    if kind == "token_seq":
        return words
    floats = words.list.eval(pl.element().cast(pl.Float64, strict=False))
    if floats.list.eval(pl.element().null_count()).list.sum().sum():
        bad = (floats.list.eval(pl.element().is_null()).list.any()).arg_max()
        _raise_for_number(text, header, int(bad or 0), column.name, column[int(bad or 0)], path)
    return floats


def _explain_numbers(column: pl.Series, text: str, header: bool, number: int, path: Path) -> None:
    """Raise for the first value of a column of numbers that is none."""
    bad = column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        _raise_for_number(text, header, row, column.name, column[row], path)


def _raise_for_number(text: str, header: bool, row: int, name: str, value: str, path: Path) -> None:
    numbers = [number for number, _ in _numbered(text, header)]
    raise FileFormatError(
        f"Line {numbers[row]} of {path} has {value!r} in column {name!r}, where numbers are "
        "needed; correct the value or the type of the column."
    )


def check_fields(text: str, separator: str, n_fields: int, path: Path, header: bool) -> None:
    """Refuse a text of which a line has another number of fields than is said.

    Raises
    ------
    FileFormatError
        It names the first such line.
    """
    for number, line in _numbered(text, header):
        found = line.count(separator) + 1
        if found == n_fields and not (len(separator) > 1 and "\t" in line):
            continue
        others = [other for other in ("\t", ",", ";", "|", "::", " ") if other != separator]
        fitting = [other for other in others if line.count(other) + 1 == n_fields]
        hint = f"; it seems to be separated by {fitting[0]!r}" if fitting else ""
        raise FileFormatError(
            f"Line {number} of {path} has {found} field{'s' * (found != 1)} separated by "
            f"{separator!r} where {n_fields} are needed{hint}; correct that line."
        )


def check_quoted_fields(text: str, separator: str, n_fields: int | None, path: Path) -> None:
    """Refuse a text with quotes of which a row has another number of fields than is said.

    Where it is not said, the first row has as many as are needed.

    Raises
    ------
    FileFormatError
        It names the first line of the first such row.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 1
    try:
        for row in rows:
            n_fields = n_fields or len(row) or None
            if row and len(row) != n_fields:
                raise FileFormatError(
                    f"Line {number} of {path} has {len(row)} field{'s' * (len(row) != 1)} "
                    f"separated by {separator!r} where {n_fields} are needed; correct that line."
                )
            number = rows.line_num + 1
    except csv.Error as error:
        raise FileFormatError(
            f"The quotes that begin in line {number} of {path} do not close as they should "
            f"({error}); correct that line."
        ) from error


def _numbered(text: str, header: bool) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, the header excepted, with their numbers from 1."""
    lines = ((n, line) for n, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1) if line)
    if header:
        next(lines, None)
    yield from lines
