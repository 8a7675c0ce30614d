"""The sections ``model`` and ``training``: which recommender, its parameters, how it learns.

A parameter of a model that is called as a key of ``training`` is written there, all others in
``model``; what there are, the classes themselves say.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from whence.config.parameters import converted
from whence.config.section import Section
from whence.errors import DataWarning, check_interval, did_you_mean
from whence.models._registered import MODELS
from whence.parameters import Seed

_DEFAULT = "vmis"


class TrainingConfig(Section):
    """How the model learns: parameters that many models share, and arguments of ``fit``."""

    epochs: int | None = Field(default=None, description="Passes over the training data.")
    batch_size: int | None = Field(default=None, description="Training examples per step.")
    learning_rate: float | None = Field(default=None, description="Step size.")
    optimizer: Literal["adam", "adamw", "sgd", "adagrad"] | None = Field(
        default=None, description="How steps are made of gradients."
    )
    weight_decay: float | None = Field(
        default=None, description="Weight of the penalty on squared parameters."
    )
    gradient_clip: float | None = Field(default=None, description="Greatest norm of a gradient.")
    decay: float | None = Field(
        default=None, description="Factor of the learning rate after each epoch."
    )
    eps_root: float | None = Field(
        default=None, description="Added under the root in the steps of adam and adamw."
    )
    averaging: float | None = Field(
        default=None,
        description="Epochs over which the parameters are averaged, the latest weighing "
        "most; 0 for those after the last step.",
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        default=None,
        description="Whether the products of training are in 16 bits, which wide networks gain "
        "from; float32 if absent.",
    )
    device: str | None = Field(default=None, description="Such as cpu or cuda.")
    torch_threads: int | None = Field(
        default=None,
        description="Threads of torch in training, one if absent; their number changes how sums "
        "are rounded.",
    )
    seed: Seed = Field(
        default=42,
        le=2**63 - 1,
        description="Seed of initial parameters, order of batches and negatives.",
    )
    metric: str | None = Field(
        default=None,
        description="Metric on the validation data that decides which epoch is best; the first of "
        "`evaluation.metrics` if absent.",
    )
    eval_every: int | None = Field(default=None, description="Epochs between validations.")
    patience: int | None = Field(
        default=None, description="Stop after so many validations without a better value."
    )
    checkpoints: int | tuple[int, ...] | None = Field(
        default=None, description="Keep every n-th epoch and the last, or exactly these epochs."
    )
    checkpoint_every: int | str | None = Field(
        default=None,
        description="Steps, or a time such as `90s` or `2h`, after which the state within an "
        "epoch is kept, to be gone on from; `10min` if absent.",
    )
    tensorboard: bool | None = Field(
        default=None,
        description="Write curves for TensorBoard; if absent, where it is installed.",
    )
    progress: bool | None = Field(default=None, description="Show a bar; if absent, on a terminal.")

    @field_validator("checkpoint_every")
    @classmethod
    def _is_interval(cls, value: int | str | None) -> int | str | None:
        if value is not None:
            check_interval("training.checkpoint_every in {where}", value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _with_newer_names(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "threads" not in given:
            return given
        warnings.warn(
            "training.threads is called training.torch_threads now; the threads of all else are "
            "those of the run (--threads).",
            DataWarning,
            stacklevel=2,
        )
        changed = {key: value for key, value in given.items() if key != "threads"}
        return {"torch_threads": given["threads"], **changed}

    def for_model(self, name: str) -> dict[str, Any]:
        """Return the parameters of a model that are set here.

        Those that it does not have are left out, with a warning where they were written down.
        """
        model = MODELS[name]
        accepted, options = model.parameter_types(), self.given()
        unused = [
            f"training.{key}"
            for key in options
            if key not in accepted
            and key in self.model_fields_set
            and key not in (*_OF_FIT, "seed", "device", "torch_threads")
        ]
        if unused:
            has = "has" if len(unused) == 1 else "have"
            is_ = "is" if len(unused) == 1 else "are"
            warnings.warn(
                f"{', '.join(unused)} {has} no use for {model.__name__} and {is_} left out.",
                DataWarning,
                stacklevel=3,
            )
        return {key: value for key, value in options.items() if key in accepted}


_OF_FIT = (
    "metric",
    "eval_every",
    "patience",
    "checkpoints",
    "checkpoint_every",
    "tensorboard",
    "progress",
)
"""Keys of ``training`` that are arguments of `fit` and of its run."""


class ModelConfig(Section):
    """Which recommender, and its parameters."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    name: str = Field(
        default=_DEFAULT,
        description="The recommender, by this name or that of its class (in any case). The other "
        "keys of the section are the parameters of the class. The table of models is in "
        "*Training a model*.",
    )

    @model_validator(mode="before")
    @classmethod
    def _parameters_fit(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        options = {key: value for key, value in given.items() if key != "name"}
        if "name" not in given and not options:
            return {}  # without looking for the class, which may need another package
        name = given.get("name", _DEFAULT)
        if name not in MODELS:
            raise ValueError(f"model.name in {{where}}: {MODELS.unknown(name)}")
        kept = {"name": MODELS.plain(name)} if "name" in given else {}
        return {**kept, **checked(name, options, by_default="name" not in given)}

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return MODELS[self.name].__name__

    @property
    def kind(self) -> str | None:
        """What the model learns from: sessions, baskets, or None for either."""
        kinds = MODELS[self.name].kinds
        return kinds[0] if len(kinds) == 1 else None

    def arguments(self) -> list[str]:
        """Return the names of the parameters that this section takes."""
        return list(own_parameters(self.name))

    def build(self, **more: Any) -> Any:
        """Return the recommender, not yet fitted."""
        return MODELS[self.name](**self.given("name"), **more)


def own_parameters(name: str) -> dict[str, Any]:
    """Return the parameters of a model, and their types, that are written in ``model``.

    Those that the class declares come first, then those of its bases.
    """
    model = MODELS[name]
    kinds = model.parameter_types()
    order = [key for part in model.__mro__ for key in vars(part).get("__annotations__", {})]
    names = [key for key in dict.fromkeys([*order, *kinds]) if key in kinds]
    # How many threads there are, the run says.
    elsewhere = (*TrainingConfig.model_fields, "threads")
    return {key: kinds[key] for key in names if key not in elsewhere}


def checked(name: str, given: Mapping[str, Any], *, by_default: bool = False) -> dict[str, Any]:
    """Return parameters of a model, converted to their types; those that are None left out.

    Raises
    ------
    ValueError
        If the model has no such parameter, or one is of another type; ``{where}`` in the message
        stands for the place that it was written in.
    """
    types = own_parameters(name)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in types:
            unnamed = " There is no model.name, so this is the default." if by_default else ""
            raise ValueError(_no_such_parameter(name, key, list(types)) + unnamed)
        if value is not None:
            values[key] = converted(f"model.{key}", value, types[key])
    return values


def _no_such_parameter(name: str, key: str, known: list[str]) -> str:
    if key in TrainingConfig.model_fields:
        return f"model.{key} in {{where}} belongs to another section; write training.{key}."
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return (
        f"model.{key} is set in {{where}}, but {MODELS.plain(name)} has no such parameter; "
        f"{takes}.{did_you_mean(key, known)}"
    )
