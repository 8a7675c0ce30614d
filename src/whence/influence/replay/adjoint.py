"""Backwards through training: the derivatives of outcomes by the weights of all examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.engines import Checkpoints
from whence.engines.progress import Report
from whence.influence.replay.optimizers import State
from whence.influence.replay.training import TrainingMap, replaying

FloatArray = npt.NDArray[np.float64]


@dataclass
class Trajectory:
    """Training done again, with some of its states kept: every √T-th of T.

    Attributes
    ----------
    training : TrainingMap
    kept : dict of int to State
        By number of steps done before.
    """

    training: TrainingMap
    kept: dict[int, State] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        training: TrainingMap,
        report: Report,
        look: Callable[[int, State], None] | None = None,
    ) -> Trajectory:
        """Train.

        Parameters
        ----------
        training : TrainingMap
        report : callable
            Told of the steps.
        look : callable, optional
            ``look(number, state)`` after each step, from 1.
        """
        trajectory, state = cls(training), training.start()
        every, n = trajectory.every, training.n_steps
        with replaying(training.model):
            for number in range(1, n + 1):
                if (number - 1) % every == 0:
                    trajectory.kept[number - 1] = state
                state = training.advance(state, number)
                if look is not None:
                    look(number, state)
                report(number, n, "training again")
        trajectory.kept[n] = state
        return trajectory

    @property
    def every(self) -> int:
        """Steps between states that are kept."""
        return max(1, math.isqrt(self.training.n_steps))

    @property
    def parameters(self) -> Tensor:
        """At the end, Tensor [P]."""
        return self.training.parameters(self.kept[self.training.n_steps])

    def values(
        self,
        slopes: Sequence[Tensor],
        report: Report,
        kept: Checkpoints | None = None,
        stage: str = "backwards",
    ) -> FloatArray:
        """Derivatives of outcomes by the weights of the examples.

        ``a_t = (∂Φ_t/∂s)ᵀ a_{t+1}``, and ``(∂Φ_t/∂w)ᵀ a_{t+1}`` is added to the examples of step t.

        Parameters
        ----------
        slopes : sequence of Tensor [P]
            Derivatives of the outcomes by the parameters at the end.
        report : callable
            Told of the steps.
        kept : Checkpoints, optional
            Where what is done is kept, as `stage`.

        Returns
        -------
        float64 [K, n]
        """
        training, n = self.training, self.training.n_steps
        last = self.kept[n]
        adjoints = [training.adjoint(slope, last) for slope in slopes]
        values = torch.zeros(len(slopes), training.n, dtype=torch.float64)
        starts = [number for number in sorted(self.kept, reverse=True) if number < n]
        before = None if kept is None else kept.load(stage)
        if before is not None:
            starts = [start for start in starts if start < before["start"]]
            values = torch.from_numpy(before["values"])
            adjoints = [
                tuple(torch.from_numpy(part).to(last[0]) for part in parts)
                for parts in before["adjoints"]
            ]
        with replaying(training.model):
            for start in starts:
                adjoints = self._segment(start, adjoints, values, report)
                if kept is not None and kept.is_due:
                    parts = [[part.numpy(force=True) for part in one] for one in adjoints]
                    state = {"start": start, "values": values.numpy(), "adjoints": parts}
                    kept.save(stage, state)
        return values.numpy()

    def _segment(
        self, start: int, adjoints: list[State], values: Tensor, report: Report
    ) -> list[State]:
        """Go back from one kept state to the one before; add to the values."""
        training, n = self.training, self.training.n_steps
        stop = min(start + self.every, n)
        states = [self.kept[start]]
        for number in range(start + 1, stop):
            states.append(training.advance(states[-1], number))
        for number in range(stop, start, -1):
            state = tuple(part.detach().requires_grad_() for part in states.pop())
            after, weights, numbers = training.differentiable(state, number)
            places = torch.from_numpy(numbers)
            moved = []
            for k, adjoint in enumerate(adjoints):
                *parts, own = torch.autograd.grad(
                    after,
                    (*state, weights),
                    adjoint,
                    retain_graph=k + 1 < len(adjoints),
                    materialize_grads=True,
                )
                values[k].index_add_(0, places, own.to("cpu", torch.float64))
                moved.append(tuple(parts))
            adjoints = moved
            report(n - number + 1, n, "backwards")
        return adjoints
