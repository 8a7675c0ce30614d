"""The order of the examples in an epoch, and which of them are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.models.training.checkpoints import copied
from whence.models.training.examples import Batch, Examples

if TYPE_CHECKING:
    from whence.models.training.differentiable import DifferentiableRecommender

IntArray = npt.NDArray[np.int64]
_DROPOUT_STREAM = 0x5EED


@dataclass(frozen=True)
class Order:
    """Examples by their keys, those of the whole data (see `Examples.keys`).

    Attributes
    ----------
    number : int64 [n_whole]
        Number of the example of each key; -1 where it is left out or its rows were taken away.
    is_whole : bool
        Whether nothing is gone.
    """

    number: IntArray
    is_whole: bool

    @classmethod
    def of(cls, examples: Examples, numbers: IntArray) -> Order:
        """Of the examples of these numbers."""
        number = np.full(examples.n_whole, -1, dtype=np.int64)
        number[examples.keys[numbers]] = numbers
        return cls(number, len(numbers) == len(number) and examples.train.whole.is_complete)

    def of_epoch(self, seed: int | None, epoch: int) -> IntArray:
        """Keys in the order of an epoch; in their own without a seed."""
        n = len(self.number)
        return np.arange(n) if seed is None else batch_order(n, seed, epoch)


class Losses(NamedTuple):
    """Losses of a batch.

    Attributes
    ----------
    losses : Tensor [b]
        Of the examples that are there.
    numbers : int64 [b]
        Of these examples.
    divisor : int
        Number of loss terms of all, also of those that are gone: what the sum is divided by.
    n_terms : int
        Number of loss terms of those that are there.
    """

    losses: Tensor
    numbers: IntArray
    divisor: int
    n_terms: int


class Batches:
    """The batches of a model's training, and their losses.

    Parameters
    ----------
    model : DifferentiableRecommender
        With `module_` and `examples_`.
    numbers : int64 [n]
        The examples that are trained on.

    Attributes
    ----------
    order : Order
    """

    def __init__(self, model: DifferentiableRecommender, numbers: IntArray) -> None:
        self.model = model
        self.order = Order.of(model.examples_, numbers)
        self._draws = not self.order.is_whole and draws_in_training(model, self.order)

    def losses(self, keys: IntArray, epoch: int, loss: Callable[[Batch], Tensor]) -> Losses:
        """Losses of a batch.

        Parameters
        ----------
        keys : int64 [B]
            Of the examples of the batch, those that are gone among them.
        epoch : int
            Whose negatives are drawn.
        loss : callable
            ``loss(batch)``, Tensor [b].
        """
        model = self.model
        numbers = self.order.number[keys]
        there = numbers >= 0
        if not there.any():
            trained = [p for p in model.module_.parameters() if p.requires_grad]
            nothing = torch.stack([p.sum() for p in trained]).sum() * 0.0
            return Losses(nothing[None], numbers[:0], 1, 0)
        # Dropout draws for a place of the batch: what is gone keeps its place, but does not count.
        asked = np.where(there, numbers, numbers[there][0]) if self._draws else numbers[there]
        batch = model._to_device(model.examples_.batch(asked, epoch))
        losses = loss(batch)
        if self._draws:
            left = torch.from_numpy(there).to(losses.device)
            losses, batch = losses[left], {name: values[left] for name, values in batch.items()}
        count = model._n_terms(batch)
        divisor = count if self.order.is_whole else int(model.examples_.n_terms(keys).sum())
        return Losses(losses, numbers[there], divisor, count)


def batch_order(n: int, seed: int, epoch: int) -> IntArray:
    """Order of n examples in an epoch, int64 [n]: a function of (seed, epoch)."""
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(n)
    return order.astype(np.int64, copy=False)


def draws_in_training(model: DifferentiableRecommender, order: Order) -> bool:
    """Whether a model's module draws random numbers in training, as dropout does; tried out."""
    module, devices = model.module_, cuda_devices(model.device)
    # Layers that keep statistics of batches are left as they were.
    before, was_training = copied(module.state_dict()), module.training
    state = partial(torch.cuda.get_rng_state, devices[0]) if devices else torch.get_rng_state
    batch = model._to_device(model.examples_.batch(order.number[order.number >= 0][:2]))
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        module.train()
        first = state()
        model.example_loss(batch)
        drew = not torch.equal(first, state())
    module.load_state_dict(before)
    module.train(was_training)
    return drew


def without_tf32(device: str) -> AbstractContextManager[None]:
    """Recurrent layers on a GPU with all bits of their numbers, as on the processor.

    By default cuDNN rounds the factors of products to 10 bits, with which three epochs of a GRU4Rec
    end 2% of their way from where the processor's do.
    """
    if not str(device).startswith("cuda"):
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


def cuda_devices(device: str) -> list[int]:
    """Numbers of the CUDA devices whose random state a run on `device` touches."""
    if not str(device).startswith("cuda"):
        return []
    return [torch.device(device).index or 0]


def stream_seed(seed: int, epoch: int, batch: int) -> int:
    """Seed of what a module draws for a batch, counted from 1, of an epoch."""
    words = np.random.SeedSequence([seed, epoch, batch, _DROPOUT_STREAM])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))
