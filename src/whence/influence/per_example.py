"""Gradients of single examples: by the rules of layers, and one example at a time for the rest."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from whence.engines.sharing import PerThread
from whence.errors import WhenceWarning
from whence.influence.capture import Batch, Blocks, NoRuleError, gradients
from whence.influence.checkpoints import State
from whence.influence.pieces import Dense, as_matrix
from whence.models.training.checkpoints import duplicate

Method = Literal["auto", "factors", "autograd"]
_TOLERANCE, _NEGLIGIBLE = 1e-3, 1e-6
_NAMED = 3


@dataclass
class PerExample:
    """A way to the gradients of the examples of a batch.

    Attributes
    ----------
    names : list of str
        Parameters that count.
    method : {"auto", "factors", "autograd"}
        By rules where there are some and else by back-propagation of one example at a time; by
        rules alone; or one example at a time alone.
    alone : list of str
        Parameters whose gradients are computed one example at a time.
    """

    names: list[str]
    method: Method = "auto"
    alone: list[str] = field(default_factory=list)
    _twins: PerThread = field(default_factory=PerThread)

    def prepare(self, state: State, batch: Batch) -> None:
        """Find out what has rules, and compare these with back-propagation on an example.

        Raises
        ------
        NoRuleError
            If a parameter has no rule, or one that would be wrong, and the method is "factors".
        """
        n = len(next(iter(batch.values())))
        first = {name: tensor[:1] for name, tensor in batch.items()}
        want = sum_of_gradients(state, first, self.names)
        self.alone = list(self.names) if self.method == "autograd" else []
        while True:
            try:
                blocks, _ = self.of(state, batch)
                self._check(blocks, want, n)
                break
            except NoRuleError as error:
                left = [name for name in error.names if name not in self.alone]
                if self.method != "auto" or not left:
                    raise
                self.alone = [name for name in self.names if name in {*self.alone, *left}]
        if self.alone and self.method == "auto":
            warnings.warn(self.note, WhenceWarning, stacklevel=6)

    @property
    def note(self) -> str:
        """What is slow, in a sentence."""
        some = ", ".join(self.alone[:_NAMED]) + (", ..." if len(self.alone) > _NAMED else "")
        return (
            f"{len(self.alone)} of {len(self.names)} parameters ({some}) have no rule, so that "
            "their gradients are computed one example at a time, which is slow; leave them out "
            "with layers=..., or write a rule with whence.influence.register_layer."
        )

    def of(
        self,
        state: State,
        batch: Batch,
        *,
        fuse: bool = True,
        tables: dict[Any, Tensor] | None = None,
    ) -> tuple[Blocks, Tensor]:
        """Gradients of the examples of a batch, by block, and their losses; see `gradients`."""
        by_rules = [name for name in self.names if name not in self.alone]
        loss = state.model.example_loss
        blocks, losses = gradients(loss, state.module, batch, by_rules, fuse=fuse, tables=tables)
        if self.alone:
            blocks |= self._one_at_a_time(state, batch, len(losses))
        return blocks, losses

    def _one_at_a_time(self, state: State, batch: Batch, n: int) -> Blocks:
        model = self._twin(state)
        parameters = [model.module_.get_parameter(name) for name in self.alone]
        rows = []
        for number in range(n):
            one = {name: tensor[number : number + 1] for name, tensor in batch.items()}
            with torch.enable_grad():
                loss = model.example_loss(one).sum()
                rows.append(torch.autograd.grad(loss, parameters, materialize_grads=True))
        return {
            (name,): [Dense((name,), torch.stack([as_matrix(grad) for grad in found]))]
            for name, found in zip(self.alone, zip(*rows))
        }

    def _twin(self, state: State) -> Any:
        """A copy of the model that is this thread's alone, with parameters that have gradients."""
        kept = self._twins.__dict__.setdefault("models", {})
        if id(state) not in kept:
            model = copy.copy(state.model)
            model.module_ = duplicate(state.module)
            kept[id(state)] = state, model
        model = kept[id(state)][1]
        for name in self.alone:
            model.module_.get_parameter(name).requires_grad_(True)
        return model

    def _check(self, blocks: Blocks, want: dict[str, Tensor], n: int) -> None:
        """Compare the sum of the first example's pieces with its gradient."""
        largest = max(float(value.abs().max()) for value in want.values())
        unseen = {name for name in self.names if name not in self.alone}
        for key, pieces in blocks.items():
            shapes = [as_matrix(want[name]).shape for name in key]
            columns, rows = sum(shape[1] for shape in shapes), max(shape[0] for shape in shapes)
            written = want[key[0]].new_zeros(n, columns, rows)
            for piece in pieces:
                piece.write(written)
            first = 0
            for name, shape in zip(key, shapes):
                unseen.discard(name)
                _compare(
                    name, written[0, first : first + shape[1]].T, as_matrix(want[name]), largest
                )
                first += shape[1]
        for name in unseen:
            _compare(name, torch.zeros_like(want[name]), want[name], largest)


def sum_of_gradients(
    state: State, batch: Batch, names: list[str], weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Gradient of the (weighted) sum of a batch's losses, by parameter."""
    parameters = [state.module.get_parameter(name) for name in names]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            losses = state.model.example_loss(batch)
            total = losses.sum() if weights is None else (losses * weights.to(losses.dtype)).sum()
            found = torch.autograd.grad(total, parameters, materialize_grads=True)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    return dict(zip(names, found))


def _compare(name: str, got: Tensor, want: Tensor, largest: float) -> None:
    """Raise unless a gradient is right, but for rounding."""
    error = float((got - want).abs().max()) if got.numel() else 0.0
    if error > _TOLERANCE * float(want.abs().max()) + _NEGLIGIBLE * largest:
        raise NoRuleError(
            f"The gradient of {name!r} by the rules of its layers is not that of automatic "
            f"differentiation (it differs by {error:.2g}), so the module uses it in a way unknown "
            "here; leave it out with layers=..., or ask for method='autograd'.",
            [name],
        )
