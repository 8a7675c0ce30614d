"""Folders of results that are either whole or not there."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from whence.config import Config
from whence.config.reading import PATHS
from whence.errors import OutputExistsError

SUMMARY, RUN = "summary.json", "run.json"
"""Each folder of results has one of these; others were not written by Whence."""


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that has something in it, before any work is done.

    Raises
    ------
    OutputExistsError
        If the folder is not empty and `overwrite` is false, or it was not written by Whence:
        somebody's own files are never replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file; give the name of a folder with --output.")
    if not any((folder / name).is_file() for name in (SUMMARY, RUN)):
        raise OutputExistsError(
            f"{folder} holds files that Whence did not write; choose another folder with --output."
        )
    if not overwrite:
        raise OutputExistsError(
            f"{folder} exists already; choose another folder with --output, or replace it with "
            "--overwrite."
        )


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder under a temporary name; rename it when the block ends well.

    Raises
    ------
    OutputExistsError
        As `check_free`.
    """
    check_free(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    temporary = folder.with_name(f".{folder.name}.{mark}.part")
    temporary.mkdir()
    try:
        yield temporary
        _swap(temporary, folder, folder.with_name(f".{folder.name}.{mark}.old"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(content: Any, path: Path) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_config(config: Config, path: Path) -> None:
    """Write what differs from the defaults, to run it again from anywhere, into another folder."""
    keys = config.model_dump(mode="json", exclude_defaults=True, exclude={"output"})
    for section, key in PATHS:
        value = keys.get(section, {}).get(key)
        if isinstance(value, str):
            keys[section][key] = str(Path(value).resolve())
    path.write_text(yaml.safe_dump(keys, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _swap(new: Path, folder: Path, aside: Path) -> None:
    """Put a folder in its place; what was there is put back should that fail."""
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
