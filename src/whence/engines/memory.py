"""Memory of large temporary arrays: kept by the process instead of fetched anew each time."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Parameters of glibc's mallopt, and what its own adjustment ends at.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADJUSTED = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_lock = threading.Lock()
_inside = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let freed arrays stay with the process, to be used again by the next ones.

    By default, the C library of Linux (glibc) gets arrays above 32 MB from the system and gives
    them back, again and again: in a loop over batches that takes as long as what is computed with
    them. Afterwards all that is free goes back to the system. Does nothing elsewhere. Blocks may
    be nested, and in several threads; the first opens and the last closes.
    """
    global _inside
    library = _glibc()
    if library is None:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                # What was set by hand is no longer adjusted by the library.
                for parameter, value in _ADJUSTED.items():
                    library.mallopt(parameter, value)
                library.malloc_trim(0)


def _glibc() -> Any:
    if platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
