"""Files that are either whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from whence import errors
from whence.errors import FileFormatError, OutputExistsError, check_path

UNREADABLE = (*errors.UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What reading a damaged file of arrays, tables or JSON ends in."""


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename to `path` when the block ends well.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is not set.
    OSError
        With the name of `path`, if it cannot be written, on a full disk for example.
    """
    path = check_path("path", path)
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already; choose another name or ask to overwrite it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        # A failed write does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet_with_metadata(
    frame: pl.DataFrame, path: str | Path, metadata: dict[str, str], *, overwrite: bool = False
) -> Path:
    """Write a table and key-value metadata to one Parquet file, atomically."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        frame.write_parquet(temporary, metadata=metadata)
    return Path(path)


def read_parquet_with_metadata(path: str | Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """Read a table and its key-value metadata.

    Raises
    ------
    FileFormatError
        If there is no such file, or it is truncated or not Parquet.
    """
    path = check_path("path", path)
    if not path.is_file():
        raise FileFormatError(f"There is no file {path}; check the path.")
    try:
        return pl.read_parquet(path, hive_partitioning=False), pl.read_parquet_metadata(path)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path} is not a readable Parquet file (truncated, or of another format); "
            "write it again."
        ) from error
