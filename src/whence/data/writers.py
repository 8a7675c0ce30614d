"""`Interactions` to files, so that they can go back to any other tool."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from whence.data._frames import to_polars
from whence.data.files import atomic_path
from whence.data.formats import format_to_write
from whence.data.interactions import Interactions
from whence.errors import DataError, check_path


def write_interactions(
    interactions: Interactions | Any,
    path: str | Path,
    format: str | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write interactions, or a table, with all columns in the order of the rows.

    Parameters
    ----------
    interactions : Interactions or table
    path : path
        Ending in ``.csv``, ``.tsv``, ``.inter`` (each also with ``.gz``), ``.parquet`` or
        ``.arrow``. The file is whole or not there: it is written under another name first.
    format : {"csv", "tsv", "parquet", "arrow", "atomic"}, optional
        Instead of what the ending says. ``"atomic"`` are RecBole's files: beside ``x.inter``,
        ``x.item`` and ``x.user`` are written where the interactions have such tables; the other
        formats have the interactions alone.
    overwrite : bool, default False

    Returns
    -------
    Path

    Raises
    ------
    OutputExistsError
        The file, or one beside it that would be written, exists and `overwrite` is False.
    FileFormatError
        The ending is none of these, and no format is given.
    DataError
        A column has values, such as lists, that the format cannot hold.

    Notes
    -----
    In CSV and TSV, lists of negatives are written as ``[1, 2, 3]``, as ReChorus has them. In
    atomic files, time, rating and floats are ``float``, lists of floats ``float_seq``, other lists
    ``token_seq``, all else ``token``; dates are seconds since 1970.

    Ids and texts are written as they are, also those that begin with ``=`` or ``@``, so that what
    is read again is what was written. A spreadsheet takes them for formulas: import them as text.
    """
    path = check_path("path", path)
    chosen = format_to_write(path, format)
    given: Interactions | pl.DataFrame
    given = interactions if isinstance(interactions, Interactions) else to_polars(interactions)[0]
    if chosen.write_files is not None:
        chosen.write_files(given, path, overwrite)
        return path
    assert chosen.write is not None
    frame = given
    if isinstance(given, Interactions):
        frame = given.frame if chosen.typed else _plain(given)
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            chosen.write(frame, temporary)
            if path.suffix.lower() == ".gz":
                # mtime=0: the same data make the same file
                temporary.write_bytes(gzip.compress(temporary.read_bytes(), mtime=0))
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"The table cannot be written as {chosen.name} ({error}); "
                "leave such columns out, or write Parquet."
            ) from error
    return path


STREAMED = (".parquet", ".csv", ".tsv")
"""Endings of files that `write_parts` writes."""


def write_parts(
    parts: Iterable[pl.DataFrame],
    schema: Mapping[str, Any],
    path: Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write tables one below the other, each when it is made, so that memory does not grow.

    Parameters
    ----------
    parts : iterable of polars.DataFrame
        Of the columns and types of the schema.
    schema : mapping of str to polars type
    path : Path
        Ending in ``.parquet``, ``.csv`` or ``.tsv``.
    overwrite : bool, default False

    Raises
    ------
    OutputExistsError
        The file exists and `overwrite` is False.
    """
    from polars.io.plugins import register_io_source

    def source(*_: Any) -> Iterator[pl.DataFrame]:
        yield from parts

    with atomic_path(path, overwrite=overwrite) as temporary:
        lazy = register_io_source(source, schema=dict(schema))
        if path.suffix == ".parquet":
            lazy.sink_parquet(temporary, maintain_order=True)
        else:
            separator = "\t" if path.suffix == ".tsv" else ","
            lazy.sink_csv(temporary, maintain_order=True, separator=separator)
    return path


def _plain(interactions: Interactions) -> pl.DataFrame:
    """Return the frame with its lists of negatives as text."""
    name = interactions.columns.negatives
    if name is None:
        return interactions.frame
    words = interactions.frame[name].cast(pl.List(pl.String))
    flat = words.filter(words.list.len() > 0).explode()
    bad = flat.is_null() | flat.str.contains(r"[\[\],'\" ]").fill_null(False)
    if bad.any():
        raise DataError(
            f"Column {name!r} has the id {flat.filter(bad)[0]!r}, which cannot stand in a list in "
            "text; write Parquet."
        )
    return interactions.frame.with_columns(
        pl.format("[{}]", words.fill_null([]).list.join(", ")).alias(name)
    )
