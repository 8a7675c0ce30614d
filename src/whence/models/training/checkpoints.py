"""Checkpoints: what training was at the end of an epoch, or within one, as plain tensors.

They hold what an attribution needs later (parameters, the learning rate in force, the step, the
seeds of the order of batches and of the negatives, the fingerprint of the data) and what training
needs to go on. They are read with ``weights_only=True``, so that a file can run no code.
"""

from __future__ import annotations

import copy
import errno
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whence.data.files import UNREADABLE, atomic_path
from whence.errors import FileFormatError, check_path

_FORMAT = "whence-checkpoint-1"
LAST, BEST, WITHIN = "last.pt", "best.pt", "within.pt"
_BEST = ("epoch", "value")
_BEGUN = {"batch", "loss", "terms", "seconds"}


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after an epoch, or after some batches of the next one.

    Attributes
    ----------
    model : str
        Name of the model's class.
    params : dict
        Arguments of its constructor.
    epoch, step : int
        Epochs and optimiser steps done.
    learning_rate : float
        In force in the last step.
    module : dict of str to Tensor
        Parameters and buffers of the model; with averaging the mean of the parameters.
    seed : int
        The order of batches of an epoch and its negatives follow from (seed, epoch).
    fingerprint : str
        Of the training data.
    optimizer, scheduler : dict
        Their states; empty where training cannot go on from here.
    history : list of dict
        One entry per epoch: epoch, loss, learning rate, seconds, and metrics where evaluated.
    best : dict
        The best validation so far: epoch and value; empty without validation.
    current : dict of str to Tensor
        With averaging: parameters and buffers of the last step, from which training goes on.
    begun : dict
        Within an epoch: how many of its batches are done, the sum of their losses and of the terms
        of these, and the seconds they took. Else empty.
    """

    model: str
    params: dict[str, Any]
    epoch: int
    step: int
    learning_rate: float
    module: dict[str, Tensor]
    seed: int
    fingerprint: str
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    current: dict[str, Tensor] = field(default_factory=dict)
    begun: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Write the checkpoint, whole or not at all.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is False.
        OSError
            If it cannot be written, on a full disk for example; what was there stays.
        """
        with atomic_path(path, overwrite=overwrite) as temporary:
            try:
                torch.save({"format": _FORMAT, **self.__dict__}, temporary)
            except RuntimeError as error:
                # torch's writer does not say what the system said.
                reason = "the checkpoint could not be written whole; the disk may be full"
                raise OSError(errno.ENOSPC, reason, str(path)) from error
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        FileFormatError
            If there is no such file, or it is truncated or not a checkpoint of Whence.
        """
        path = check_path("path", path)
        if not path.is_file():
            raise FileFormatError(f"There is no checkpoint {path}; check the folder.")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            wrong = not isinstance(content, Mapping) or content.get("format") != _FORMAT
            if not wrong:
                content = {"current": {}, "begun": {}, **content}  # not in older files
            wrong = wrong or not all(fits(content.get(name)) for name, fits in _FITS.items())
        except (*UNREADABLE, pickle.UnpicklingError):
            wrong = True
        if wrong:
            raise FileFormatError(
                f"{path} is not a checkpoint written by Whence, or it is truncated; train again "
                "or take another checkpoint."
            )
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_state(value: Any) -> bool:
    return _is_named(value) and all(isinstance(part, Tensor) for part in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_record(value: Any) -> bool:
    """Whether this is the record of an epoch."""
    numbers = ("epoch", "step", "loss", "learning_rate", "seconds")
    metrics = _is_named(value) and value.get("metrics", {})
    return _is_named(metrics) and all(_is_number(value.get(name)) for name in numbers)


def _is_begun(value: Any) -> bool:
    """Whether this says where in an epoch training is."""
    if value == {}:
        return True
    if not (_is_named(value) and set(value) == _BEGUN):
        return False
    counts = _is_count(value["batch"]) and _is_count(value["terms"])
    return counts and all(_is_number(value[name]) for name in ("loss", "seconds"))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "model": lambda value: isinstance(value, str),
    "params": _is_named,
    "epoch": _is_count,
    "step": _is_count,
    "learning_rate": _is_number,
    "module": _is_state,
    "current": _is_state,
    "begun": _is_begun,
    "seed": _is_count,
    "fingerprint": lambda value: isinstance(value, str),
    "optimizer": _is_named,
    "scheduler": _is_named,
    "history": lambda value: isinstance(value, list) and all(map(_is_record, value)),
    "best": lambda value: (
        value == {} or (_is_named(value) and all(map(_is_number, map(value.get, _BEST))))
    ),
}
"""What each part of a checkpoint must be."""


def check_record(history: Any, best: Any) -> None:
    """Refuse what cannot be the records of the epochs of a training and the best of them.

    Raises
    ------
    ValueError
        In that case.
    """
    if not (_FITS["history"](history) and _FITS["best"](best)):
        raise ValueError("the records of its epochs are none")
    if best and best["epoch"] not in range(1, len(history) + 1):
        raise ValueError(f"its best epoch, {best['epoch']}, is none of {len(history)}")


def checkpoint_name(epoch: int) -> str:
    """Name of the file of an epoch that is kept."""
    return f"epoch-{epoch:05d}.pt"


def load_checkpoints(folder: str | Path) -> list[Checkpoint]:
    """Read the checkpoints of kept epochs in a folder, oldest first.

    Raises
    ------
    FileFormatError
        If there is none, or one is unreadable.
    """
    folder = _inside(check_path("folder", folder))
    names = sorted(path for path in folder.glob("epoch-*.pt") if re.search(r"-\d+\.pt$", path.name))
    if not names:
        raise FileFormatError(
            f"There are no checkpoints of epochs in {folder}; train with checkpoints=n to keep "
            "every n-th."
        )
    return [Checkpoint.load(path) for path in names]


def check_states(optimizer: Any, scheduler: Any, checkpoint: Checkpoint) -> None:
    """Refuse states of an optimiser and a schedule that are not of their kind.

    Raises
    ------
    ValueError
        If an entry is missing, or of another type or shape.
    """
    if not _alike(scheduler.state_dict(), checkpoint.scheduler):
        raise ValueError("the state of the schedule is of another kind")
    groups = checkpoint.optimizer.get("param_groups")
    if not _alike(optimizer.state_dict()["param_groups"], groups):
        raise ValueError("the settings of the optimiser are of another kind")
    one = torch.nn.Parameter(torch.zeros(2))
    one.grad = torch.zeros(2)
    usual = type(optimizer)([one], lr=0.1)
    usual.param_groups[0].update(optimizer.defaults)
    usual.step()
    places = dict(enumerate(_parameters_of(optimizer)))
    states = checkpoint.optimizer.get("state")
    if not (isinstance(states, Mapping) and set(states) <= set(places)):
        raise ValueError("the state of the optimiser is of other parameters")
    for number, state in states.items():
        if not isinstance(state, Mapping) or set(state) != set(usual.state[one]):
            raise ValueError("the state of the optimiser is of another kind")
        for name, entry in usual.state[one].items():
            shape = places[number].shape if entry.ndim else entry.shape
            if not isinstance(state[name], Tensor) or state[name].shape != shape:
                raise ValueError(f"{name} of the optimiser is of another shape")


def _parameters_of(optimizer: Any) -> list[Tensor]:
    return [part for group in optimizer.param_groups for part in group["params"]]


def _alike(usual: Any, given: Any) -> bool:
    """Whether two trees have the same keys, lengths and kinds of values."""
    if isinstance(usual, Mapping):
        same = isinstance(given, Mapping) and set(usual) == set(given)
        return same and all(_alike(usual[key], given[key]) for key in usual)
    if isinstance(usual, (list, tuple)):
        same = isinstance(given, (list, tuple)) and len(usual) == len(given)
        return same and all(map(_alike, usual, given))
    if isinstance(usual, (int, float)) and not isinstance(usual, bool):
        return _is_number(given)
    return usual is None or isinstance(given, type(usual))


def best_of_folder(folder: str | Path) -> dict[str, Any]:
    """The best epoch by validation of the run that wrote a folder; empty where none was evaluated.

    Raises
    ------
    FileFormatError
        If a checkpoint is unreadable.
    """
    last = _inside(folder) / LAST
    return Checkpoint.load(last).best if last.is_file() else load_checkpoints(folder)[-1].best


def _inside(folder: str | Path) -> Path:
    """The folder of checkpoints in that of a run, or that folder itself."""
    inner = Path(folder) / "checkpoints"
    return inner if inner.is_dir() else Path(folder)


def duplicate(module: nn.Module) -> nn.Module:
    """Copy a module, also one that keeps what a forward pass has made of its parameters."""
    made = [value for part in module.modules() for value in vars(part).values()]
    kept = [value for value in made if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(module, {id(value): value.detach().clone() for value in kept})


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors of a state to plain memory, so that further steps leave them alone."""
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
