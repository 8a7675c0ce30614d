"""What everything with parameters does: it is made, shown, copied and changed by them."""

from __future__ import annotations

from typing import Any

from whence.errors import ArgumentError
from whence.testing._asserting import expect, expect_error


def check_configurable(estimator: Any) -> None:
    """Check that an estimator is its parameters.

    Parameters
    ----------
    estimator : Configurable
        A model or a method; it is not changed.

    Raises
    ------
    AssertionError
        With one sentence that says what it should do.
    """
    name = type(estimator).__name__
    params = estimator.get_params(deep=False)
    twin = type(estimator)(**params)
    for key, value in params.items():
        expect(
            getattr(twin, key) is value,
            f"{name}({key}=...) must store its argument as it is, without a copy or a check.",
        )
    expect(
        twin.get_params(deep=False).keys() == params.keys(),
        f"get_params of {name} must name the same parameters for every instance.",
    )
    for key, value in params.items():
        expect(
            twin.set_params(**{key: value}) is twin and getattr(twin, key) is value,
            f"{name}.set_params({key}=...) must set it and return the object.",
        )
    expect(repr(twin) == repr(estimator), f"repr of {name} must follow from its parameters.")
    expect(name in repr(twin), f"repr of {name} must name the class.")
    wrong: dict[str, Any] = {"no_such_parameter": 1}
    for call in (lambda: type(estimator)(**params, **wrong), lambda: twin.set_params(**wrong)):
        expect_error(call, ArgumentError, f"A parameter that {name} does not have")


def clone(estimator: Any) -> Any:
    """Return a new estimator with the same parameters, nothing learned."""
    return type(estimator)(**estimator.get_params(deep=False))
