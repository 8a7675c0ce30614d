"""How Numba is made to compile sooner, and where compiled kernels are kept.

Numba keeps what it has compiled beside the source, else in the user's cache folder, and refuses
every kernel that is to be kept where it can write to neither: in a read-only installation without
a home. The packages that hold kernels import this module before any of them.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import stat
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import config, event
from numba.core.dispatcher import Dispatcher
from numba.core.targetconfig import TargetConfig

from whence.errors import CacheWarning


class _Compilations(event.Listener):
    """No garbage is looked for while something is compiled: it takes a tenth of the time."""

    def __init__(self) -> None:
        self.depth, self.was_enabled = 0, False

    # Both are called under the lock of the compiler.

    def on_start(self, event: event.Event) -> None:
        """Stop looking for garbage at the outermost function."""
        if self.depth == 0:
            self.was_enabled = gc.isenabled()
            gc.disable()
        self.depth += 1

    def on_end(self, event: event.Event) -> None:
        """Take it up again."""
        self.depth -= 1
        if self.depth == 0 and self.was_enabled:
            gc.enable()


event.register("numba:compile", _Compilations())  # type: ignore[no-untyped-call]


def _same_options(one: Any, other: Any) -> Any:
    """Whether two sets of Numba's options are the same.

    Numba asks this at every call in every function that it compiles, and takes a fifth of its time
    for it, as it looks up some thirty options each time; here those that are set.
    """
    if one is other:
        return True
    kind: Any = TargetConfig
    if not isinstance(other, kind):
        return NotImplemented
    mine, theirs, options = one._values, other._values, one.options
    return mine == theirs or (
        options.keys() == other.options.keys()
        and all(
            mine.get(name, options[name].default) == theirs.get(name, other.options[name].default)
            for name in mine.keys() | theirs.keys()
        )
    )


if getattr(TargetConfig, "__slots__", None) == ["_values"]:
    TargetConfig.__eq__ = _same_options  # type: ignore[method-assign]


def _probe() -> None:
    """Do nothing: Numba is asked whether it could keep this, as it could all other kernels."""


def cache_folder() -> Path | None:
    """Say where compiled kernels are kept.

    Returns
    -------
    Path or None
        The package itself, below which they are in the folders ``__pycache__``; or the folder of
        Numba's cache; None if they are kept nowhere.

    Raises
    ------
    RuntimeError
        By Numba, where it can write to none.
    """
    path = numba.njit(cache=True)(_probe).stats.cache_path
    if path is None:
        return None
    room = Path(__file__).parent
    return room.parent if Path(path).parent == room else Path(path).parent


def settle_cache() -> None:
    """Where Numba has no folder to write to, give it a temporary one, or none, and say so.

    Warns
    -----
    CacheWarning
        In that case.
    """
    try:
        cache_folder()
    except RuntimeError:  # "cannot cache function"
        folder = _temporary_folder()
    else:
        return
    if folder is None:
        # Numba knows no setting by which functions that ask to be kept are not.
        Dispatcher.enable_caching = lambda self: None  # type: ignore[method-assign]
    else:
        config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    instead = "each run compiles them anew" if folder is None else f"they are kept in {folder}"
    warnings.warn(
        "Compiled kernels can be kept neither beside the package nor in a cache folder of yours, "
        f"so {instead}; set NUMBA_CACHE_DIR to a folder that you may write to.",
        CacheWarning,
        stacklevel=2,
    )


def _temporary_folder() -> Path | None:
    """A folder of the user's own among the temporary ones, the same in every run.

    What it holds is run as code, so one that others could have written to is not used.
    """
    user = os.getuid() if hasattr(os, "getuid") else None
    try:
        folder = Path(tempfile.gettempdir()) / ("whence" if user is None else f"whence-{user}")
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or (
            user is not None and (found.st_uid != user or found.st_mode & 0o077)
        ):
            folder = Path(tempfile.mkdtemp(prefix="whence-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


settle_cache()
