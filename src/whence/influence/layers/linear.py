"""Linear layers, and products with a matrix that is a parameter (tied output layers)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, View, register_layer
from whence.influence.pieces import Key, Outer, Piece


@register_layer(functional.linear)
def linear(call: Call) -> Any:
    """``y = x Wᵀ + b``: the gradient is Σ_t (∂ℓ/∂y_t) ⊗ [x_t, 1]."""
    x, weight = call.args[0], call.argument(1, "weight")
    bias = call.argument(2, "bias")
    of_weight, of_bias = call.recorder.view_of(weight), call.recorder.view_of(bias)
    if call.recorder.view_of(x) is not None or (of_weight and of_weight.transposed):
        return NotImplemented
    return _product(call, x, weight, of_weight, functional.linear(x, weight, bias), of_bias)


@register_layer(
    torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.mm
)
def matmul(call: Call) -> Any:
    """``y = x Wᵀ`` or ``y = x W`` with a parameter W, or ``y = x w`` with a vector."""
    x, weight = call.args[0], call.args[1]
    view = call.recorder.view_of(weight)
    if call.recorder.view_of(x) is not None or view is None or weight.dim() > 2:
        return NotImplemented
    if weight.dim() == 1:
        if view.rows[1] - view.rows[0] != len(weight):
            return NotImplemented
        product = _product(call, x, weight, view, (x @ weight).unsqueeze(-1))
        return product if product is NotImplemented else product.squeeze(-1)
    return _product(call, x, weight, view, torch.matmul(x, weight))


@register_layer(torch.addmm)
def addmm(call: Call) -> Any:
    """``y = b + x W`` with parameters W and b."""
    if len(call.args) != 3 or call.kwargs:
        return NotImplemented
    bias, x, weight = call.args
    of_bias, of_weight = call.recorder.view_of(bias), call.recorder.view_of(weight)
    if call.recorder.view_of(x) is not None or bias.dim() != 1 or not isinstance(x, Tensor):
        return NotImplemented
    return _product(call, x, weight, of_weight, torch.addmm(bias, x, weight), of_bias)


def _product(
    call: Call, x: Tensor, weight: Tensor, view: View | None, y: Tensor, bias: View | None = None
) -> Any:
    recorder = call.recorder
    if view is not None and view.padded:
        return NotImplemented
    if not recorder.is_batched(x):
        x = x.expand(recorder.n, *x.shape)
        y = y.expand(recorder.n, *y.shape)
    owners = recorder.said_owners(x)
    inputs = recorder.by_example(x.detach(), owners=owners)
    # `linear` multiplies by the transposed matrix, a product by the matrix as it is.
    by_rows = call.function is functional.linear or view is None or view.transposed

    def build(grad: Tensor) -> list[Piece]:
        outputs = recorder.by_example(grad, owners=owners)
        if view is not None and not by_rows:
            right = _padded(outputs, view, recorder.parameter(view.name))
            of_bias = [Outer((bias.name,), outputs, (None,), bias.start)] if bias else []
            return [Outer((view.name,), inputs, (right,), view.start), *of_bias]
        right = inputs
        if view is not None:
            right = _padded(inputs, view, recorder.parameter(view.name))
        parts = [(view, right), (bias, None)]
        seen = [(part, right) for part, right in parts if part is not None]
        if len({part.start for part, _ in seen}) > 1:
            return [Outer((part.name,), outputs, (right,), part.start) for part, right in seen]
        key: Key = tuple(part.name for part, _ in seen)
        return [Outer(key, outputs, tuple(right for _, right in seen), seen[0][0].start)]

    return recorder.tap(y, build)


def _padded(right: Tensor, view: View, whole: Tensor) -> Tensor:
    """Zeros for the columns of the parameter that the view leaves out."""
    if view.whole_columns(whole):
        return right
    first, last = view.columns
    return functional.pad(right, (first, whole.shape[1] - last))
