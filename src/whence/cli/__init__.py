"""The command line: parse, call the library, print."""

from __future__ import annotations

import os
import signal
from typing import Any


def main() -> None:
    """Run the command line."""
    # Until a command begins, there is nothing that an interruption could leave half done.
    signal.signal(signal.SIGINT, _leave)
    from whence.cli._app import app

    app()


def _leave(number: int, frame: object) -> None:
    os.write(2, b"Interrupted; nothing was written.\n")
    os._exit(130)


def __getattr__(name: str) -> Any:
    if name == "app":
        from whence.cli._app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
