"""Unfinished work in a folder: kept every few seconds, claimed by one process, taken up again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from whence.errors import UNREADABLE, FileFormatError, OutputExistsError, ParameterError

if TYPE_CHECKING:
    from whence.engines.runs import Run

UNFINISHED = "unfinished"
"""Folder, in that of the run, of what is not finished."""
_IDENTITY, _LOCK = "work.json", ".lock"
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())
_SECONDS = 5.0
"""Between states."""
_LONGEST_SHARE = 0.05
"""Of the time that may go into keeping them."""


@contextmanager
def claimed(folder: str | Path) -> Iterator[Path]:
    """Have a folder for this process alone; it is made where it is missing.

    A process that is killed lets go of it.

    Raises
    ------
    OutputExistsError
        If another running process has it.
    """
    folder = Path(folder)
    if folder.resolve() in _held.get():  # by the work that this is a part of
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputExistsError(
            f"{folder} is in use by another process that is running; wait for it, or choose "
            "another folder."
        ) from error
    before = _held.set(_held.get() | {folder.resolve()})
    try:
        yield folder
    finally:
        _held.reset(before)
        path.unlink(missing_ok=True)
        lock.release()


class Checkpoints:
    """What is done of one piece of long work, in the folder of a run; a context manager.

    Parameters
    ----------
    run : Run
        With its folder and whether to resume; without a folder nothing is kept.
    identity : mapping
        What decides the result, JSON-able: parameters and fingerprints of the data. Work of
        another identity is not taken up.
    name : str
        Of the work, where a folder may hold several.

    Raises
    ------
    OutputExistsError
        On entering, if another process has the folder, or it holds unfinished work and the run
        does not resume.
    ParameterError
        If the unfinished work is of another identity.
    FileFormatError
        If it is damaged.
    """

    def __init__(self, run: Run, identity: Mapping[str, Any], name: str = UNFINISHED) -> None:
        self._folder = None if run.folder is None else Path(run.folder) / name
        self._resume = run.resume
        self._identity: dict[str, Any] = json.loads(json.dumps(identity, default=str))
        self._claim: Any = None
        self._saved, self._took = time.monotonic(), 0.0
        self.is_finished = True
        """Whether what was kept is removed on leaving without an error."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process, which does a part of the work, keeps nothing."""
        from whence.engines.runs import Run

        return Checkpoints, (Run(), {})

    def __enter__(self) -> Checkpoints:
        if self._folder is not None:
            self._made = [p for p in (self._folder, *self._folder.parents) if not p.exists()]
            self._claim = claimed(self._folder)
            self._claim.__enter__()
            try:
                self._open(self._folder)
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.is_finished:
            self.finish()
        self._leave()

    @property
    def is_due(self) -> bool:
        """Whether the last state was kept some seconds ago, or more where that takes long."""
        wait = max(_SECONDS, self._took / _LONGEST_SHARE)
        return self._folder is not None and time.monotonic() - self._saved > wait

    def path(self, name: str) -> Path | None:
        """Place for a file beside the states, which goes with them; None without a folder."""
        return None if self._folder is None else self._folder / name

    def load(self, stage: str) -> Any:
        """Return the state of a stage; None if there is none."""
        path = None if self._folder is None else self._folder / f"{stage}.npz"
        if path is None or not path.exists():
            return None
        return read_state(path)

    def save(self, stage: str, state: Any) -> None:
        """Keep the state of a stage: arrays, numbers, texts, lists and dicts of them."""
        if self._folder is not None:
            began = time.monotonic()
            write_state(state, self._folder / f"{stage}.npz")
            self._saved = time.monotonic()
            self._took = self._saved - began

    def recall(self, stage: str, compute: Callable[[], Any]) -> Any:
        """Return the state of a stage; it is computed and kept if there is none."""
        state = self.load(stage)
        if state is None:
            state = compute()
            self.save(stage, state)
        return state

    def drop(self, stage: str) -> None:
        """Forget a stage whose result is part of another's state."""
        if self._folder is not None:
            (self._folder / f"{stage}.npz").unlink(missing_ok=True)

    def finish(self) -> None:
        """Remove what was kept: the result is complete."""
        if self._folder is not None:
            # First what says that there is something, should this be broken off.
            (self._folder / _IDENTITY).unlink(missing_ok=True)
            for path in self._folder.iterdir():
                if path.name != _LOCK:
                    path.unlink() if path.is_file() else shutil.rmtree(path)

    def _open(self, folder: Path) -> None:
        path = folder / _IDENTITY
        if not path.exists():
            for left in folder.glob("*.npz"):
                left.unlink()
            _write_whole(json.dumps(self._identity, indent=1).encode(), path)
            return
        if not self._resume:
            raise OutputExistsError(
                f"{folder.parent} holds unfinished work; go on with it with resume=True (on the "
                "command line --resume), or choose another folder."
            )
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = sorted(
                key
                for key in {*before, *self._identity}
                if before.get(key) != self._identity.get(key)
            )
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise FileFormatError(f"{path} is damaged; remove {folder} to begin anew.") from error
        if changed:
            raise ParameterError(
                f"The unfinished work in {folder.parent} is of other {' and '.join(changed)}; "
                f"ask the same again, choose another folder, or remove {folder} to begin anew."
            )

    def _leave(self) -> None:
        if self._claim is None or self._folder is None:
            return
        self._claim.__exit__(None, None, None)
        self._claim = None
        # From the inside out, as long as nothing is in them.
        for path in dict.fromkeys((self._folder, *self._made)):
            if not path.is_dir() or any(path.iterdir()):
                break
            path.rmdir()


