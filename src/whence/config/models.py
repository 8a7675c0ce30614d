"""Names of models, and the arguments that each of them takes, checked by their types."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from whence.errors import UnsupportedError, did_you_mean

Name = Literal[
    "vmis",
    "tifu",
    "popularity",
    "itemknn",
    "markov",
    "ease",
    "als",
    "mf",
    "bpr",
    "rbm",
    "neumf",
    "widedeep",
    "lstm",
    "gru4rec",
    "sasrec",
]
_CLASSES = (
    "VMISKNN",
    "TIFUKNN",
    "Popularity",
    "ItemKNN",
    "MarkovChain",
    "EASE",
    "ALS",
    "BiasedMF",
    "BPRMF",
    "RBM",
    "NeuMF",
    "WideDeep",
    "LSTMRec",
    "GRU4Rec",
    "SASRec",
)
MODELS: dict[str, str] = dict(zip(get_args(Name), _CLASSES))
"""Class of each model by its short name."""

_SHORT = {
    **{class_name.lower(): name for name, class_name in MODELS.items()},
    "pop": "popularity",
    "svd": "mf",
    "funksvd": "mf",
}

TRAINING_ARGUMENTS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "optimizer",
    "weight_decay",
    "gradient_clip",
    "decay",
    "device",
    "seed",
    "threads",
)
"""Arguments of constructors that are written in the section ``training``."""


def short_name(name: Any) -> Any:
    """Return the short name of a model, given by it or by its class in any case."""
    if not isinstance(name, str):
        return name
    plain = name.strip().lower()
    return _SHORT.get(plain, plain if plain in MODELS else name)


def model_class(name: str) -> Any:
    """Return the class of a model by its short name.

    Raises
    ------
    UnsupportedError
        If it needs a package that is not installed.
    """
    import whence.models

    try:
        return getattr(whence.models, MODELS[name])
    except AttributeError as error:
        raise UnsupportedError(f"This version of Whence has no model {MODELS[name]}.") from error


def arguments(wanted: Any) -> dict[str, Any]:
    """Return the arguments of a class and their types, those handed on to its base included."""
    found: dict[str, Any] = {}
    for owner in wanted.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        own = list(inspect.signature(owner.__dict__["__init__"]).parameters.values())[1:]
        named = [one for one in own if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        types = _types(owner.__dict__["__init__"])
        for one in named:
            found.setdefault(one.name, types.get(one.name, Any))
        if len(named) == len(own):
            break
    return found


def own_arguments(name: str) -> dict[str, Any]:
    """Return the arguments of a model that are written in the section ``model``."""
    everything = arguments(model_class(name))
    return {key: kind for key, kind in everything.items() if key not in TRAINING_ARGUMENTS}


def checked(name: str, given: Mapping[str, Any], *, by_default: bool = False) -> dict[str, Any]:
    """Return the arguments of a model, converted to their types; those that are None left out.

    Raises
    ------
    ValueError
        If the model has no such argument, or one is of another type; ``{where}`` in the message
        stands for the place that the argument was written in.
    """
    types = own_arguments(name)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in types:
            unnamed = " There is no model.name, so this is the default." if by_default else ""
            raise ValueError(_no_such_argument(name, key, list(types)) + unnamed)
        if value is None:
            continue
        try:
            values[key] = TypeAdapter(types[key]).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("should be ")
            raise ValueError(
                f"model.{key} in {{where}} must be {why[:1].lower()}{why[1:]}, not {value!r}."
            ) from error
    return values


def _no_such_argument(name: str, key: str, known: list[str]) -> str:
    if key in TRAINING_ARGUMENTS:
        return f"model.{key} in {{where}} belongs to another section; write training.{key}."
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return (
        f"model.{key} is set in {{where}}, but {name} has no such parameter; {takes}."
        f"{did_you_mean(key, known)}"
    )


def _types(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a type that is imported for the type checker only
        return {}
