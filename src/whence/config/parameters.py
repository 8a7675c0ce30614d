"""Keys of a section that are the parameters of a class: checked by the types it declares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from whence.errors import DataWarning, ParameterError, brief, did_you_mean
from whence.parameters import check_value
from whence.registry import Registry


def checked_parameters(
    section: str, name: str, owner: Any, given: Mapping[str, Any], others: Registry[Any]
) -> dict[str, Any]:
    """Return parameters of a class converted to their types; those that are None left out.

    Parameters
    ----------
    section, name : str
        Where they are written, and what they are of, for messages.
    owner : type
        The class.
    given : mapping
    others : Registry
        Classes whose parameters may be there, too: they are left out with a warning, as settings
        of another method may stay in a file from which several are run.

    Raises
    ------
    ValueError
        If there is no such parameter, or one is of another type; ``{where}`` in the message stands
        for the place that it was written in.
    """
    types = owner.parameter_types()
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in types:
            if not any(key in others[other].parameter_types() for other in others.names()):
                raise ValueError(
                    f"Unknown key '{section}.{key}' in {{where}}.{did_you_mean(key, types)} "
                    f"{name} takes {', '.join(types)}."
                )
            message = f"{section}.{key} has no use for {name} and is left out."
            warnings.warn(message, DataWarning, stacklevel=2)
        elif value is not None:
            values[key] = converted(f"{section}.{key}", value, types[key])
    return values


def converted(key: str, value: Any, kind: Any) -> Any:
    """Return a value of a key as its type has it.

    Raises
    ------
    ValueError
        If it is of another type; ``{where}`` in the message stands for where it was written.
    """
    try:
        config = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
        found = TypeAdapter(kind, config=config).validate_python(value)
        check_value(f"{key} in {{where}}", found, kind)
    except ParameterError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("should be ")
        raise ValueError(
            f"{key} in {{where}} must be {why[:1].lower()}{why[1:]}, not {brief(value)}."
        ) from error
    return found
