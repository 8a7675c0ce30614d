"""Tensors that follow from parameters alone, as the normalised weights of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whence.influence.layers.registry import View
from whence.influence.pieces import Dense, Outer, Piece, as_matrix


@dataclass(frozen=True)
class Derived:
    """A function of parameters, through which the gradients of single examples are taken back.

    Attributes
    ----------
    result : Tensor
        With a graph to the sources.
    sources : list of (Tensor, View)
        Copies of the parameters, or parts of them, that it was made of.
    wholes : dict of str to tuple of int
        Rows and columns of the parameters that these are of.
    """

    result: Tensor
    sources: list[tuple[Tensor, View]]
    wholes: dict[str, tuple[int, int]]

    @classmethod
    def of(
        cls,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        views: Mapping[int, View | None],
        shape_of: Callable[[str], Tensor],
    ) -> Derived | None:
        """Call a function with copies of the parameters; None if its result is no one tensor."""
        sources: dict[int, tuple[Tensor, View]] = {}

        def copied(value: Any) -> Any:
            if isinstance(value, Tensor) and id(value) in views:
                view = views[id(value)]
                if view is None or view.padded or view.transposed:
                    raise _CannotError
                if id(value) not in sources:
                    sources[id(value)] = value.detach().clone().requires_grad_(), view
                return sources[id(value)][0]
            if type(value) in (list, tuple):
                return type(value)(copied(part) for part in value)
            return value

        try:
            with torch.enable_grad():
                result = func(*copied(args), **{k: copied(v) for k, v in kwargs.items()})
        except _CannotError:
            return None
        if not isinstance(result, Tensor) or not result.requires_grad:
            return None
        # A view would share its memory with a source.
        found = list(sources.values())
        wholes = {view.name: tuple(as_matrix(shape_of(view.name)).shape) for _, view in found}
        return cls(result, found, wholes)  # type: ignore[arg-type]

    @property
    def names(self) -> list[str]:
        """Of the parameters that it is made of."""
        return [view.name for _, view in self.sources]

    def pulled_back(self, name: str, pieces: list[Piece], n: int) -> list[Piece]:
        """Pieces with those of the derived tensor replaced by pieces of what it is made of."""
        own: list[Piece] = []
        others: list[Piece] = []
        for piece in pieces:
            if name not in piece.key:
                others.append(piece)
                continue
            for part in piece.split() if isinstance(piece, Outer) else [piece]:
                (own if part.key == (name,) else others).append(part)
        rows, columns = as_matrix(self.result).shape
        written = self.result.new_zeros(n, columns, rows)
        for piece in own:
            piece.write(written)
        grads = written.transpose(1, 2).reshape(n, *self.result.shape)
        for (_, view), values in zip(self.sources, self._back(grads)):
            whole = values.new_zeros(n, *self.wholes[view.name])
            chosen = whole[:, slice(*view.rows), slice(*view.columns)]
            chosen += values.reshape(chosen.shape)
            others.append(Dense((view.name,), whole))
        return others

    def _back(self, grads: Tensor) -> list[Tensor]:
        copies = [copy for copy, _ in self.sources]

        def once(grad: Tensor, several: bool) -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                self.result, copies, grad, retain_graph=True, is_grads_batched=several,
                materialize_grads=True,
            )  # fmt: skip

        try:
            return list(once(grads, True))
        except RuntimeError:  # a function without a rule for several at once
            parts = [once(grad, False) for grad in grads]
            return [torch.stack(list(of_source)) for of_source in zip(*parts)]


class _CannotError(Exception):
    """A use of a parameter that cannot be copied."""
