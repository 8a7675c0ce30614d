"""Results too large for one table: a folder of Parquet files, each written when it is made.

They are read together as ``polars.scan_parquet("folder/*.parquet")``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from whence.data.files import (
    atomic_path,
    read_parquet_with_metadata,
    write_parquet_with_metadata,
)
from whence.engines.checkpoints import claimed
from whence.errors import UNREADABLE, FileFormatError, OutputExistsError, ParameterError

_MARK = "shards.json"
_LOCK = ".lock"


def write_shards(
    folder: Path,
    shards: Iterable[tuple[Any, Callable[[], pl.DataFrame]]],
    identity: Mapping[str, Any],
    *,
    resume: bool = False,
    report: Callable[[int], object] = lambda done: None,
) -> int:
    """Write tables into a folder, one file each; those that are there are not made again.

    Parameters
    ----------
    folder : Path
        New, empty, or of the same work that was broken off.
    shards : iterable of (content, make)
        What each shard is of, whose text decides whether a file that is there is of the same; and
        a function that gives its table.
    identity : mapping
        What decides the tables besides.
    resume : bool
        Go on with what is in the folder.
    report : callable
        Called with the number of shards that are done.

    Returns
    -------
    int
        Number of shards.

    Raises
    ------
    OutputExistsError
        The folder is in use, or has something in it that is not to be gone on with.
    ParameterError
        What is in it is of other work.
    FileFormatError
        A file in it is damaged.
    """
    before = [path for path in folder.iterdir() if path.name != _LOCK] if folder.is_dir() else []
    own = json.loads(json.dumps(dict(identity), default=str))
    mark, done = folder / _MARK, 0
    if before and not (resume and mark.is_file()):
        raise OutputExistsError(
            f"{folder} is not empty; choose another folder, or go on with unfinished work in it "
            "with resume=True."
        )
    with claimed(folder):
        if before and _marked(mark) != own:
            raise ParameterError(
                f"The shards in {folder} are of other work; ask the same again, or choose another "
                "folder."
            )
        for number, (content, make) in enumerate(shards):
            if not mark.exists():
                with atomic_path(mark) as temporary:
                    temporary.write_text(json.dumps(own, indent=1), encoding="utf-8")
            path = folder / f"part-{number:05d}.parquet"
            words = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
            if not path.exists():
                write_parquet_with_metadata(make(), path, {"whence.of": words})
            elif read_parquet_with_metadata(path)[1].get("whence.of") != words:
                raise ParameterError(
                    f"{path} is of other histories or queries than those of now; ask the same "
                    "again, or choose another folder."
                )
            done = number + 1
            report(done)
    if not done and not before:
        folder.rmdir()
    return done


def _marked(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UNREADABLE as error:
        raise FileFormatError(f"{path} is damaged; choose another folder.") from error
