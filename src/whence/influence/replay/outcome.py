"""What an outcome of training is: numbers that a model has, as functions of its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.influence.replay.training import TrainingMap, replaying

FloatArray = npt.NDArray[np.float64]


class Outcome(ABC):
    """Single outcomes, better when they are larger, that go together by their mean.

    Attributes
    ----------
    name : str
    data : Any
        What they are asked on; None for those that are asked on nothing.
    described : Any
        Queries that can be described; see `whence.influence.describe.Describer`.
    identity : Any
        What decides them, JSON-able.
    n_left_out : int or None
        Queries that could not be asked.
    together : int
        Single outcomes computed at a time.
    """

    name: str
    data: Any = None
    described: Any = None
    identity: Any = None
    n_left_out: int | None = None
    together: int = 1

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """Some of the outcomes as a function of the parameters, Tensor [stop - start]."""

    def prepare(  # noqa: B027 (most have nothing to look at)
        self, training: TrainingMap, parameters: Tensor
    ) -> None:
        """Look at the outcome of the trained parameters, before the work begins."""

    def slope(self, training: TrainingMap, parameters: Tensor) -> Tensor:
        """Derivative of the mean of all outcomes by the parameters, Tensor [P]."""
        parameters = parameters.detach().requires_grad_()
        total = torch.zeros_like(parameters)
        with replaying(training.model), torch.enable_grad():
            for start in range(0, len(self), self.together):
                stop = min(start + self.together, len(self))
                values = self.values(training, parameters, start, stop)
                total += torch.autograd.grad(values.sum() / len(self), parameters)[0]
        return total

    def slopes(
        self, training: TrainingMap, parameters: Tensor, start: int, stop: int
    ) -> list[Tensor]:
        """Derivatives of some of the outcomes by the parameters, Tensors [P]."""
        parameters, found = parameters.detach().requires_grad_(), list[Tensor]()
        with replaying(training.model), torch.enable_grad():
            for first in range(start, stop, self.together):
                last = min(first + self.together, stop)
                for value in self.values(training, parameters, first, last):
                    found += torch.autograd.grad(value, parameters, retain_graph=True)
        return found

    def changes(
        self, training: TrainingMap, parameters: Tensor, directions: Sequence[Tensor]
    ) -> FloatArray:
        """Derivatives of all outcomes along directions of the parameters, float64 [G, n]."""
        out = np.empty((len(directions), len(self)))
        parameters = parameters.detach().requires_grad_()
        with replaying(training.model), torch.enable_grad():
            for start in range(0, len(self), self.together):
                stop = min(start + self.together, len(self))
                values = self.values(training, parameters, start, stop)
                # The derivative of aᵀJ d by a is J d.
                weights = torch.ones_like(values).requires_grad_()
                (slope,) = torch.autograd.grad(values, parameters, weights, create_graph=True)
                for row, direction in enumerate(directions):
                    (found,) = torch.autograd.grad(slope, weights, direction, retain_graph=True)
                    out[row, start:stop] = found.numpy(force=True)
        return out
