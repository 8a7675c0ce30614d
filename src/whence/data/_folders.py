"""Where the files of a data set lie: the interactions, and what is known of items and users."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from whence.data.atomic import stem_of
from whence.errors import FileFormatError

_MOVIELENS = ("u.data", "ratings.dat", "ratings.csv")
_ITEM_TABLES = ("u.item", "movies.dat", "movies.csv")
PACKED = r"\.(?:gz|bz2|xz|zst|zip)"
_OF_TABLES = rf"(^part-[^.]*|\.(csv|tsv|parquet|pq|arrow|feather|ipc|jsonl|ndjson))({PACKED})?$"
_USER_TABLES = ("u.user", "users.dat")


@dataclass(frozen=True)
class Found:
    """The files of a data set; None where there is no such table."""

    data: Path
    items: Path | None = None
    users: Path | None = None
    parts: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the interactions, or the parts that it consists of."""
        return self.parts or (self.data,)


def find_files(path: Path, format: str | None = None, *, folders: bool = False) -> Found:
    """Find the files that a path, or a pattern such as ``data/2019-*.csv``, stands for.

    Parameters
    ----------
    path : Path
        ``~`` is the user's folder.
    format : str, optional
        Of the interactions in a folder.
    folders : bool
        Whether a folder stands for the interactions that it has.

    Raises
    ------
    FileFormatError
        Nothing matches a pattern, or a folder has no interactions, or several.
    """
    path = Path(os.path.expanduser(path))
    if glob.has_magic(str(path)) and not path.exists():
        parts = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        parts = [one for one in parts if one.is_file()]
        if not parts:
            raise FileFormatError(f"No file matches {path}; check the pattern.")
        if len(parts) > 1:
            return Found(path, parts=tuple(parts))
        path = parts[0]
    if folders and path.is_dir():
        return find_data(path, format)
    return Found(path, *find_side_tables(path))


def find_data(folder: Path, format: str | None) -> Found:
    """Find the interactions in a folder, and the tables beside them.

    Raises
    ------
    FileFormatError
        The folder has no file of interactions that is known by its name, or several.
    """
    data = _find_interactions(folder, format)
    if data is None:
        return Found(folder, parts=_parts_of(folder, format))
    items, users = find_side_tables(data)
    return Found(
        data,
        items or _first(folder, _ITEM_TABLES),
        users or _first(folder, _USER_TABLES),
    )


def find_side_tables(data: Path) -> tuple[Path | None, Path | None]:
    """Return the tables of items and of users that belong to a file of interactions by name."""
    folder, name = data.parent, re.sub(rf"({PACKED})$", "", data.name.lower())
    if name.endswith(".inter"):
        stem = stem_of(data)
        stems = (stem, stem.rpartition(".")[0])  # x.train.inter has the items of x.item
        return (
            _first(folder, [f"{one}.item" for one in stems if one]),
            _first(folder, [f"{one}.user" for one in stems if one]),
        )
    if re.fullmatch(r"u\.data|u[1-5ab]\.(base|test)", name):
        return _first(folder, ["u.item"]), _first(folder, ["u.user"])
    if name == "ratings.dat":
        return _first(folder, ["movies.dat"]), _first(folder, ["users.dat"])
    if name == "ratings.csv":
        return _first(folder, ["movies.csv"]), None
    return None, None


def _find_interactions(folder: Path, format: str | None) -> Path | None:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    atomic = [n for n in names if re.search(rf"\.inter({PACKED})?$", n, re.IGNORECASE)]
    own = [name for name in atomic if stem_of(Path(name)) == folder.resolve().name]
    if format in (None, "atomic"):
        if len(own or atomic) == 1:
            return folder / (own or atomic)[0]
        if atomic:
            raise FileFormatError(
                f"{folder} is a folder with several files of interactions, "
                f"{', '.join(atomic[:6])}; give the path of one, or read training, validation and "
                "test data together with whence.read_splits."
            )
    if format in (None, "movielens") and (found := _first(folder, _MOVIELENS)):
        return found
    return None


def _parts_of(folder: Path, format: str | None) -> tuple[Path, ...]:
    """Return the files that are parts of one table, such as ``part-00000.parquet``.

    Raises
    ------
    FileFormatError
        There are none, or files of other names.
    """
    inside = [one.relative_to(folder) for one in sorted(folder.rglob("*")) if one.is_file()]
    shown = [one for one in inside if not any(part[0] in "._" for part in one.parts)]
    tables = [one for one in shown if format or re.search(_OF_TABLES, one.name, re.IGNORECASE)]
    if not tables:
        raise FileFormatError(
            f"{folder} is a folder without an .inter file, {', '.join(_MOVIELENS)} or parts of a "
            "table such as part-0.parquet; give the path of a file."
        )
    # a/date=2019-10-01/part-7.csv is part number # of a
    alike = {re.sub(r"=[^/]*|[0-9]+", "#", one.as_posix()) for one in tables}
    named = all(one.name.startswith("part") for one in tables)
    if not named and (len(alike) > 1 or len(tables) == 1):
        names = ", ".join(one.as_posix() for one in tables[:6])
        raise FileFormatError(
            f"{folder} is a folder with {names}, which are not called parts of one table; give the "
            f"path of a file, or a pattern such as '{folder / '*'}{tables[0].suffix}', or read "
            "training and test data together with whence.read_splits."
        )
    return tuple(folder / one for one in tables)


def _first(folder: Path, names: list[str] | tuple[str, ...]) -> Path | None:
    for name in names:
        for ending in ("", ".gz", ".bz2", ".xz", ".zst", ".zip"):
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    return None