@contextmanager
def keeping(
    run: Run, identity: Mapping[str, Any], kept: Checkpoints | None = None
) -> Iterator[Checkpoints]:
    """Keep work in the folder of its run; or with what it is part of, where that is given.

    Parameters
    ----------
    run, identity
        As in `Checkpoints`.
    kept : Checkpoints, optional
        Of the work that this work is part of.
    """
    if kept is not None:
        yield kept
    else:
        with Checkpoints(run, identity) as own:
            yield own


def identity_of(value: Any) -> str:
    """Return a short text that stands for arrays or anything JSON-able."""
    text = value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value, default=str)
    content = text if isinstance(text, bytes) else text.encode()
    return hashlib.sha256(content).hexdigest()[:16]


def write_state(state: Any, path: Path) -> None:
    """Write a state, whole or not at all."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = json.dumps(_without_arrays(state, arrays))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, structure=np.array(structure), **arrays)
    _write_whole(buffer.getbuffer(), path)


def _write_whole(content: bytes | memoryview, path: Path) -> None:
    """Write a file, whole or not at all, whenever the process is killed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote.

    Raises
    ------
    FileFormatError
        If it is truncated, or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return _with_arrays(json.loads(str(content["structure"])), content)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path} is not unfinished work of Whence, or it is truncated; remove it to begin anew."
        ) from error


def _without_arrays(state: Any, arrays: dict[str, Any]) -> Any:
    """A state with its arrays put aside, under names that stand in their place."""
    if isinstance(state, (np.ndarray, np.generic)):
        name = f"a{len(arrays)}"
        arrays[name] = np.asarray(state)
        return {"array": name, "scalar": isinstance(state, np.generic)}
    if isinstance(state, Mapping):
        return {"dict": [[key, _without_arrays(one, arrays)] for key, one in state.items()]}
    if isinstance(state, (list, tuple)):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [_without_arrays(one, arrays) for one in state]}
    return {"value": state}


def _with_arrays(structure: Mapping[str, Any], content: Mapping[str, Any]) -> Any:
    if "array" in structure:
        array = content[structure["array"]]
        return array[()] if structure["scalar"] else array
    if "dict" in structure:
        return {key: _with_arrays(one, content) for key, one in structure["dict"]}
    if "list" in structure:
        return [_with_arrays(one, content) for one in structure["list"]]
    if "tuple" in structure:
        return tuple(_with_arrays(one, content) for one in structure["tuple"])
    return structure["value"]
