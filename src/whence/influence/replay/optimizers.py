"""The steps of optimisers as differentiable functions of parameters and of what they keep.

The formulas are those of torch.optim, over all parameters as one vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whence.errors import UnsupportedError
from whence.models.training import DifferentiableRecommender

State = tuple[Tensor, ...]
"""Parameters, then what the optimiser keeps of each; all [P]."""

_CLIP_EPS = 1e-6
"""Of torch.nn.utils.clip_grad_norm_."""


@dataclass(frozen=True)
class Step(ABC):
    """One step of an optimiser.

    Attributes
    ----------
    weight_decay : float
    clip : float or None
        Greatest norm of the gradient.
    eps, eps_root : float
        Added to the root of the second moment, and under it.
    """

    weight_decay: float = 0.0
    clip: float | None = None
    eps: float = 1e-8
    eps_root: float = 0.0

    decoupled = False
    """Whether the decay acts on the parameters, rather than on the gradient."""

    def start(self, parameters: Tensor) -> State:
        """State before the first step."""
        return (parameters,)

    def __call__(self, state: State, gradient: Tensor, rate: float, number: int) -> State:
        """State after step `number`, counted from 1."""
        if self.clip is not None:
            gradient = gradient * self.clipping(gradient)
        parameters, *kept = state
        if self.weight_decay and self.decoupled:
            parameters = parameters * (1.0 - rate * self.weight_decay)
        elif self.weight_decay:
            gradient = gradient + self.weight_decay * parameters
        return self._move(parameters, tuple(kept), gradient, rate, number)

    def clipping(self, gradient: Tensor) -> Tensor:
        """What a gradient is multiplied by because its norm is too great, Tensor []."""
        if self.clip is None:
            return torch.ones_like(gradient[0])
        norm = _root(gradient.square().sum())
        return torch.clamp(self.clip / (norm + _CLIP_EPS), max=1.0)

    def scale(self, state: State, number: int) -> Tensor:
        """What step `number`, which led to this state, multiplied gradients by, Tensor [P]."""
        return torch.ones_like(state[0])

    @abstractmethod
    def _move(
        self, parameters: Tensor, kept: State, gradient: Tensor, rate: float, number: int
    ) -> State:
        """State after the step, the gradient being clipped and decayed."""


class SGD(Step):
    """Gradient descent."""

    def _move(
        self, parameters: Tensor, kept: State, gradient: Tensor, rate: float, number: int
    ) -> State:
        return (parameters - rate * gradient,)


class Adagrad(Step):
    """Adagrad: the sum of squared gradients is kept."""

    def start(self, parameters: Tensor) -> State:
        """See `Step.start`."""
        return parameters, torch.zeros_like(parameters)

    def _move(
        self, parameters: Tensor, kept: State, gradient: Tensor, rate: float, number: int
    ) -> State:
        total = kept[0] + gradient.square()
        return parameters - rate * gradient / (_root(total) + self.eps), total

    def scale(self, state: State, number: int) -> Tensor:
        """See `Step.scale`."""
        return 1.0 / (_root(state[1]) + self.eps)


class Adam(Step):
    """Adam: moving means of gradients and of their squares are kept."""

    betas = 0.9, 0.999

    def start(self, parameters: Tensor) -> State:
        """See `Step.start`."""
        return parameters, torch.zeros_like(parameters), torch.zeros_like(parameters)

    def _move(
        self, parameters: Tensor, kept: State, gradient: Tensor, rate: float, number: int
    ) -> State:
        first, second = self.betas
        mean = first * kept[0] + (1.0 - first) * gradient
        square = second * kept[1] + (1.0 - second) * gradient.square()
        step = mean / (1.0 - first**number) / self._root(square, number)
        return parameters - rate * step, mean, square

    def scale(self, state: State, number: int) -> Tensor:
        """See `Step.scale`."""
        return 1.0 / self._root(state[2], number)

    def _root(self, square: Tensor, number: int) -> Tensor:
        corrected = square / (1.0 - self.betas[1] ** number)
        return _root(corrected + self.eps_root) + self.eps


class AdamW(Adam):
    """Adam with decoupled decay."""

    decoupled = True


_KINDS: dict[str, type[Step]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "adagrad": Adagrad}
_EPS = {"adagrad": 1e-10}


def step_of(model: Any) -> Step:
    """Return the step of a model's optimiser.

    Raises
    ------
    UnsupportedError
        If it has one of its own.
    """
    if type(model)._optimizer is not DifferentiableRecommender._optimizer:
        raise UnsupportedError(
            f"{type(model).__name__} has an optimiser of its own, whose steps are not known here; "
            f"train with {', '.join(_KINDS)}."
        )
    kind = _KINDS.get(model.optimizer)
    if kind is None:
        raise UnsupportedError(
            f"How the optimiser {model.optimizer!r} moves is not known here; train with "
            f"{', '.join(_KINDS)}."
        )
    return kind(
        weight_decay=float(model.weight_decay),
        clip=model.gradient_clip,
        eps=_EPS.get(model.optimizer, 1e-8),
        eps_root=float(getattr(model, "eps_root", 0.0)),
    )


def _root(values: Tensor) -> Tensor:
    """Square root, with the derivative 0 at 0: what has never moved is not moved by weights."""
    there = values > 0
    return torch.where(there, torch.where(there, values, 1.0).sqrt(), 0.0)
