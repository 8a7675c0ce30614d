"""Memory of large temporary arrays: kept by the process instead of fetched anew each time."""

from __future__ import annotations

import ctypes
import math
import platform
from functools import cache
from pathlib import Path
from typing import Any

from whence.engines.sharing import Shared

# Parameters of glibc's mallopt, and what its own adjustment ends at.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADJUSTED = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


def kept_memory() -> Shared:
    """Let freed arrays stay with the process, to be used again by the next ones.

    By default, the C library of Linux (glibc) gets arrays above 32 MB from the system and gives
    them back, again and again: in a loop over batches that takes as long as what is computed with
    them. Does nothing with other libraries.

    Returns
    -------
    context manager
        May be nested, and entered by several threads. When the last has left, all that is free
        goes back to the system.
    """
    return _memory


def available_memory() -> float:
    """Bytes that a process may still take; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        return 1024.0 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return math.inf


def _keep() -> None:
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _give_back() -> None:
    library = _glibc()
    if library is not None:
        # What was set by hand is no longer adjusted by the library.
        for parameter, value in _ADJUSTED.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


_memory = Shared(_keep, _give_back)
