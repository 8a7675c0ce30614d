"""Files to tables, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from whence.data import _text
from whence.data._frames import to_polars
from whence.data.formats import FORMATS, Source, format_to_read
from whence.data.movielens import split_genres
from whence.errors import FileFormatError, did_you_mean


def read_table(
    path: str | Path, *, separator: str | None = None, format: str | None = None
) -> pl.DataFrame:
    """Read any table in one of the formats of `read_interactions`, such as a list of items.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    table, typed = read_file(Path(path), separator, format)
    return table if typed else _text.infer_types(table)


def read_side_table(path: str | Path) -> pl.DataFrame:
    """Read a table of items or users, perhaps in latin-1, its genres as lists.

    Raises
    ------
    FileFormatError
        As in `read_interactions`.
    """
    table, typed = read_file(Path(path), latin=True)
    if typed:
        return table
    return split_genres(_text.infer_types(table, texts=("title", "zip_code")))


def read_file(
    path: Path, separator: str | None = None, format: str | None = None, latin: bool = False
) -> tuple[pl.DataFrame, bool]:
    """Return a file's table, and whether its columns have their types or are all text still."""
    if not path.is_file():
        hint = did_you_mean(path.name, _neighbours(path))
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{path} {what}; give the path of a file.{hint}")
    chosen = format_to_read(path, format)
    source = Source(path, _text.read_bytes(path), separator, latin)
    if format is None:
        takers = (entry for _, entry in FORMATS.items() if entry.takes(source))
        chosen = next(takers, chosen)
    assert chosen.parse is not None
    return to_polars(chosen.parse(source))[0], chosen.typed


def _neighbours(path: Path) -> list[str]:
    """Return the names beside a path, to suggest the right one."""
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return []
