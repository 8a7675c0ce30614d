"""Folders of results, read for a report: what each holds, and the data that it speaks of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whence.config.folders import CONFIG, METRICS, RUN, SUMMARY, VALUES, command_of, read_json
from whence.errors import ConfigError, FileFormatError, WhenceError, WhenceWarning

if TYPE_CHECKING:
    from whence.attribution import Attribution
    from whence.config import Config, Parts

_LAST = {"train": METRICS, "forget": METRICS}
"""File that marks the results of a command as whole, where it is not the summary."""
KNOWN = ("train", "forget", "tune", "value", "evaluate", "trace", "explain", "disclose", "demo")


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder of results.

    Attributes
    ----------
    path : Path
    command : str
        That wrote it, such as "value" or "experiment corruption".
    """

    path: Path
    command: str
    _notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the report calls it."""
        return self.path.resolve().name

    @cached_property
    def run(self) -> dict[str, Any]:
        """What the work was."""
        return _mapping(self.path / RUN)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is written when the results are whole."""
        return _mapping(self.path / _LAST.get(self.command, SUMMARY))

    @cached_property
    def config(self) -> Config | None:
        """The configuration; None where there is none."""
        from whence.config import load_config

        if not (self.path / CONFIG).is_file():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            return load_config(self.path / CONFIG)

    @cached_property
    def parts(self) -> Parts | None:
        """The data that the results speak of; None where they are not there any more."""
        from whence.config import read_parts

        config = self.config
        if config is None or (config.data.path is None and config.data.train is None):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            try:
                found = read_parts(config)
            except WhenceError as error:
                self._notes.append(
                    f"The data of {self.name} cannot be read, so that what depends on them is left "
                    f"out: {error}"
                )
                return None
        before = self._fingerprint
        if before not in (None, found.train.fingerprint):
            self._notes.append(
                f"The training data of {self.name} are not those that its results were computed "
                "from, so that what depends on them is left out."
            )
            return None
        return found

    @property
    def _fingerprint(self) -> str | None:
        data = self.run.get("data")
        train = data.get("train") if isinstance(data, dict) else None
        if isinstance(train, dict):
            return train.get("fingerprint")
        values = self.summary.get("values")  # of a demonstration
        return values["fingerprint"]["train"] if isinstance(values, dict) else None

    @cached_property
    def values(self) -> Attribution | None:
        """The values of the training data; None where there are none."""
        from whence.attribution import Attribution

        path = self.path / VALUES  # experiments have tables of that name
        is_there = self.command in ("value", "demo") and path.is_file()
        return Attribution.load(path) if is_there else None

    def table(self, name: str) -> pl.DataFrame | None:
        """Read a table of the folder; None where there is none.

        Raises
        ------
        FileFormatError
            If it is damaged.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            if path.suffix == ".parquet":
                return pl.read_parquet(path)
            return pl.read_csv(path, infer_schema_length=None)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise FileFormatError(
                f"{path} is damaged; compute it again, or leave {self.path} out."
            ) from error

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be left out; complete when all has been asked for."""
        return tuple(self._notes)


def read_folders(paths: Iterable[Path]) -> list[Folder]:
    """Read folders of results; of a folder of such folders, all that are whole.

    Raises
    ------
    ConfigError
        If one holds no results of Whence.
    FileFormatError
        If the results of one are not whole, or damaged.
    """
    found: dict[Path, Folder] = {}
    for path in paths:
        for one in _read(path):
            found.setdefault(one.path.resolve(), one)
    return list(found.values())


def _read(path: Path) -> Iterator[Folder]:
    command = command_of(path) if path.is_dir() else None
    if command is None:
        inner = sorted(one.parent for one in path.glob(f"*/{RUN}")) if path.is_dir() else []
        whole = [Folder(one, str(command_of(one))) for one in inner]
        whole = [one for one in whole if _is_whole(one)]
        if not whole:
            raise ConfigError(
                f"{path} holds no results; give folders that whence train, value, trace and the "
                "like have written."
            )
        yield from whole
        return
    folder = Folder(path, command)
    if not _is_whole(folder):
        raise FileFormatError(
            f"The results in {path} are unfinished; go on with them with --resume of whence "
            f"{command}, or leave them out."
        )
    yield folder


def _is_whole(folder: Folder) -> bool:
    return (folder.path / _LAST.get(folder.command, SUMMARY)).is_file()


def _mapping(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise FileFormatError(f"{path} is damaged; begin anew with --overwrite.")
    return found
