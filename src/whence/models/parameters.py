"""Arguments of a model's constructor, those that it hands on to its bases included."""

from __future__ import annotations

import inspect
from typing import Any


def parameter_names(model_class: type[Any]) -> list[str]:
    """Names of the constructor's arguments, those that it hands on to its bases included."""
    names: list[str] = []
    for owner in model_class.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        arguments = list(inspect.signature(owner.__dict__["__init__"]).parameters.values())[1:]
        named = [one.name for one in arguments if one.kind is not one.VAR_KEYWORD]
        names += [name for name in named if name not in names]
        if len(named) == len(arguments):
            break
    return names


def defaults(model_class: type[Any]) -> dict[str, Any]:
    """Return the default of each argument of a class that has one, its bases' included."""
    found: dict[str, Any] = {}
    for owner in model_class.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        for one in inspect.signature(owner.__dict__["__init__"]).parameters.values():
            if one.default is not one.empty:
                found.setdefault(one.name, one.default)
    return found
