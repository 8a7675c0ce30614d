"""Where the files of a data set lie: the interactions, and what is known of items and users."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from whence.data.atomic import stem_of
from whence.errors import FileFormatError

_MOVIELENS = ("u.data", "ratings.dat", "ratings.csv")
_ITEM_TABLES = ("u.item", "movies.dat", "movies.csv")
_USER_TABLES = ("u.user", "users.dat")


@dataclass(frozen=True)
class Found:
    """The files of a data set; None where there is no such table."""

    data: Path
    items: Path | None = None
    users: Path | None = None


def find_data(folder: Path, format: str | None) -> Found:
    """Find the interactions in a folder, and the tables beside them.

    Raises
    ------
    FileFormatError
        The folder has no file of interactions that is known by its name, or several.
    """
    data = _find_interactions(folder, format)
    items, users = find_side_tables(data)
    return Found(
        data,
        items or _first(folder, _ITEM_TABLES),
        users or _first(folder, _USER_TABLES),
    )


def find_side_tables(data: Path) -> tuple[Path | None, Path | None]:
    """Return the tables of items and of users that belong to a file of interactions by name."""
    folder, name = data.parent, data.name.lower().removesuffix(".gz")
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


def _find_interactions(folder: Path, format: str | None) -> Path:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    atomic = [name for name in names if re.search(r"\.inter(\.gz)?$", name, re.IGNORECASE)]
    own = [name for name in atomic if stem_of(Path(name)) == folder.resolve().name]
    if format in (None, "atomic"):
        if len(own or atomic) == 1:
            return folder / (own or atomic)[0]
        if atomic:
            raise FileFormatError(
                f"{folder} is a folder with several files of interactions, "
                f"{', '.join(atomic[:6])}; give the path of one."
            )
    if format in (None, "movielens") and (found := _first(folder, _MOVIELENS)):
        return found
    raise FileFormatError(
        f"{folder} is a folder without an .inter file, {', '.join(_MOVIELENS[:-1])} or "
        f"{_MOVIELENS[-1]}; give the path of a file."
    )


def _first(folder: Path, names: list[str] | tuple[str, ...]) -> Path | None:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None
