"""Files to tables, whatever is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from whence.data import _text
from whence.data._compression import read_content
from whence.data._folders import Found, find_files
from whence.data._frames import to_polars
from whence.data._headerless import UNUSED, column_names
from whence.data._warning import warn
from whence.data.atomic import is_atomic
from whence.data.columns import is_usual_name
from whence.data.formats import FORMATS, Format, Source, ending_of, format_to_read
from whence.data.movielens import split_genres
from whence.data.vocabulary import family
from whence.errors import FileFormatError, ParameterError, did_you_mean


def read_table(
    path: str | Path,
    *,
    separator: str | None = None,
    format: str | None = None,
    columns: str | Sequence[str] | None = None,
) -> pl.DataFrame:
    """Read any table in one of the formats of `read_interactions`, such as a list of items.

    Parameters
    ----------
    path : path
        Of a file, or a pattern of files that are parts of one table.
    separator, format, columns
        As in `read_interactions`.

    Raises
    ------
    FileFormatError, ParameterError
        As in `read_interactions`.
    """
    names = column_names(columns)
    found = find_files(Path(path))
    table, typed = read_files(found, separator, format, names)
    return table if typed else _text.infer_types(table)


def read_ids(path: str | Path, column: str | None = None) -> pl.Series:
    """Read a list of ids: a column of a table, or lines without a header line.

    Parameters
    ----------
    path : path
        A table, of which the column named as said is taken, else the only one; or a text file of
        one id per line, without a name above them.
    column : str, optional

    Raises
    ------
    FileFormatError
        The file cannot be read, or has several columns and none is named so.

    Warns
    -----
    DataWarning
        A first line that may be an id is taken for the name of the column.
    """
    path = Path(path).expanduser()
    first = _only_word(path)
    bare = first is not None and (_text.is_number(first) or ending_of(path) in (".txt", ""))
    known = first is None or is_usual_name(first) or first == column
    table = read_table(path, columns="id" if bare and not known else None)
    if not bare and not known:
        warn(
            f"The first line of {path}, {first!r}, is taken for the name of its column; put a name "
            "above it if it is an id."
        )
    usual = [name for name in table.columns if is_usual_name(name)]
    names = [column] if column in table.columns else usual[:1]
    if not names and table.width != 1:
        raise FileFormatError(
            f"{path} has the columns {', '.join(table.columns[:6])}; give a file with one column "
            "of ids."
        )
    return table[names[0] if names else table.columns[0]]


def _only_word(path: Path) -> str | None:
    """Return the first line of a text file whose lines are single words, else None."""
    try:
        text = Source(path, read_content(path)[1]).text
    except FileFormatError:
        return None
    lines = [line.strip() for line in text[:200_000].split("\n")[:50] if line.strip()]
    alone = lines and not any(mark in line for line in lines for mark in (*_text.SEPARATORS, "::"))
    return lines[0].strip('"') if alone and lines[0][:1] not in "[{" else None


def read_side_table(path: str | Path) -> pl.DataFrame:
    """Read a table of items or users, perhaps in latin-1, its genres as lists.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    table, typed = read_file(Path(path).expanduser(), latin=True)
    if typed:
        return table
    return split_genres(_text.infer_types(table, texts=("title", "zip_code")))


def read_files(
    found: Found,
    separator: str | None = None,
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
) -> tuple[pl.DataFrame, bool]:
    """Return the table of a file, or of its parts, one below the other; else as `read_file`.

    Within a folder of parts, folders that are called ``name=value`` are a column.

    Raises
    ------
    FileFormatError
        The files have different columns, or columns of different types.
    """
    paths = found.files
    tables: list[pl.DataFrame] = []
    for path in paths:
        table, typed = read_file(path, separator, format, columns=columns)
        if found.parts:
            table = _with_folders(table, path.parent, found.data)
        first = tables[0] if tables else table
        if sorted(table.columns) != sorted(first.columns):
            odd = min(set(table.columns) ^ set(first.columns))
            lacking = path if odd in first.columns else paths[0]
            raise FileFormatError(
                f"{paths[0]} and {path} are to be parts of one table, but {lacking} has no column "
                f"{odd!r}; give files of the same columns."
            )
        # Not by select, to which a column that is called "*" is all of them.
        tables.append(pl.DataFrame([table.get_column(name) for name in first.columns]))
    return stacked(tables, paths), typed


