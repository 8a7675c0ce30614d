"""Outcomes of training: numbers that a model has, as functions of its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.influence.queries import query_examples
from whence.influence.replay.training import TrainingMap, replaying

IntArray = npt.NDArray[np.int64]


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


class Losses(Outcome):
    """Minus the losses of queries.

    Parameters
    ----------
    model : fitted model
    data : Interactions, data frame, Queries or QueryExamples
        See `query_examples`.
    """

    name = "loss"
    together = 4096

    def __init__(self, model: Any, data: Any) -> None:
        self.data = data
        self._queries = data if hasattr(data, "batch") else query_examples(model, data)
        self.described = self._queries if hasattr(self._queries, "ids") else None
        self.identity = getattr(self._queries, "fingerprint", len(self._queries))
        self.n_left_out = getattr(self._queries, "n_left_out", None)

    def __len__(self) -> int:
        return len(self._queries)

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        batch: Any = self._queries.batch(np.arange(start, stop))
        return -training.losses(parameters, training.model._to_device(batch))
