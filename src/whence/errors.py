"""Every exception Whence raises on purpose, and the small checks that raise them.

All derive from `WhenceError`, and from the built-in exception a caller would expect (`ValueError`
for a bad value, `RuntimeError` for a wrong order of calls), so either can be caught.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from typing import Any


class WhenceError(Exception):
    """Base of all errors that Whence raises on purpose."""


class DataError(WhenceError, ValueError):
    """The interaction data cannot be used as they are."""


class ColumnError(DataError):
    """A column is missing, misnamed or given two roles."""


class ParameterError(WhenceError, ValueError):
    """A parameter has a value that makes no sense."""


class ArgumentError(ParameterError, TypeError):
    """A parameter has a name that there is not, or is given by its place."""


class MetricError(ParameterError):
    """A metric's name or setting is not understood."""


class NotFittedError(WhenceError, RuntimeError):
    """A model is asked for something before `fit`."""


class UnsupportedError(WhenceError, TypeError):
    """A combination of model, data and method that is not defined."""


class FileFormatError(WhenceError, ValueError):
    """A file is not what its name says, is truncated, or cannot be read."""


class OutputExistsError(WhenceError, FileExistsError):
    """The output is there already and overwriting was not asked for."""


class ConfigError(WhenceError, ValueError):
    """A configuration file has an unknown key or a value of the wrong type."""


class TrainingError(WhenceError, ArithmeticError):
    """Training diverged: the loss or a parameter is not finite."""


class EngineError(WhenceError, RuntimeError):
    """The machines or processes that were to do the work cannot do it."""


class SizeError(WhenceError, MemoryError):
    """What is asked for does not fit into memory."""


class NotBuiltError(WhenceError, ImportError):
    """The compiled part of Whence is missing."""


class WhenceWarning(UserWarning):
    """Base of all warnings that Whence gives on purpose."""


class DataWarning(WhenceWarning):
    """The data can be used, but probably not as was meant."""


UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged file of arrays or JSON ends in, whichever library reads it."""


_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_LARGEST = 2**63 - 1
"""Integer that arrays and compiled loops can hold."""


@contextmanager
def within_memory() -> Iterator[None]:
    """Say in one sentence that an array was too large, whichever library says so how.

    Raises
    ------
    SizeError
        In that case.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError, OverflowError, TypeError) as error:
        said = str(error)
        if isinstance(error, WhenceError) or not (
            isinstance(error, MemoryError) or any(words in said for words in _TOO_LARGE)
        ):
            raise
        raise SizeError(
            "This does not fit into memory; choose smaller sizes (of embeddings, factors, lists or "
            "batches), or less data."
        ) from error


_TOO_LARGE = (
    "allocate memory", "out of memory", "Maximum allowed dimension", "array is too big",
    "size calculation overflowed", "negative dimensions", "Maximum allowed size",
    "numel: integer multiplication", "verflow when unpacking", "int too big to convert",
    "Unable to allocate",
)  # fmt: skip


def did_you_mean(word: object, options: Iterable[object], cutoff: float = 0.6) -> str:
    """Return a hint at the option nearest to a word, ready to be appended to a sentence.

    Parameters
    ----------
    word : object
        What was given; compared as text, without regard to case.
    options : iterable
        What would have been accepted.
    cutoff : float, default 0.6
        Similarity (of `difflib`) below which nothing is suggested.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with a leading space, or ``""`` where nothing is near.

    Examples
    --------
    >>> did_you_mean("mmr", ["mrr", "ndcg"])
    " Did you mean 'mrr'?"
    """
    by_lower = {str(option).lower(): str(option) for option in options}
    near = difflib.get_close_matches(str(word).lower(), list(by_lower), n=1, cutoff=cutoff)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


# Aliases in YAML make values whose whole text would fill the memory.
_SHORT = Repr()
_SHORT.maxlevel = 4
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200


