"""Text files without a header line, whose columns the caller names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from whence.data._lines import check_quoted_fields, parse_lines
from whence.data._text import cells_of, first_line, parse_table
from whence.data.columns import is_usual_name
from whence.errors import FileFormatError, ParameterError

UNUSED = "_"
_SEPARATORS = ("::", "\t", ",", ";", "|", " ")
_QUOTING = (",", ";")
_SAMPLED_LINES = 50


def column_names(columns: object) -> tuple[str, ...] | None:
    """Return names of columns as a tuple, None where there are none.

    Parameters
    ----------
    columns : str or sequence of str or None
        A text has blanks or commas between the names; ``_`` is a column that is left out.

    Raises
    ------
    ParameterError
        They are no names, or two are alike.
    """
    if columns is None:
        return None
    listed = re.split(r"[,\s]+", columns.strip()) if isinstance(columns, str) else columns
    names = list(listed) if isinstance(listed, Sequence) else []
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ParameterError(
            "columns must name the columns in their order, as in 'user item rating time', not "
            f"{columns!r}."
        )
    used = [name for name in names if name != UNUSED]
    if not used:
        raise ParameterError(f"columns leaves out all columns, {columns!r}; name those to be read.")
    if twice := sorted({name for name in used if used.count(name) > 1}):
        raise ParameterError(
            f"columns has the name {twice[0]!r} twice; give each column its own, or "
            f"{UNUSED!r} to leave it out."
        )
    return tuple(names)


def parse_named(
    text: str, names: tuple[str, ...], separator: str | None, path: Path
) -> pl.DataFrame:
    """Return a text without a header line as a table in which every column is still text.

    Parameters
    ----------
    text : str
    names : tuple of str
        Of all columns, in their order; those called ``_`` are left out. A first line of just these
        names is a header line, as in files that Whence wrote of what it read so.
    separator : str, optional
        One character or ``"::"``; default: that which gives the lines as many fields as there are
        names.
    path : Path
        For messages.

    Raises
    ------
    FileFormatError
        The lines have another number of fields, or the first is a header line.
    ParameterError
        The separator is not one character.
    """
    own = _own_header(text, names, separator, path)
    if own is not None:
        used = [name for name in names if name != UNUSED]
        return parse_table(text, own, path).select(used)
    separator = separator or _separator(text, names, path)
    if len(separator) != 1 and separator != "::":
        raise ParameterError(f"separator must be one character or '::', not {separator!r}.")
    _refuse_header(text, names, separator, path)
    unique = [name if name != UNUSED else f"\0{place}" for place, name in enumerate(names)]
    if separator == " ":
        text = re.sub(r"[ \t]+", " ", text).replace("\n ", "\n").replace(" \n", "\n").strip(" ")
    if '"' in text and separator in _QUOTING:
        table = _quoted(text, unique, separator, path)
    else:
        table = parse_lines(
            text, separator, [(name, "token") for name in unique], path, header=False
        )
    return table.select(name for name in unique if not name.startswith("\0"))


def _quoted(text: str, names: list[str], separator: str, path: Path) -> pl.DataFrame:
    check_quoted_fields(text, separator, len(names), path)
    try:
        return pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            schema=dict.fromkeys(names, pl.String()),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise FileFormatError(
            f"{path} cannot be read as a table separated by {separator!r} "
            f"({str(error).strip().splitlines()[0]}); check its quotes."
        ) from error


def _separator(text: str, names: tuple[str, ...], path: Path) -> str:
    """Return what separates the lines into as many fields as there are names."""
    lines = [line for line in text[:200_000].split("\n")[:_SAMPLED_LINES] if line.strip()]
    if not lines:
        raise FileFormatError(f"{path} has blank lines only.")
    if len(names) == 1:
        return "\t"
    counts = {mark: len(_cells(lines[0], mark, path)) for mark in _SEPARATORS}
    fitting = [mark for mark, count in counts.items() if count == len(names)]
    if fitting:
        whole = [
            m for m in fitting if all(len(_cells(one, m, path)) == len(names) for one in lines)
        ]
        return (whole or fitting)[0]
    mark = next((mark for mark in _SEPARATORS if counts[mark] > 1), " ")
    raise FileFormatError(
        f"columns names {len(names)} columns, and the first line of {path}, "
        f"{lines[0][:60]!r}, has {counts[mark]} fields separated by {mark!r}; name each of them "
        f"in order, {UNUSED!r} for one to be left out."
    )


def _cells(line: str, separator: str, path: Path) -> list[str]:
    if separator == " ":
        return line.split()
    if separator in _QUOTING and '"' in line:
        return cells_of(line, separator, path)
    return line.split(separator)


def _own_header(text: str, names: tuple[str, ...], separator: str | None, path: Path) -> str | None:
    """Return the separator of a first line that has the names themselves; None if it has not."""
    first = first_line(text)
    for mark in [separator] if separator else [m for m in _SEPARATORS if len(m) == 1]:
        cells = _cells(first, mark, path) if len(mark) == 1 else []
        if len(cells) > 1 and cells in (list(names), [name for name in names if name != UNUSED]):
            return mark
    return None


def _refuse_header(text: str, names: tuple[str, ...], separator: str, path: Path) -> None:
    first = first_line(text)
    cells = [cell.strip().strip('"').partition(":")[0] for cell in _cells(first, separator, path)]
    if sum(map(is_usual_name, cells)) > 1:
        raise FileFormatError(
            f"The first line of {path}, {first[:60]!r}, is a header line, and columns is for files "
            "without one; leave columns out, and say what a column is by user=..., item=... and "
            "the like."
        )
