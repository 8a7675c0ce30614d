"""Where compiled kernels are kept when neither the package nor its user has a folder for them.

Numba keeps what it has compiled beside the source, else in the user's cache folder, and refuses
every kernel that is to be kept where it can write to neither: in a read-only installation without
a home. The packages that hold kernels import this module before any of them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numba
from numba.core import config
from numba.core.dispatcher import Dispatcher

from whence.errors import CacheWarning


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