def brief(value: object, longest: int = 80) -> str:
    """Return the `repr` of a value for a message, cut in the middle where it is long."""
    try:
        shown = _SHORT.repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        return f"a {type(value).__name__} that cannot be shown"
    half = (longest - 5) // 2
    return shown if len(shown) <= longest else f"{shown[:half]} ... {shown[-half:]}"


def check_choice(name: str, value: object, options: Iterable[str]) -> str:
    """Return `value` if it is one of the options.

    Raises
    ------
    ParameterError
        Otherwise, naming the options and the nearest one.
    """
    choices = list(options)
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise ParameterError(
        f"{name} must be one of {listed}, not {brief(value)}.{did_you_mean(value, choices)}"
    )


def check_int(
    name: str, value: object, minimum: int | None = None, maximum: int | None = None
) -> int:
    """Return `value` as an `int` if it is an integer within the (inclusive) bounds.

    NumPy integers are accepted, truth values and floats are not, nor integers of more than 64
    bits, which no array holds.

    Raises
    ------
    ParameterError
        Otherwise.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if maximum is None and number > _LARGEST:
            maximum = _LARGEST
        if (minimum is None or number >= minimum) and (maximum is None or number <= maximum):
            return number
    raise ParameterError(
        f"{name} must be an integer{_bounds(minimum, maximum)}, not {brief(value)}."
    )


def check_float(
    name: str,
    value: object,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a `float` if it is a finite number within the bounds.

    `minimum` and `maximum` are allowed themselves, `above` and `below` are not.

    Raises
    ------
    ParameterError
        Otherwise.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.inf
        if (
            math.isfinite(number)
            and (minimum is None or number >= minimum)
            and (maximum is None or number <= maximum)
            and (above is None or number > above)
            and (below is None or number < below)
        ):
            return number
    inner, outer = _bounds(minimum, maximum), _bounds(above, below, "above", "below")
    limits = f"{inner} and{outer}" if inner and outer else inner + outer
    raise ParameterError(f"{name} must be a number{limits}, not {brief(value)}.")


def check_interval(name: str, value: object) -> tuple[int | None, float | None]:
    """Return steps, or seconds, of an interval such as 500, "500" or "10min"; the other is None.

    Raises
    ------
    ParameterError
        If `value` is neither a positive integer nor a time above 0.
    """
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        text = str(value)
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?) ?(s|min|h)", text)
    if found and float(found[1]) > 0:
        return None, float(found[1]) * _SECONDS[found[2]]
    if re.fullmatch(r"[0-9]{1,18}", text) and int(text) > 0:
        return int(text), None
    raise ParameterError(
        f"{name} must be a number of steps, or a time such as '90s', '10min' or '2h', not "
        f"{brief(value)}."
    )


def check_path(name: str, value: object) -> Path:
    """Return `value` as a `Path` if it is the name of a file or folder.

    Raises
    ------
    ParameterError
        Otherwise.
    """
    if isinstance(value, (str, os.PathLike)) and "\0" not in (text := os.fspath(value)):
        return Path(text)
    raise ParameterError(f"{name} must be the path of a file, not {value!r}.")


def check_list(name: str, value: object, of: str) -> list[Any]:
    """Return `value` as a list if it is a collection of things; a text is none, nor a mapping.

    Parameters
    ----------
    name : str
        For the message.
    value : object
    of : str
        What it is a list of, in the plural.

    Raises
    ------
    ParameterError
        Otherwise.
    """
    alone = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) == 0
    if isinstance(value, Iterable) and not alone:
        return list(value)
    example = f"; give [{value!r}]" if isinstance(value, str) else ""
    raise ParameterError(f"{name} must be a list of {of}, not {value!r}{example}.")


def _bounds(
    low: float | None, high: float | None, least: str = "of at least", most: str = "of at most"
) -> str:
    if low is not None and high is not None and least == "of at least":
        return f" between {low} and {high}"
    words = [f" {least} {low}"] if low is not None else []
    words += [f" {most} {high}"] if high is not None else []
    return " and".join(words)
