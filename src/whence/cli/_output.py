"""Folders of results: claimed by one process, marked before the work, whole when it is done."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import Any

import typer
import yaml

from whence.cli._terminal import complain, terminal
from whence.config import Config
from whence.config.folders import CONFIG as CONFIG
from whence.config.folders import RUN as RUN
from whence.config.folders import SUMMARY as SUMMARY
from whence.config.folders import read_json as read_json
from whence.config.reading import PATHS
from whence.data.files import atomic_path
from whence.engines import claimed
from whence.errors import ConfigError, OutputExistsError, WhenceError

_OWN = (RUN, CONFIG, ".lock")


class Results:
    """A folder for the results of a command, as a context manager.

    The folder is this process's alone until the block ends. What the work is, is written before
    it begins. Where the block is broken off, what can be gone on with is kept, and else all is as
    it was.

    Parameters
    ----------
    folder : Path
    question : mapping
        What decides the results, JSON-able, key by key: parameters and fingerprints of the data.
        Unfinished work of another question is not gone on with.
    overwrite : bool
        Replace results of Whence.
    resume : bool
        Go on with unfinished work; without any, begin.
    config : mapping, optional
        Sections of keys that are written beside the marker; see `sections_of`.
    last : str
        Name of the file that is written last.
    begun : callable, optional
        Says of the folder how much is done that can be gone on with, as in "2 epochs", or "".
    again : str, optional
        The command that goes on; the same as this one if absent.
    """

    def __init__(
        self,
        folder: Path,
        question: Mapping[str, Any],
        *,
        overwrite: bool = False,
        resume: bool = False,
        config: Mapping[str, Any] | None = None,
        last: str = SUMMARY,
        begun: Callable[[Path], str] | None = None,
        again: str | None = None,
    ) -> None:
        self.folder, self.last = folder, last
        self._question = json.loads(json.dumps(question, default=str))
        self._overwrite, self._resume, self._config = overwrite, resume, config
        self._begun, self._again = begun or _something, again

    @property
    def finished(self) -> bool:
        """Whether the results are whole already."""
        return (self.folder / self.last).is_file()

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Give the folder to work in.

        Raises
        ------
        OutputExistsError
            If another process has the folder, it is not empty and is not to be gone on with or
            replaced, or Whence did not write what is in it.
        ConfigError
            If the unfinished work is of another question.
        """
        folder = self.folder
        check_free(folder, overwrite=self._overwrite, resume=self._resume, last=self.last)
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        with _removed_if_empty(made), claimed(folder):
            resumed = self._resume and (folder / RUN).is_file()
            before = self._checked() if resumed else {}
            if self._resume and not resumed:
                terminal.note(f"{folder} holds nothing to go on with, so that this begins anew.")
            aside = folder / f".{uuid.uuid4().hex[:8]}.old"
            if not resumed:
                _move(folder, aside)
                write_json(self._question, folder / RUN)
            if self._config is not None:
                write_sections(self._config, folder / CONFIG)
            try:
                yield folder
            except BaseException as error:
                done = self._begun(folder)
                if not resumed and not done:
                    _empty(folder)
                    _restore(folder, aside)
                elif isinstance(error, WhenceError):
                    for name, content in before.items():
                        (folder / name).write_bytes(content)
                if isinstance(error, KeyboardInterrupt):
                    raise self._interrupted(done) from None
                raise
            finally:
                if self.finished or not aside.exists():
                    _forget(folder)

    def mark(self, question: Mapping[str, Any]) -> None:
        """Write what the work is anew, as far as it may change when it is gone on with."""
        write_json(question, self.folder / RUN)

    def _interrupted(self, done: str) -> typer.Exit:
        if done:
            words = "" if done == " " else f" after {done}"
            complain(
                f"Interrupted{words}; what is done is in {self.folder}, go on with: "
                f"{self._again or terminal.again()}"
            )
        else:
            complain("Interrupted; nothing was written.")
        return typer.Exit(130)

    def _checked(self) -> dict[str, bytes]:
        """Refuse work of another question; return what marks it."""
        before = read_json(self.folder / RUN)
        before.setdefault("command", self._question["command"])  # as earlier versions wrote it
        changed = sorted(_differing(before, self._question))
        if changed:
            raise ConfigError(
                f"The work in {self.folder} is of another {' and '.join(changed)}; go on with the "
                "same, or choose another folder with --output."
            )
        return {
            name: (self.folder / name).read_bytes()
            for name in (CONFIG, RUN, self.last)
            if (self.folder / name).is_file()
        }


