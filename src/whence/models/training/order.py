"""The order of the examples in an epoch, and which of them are there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from whence.models.training.checkpoints import copied
from whence.models.training.examples import Examples

if TYPE_CHECKING:
    from whence.models.training.differentiable import DifferentiableRecommender

IntArray = npt.NDArray[np.int64]


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


def cuda_devices(device: str) -> list[int]:
    """Numbers of the CUDA devices whose random state a run on `device` touches."""
    if not str(device).startswith("cuda"):
        return []
    return [torch.device(device).index or 0]
