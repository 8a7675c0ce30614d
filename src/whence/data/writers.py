"""`Interactions` to files, so that they can go back to any other tool."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl

from whence.data._frames import to_polars
from whence.data.atomic import write_atomic
from whence.data.files import atomic_path
from whence.data.interactions import Interactions
from whence.errors import DataError, FileFormatError, check_choice

FORMATS = ("csv", "tsv", "parquet", "arrow", "atomic")
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".inter": "atomic",
    ".item": "atomic",
    ".user": "atomic",
}


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
    """
    path = Path(path)
    compressed = path.suffix.lower() == ".gz"
    chosen = _format_of(path, format, compressed)
    table: Interactions | pl.DataFrame
    is_table = not isinstance(interactions, Interactions)
    table = to_polars(interactions)[0] if is_table else interactions
    if chosen == "atomic":
        write_atomic(table, path, overwrite)
        return path
    frame = _plain(table) if isinstance(table, Interactions) and chosen in ("csv", "tsv") else None
    if frame is None:
        frame = table.frame if isinstance(table, Interactions) else table
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            if chosen == "parquet":
                frame.write_parquet(temporary)
            elif chosen == "arrow":
                frame.write_ipc(temporary)
            else:
                content = frame.write_csv(separator="," if chosen == "csv" else "\t").encode()
                # mtime=0: the same data make the same file
                temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"The table cannot be written as {chosen} ({error}); "
                "leave such columns out, or write Parquet."
            ) from error
    return path


def _format_of(path: Path, format: str | None, compressed: bool) -> str:
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings[-1:] == [".gz"]:
        endings.pop()
    chosen = _ENDINGS.get(endings[-1] if endings else "")
    if format is not None:
        chosen = check_choice("format", format, FORMATS)
    if chosen is None or (compressed and chosen in ("parquet", "arrow")):
        raise FileFormatError(
            f"{path} cannot be written; choose a name that ends in .csv, .tsv, .inter, .csv.gz, "
            ".tsv.gz, .inter.gz, .parquet or .arrow."
        )
    return chosen


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
