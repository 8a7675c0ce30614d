"""Norms: of layers, groups and root mean squares, and of batches by what training has seen."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, register_layer
from whence.influence.pieces import Dense, Piece


@register_layer(functional.layer_norm)
def layer_norm(call: Call) -> Any:
    """``y = x̂ ⊙ w + b``: the gradients are Σ_t (∂ℓ/∂y_t) ⊙ x̂_t and Σ_t ∂ℓ/∂y_t."""
    x, shape = call.args[0], call.argument(1, "normalized_shape")
    weight, bias = call.argument(2, "weight"), call.argument(3, "bias")
    if len(shape) != 1:
        return NotImplemented
    standard = functional.layer_norm(x, shape, None, None, call.argument(4, "eps", 1e-5))
    return _scaled(call, x, standard, weight, bias, -1)


@register_layer(functional.rms_norm)
def rms_norm(call: Call) -> Any:
    """As of `layer_norm`, without the mean and without a bias."""
    x, shape = call.args[0], call.argument(1, "normalized_shape")
    if len(shape) != 1:
        return NotImplemented
    standard = functional.rms_norm(x, shape, None, call.argument(3, "eps"))
    return _scaled(call, x, standard, call.argument(2, "weight"), None, -1)


@register_layer(functional.group_norm)
def group_norm(call: Call) -> Any:
    """As of `layer_norm`, by groups of channels."""
    x, n_groups = call.args[0], call.argument(1, "num_groups")
    weight, bias = call.argument(2, "weight"), call.argument(3, "bias")
    standard = functional.group_norm(x, n_groups, None, None, call.argument(4, "eps", 1e-5))
    return _scaled(call, x, standard, weight, bias, 1)


@register_layer(functional.batch_norm)
def batch_norm(call: Call) -> Any:
    """As of `layer_norm`, with the means and variances that training has seen."""
    x, mean, variance = (
        call.args[0],
        call.argument(1, "running_mean"),
        call.argument(2, "running_var"),
    )
    weight, bias = call.argument(3, "weight"), call.argument(4, "bias")
    if call.argument(5, "training", False) or mean is None:
        return NotImplemented
    eps = call.argument(7, "eps", 1e-5)
    standard = functional.batch_norm(x, mean, variance, None, None, False, 0.0, eps)
    return _scaled(call, x, standard, weight, bias, 1)


def _scaled(call: Call, x: Tensor, standard: Tensor, weight: Any, bias: Any, dim: int) -> Any:
    """``x̂ ⊙ w + b`` along one dimension."""
    recorder = call.recorder
    of_weight, of_bias = recorder.view_of(weight), recorder.view_of(bias)
    if recorder.view_of(x) is not None or not recorder.is_batched(x):
        return NotImplemented
    shape = [1] * x.dim()
    shape[dim] = x.shape[dim]
    y = standard if weight is None else standard * weight.view(shape)
    y = y if bias is None else y + bias.view(shape)
    inputs, owners = standard.detach(), recorder.said_owners(x)

    def build(grad: Tensor) -> list[Piece]:
        def sums(values: Tensor) -> Tensor:
            by_place = recorder.by_example(values.movedim(dim, -1), owners=owners)
            return by_place.sum(1).unsqueeze(2)

        pieces: list[Piece] = []
        if of_weight is not None:
            pieces.append(Dense((of_weight.name,), sums(grad * inputs)))
        if of_bias is not None:
            pieces.append(Dense((of_bias.name,), sums(grad)))
        return pieces

    return recorder.tap(y, build)
