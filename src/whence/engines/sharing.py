"""What threads of a process share, and what each has of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Shared:
    """A context that threads share: the first to enter opens it, the last to leave closes it.

    Parameters
    ----------
    open, close : callable
    """

    def __init__(self, open: Callable[[], object], close: Callable[[], object]) -> None:
        self._open, self._close = open, close
        self._lock = threading.Lock()
        self.inside = 0
        """How often it was entered and not left."""

    def __enter__(self) -> None:
        with self._lock:
            if self.inside == 0:
                self._open()
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.inside -= 1
            if self.inside == 0:
                self._close()


class PerThread(threading.local):
    """Attributes that each thread has of its own; in another process there are none yet."""

    def __reduce__(self) -> tuple[type[PerThread], tuple[()]]:
        return PerThread, ()


class Lock:
    """A lock that is sent to another process open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()
