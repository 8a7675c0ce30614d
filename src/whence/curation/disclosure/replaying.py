"""Qualities of users as an outcome of replayed training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence.curation.disclosure.strategies import FloatArray
from whence.engines import identity_of
from whence.errors import UnsupportedError
from whence.influence.functions import Question
from whence.influence.replay.outcomes import Outcome
from whence.influence.replay.training import TrainingMap, replaying

_ASKED = 4096
"""Validation rows whose losses are taken together."""


class Qualities(Outcome):
    """Sums of the qualities of users; see `whence.influence.replay.outcomes.Outcome`.

    Parameters
    ----------
    question : Question
        Of losses.
    shares : float64 [K, Q]
        Of each query in each sum.
    """

    name = "loss"

    def __init__(self, question: Question, shares: FloatArray) -> None:
        if question.outcome != "loss":
            raise UnsupportedError(
                f"Replayed training is asked for losses here, not for {question.outcome!r}; take "
                "outcome='loss', or InfluenceFunction(solver='ggn')."
            )
        sizes = np.diff(question.starts)
        self._question = question
        self._weights = np.repeat(shares, sizes, axis=1) * question.weights()
        arrays = [*question.arrays.values(), self._weights]
        self.identity = [identity_of(np.ascontiguousarray(array)) for array in arrays]

    def __len__(self) -> int:
        return len(self._weights)

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        sums = [
            torch.stack([*self._parts(training, parameters, weights)]).sum()
            for weights in self._weights[start:stop]
        ]
        return torch.stack(sums)

    def slopes(
        self, training: TrainingMap, parameters: Tensor, start: int, stop: int
    ) -> list[Tensor]:
        """See `Outcome.slopes`."""
        parameters, found = parameters.detach().requires_grad_(), []
        with replaying(training.model), torch.enable_grad():
            for weights in self._weights[start:stop]:
                total = torch.zeros_like(parameters)
                for part in self._parts(training, parameters, weights):
                    total += torch.autograd.grad(part, parameters)[0]
                found.append(total)
        return found

    def _parts(
        self, training: TrainingMap, parameters: Tensor, weights: FloatArray
    ) -> Iterator[Tensor]:
        """What a sum is the sum of, part by part."""
        numbers = np.flatnonzero(weights)
        for first in range(0, len(numbers), _ASKED):
            some = numbers[first : first + _ASKED]
            batch: dict[str, Any] = {
                name: torch.from_numpy(array[some]) for name, array in self._question.arrays.items()
            }
            losses = training.losses(parameters, training.model._to_device(batch))
            yield -(losses @ torch.from_numpy(weights[some]).to(losses))
