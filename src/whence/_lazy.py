"""Faces of packages whose names are loaded when they are first used, and known to type checkers.

The names stand in the stub beside the package, ``__init__.pyi``, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package, by its stub.

    Parameters
    ----------
    package, file : str
        Its ``__name__`` and ``__file__``.
    """
    load, names, everything = lazy_loader.attach_stub(package, file)

    def load_or_say(name: str) -> Any:
        try:
            return load(name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            from whence.errors import UnsupportedError

            raise UnsupportedError(
                f"{name} needs torch, which is not installed; install it with "
                "pip install 'whence[torch]'."
            ) from error

    return load_or_say, names, everything
