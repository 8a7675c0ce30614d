"""Training, validation and test data that a folder has as files of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data._compression import read_bytes
from whence.data._folders import PACKED, Found, find_side_tables
from whence.data._frames import Native
from whence.data._headerless import column_names
from whence.data._ties import tie_seed
from whence.data.interactions import Interactions
from whence.data.readers import with_side_tables
from whence.data.tables import read_file, stacked
from whence.errors import (
    ColumnError,
    DataError,
    FileFormatError,
    ParameterError,
    UnsupportedError,
    check_list,
)

_USUAL = (("train",), ("valid", "validation", "val", "dev"), ("test",))
_ENDINGS = r"csv|tsv|txt|parquet|pq|arrow|feather|ipc|jsonl|ndjson"
_PART = "\0part"

Parts = tuple[Interactions, Interactions | None, Interactions | None]


def read_splits(
    folder: str | Path,
    names: Sequence[str] | None = None,
    *,
    session: str | None = None,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    basket: str | None = None,
    rating: str | None = None,
    negatives: str | None = None,
    kind: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    columns: str | Sequence[str] | None = None,
    time_format: str | None = None,
    ties: str = "order",
    seed: int = 42,
    side_tables: bool = True,
) -> Parts:
    """Read training, validation and test data that a folder has as files of their own.

    Parameters
    ----------
    folder : path
        With files such as

        - ``x.train.inter``, ``x.valid.inter``, ``x.test.inter``: RecBole; a whole ``x.inter``
          beside them is not read;
        - ``train.csv``, ``dev.csv``, ``test.csv``: ReChorus, and others in any format of tables;
        - ``train.txt``, ``test.txt`` of ``user item item ...`` per line: LightGCN.
    names : sequence of str, optional
        Two or three, in the order of training, (validation) and test data: RecBole's
        ``benchmark_filename``. Default: ``train``, one of ``valid``, ``validation``, ``val``,
        ``dev``, if it is there, and ``test``.
    session, user, item, time, basket, rating, negatives, kind, separator, format, columns
        As in `read_interactions`, for all files.
    time_format, ties, seed, side_tables
        Likewise.

    Returns
    -------
    train : Interactions
    validation, test : Interactions or None
        None where there is no such file. Ids have one type in all parts; each is numbered by its
        own rows.

    Raises
    ------
    FileFormatError
        There are no such files, or one of them is not what it should be.
    ColumnError, DataError, ParameterError
        As in `read_interactions`.
    """
    paths = find_splits(Path(folder).expanduser(), names)
    if paths is None:
        what = "train and test" if names is None else " and ".join(map(repr, names))
        raise FileFormatError(
            f"{folder} has no files of {what}, such as x.train.inter or train.csv; give a folder "
            "that has them, or read a whole file and split it."
        )
    headers, random = column_names(columns), tie_seed(ties, seed)
    given = {
        "session": session,
        "user": user,
        "item": item,
        "time": time,
        "basket": basket,
        "rating": rating,
        "negatives": negatives,
    }
    if format is None and headers is None and all(_has_users(one) for one in paths if one):
        format = "user-lines"
    tables: dict[int, pl.DataFrame] = {}
    for number, path in enumerate(paths):
        if path is not None:
            tables[number], typed = read_file(path, separator, format, columns=headers)
    numbered = [table.with_columns(pl.lit(n).alias(_PART)) for n, table in tables.items()]
    whole = stacked(numbered, [path for path in paths if path is not None])
    try:
        data = Interactions._read(
            whole, Native("polars"), given, kind, typed=typed, written=True,
            time_format=time_format, tie_seed=random,
        )  # fmt: skip
    except (ColumnError, DataError, UnsupportedError) as error:
        raise type(error)(f"{folder}: {error}") from error
    if side_tables:
        first = next(path for path in paths if path is not None)
        data = with_side_tables(data, Found(first, *find_side_tables(first)))
    train, validation, test = (_part(data, number, tables.get(number)) for number in range(3))
    if train is None:
        raise DataError(f"{paths[0]}: The table has no rows; at least one interaction is needed.")
    return train, validation, test


def find_splits(
    folder: Path, names: Sequence[str] | None = None
) -> tuple[Path | None, Path | None, Path | None] | None:
    """Return the files of training, validation and test data in a folder.

    Parameters
    ----------
    folder : Path
    names : sequence of str, optional
        As in `read_splits`.

    Returns
    -------
    tuple of Path or None
        None where there is no training or test data.

    Raises
    ------
    ParameterError
        There are not two or three names.
    FileFormatError
        Several files could be meant.
    """
    wanted = _USUAL if names is None else _wanted(names)
    inside = sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []
    atomic = [_matching(inside, one, rf"(?P<stem>.*)\.{{}}\.inter({PACKED})?") for one in wanted]
    found = [_one_of(paths, folder) for paths in atomic]
    if found[0] is None or found[-1] is None:
        plain = [_matching(inside, one, rf"{{}}\.({_ENDINGS})({PACKED})?") for one in wanted]
        found = [_one_of(paths, folder) for paths in plain]
    if found[0] is None or found[-1] is None:
        return None
    if names is not None and None in found:
        return None
    return found[0], found[1] if len(found) == 3 else None, found[-1]


def _wanted(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    listed = check_list("names", names, "names of files")
    if len(listed) not in (2, 3) or not all(isinstance(name, str) for name in listed):
        raise ParameterError(
            "names must be two or three, those of training, validation and test data, not "
            f"{names!r}."
        )
    return tuple((name,) for name in listed)


def _matching(inside: list[Path], names: tuple[str, ...], pattern: str) -> list[Path]:
    wanted = pattern.format("|".join(map(re.escape, names)).join(["(", ")"]))
    return [one for one in inside if re.fullmatch(wanted, one.name, re.IGNORECASE)]


def _one_of(paths: list[Path], folder: Path) -> Path | None:
    """Return the path, or of several that of the data set called as the folder is."""
    own = [one for one in paths if one.name.startswith(f"{folder.resolve().name}.")]
    chosen = own if len(own) == 1 else paths
    if len(chosen) > 1:
        raise FileFormatError(
            f"{folder} has {' and '.join(one.name for one in chosen[:3])}, of which only one can "
            "be meant; put the other elsewhere, or read each file by its path."
        )
    return chosen[0] if chosen else None


def _has_users(path: Path) -> bool:
    """Whether lines begin with the ids of users, in ascending order, as LightGCN's do."""
    if not re.search(rf"\.txt({PACKED})?$", path.name, re.IGNORECASE):
        return False
    lines = [line.split() for line in read_bytes(path).split(b"\n") if line.strip()]
    if not all(word.isdigit() for words in lines for word in words[:2]):
        return False
    first = np.array([int(words[0]) for words in lines], dtype=object)
    return bool((first[1:] > first[:-1]).all()) and len({len(words) for words in lines}) > 1


def _part(data: Interactions, number: int, table: pl.DataFrame | None) -> Interactions | None:
    """Return the rows of one file, with the columns that it has."""
    rows = data.frame[_PART].to_numpy() == number
    if table is None or not rows.any():
        return None
    part = data.keep_rows(rows).rebuild()
    own = [name for name in part.frame.columns if name in table.columns]
    columns = part.columns
    changes: dict[str, Any] = {
        role: None
        for role in ("rating", "negatives", "time")
        if getattr(columns, role) not in (None, *own)
    }
    extras = tuple(name for name in columns.extras if name in own)
    return replace(
        part, frame=part.frame.select(own), columns=replace(columns, extras=extras, **changes)
    )
