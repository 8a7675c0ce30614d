"""The training objective of any differentiable model, by automatic differentiation.

Products with the Hessian, or with the Gauss-Newton matrix, are made by differentiating twice, batch
after batch and without dropout; nothing of the size of such a matrix, or of all gradients, is ever
held. The network computes in single or in double precision; sums over batches are in double.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from whence.errors import UnsupportedError
from whence.influence.comparison import typed
from whence.influence.functions.module_matrices import (
    ModuleGaussNewton,
    ModuleHessian,
    derivative_along,
    flat,
    twice_differentiable,
)
from whence.influence.functions.objective import (
    Arrays,
    FloatArray,
    IntArray,
    Objective,
)
from whence.models.training import Batch
from whence.models.training import losses as loss_functions

if TYPE_CHECKING:
    from whence.influence.functions.kronecker import KroneckerFactors

_NUMBERS_PER_BATCH = 1 << 21
_SCORES_PER_BATCH = 1 << 22
_SAMPLE = 64


@dataclass(frozen=True)
class ModuleObjective(Objective):
    """F of a torch module; see `Objective`.

    Attributes
    ----------
    model : DifferentiableRecommender
        A copy with a module of its own, in the precision asked for.
    names : list of str
        The parameters that θ is made of.
    epoch : int
        Whose negatives are kept.
    vector : float64 [P]
        θ.
    n_terms, ridge, weights
        As of `Objective`.
    """

    model: Any
    names: list[str]
    epoch: int
    vector: FloatArray = field(repr=False)
    n_terms: float
    ridge: float
    weights: FloatArray = field(repr=False)

    @classmethod
    def of(
        cls, model: Any, *, epoch: int, layers: Any, precision: str = "float64"
    ) -> ModuleObjective:
        """The objective of a fitted model at its parameters."""
        own = copy.copy(model)
        own.module_ = copy.deepcopy(model.module_).to(getattr(torch, precision)).eval()
        examples = model.examples_
        names = _selected(own, layers, examples)
        for name, parameter in own.module_.named_parameters():
            parameter.requires_grad_(name in names)
        with torch.no_grad():
            parameters = [own.module_.get_parameter(name).reshape(-1) for name in names]
            vector = torch.cat(parameters).double().cpu().numpy().copy()
        count = len(examples)
        terms = sum(
            model._n_terms(examples.batch(np.arange(a, min(a + 4096, count)), epoch))
            for a in range(0, count, 4096)
        )
        return cls(
            own, names, epoch, vector, float(terms), float(model.weight_decay), np.ones(count)
        )

    @property
    def n_examples(self) -> int:
        """E."""
        return len(self.weights)

    @property
    def theta(self) -> FloatArray:
        """θ, float64 [P]; see `Objective`."""
        return self.vector

    def at(self, theta: FloatArray) -> ModuleObjective:
        """The same objective at another point; see `Objective`."""
        return replace(self, vector=theta)

    def weighted(self, weights: FloatArray) -> ModuleObjective:
        """The same objective with other weights; see `Objective`."""
        return replace(self, weights=np.ascontiguousarray(weights, dtype=np.float64))

    def on_processor(self) -> ModuleObjective:
        """The same objective with a copy of the module on the processor, where it is not there."""
        if self.model.device == "cpu":
            return self
        own = copy.copy(self.model)
        own.module_, own.device = copy.deepcopy(self.model.module_).cpu(), "cpu"
        return replace(self, model=own)

    def computing(self) -> AbstractContextManager[None]:
        """In which the module is called; see `twice_differentiable`."""
        return twice_differentiable(getattr(self.model, "torch_threads", 1))

    @cached_property
    def _parameters(self) -> list[nn.Parameter]:
        return [self.model.module_.get_parameter(name) for name in self.names]

    @cached_property
    def _shapes(self) -> list[torch.Size]:
        return [parameter.shape for parameter in self._parameters]

    @property
    def _dtype(self) -> torch.dtype:
        return self._parameters[0].dtype

    def placed(self) -> list[nn.Parameter]:
        """The parameters, with θ in them: objectives at several points share one module."""
        parameters = self._parameters
        with torch.no_grad():
            for parameter, value in zip(parameters, self.split(self.vector)):
                parameter.copy_(value)
        return parameters

    def split(self, vector: FloatArray) -> list[Tensor]:
        """A vector [P] as tensors of the parameters' shapes."""
        sizes = [shape.numel() for shape in self._shapes]
        parts: tuple[Tensor, ...] = torch.split(self.tensor(vector), sizes)
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes)]

    def batches(self) -> Iterator[tuple[IntArray, Tensor]]:
        """Numbers and losses of the examples that have a weight."""
        numbers = np.flatnonzero(self.weights)
        for first in range(0, len(numbers), self._batch_size):
            some = numbers[first : first + self._batch_size]
            batch = self.batch(some)
            with self.computing():
                yield some, self.model.example_loss(batch)

    def cut_batches(self) -> Iterator[tuple[IntArray, Tensor, loss_functions.Cut]]:
        """As `batches`, with the losses cut from their scores."""
        numbers = np.flatnonzero(self.weights)
        for first in range(0, len(numbers), self.cut_size):
            some = numbers[first : first + self.cut_size]
            batch = self.batch(some)
            with self.computing():
                with loss_functions.cut_at_scores() as cut:
                    losses = self.model.example_loss(batch)
                yield some, losses, cut

    @cached_property
    def not_convex(self) -> str | None:
        """Why the loss is not known as a convex function of scores; None if it is."""
        name = type(self.model).__name__
        self.placed()
        with self.computing(), loss_functions.cut_at_scores() as cut:
            losses = self.model.example_loss(self.batch(np.arange(min(3, self.n_examples))))
        if not cut.names:
            return f"The loss of {name} is none of {', '.join(loss_functions.CONVEX)}"
        odd = [loss for loss in cut.names if loss not in loss_functions.CONVEX]
        if odd:
            return f"The loss {odd[0]!r} of {name} is no convex function of its scores"
        direct = torch.autograd.grad(losses.sum(), self._parameters, allow_unused=True)
        if any(slope is not None for slope in direct):
            return f"The loss of {name} depends on parameters in other ways than by its scores"
        return None

    @cached_property
    def cut_size(self) -> int:
        """Examples of a batch such that their scores take little memory."""
        few = np.unique(np.linspace(0, self.n_examples - 1, 32).astype(np.int64))
        self.placed()
        with torch.no_grad(), loss_functions.cut_at_scores() as cut:
            self.model.example_loss(self.batch(few))
        scores = sum(scores.numel() for scores in cut.scores) / len(few)
        return max(1, min(self._batch_size, int(_SCORES_PER_BATCH / max(scores, 1.0))))

    @cached_property
    def _batch_size(self) -> int:
        numbers = sum(tensor.numel() for tensor in self.batch(np.arange(1)).values())
        return max(1, _NUMBERS_PER_BATCH // max(1, numbers * 32))

    def batch(self, numbers: IntArray) -> Batch:
        """Some training examples, as the module takes them."""
        batch = self.model._to_device(self.model.examples_.batch(numbers, self.epoch))
        return typed(batch, self._dtype)

    def value(self) -> float:
        """F."""
        self.placed()
        total = 0.0
        with torch.no_grad():
            for numbers, losses in self.batches():
                total += float(losses.cpu().numpy() @ self.weights[numbers])
        return total / self.n_terms + 0.5 * self.ridge * float(self.vector @ self.vector)

    def gradient(self) -> FloatArray:
        """∇F, float64 [P]; see `Objective`."""
        parameters, total = self.placed(), np.zeros(len(self.vector))
        for numbers, losses in self.batches():
            weights = self.tensor(self.weights[numbers])
            total += flat(
                torch.autograd.grad(losses @ weights, parameters, allow_unused=True), parameters
            )
        return total / self.n_terms + self.ridge * self.vector

    def gradient_scale(self) -> float:
        """Mean of ‖∇l_s‖/Z over a sample of the examples; see `Objective`."""
        rng = np.random.default_rng(0)
        count = min(_SAMPLE, self.n_examples)
        gradients = self.example_gradients(rng.choice(self.n_examples, count, replace=False))
        return float(np.linalg.norm(gradients, axis=1).mean()) / self.n_terms

    def hessian(self, damping: float = 0.0) -> ModuleHessian:
        """The Hessian here; see `Objective`."""
        return ModuleHessian(self, damping)

    def gauss_newton(self, damping: float = 0.0) -> ModuleHessian:
        """The Gauss-Newton matrix here; see `Objective`.

        Raises
        ------
        UnsupportedError
            If the loss is not known as a convex function of scores.
        """
        if self.not_convex is not None:
            raise UnsupportedError(
                f"{self.not_convex}, so that there is no Gauss-Newton matrix; choose "
                "solver='ekfac', or train with another loss."
            )
        return ModuleGaussNewton(self, damping)

    @cached_property
    def factors(self) -> dict[int, KroneckerFactors]:
        """Made once for a seed of the labels drawn; see `factors_of`."""
        return {}

    def slopes(self, rows: FloatArray) -> FloatArray:
        """∇l_s · row, float64 [R, E]; see `Objective`."""
        return self.slopes_of(rows, np.arange(self.n_examples))

    def slopes_of(self, rows: FloatArray, wanted: IntArray) -> FloatArray:
        """∇l_s · row of some examples, ascending, float64 [R, n]."""
        only = np.zeros(self.n_examples)
        only[wanted] = 1.0
        some = self.weighted(only)
        parameters, out = some.placed(), np.zeros((len(rows), self.n_examples))
        ways = [self.split(row) for row in rows]
        for numbers, losses in some.batches():
            # Derivatives of a sum by the weights of its terms: all slopes by two backward passes.
            weights = torch.ones_like(losses, requires_grad=True)
            slopes = torch.autograd.grad(
                losses, parameters, grad_outputs=weights, create_graph=True, allow_unused=True
            )
            for row, way in enumerate(ways):
                along = derivative_along(slopes, way)
                if along is None:
                    continue
                (each,) = torch.autograd.grad(along, weights, retain_graph=True)
                out[row, numbers] = each.cpu().numpy()
        return out[:, wanted]

    def example_gradients(self, numbers: IntArray) -> FloatArray:
        """∇l_s of some examples, float64 [n, P]; see `Objective`."""
        parameters, out = self.placed(), np.empty((len(numbers), len(self.vector)))
        for row, number in enumerate(numbers):
            out[row] = self._gradient_of(self.batch(np.array([number])), np.ones(1), parameters)
        return out

    def example_losses(self, arrays: Arrays) -> FloatArray:
        """Losses of any examples, float64 [N]; see `Objective`."""
        self.placed()
        parts = []
        with torch.no_grad():
            for _, batch in self._of_arrays(arrays):
                with self.computing():
                    parts.append(self.model.example_loss(batch).double().cpu().numpy())
        result: FloatArray = np.concatenate(parts)
        return result

    def loss_gradient(self, arrays: Arrays, weights: FloatArray) -> FloatArray:
        """Σ weight ∇loss of any examples, float64 [P]; see `Objective`."""
        parameters, total = self.placed(), np.zeros(len(self.vector))
        for window, batch in self._of_arrays(arrays):
            total += self._gradient_of(batch, weights[window], parameters)
        return total

    def item_scores(self, users: IntArray) -> FloatArray:
        """Scores of all items, float64 [N, n_items]; see `Objective`."""
        self.placed()
        with torch.no_grad(), self.computing():
            scores: FloatArray = self._scores(users).double().cpu().numpy()
        return scores

    def score_gradient(self, user: int, weights: FloatArray) -> FloatArray:
        """Σ_i weight_i ∇s(user, i), float64 [P]; see `Objective`."""
        parameters = self.placed()
        total = self._scores(np.array([user]))[0] @ self.tensor(weights)
        return flat(torch.autograd.grad(total, parameters, allow_unused=True), parameters)

    def write(self, model: Any) -> None:
        """Put θ into a model's module, in double precision; see `Objective`."""
        module = model.module_.double()
        with torch.no_grad():
            for name, value in zip(self.names, self.split(self.vector)):
                module.get_parameter(name).copy_(value)

    def _scores(self, users: IntArray) -> Tensor:
        scores = getattr(self.model.module_, "item_scores", None)
        if scores is None or self.model.asks != "users":
            raise UnsupportedError(
                f"{type(self.model).__name__} has no scores of users, so that single predictions "
                "cannot be asked for; take outcome='loss'."
            )
        result: Tensor = scores(torch.from_numpy(users).to(self.model.device))
        return result

    def _gradient_of(
        self, batch: dict[str, Tensor], weights: FloatArray, parameters: list[nn.Parameter]
    ) -> FloatArray:
        with self.computing():
            total = self.model.example_loss(batch) @ self.tensor(weights)
        return flat(torch.autograd.grad(total, parameters, allow_unused=True), parameters)

    def _of_arrays(self, arrays: Arrays) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        count = len(next(iter(arrays.values())))
        for first in range(0, count, 512):
            window = slice(first, min(first + 512, count))
            tensors = {name: torch.from_numpy(array[window]) for name, array in arrays.items()}
            yield window, typed(self.model._to_device(tensors), self._dtype)

    def tensor(self, values: FloatArray) -> Tensor:
        """An array in the module's precision, where the module is."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.model.device, self._dtype)


def _selected(model: Any, layers: Any, examples: Any) -> list[str]:
    """Names of the parameters that count."""
    from whence.influence.alone import check_alone
    from whence.influence.checkpoints import State
    from whence.influence.selection import selected_names
    from whence.influence.weights import Weights

    trainable = [name for name, p in model.module_.named_parameters() if p.requires_grad]
    few = model._to_device(examples.batch(np.arange(min(3, len(examples)))))
    check_alone(model, few)
    return selected_names(State(model, 1.0, 0, Weights()), trainable, layers, few)
