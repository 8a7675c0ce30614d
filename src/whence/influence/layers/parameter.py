"""Parameters of a module itself that are added to, or multiplied with, what passes by.

Position embeddings, global biases, gates: with a copy of the parameter for every example, the
gradients of the copies are those of the examples.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from whence.influence.layers.axes import axis_of, batched
from whence.influence.layers.registry import Call, View, register_layer
from whence.influence.pieces import Dense, Piece, as_matrix

_OPERATIONS: dict[Any, Callable[[Any, Any], Tensor]] = {
    torch.add: torch.add,
    torch.Tensor.add: torch.add,
    torch.Tensor.__add__: torch.add,
    torch.Tensor.__radd__: torch.add,
    torch.sub: torch.sub,
    torch.Tensor.sub: torch.sub,
    torch.Tensor.__sub__: torch.sub,
    torch.Tensor.__rsub__: lambda a, b: torch.sub(b, a),
    torch.mul: torch.mul,
    torch.Tensor.mul: torch.mul,
    torch.Tensor.__mul__: torch.mul,
    torch.Tensor.__rmul__: torch.mul,
    torch.div: torch.div,
    torch.Tensor.div: torch.div,
    torch.Tensor.__truediv__: operator.truediv,
}


@register_layer(*_OPERATIONS, anywhere=True)
def pointwise(call: Call) -> Any:
    """``x + w`` and the like, for x of the batch and w that broadcasts over it."""
    if len(call.args) != 2 or call.kwargs:
        return NotImplemented
    recorder = call.recorder
    views = [recorder.view_of(argument) for argument in call.args]
    if views[0] is not None and views[1] is not None:
        return NotImplemented
    place = 0 if views[0] is not None else 1
    view, weight, x = views[place], call.args[place], call.args[1 - place]
    if (
        view is None
        or view.transposed
        or view.padded
        or not isinstance(x, Tensor)
        or not recorder.is_batched(x)
    ):
        return NotImplemented
    axis = axis_of(x) or 0
    if axis:
        # The batch comes first, and what is broadcast over it has nothing there.
        weight = weight.reshape((1,) * (x.dim() - weight.dim()) + weight.shape)
        x, weight = batched(x.transpose(0, axis)), weight.transpose(0, axis)
        if weight.shape[0] != 1:
            return NotImplemented
    while weight.dim() > x.dim() - 1 and weight.dim() and weight.shape[0] == 1:
        weight = weight[0]
    if weight.dim() > x.dim() - 1:
        return NotImplemented
    copies = _copied(call, weight, view, x)
    pair = (copies, x) if place == 0 else (x, copies)
    out = _OPERATIONS[call.function](*pair)
    return batched(out.transpose(0, axis), axis) if axis else out


def _copied(call: Call, weight: Tensor, view: View, x: Tensor) -> Tensor:
    """A copy of the parameter for each row of x, whose gradients are tapped."""
    recorder = call.recorder
    whole = recorder.parameter(view.name)
    between = x.dim() - 1 - weight.dim()
    owners = recorder.said_owners(x)
    copies = weight.expand(len(x), *(1,) * between, *weight.shape)

    def build(grad: Tensor) -> list[Piece]:
        flat = recorder.by_example(grad.reshape(len(grad), -1), owners=owners).sum(1)
        rows, columns = as_matrix(whole).shape
        values = flat.new_zeros(recorder.n, rows, columns)
        part = values[:, slice(*view.rows), slice(*view.columns)]
        part += flat.reshape(part.shape)
        return [Dense((view.name,), values)]

    return recorder.tap(copies, build)
