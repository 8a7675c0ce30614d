"""Warnings that name the line of the caller, however deep the call was."""

from __future__ import annotations

import sys
import warnings

from whence.errors import DataWarning


def warn(message: str) -> None:
    """Give a `DataWarning` at the first line outside of Whence."""
    frame, level = sys._getframe(1), 3
    while frame.f_back is not None and _is_own(frame.f_back.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DataWarning, stacklevel=level)


def _is_own(module: str) -> bool:
    return module == "whence" or module.startswith("whence.")
