"""Stands in for `whence._native` where it was not compiled, and says so when it is needed."""

from __future__ import annotations

from typing import Any

from whence.errors import NotBuiltError


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise NotBuiltError(
        "The compiled part of Whence is missing; install Whence with pip, from a wheel or, with a "
        "C++ compiler, from its source (pip install -e . in the repository)."
    )
