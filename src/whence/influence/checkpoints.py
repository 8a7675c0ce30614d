"""The states of a model that gradients are taken at, each with its learning rate."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whence.errors import (
    DataError,
    FileFormatError,
    NotFittedError,
    ParameterError,
    UnsupportedError,
    WhenceError,
)
from whence.influence.weights import Weights, optimizer_weights, weighting_of
from whence.models.base import require
from whence.models.training import Checkpoint, load_checkpoints
from whence.models.training.checkpoints import best_of_folder, duplicate

FINAL = "final"


@dataclass
class State:
    """A model at a checkpoint, a copy that nobody else sees.

    Attributes
    ----------
    model : Any
        With `module_` in evaluation mode and `example_loss`.
    rate : float
        Learning rate in force.
    epoch : int
        Negatives are those that training drew in this epoch.
    weights : Weights
    tables : dict
        What follows from the parameters alone and is kept from batch to batch.
    """

    model: Any
    rate: float
    epoch: int
    weights: Weights
    tables: dict[Any, Tensor] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        """The network."""
        module: nn.Module = self.model.module_
        return module


def check_model(model: Any) -> None:
    """Raise unless a model has what gradients of examples need."""
    check_trainable(model)
    if not hasattr(model, "module_"):
        raise NotFittedError(
            f"This {type(model).__name__} has learned nothing yet; call fit(train) first."
        )


def check_trainable(model: Any) -> None:
    """Raise UnsupportedError if a model, fitted or not, is not trained by gradients of examples."""
    if "differentiable" in getattr(model, "lacking", {}):
        require(model, "differentiable", "Influence")
    if not hasattr(model, "example_loss") or not hasattr(type(model), "fit"):
        wanted = ("module_", "examples_", "example_loss")
        if not all(hasattr(model, name) for name in wanted):
            raise UnsupportedError(
                f"{type(model).__name__} is not trained by gradients of examples, which influence "
                "needs; use a model such as LSTMRec or NeuMF, or an object with module_, examples_ "
                "and example_loss(batch)."
            )


def resolve_states(
    model: Any,
    checkpoints: Any,
    learning_rate: float | Sequence[float] | None,
    dtype: torch.dtype,
    until: str = "best",
) -> tuple[list[State], list[Checkpoint | None]]:
    """Load the checkpoints that were asked for into copies of the model.

    Parameters
    ----------
    model : fitted model
    checkpoints : None, "final", path, Checkpoint, mapping of str to Tensor, or a list of these
        None: those that the model kept.
    learning_rate : float or sequence of float, optional
        Instead of what the checkpoints say.
    dtype : torch.dtype
        Of the copies.
    until : {"best", "last"}
        Of those that the model, or a folder, has: up to the best epoch by validation, whose
        parameters the model ended with, or all.

    Returns
    -------
    states : list of State
        Without weights.
    checkpoints : list of Checkpoint or None
        Where they come from.

    Raises
    ------
    ParameterError
        If there is none, one is of another model or shape, or a learning rate is unknown.
    DataError
        If one was made from other training data than the model has.
    """
    found = _found(model, checkpoints, until)
    rates = _rates(model, found, learning_rate)
    states = []
    for entry, rate in zip(found, rates):
        state = _copied(model, dtype)
        if isinstance(entry, Checkpoint):
            _check_checkpoint(model, entry)
        if entry is not None:
            values = entry.module if isinstance(entry, Checkpoint) else entry
            _load(model, state.module_, values)
        epoch = entry.epoch if isinstance(entry, Checkpoint) else len(_history(model))
        states.append(State(state, rate, max(epoch - 1, 0), Weights()))
    return states, [entry if isinstance(entry, Checkpoint) else None for entry in found]


def weigh(
    states: list[State],
    checkpoints: list[Checkpoint | None],
    names: list[str],
    weighting: str | None,
) -> str:
    """Give the states the weights of their checkpoints, by default those of the optimiser.

    Returns
    -------
    str
        The weighting.

    Raises
    ------
    UnsupportedError
        If a checkpoint has no state of such an optimiser.
    FileFormatError
        If it has a damaged one.
    """
    try:
        return _weigh(states, checkpoints, names, weighting)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, WhenceError):
            raise
        raise FileFormatError(
            f"The optimiser's state in a checkpoint is damaged ({error!r}); write the checkpoints "
            "anew, or take weighting='sgd', which does not need it."
        ) from error


def _weigh(
    states: list[State],
    checkpoints: list[Checkpoint | None],
    names: list[str],
    weighting: str | None,
) -> str:
    optimizers = [{} if one is None else one.optimizer for one in checkpoints]
    if weighting is None:
        kinds = {weighting_of(optimizer) for optimizer in optimizers}
        weighting = kinds.pop() if len(kinds) == 1 else "sgd"
    if weighting == "sgd":
        return weighting
    for state, checkpoint, optimizer in zip(states, checkpoints, optimizers):
        if checkpoint is None:
            raise UnsupportedError(
                f"weighting={weighting!r} needs the optimiser's state, which only checkpoints of "
                "fit(checkpoints=...) have; train with them, or take weighting='sgd'."
            )
        state.weights = optimizer_weights(state.module, names, optimizer, weighting)
    return weighting


def _found(
    model: Any, given: Any, until: str = "last"
) -> list[Checkpoint | Mapping[str, Any] | None]:
    if given is None:
        kept = list(getattr(model, "checkpoints_", None) or [])
        if not kept:
            raise ParameterError(
                "The model has no checkpoint; fit it with checkpoints=n to keep every n-th epoch, "
                "give their folder with checkpoints='...', or take its parameters as they are "
                "with checkpoints='final'."
            )
        return list(_up_to(getattr(model, "best_", None), kept, until))
    if isinstance(given, str) and given == FINAL:
        return [None]
    if isinstance(given, (str, Path)):
        path = Path(given)
        if path.is_file():
            return [Checkpoint.load(path)]
        return list(_up_to(best_of_folder(path), load_checkpoints(path), until))
    if isinstance(given, (Checkpoint, Mapping)):
        return [given]
    entries = [entry for part in given for entry in _found(model, part, until)]
    if not entries:
        raise ParameterError("checkpoints is an empty list; give one checkpoint at least.")
    return entries


def _up_to(best: Mapping[str, Any] | None, kept: list[Checkpoint], until: str) -> list[Checkpoint]:
    """Checkpoints of what the model was trained by: none after its best epoch."""
    if until == "last" or not best:
        return kept
    early = [checkpoint for checkpoint in kept if checkpoint.epoch <= best["epoch"]]
    if not early:
        raise ParameterError(
            f"No checkpoint was kept up to epoch {best['epoch']}, the best by validation, at which "
            "the model stands; keep every epoch when it is trained (checkpoints=1), or count what "
            "later epochs taught, too (until='last')."
        )
    return early


def _history(model: Any) -> list[Any]:
    return list(getattr(model, "history_", None) or [])


def _rates(model: Any, found: list[Any], given: float | Sequence[float] | None) -> list[float]:
    if isinstance(given, Sequence):
        if len(given) != len(found):
            raise ParameterError(
                f"learning_rate has {len(given)} values for {len(found)} checkpoints; give one "
                "for each, or a single one."
            )
        return [float(rate) for rate in given]
    if given is not None:
        return [float(given)] * len(found)
    rates = []
    for entry in found:
        rate = getattr(entry, "learning_rate", None)
        if rate is None:
            last = _history(model)[-1:]
            rate = last[0]["learning_rate"] if last else getattr(model, "learning_rate", None)
        if rate is None:
            raise ParameterError(
                "The learning rate of a checkpoint is unknown, because it was not written by "
                "Whence; give it with learning_rate=..., one number or one for each checkpoint."
            )
        rates.append(float(rate))
    return rates


def _copied(model: Any, dtype: torch.dtype) -> Any:
    private = copy.copy(model)
    private.module_ = duplicate(model.module_).to(device="cpu", dtype=dtype)
    private.module_.eval()
    private.module_.requires_grad_(False)
    private.device = "cpu"
    return private


def _check_checkpoint(model: Any, checkpoint: Checkpoint) -> None:
    name = type(model).__name__
    if checkpoint.model != name:
        raise ParameterError(
            f"A checkpoint is of {checkpoint.model}, but the model is {name}; give checkpoints of "
            "the same model."
        )
    fingerprint = getattr(getattr(model, "train_", None), "fingerprint", None)
    if fingerprint is not None and checkpoint.fingerprint != fingerprint:
        raise DataError(
            "The training data changed since the fit: a checkpoint was made from other data (its "
            "fingerprint differs); give the model and the checkpoints of one fit."
        )


def _load(model: Any, module: nn.Module, values: Mapping[str, Any]) -> None:
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in values.items()}
    if wanted != given:
        odd = next(name for name in [*wanted, *given] if wanted.get(name) != given.get(name))
        raise ParameterError(
            f"A checkpoint does not fit this {type(model).__name__}: parameter {odd!r} is "
            f"{given.get(odd, 'missing')} there and {wanted.get(odd, 'missing')} here; give "
            "checkpoints of the same model and data."
        )
    module.load_state_dict(dict(values))