def check_free(folder: Path, *, overwrite: bool, resume: bool = False, last: str = SUMMARY) -> None:
    """Refuse a folder that has something in it, before any work is done.

    Raises
    ------
    OutputExistsError
        If the folder is not empty and is neither to be replaced nor gone on with, or was not
        written by Whence: somebody's own files are never replaced.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file; give the name of a folder with --output.")
    if all(_is_left_over(path) for path in folder.iterdir()):
        return
    if not any((folder / name).is_file() for name in (SUMMARY, RUN)):
        raise OutputExistsError(
            f"{folder} holds files that Whence did not write; choose another folder with --output."
        )
    if overwrite or (resume and (folder / RUN).is_file()):
        return
    if (folder / last).is_file() or not (folder / RUN).is_file():
        raise OutputExistsError(
            f"{folder} exists already; choose another folder with --output, or replace it with "
            "--overwrite."
        )
    raise OutputExistsError(
        f"{folder} holds unfinished work; go on with it with --resume, replace it with "
        "--overwrite, or choose another folder with --output."
    )


def check_new(path: Path | None, *, overwrite: bool) -> None:
    """Refuse a file that is there already.

    Raises
    ------
    OutputExistsError
        In that case, unless it is to be replaced.
    """
    if path is not None and path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already; choose another name with --output, or replace it with "
            "--overwrite."
        )


def write_json(content: Any, path: Path) -> None:
    """Write readable JSON, whole or not at all."""
    with atomic_path(path, overwrite=True) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_sections(sections: Mapping[str, Any], path: Path) -> None:
    """Write sections of keys as YAML, whole or not at all."""
    with atomic_path(path, overwrite=True) as temporary:
        text = yaml.safe_dump(dict(sections), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def sections_of(config: Config) -> dict[str, Any]:
    """Return what differs from the defaults, to run it again from anywhere, into another folder."""
    keys = config.model_dump(mode="json", exclude_defaults=True, exclude={"output"})
    for section, key in PATHS:
        value = keys.get(section, {}).get(key)
        if not isinstance(value, str):
            continue
        path = Path(value).expanduser()
        if path.exists() or has_magic(value):  # a pattern of files
            keys[section][key] = str(path.resolve())
    return keys


def question_of(command: str, config: Config, *parts: Any, **more: Any) -> dict[str, Any]:
    """Return what decides the results of a command, key by key, and the versions beside it.

    Parameters
    ----------
    command : str
    config : Config
        Without what does not decide them: names of files, threads, where results go.
    *parts : Interactions or None
        Training, validation and test data.
    **more
        Other parameters.
    """
    keys = config.model_dump(mode="json", exclude_defaults=True, exclude={"output", "tune"})
    for section, names in (("data", [key for _, key in PATHS]), ("training", ["threads"])):
        keys[section] = {k: v for k, v in keys.get(section, {}).items() if k not in names}
    keys.get("attribution", {}).pop("threads", None)
    return marked(command, *parts, **keys, **more)


def marked(command: str, *parts: Any, **question: Any) -> dict[str, Any]:
    """Return what a folder says of itself: command, question, data and versions."""
    from whence.attribution.record import versions

    data = dict(zip(("train", "validation", "test"), parts))
    return {
        "command": command,
        **question,
        "data": {
            name: {"fingerprint": part.fingerprint, "rows": part.n_rows}
            for name, part in data.items()
            if part is not None
        }
        | question.get("data", {}),
        "versions": versions(),
    }


def _differing(before: Any, now: Any) -> Iterator[str]:
    """Keys of two questions that differ, apart from versions."""
    for key in {*before, *now} - {"versions", "precision"}:
        one, other = before.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and key != "data":
            yield from (
                f"{key}.{name}" for name in {*one, *other} if one.get(name) != other.get(name)
            )
        elif one != other:
            yield key


def _something(folder: Path) -> str:
    """Whether anything but the marker is there."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in _OWN]
    return " " if any(not _is_left_over(path) for path in files) else ""


def _is_left_over(path: Path) -> bool:
    """Whether this is nothing that somebody would miss: a lock, or a file half written."""
    return path.name == ".lock" or (path.name.startswith(".") and path.suffix in (".part", ".old"))


def _move(folder: Path, aside: Path) -> None:
    """Put what is in a folder aside, in it, until there is something in its place."""
    order = {SUMMARY: 0, RUN: 2}  # killed between, it is unfinished work at most
    for path in sorted(folder.iterdir(), key=lambda one: order.get(one.name, 1)):
        if not _is_left_over(path):
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)


def _restore(folder: Path, aside: Path) -> None:
    if aside.exists():
        for path in aside.iterdir():
            path.rename(folder / path.name)
        aside.rmdir()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock" and path.suffix != ".old":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _forget(folder: Path) -> None:
    """Remove what was put aside, and what other processes that were killed left half written."""
    for path in folder.iterdir():
        if _is_left_over(path) and path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _removed_if_empty(made: list[Path]) -> Iterator[None]:
    try:
        yield
    finally:
        for path in made:  # from the inside out, as long as nothing is in them
            if not path.is_dir() or any(path.iterdir()):
                break
            path.rmdir()
