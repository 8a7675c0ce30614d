"""What has been done of a long pass, in a file, so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data.files import atomic_path
from whence.errors import FileFormatError, ParameterError

_NAME = "influence-state.npz"
_SECONDS = 10.0


class Progressed:
    """Arrays of a pass and the number of examples that are done, kept in a folder.

    Parameters
    ----------
    folder : path or None
        None: nothing is kept.
    identity : mapping
        What the pass is about: a file of another one is not taken up.
    arrays : mapping of str to ndarray
        The results, filled while the pass goes on.
    """

    def __init__(
        self, folder: str | Path | None, identity: Any, arrays: dict[str, npt.NDArray[Any]]
    ) -> None:
        self.arrays = arrays
        self.done = {"part": 0, "examples": 0}
        self.busy = False
        """Whether the arrays are between two states, so that they must not be kept."""
        self._path = None if folder is None else Path(folder) / _NAME
        text = json.dumps(identity, sort_keys=True, default=str)
        self._identity = hashlib.sha256(text.encode()).hexdigest()
        self._saved = time.monotonic()
        if self._path is not None and self._path.exists():
            self._take_up(self._path)

    def advance(self, part: int, examples: int) -> None:
        """Note what is done now, and write it to the file every few seconds."""
        self.done = {"part": part, "examples": examples}
        self.busy = False
        if time.monotonic() - self._saved > _SECONDS:
            self.save()

    @property
    def has_begun(self) -> bool:
        """Whether something is done."""
        return self.done["part"] > 0 or self.done["examples"] > 0

    def restart(self) -> None:
        """Begin anew."""
        self.done = {"part": 0, "examples": 0}

    def save(self) -> None:
        """Write the state."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        head = np.array([self._identity])
        done = np.array([self.done["part"], self.done["examples"]])
        with atomic_path(self._path, overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, identity=head, done=done, **self.arrays)
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Remove the file: the result is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _take_up(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as content:
                identity, done = str(content["identity"][0]), content["done"]
                kept = {name: content[name] for name in self.arrays if identity == self._identity}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FileFormatError(
                f"{path} is not the state of an influence pass, or it is truncated; remove it to "
                "begin anew."
            ) from error
        if identity != self._identity:
            raise ParameterError(
                f"{path} is of another pass: other parameters, data, checkpoints or queries; "
                "choose another folder, or remove the file to begin anew."
            )
        for name, array in kept.items():
            self.arrays[name][...] = array
        self.done = {"part": int(done[0]), "examples": int(done[1])}
