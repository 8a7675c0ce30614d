"""Training as a function: of the weights of the training examples, to the parameters.

``s_{t+1} = Φ_t(s_t, w)``: the state s is the parameters and what the optimiser keeps, w one weight
for each training example, 1 as the model was trained. The loss of a batch is ``Σ w_i l_i / n`` with
n, its number of loss terms, fixed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from whence.influence.comparison import typed
from whence.influence.replay.optimizers import State, step_of
from whence.models.training import Batch
from whence.models.training.averaging import mean_weight
from whence.models.training.order import Batches, Losses, cuda_devices, stream_seed

IntArray = npt.NDArray[np.int64]


class Place(NamedTuple):
    """A step of training.

    Attributes
    ----------
    epoch : int
        From 0.
    batch : int
        Number of the batch in its epoch, from 1.
    number : int
        Of the step, from 1.
    """

    epoch: int
    batch: int
    number: int


class TrainingMap:
    """The steps of a model's training.

    Parameters
    ----------
    model : fitted DifferentiableRecommender
        It is not changed.
    epochs : int
        That were trained.
    seed : int
        Of initial parameters, batches, negatives and dropout.
    dtype : torch.dtype

    Attributes
    ----------
    n : int
        Number of training examples.
    n_steps, steps_per_epoch : int
    initial : Tensor [P]
        Initial parameters, all that are trained as one vector.
    step : Step
        Of the optimiser.
    """

    def __init__(self, model: Any, epochs: int, seed: int, dtype: torch.dtype) -> None:
        fresh = copy.copy(model)
        fresh.seed = seed
        fresh._prepare(model.train_)
        self.model = fresh
        module = fresh.module_.to(dtype)
        self._within = _Within(module)
        self._dtype = dtype
        self._batches = Batches(fresh, np.arange(len(fresh.examples_)))
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._shapes = {name: p.shape for name, p in trained.items()}
        self._sizes = [p.numel() for p in trained.values()]
        self.initial = self.vector(trained)
        self.n = len(fresh.examples_)
        self.epochs = epochs
        self.steps_per_epoch = math.ceil(len(self._batches.order.number) / fresh.batch_size)
        self.n_steps = epochs * self.steps_per_epoch
        self.step = step_of(fresh)
        self._keys: tuple[int, IntArray] = (-1, np.empty(0, dtype=np.int64))

    def start(self) -> State:
        """State before the first step; with averaging its last part is the mean."""
        state = self.step.start(self.initial)
        return (*state, self.initial) if self.model.averaging else state

    def parameters(self, state: State) -> Tensor:
        """Parameters that a model trained so far has, Tensor [P]."""
        return state[-1] if self.model.averaging else state[0]

    def adjoint(self, slope: Tensor, state: State) -> State:
        """Derivative by the last state of an outcome whose derivative by `parameters` is given."""
        _, *zeros = (torch.zeros_like(part) for part in state)
        return (*zeros, slope) if self.model.averaging else (slope, *zeros)

    def place(self, number: int) -> Place:
        """Where step `number`, from 1, is."""
        epoch, batch = divmod(number - 1, self.steps_per_epoch)
        return Place(epoch, batch + 1, number)

    def advance(self, state: State, number: int, weights: Tensor | None = None) -> State:
        """State after a step, of which nothing is differentiated.

        Parameters
        ----------
        state : State
        number : int
        weights : Tensor [n], optional
            Of all examples; 1 by default.
        """
        parameters = state[0].detach().requires_grad_()
        with torch.enable_grad():
            loss, _ = self._batch_loss(parameters, number, weights)
            (gradient,) = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            return self.moved((parameters.detach(), *state[1:]), gradient, number)

    def rate(self, number: int) -> float:
        """Learning rate of a step."""
        rate: float = self.model.learning_rate * self.model.decay ** self.place(number).epoch
        return rate

    def weighted_gradient(self, parameters: Tensor, number: int) -> tuple[Tensor, Tensor, IntArray]:
        """Gradient of the loss of a step as a function of the parameters, and of weights.

        Parameters
        ----------
        parameters : Tensor [P]
            It requires gradients.
        number : int

        Returns
        -------
        gradient : Tensor [P]
        weights : Tensor [b]
            Of the examples of the batch; ones.
        numbers : int64 [b]
            Of these examples.
        """
        batch = self.losses_of_step(parameters, number)
        weights = torch.ones_like(batch.losses).requires_grad_()
        loss = (weights * batch.losses).sum() / batch.divisor
        (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
        return gradient, weights, batch.numbers

    def differentiable(self, state: State, number: int) -> tuple[State, Tensor, IntArray]:
        """State after a step as a function of the state before, and of weights.

        Parameters
        ----------
        state : State
            Tensors that require gradients.
        number : int

        Returns
        -------
        after : State
        weights, numbers
            As of `weighted_gradient`.
        """
        gradient, weights, numbers = self.weighted_gradient(state[0], number)
        return self.moved(state, gradient, number), weights, numbers

    def train(self, weights: Tensor | None = None) -> Tensor:
        """Parameters after training with weights of the examples, Tensor [P]."""
        state = self.start()
        with replaying(self.model):
            for number in range(1, self.n_steps + 1):
                state = self.advance(state, number, weights)
        return self.parameters(state)

    def losses(self, parameters: Tensor, batch: Batch) -> Tensor:
        """Losses of examples, as the trained model has them (without dropout), Tensor [b]."""
        losses: Tensor = self.evaluated(
            parameters, self.model.example_loss, typed(batch, self._dtype)
        )
        return losses

    def evaluated(self, parameters: Tensor, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function while the module has these parameters, in evaluation mode.

        Parameters
        ----------
        parameters : Tensor [P]
        function : callable
            It calls the module.
        """
        self._within.eval()
        return self._called(parameters, function, *arguments)

    def named(self, parameters: Tensor) -> dict[str, Tensor]:
        """A vector as parameters by name."""
        parts = zip(self._shapes.items(), torch.split(parameters, self._sizes))
        return {name: part.view(shape) for (name, shape), part in parts}

    def vector(self, tensors: Any) -> Tensor:
        """Parameters by name as one vector, Tensor [P]."""
        parts = [tensors[name].detach().reshape(-1) for name in self._shapes]
        return torch.cat([part.to(self.model.device, self._dtype) for part in parts])

    def _batch_loss(
        self, parameters: Tensor, number: int, weights: Tensor | None
    ) -> tuple[Tensor, IntArray]:
        batch = self.losses_of_step(parameters, number)
        losses = batch.losses
        if weights is not None:
            losses = losses * weights[torch.from_numpy(batch.numbers)]
        return losses.sum() / batch.divisor, batch.numbers

    def losses_of_step(self, parameters: Tensor, number: int) -> Losses:
        """Losses of the batch of a step, as training has them."""
        model, place = self.model, self.place(number)
        if self._keys[0] != place.epoch:
            order = self._batches.order
            self._keys = (
                place.epoch,
                order.of_epoch(model.seed if model.shuffled else None, place.epoch),
            )
        start = (place.batch - 1) * model.batch_size
        keys = self._keys[1][start : start + model.batch_size]
        self._within.train()
        # As in training: see `whence.models.training.loop`.
        torch.manual_seed(stream_seed(model.seed, place.epoch, place.batch))
        return self._batches.losses(
            keys,
            place.epoch,
            lambda batch: self._called(parameters, model.example_loss, typed(batch, self._dtype)),
        )

    def _called(self, parameters: Tensor, function: Callable[..., Any], *arguments: Any) -> Any:
        named = {f"module.{name}": part for name, part in self.named(parameters).items()}
        return functional_call(self._within, named, (function, *arguments))

    def moved(self, state: State, gradient: Tensor, number: int) -> State:
        """State after a step along a gradient."""
        averaging = self.model.averaging
        if not averaging:
            return self.step(state, gradient, self.rate(number), number)
        *before, mean = state
        after = self.step(tuple(before), gradient, self.rate(number), number)
        weight = mean_weight(averaging, self.steps_per_epoch, number)
        return (*after, mean + weight * (after[0] - mean))


class _Within(nn.Module):
    """Calls a function as the call of a module, so that the module's parameters can be given."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns."""
        return function(*arguments)


@contextmanager
def replaying(model: Any) -> Iterator[None]:
    """Layers by operations that have second derivatives, and the caller's random state kept."""
    with (
        torch.random.fork_rng(devices=cuda_devices(model.device)),
        torch.backends.cudnn.flags(enabled=False),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        # torch.backends.mkldnn.flags does this, too, and warns of devices that nobody asked for.
        before = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(before)