def stacked(tables: Sequence[pl.DataFrame], paths: Sequence[Path]) -> pl.DataFrame:
    """Return tables one below the other; what a table lacks is null there.

    Raises
    ------
    FileFormatError
        A column has values that do not compare. Ids of atomic files do: they are text in all where
        they are in one.
    """
    tables = list(tables)
    for name in dict.fromkeys(name for table in tables for name in table.columns):
        having = [n for n, table in enumerate(tables) if name in table.columns]
        families = {family(tables[n].schema[name]): n for n in having}
        if len(families) < 2:
            continue
        if set(families) == {"integer", "text"} and all(ending_of(p) == ".inter" for p in paths):
            for n in having:
                tables[n] = tables[n].with_columns(pl.col(name).cast(pl.String))
        elif not set(families) <= {"integer", "float"}:
            one, other = list(families.values())[:2]
            raise FileFormatError(
                f"Column {name!r} is {tables[one].schema[name]} in {paths[one]} and "
                f"{tables[other].schema[name]} in {paths[other]}; write the parts alike."
            )
    try:
        return pl.concat(tables, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise FileFormatError(
            f"{paths[0]} and {paths[-1]} have columns of different types "
            f"({str(error).strip().splitlines()[0]}); write the parts alike."
        ) from error


def read_file(
    path: Path,
    separator: str | None = None,
    format: str | None = None,
    latin: bool = False,
    columns: tuple[str, ...] | None = None,
) -> tuple[pl.DataFrame, bool]:
    """Return a file's table, and whether its columns have their types or are all text still.

    Raises
    ------
    FileFormatError
        There is no such file, or it cannot be read as what it is.
    ParameterError
        There are names of columns for a file that has its own.
    """
    if not path.exists() or path.is_dir():
        hint = did_you_mean(path.name, _neighbours(path))
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{path} {what}; give the path of a file.{hint}")
    chosen = None if format is None else format_to_read(path, format)
    name, content = read_content(path)
    source = Source(path, content, separator, latin, columns, name)
    if chosen is None:
        chosen = _format_of(source)
    assert chosen.parse is not None
    table = to_polars(chosen.parse(source))[0]
    if columns is not None and not chosen.takes_names:
        used = [name for name in columns if name != UNUSED]
        if not set(used) <= set(table.columns):
            raise ParameterError(
                f"columns is for files without names of columns, and {path} is read as "
                f"{chosen.name}, which has them; say what a column is by user=..., item=... and "
                "the like."
            )
        table = table.select(used)
    return table, chosen.typed


def _format_of(source: Source) -> Format:
    """Return the format that the ending of a name says, or what is in the file."""
    name = source.name or source.path
    if not source.path.is_file():  # /dev/stdin and the like have no endings
        return FORMATS[_by_content(source.content)]
    if source.columns is not None:
        try:
            return format_to_read(name, None)
        except FileFormatError:
            return FORMATS["txt"]
    chosen = format_to_read(name, None)
    takers = (entry for _, entry in FORMATS.items() if entry.takes(source))
    return next(takers, chosen)


def _by_content(content: bytes) -> str:
    start = content.lstrip(b"\xef\xbb\xbf \r\n\t")[:6]
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.startswith(b"ARROW1"):
        return "arrow"
    if start[:1] in (b"{", b"["):
        return "json"
    first = start + content.lstrip()[6:4096]
    return "atomic" if is_atomic(first.decode("latin-1").partition("\n")[0].rstrip()) else "txt"


def _with_folders(table: pl.DataFrame, folder: Path, root: Path) -> pl.DataFrame:
    """Return a table with a column for each folder below a root that is called ``name=value``."""
    below = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    pairs = [part.partition("=") for part in below]
    new = {name: value for name, mark, value in pairs if mark and name not in table.columns}
    return table.with_columns(pl.lit(value).alias(name) for name, value in new.items())


def _neighbours(path: Path) -> list[str]:
    """Return the names beside a path, to suggest the right one."""
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return []
