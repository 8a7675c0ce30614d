"""Checkpoints: what training was at the end of an epoch, as plain tensors.

They hold what an attribution needs later (parameters, the learning rate in force, the step, the
seeds of the order of batches and of the negatives, the fingerprint of the data) and what training
needs to go on. They are read with ``weights_only=True``, so that a file can run no code.
"""

from __future__ import annotations

import errno
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence.data.files import atomic_path
from whence.errors import FileFormatError

_FORMAT = "whence-checkpoint-1"
LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after an epoch.

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
        Parameters and buffers.
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
        path = Path(path)
        if not path.is_file():
            raise FileFormatError(f"There is no checkpoint {path}; check the folder.")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            wrong = not isinstance(content, Mapping) or content.get("format") != _FORMAT
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            wrong = True
        if wrong:
            raise FileFormatError(
                f"{path} is not a checkpoint written by Whence, or it is truncated; train again "
                "or take another checkpoint."
            )
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})


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
    folder = Path(folder)
    inner = folder / "checkpoints"
    folder = inner if inner.is_dir() else folder
    names = sorted(path for path in folder.glob("epoch-*.pt") if re.search(r"-\d+\.pt$", path.name))
    if not names:
        raise FileFormatError(
            f"There are no checkpoints of epochs in {folder}; train with checkpoints=n to keep "
            "every n-th."
        )
    return [Checkpoint.load(path) for path in names]


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors of a state to plain memory, so that further steps leave them alone."""
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
