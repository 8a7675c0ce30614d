"""Layer norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, register_layer
from whence.influence.pieces import Dense, Piece


@register_layer(functional.layer_norm)
def layer_norm(call: Call) -> Any:
    """``y = x̂ ⊙ w + b``: the gradients are Σ_t (∂ℓ/∂y_t) ⊙ x̂_t and Σ_t ∂ℓ/∂y_t."""
    recorder = call.recorder
    x, shape = call.args[0], call.argument(1, "normalized_shape")
    weight, bias = call.argument(2, "weight"), call.argument(3, "bias")
    eps = call.argument(4, "eps", 1e-5)
    views = recorder.view_of(weight), recorder.view_of(bias)
    if len(shape) != 1 or recorder.view_of(x) is not None or not recorder.is_batched(x):
        return NotImplemented
    standard = functional.layer_norm(x, shape, None, None, eps)
    y = standard if weight is None else standard * weight
    y = y if bias is None else y + bias
    inputs = recorder.by_example(standard.detach())

    def build(grad: Tensor) -> list[Piece]:
        outputs = recorder.by_example(grad)
        of_weight, of_bias = views
        pieces: list[Piece] = []
        if of_weight is not None:
            pieces.append(Dense((of_weight.name,), (outputs * inputs).sum(1).unsqueeze(2)))
        if of_bias is not None:
            pieces.append(Dense((of_bias.name,), outputs.sum(1).unsqueeze(2)))
        return pieces

    return recorder.tap(y, build)
