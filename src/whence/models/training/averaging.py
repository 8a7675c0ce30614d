"""Parameters averaged over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from whence.models.training.checkpoints import copied


def mean_weight(epochs: float, steps_per_epoch: int, number: int) -> float:
    """Weight that the parameters after a step get in their mean, from 1 at the first step.

    The mean after step t is that of all steps s so far, weighted by ``β^(t - s)`` with
    ``β = exp(-1 / (epochs · steps_per_epoch))``; it moves by this share of the way to the
    parameters of the step.

    Parameters
    ----------
    epochs : float
        After which a step weighs 1/e of the last.
    steps_per_epoch : int
    number : int
        Of the step, from 1.
    """
    rate = 1.0 / (epochs * steps_per_epoch)
    return math.expm1(-rate) / math.expm1(-rate * number)


class Average:
    """The mean of a module's parameters over the steps of training, the latest weighing most.

    Parameters
    ----------
    module : torch.nn.Module
    epochs, steps_per_epoch
        As in `mean_weight`.
    """

    def __init__(self, module: nn.Module, epochs: float, steps_per_epoch: int) -> None:
        self._module = module
        self._parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self._mean = [p.detach().clone() for p in self._parameters]
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch

    @torch.no_grad()
    def add(self, number: int) -> None:
        """Take the parameters after step `number`, from 1, into the mean."""
        weight = mean_weight(self._epochs, self._steps_per_epoch, number)
        torch._foreach_lerp_(self._mean, self._parameters, weight)

    @contextmanager
    def in_module(self) -> Iterator[dict[str, Tensor]]:
        """Put the mean into the module for a while; gives the state it had, to train on from."""
        before = copied(self._module.state_dict())
        self._swap()
        try:
            yield before
        finally:
            self._swap()

    def load(self, mean: dict[str, Tensor], current: dict[str, Tensor]) -> None:
        """Take up the mean, and the parameters to train on from, of an earlier run.

        Raises
        ------
        RuntimeError
            If they are of another module.
        """
        self._module.load_state_dict(mean)
        for ours, parameter in zip(self._mean, self._parameters):
            ours.copy_(parameter.detach())
        self._module.load_state_dict(current)

    @torch.no_grad()
    def _swap(self) -> None:
        for ours, parameter in zip(self._mean, self._parameters):
            kept = parameter.detach().clone()
            parameter.copy_(ours)
            ours.copy_(kept)
