"""What docstrings say of parameters, for the help of options."""

from __future__ import annotations

import inspect
import re
from typing import Any

import whence


def described(owner: Any) -> dict[str, str]:
    """Return what the docstring of a class says of each parameter.

    Where it refers to another class ("As in `TracIn`"), what that says stands.
    """
    found = _written(owner)
    for name, text in found.items():
        other = getattr(whence, text.split("`")[1], None) if _refers(text) else None
        found[name] = _written(other).get(name, text) if isinstance(other, type) else text
    return {name: text.replace("`", "") for name, text in found.items()}


def _written(owner: Any) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each parameter, as it is written."""
    found: dict[str, str] = {}
    for part in reversed(owner.__mro__):
        before, names = dict(found), []
        lines = inspect.cleandoc(part.__dict__.get("__doc__") or "").splitlines()
        start = lines.index("Parameters") + 2 if "Parameters" in lines else len(lines)
        for line, below in zip(lines[start:], [*lines[start + 1 :], ""]):
            if below.startswith("---"):
                break
            if line and not line.startswith(" "):
                names = [name.strip() for name in line.partition(" : ")[0].split(",")]
                found |= dict.fromkeys(names, "")
            else:
                for name in names:
                    found[name] = f"{found[name]} {line.strip()}".strip()
        found |= {name: text for name, text in before.items() if _refers(found[name])}
    return found


def _refers(text: str) -> bool:
    """Whether a description only says where the parameter is described."""
    return re.match(r"As in `\w+`", text) is not None
