"""Assertions with sentences, without a test runner."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np


def expect(holds: Any, sentence: str) -> None:
    """Raise AssertionError with a sentence unless something holds."""
    if not holds:
        raise AssertionError(sentence)


def expect_equal(found: Any, wanted: Any, sentence: str) -> None:
    """Raise AssertionError unless two arrays (or values) are the same, bit for bit."""
    same = np.array_equal(np.asarray(found), np.asarray(wanted), equal_nan=_is_float(found))
    expect(same, f"{sentence}: {found!r} is not {wanted!r}.")


def expect_close(found: Any, wanted: Any, sentence: str, *, rtol: float, atol: float = 0.0) -> None:
    """Raise AssertionError unless two arrays agree within tolerances."""
    expect(
        np.shape(found) == np.shape(wanted) and np.allclose(found, wanted, rtol=rtol, atol=atol),
        f"{sentence}: {found!r} is not close to {wanted!r}.",
    )


def expect_error(
    call: Callable[[], Any], kinds: type[BaseException] | tuple[type[BaseException], ...], what: str
) -> None:
    """Raise AssertionError unless a call raises an error of a kind, with one sentence or two."""
    try:
        call()
    except kinds as error:
        expect(str(error).strip(), f"{what} raises {type(error).__name__} without a message.")
        return
    except Exception as error:
        named = kinds if isinstance(kinds, tuple) else (kinds,)
        raise AssertionError(
            f"{what} should raise {' or '.join(kind.__name__ for kind in named)}, but raises "
            f"{type(error).__name__}: {error}"
        ) from error
    raise AssertionError(f"{what} should be refused, but nothing is raised.")


def interrupting(stop: int) -> Callable[[float, float, str], None]:
    """Progress that interrupts the work at its nth report."""
    reports = itertools.count(1)

    def report(done: float, total: float, message: str) -> None:
        if next(reports) == stop:
            raise KeyboardInterrupt

    return report


def _is_float(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"
