"""Convolutions: linear layers of the patches that a kernel sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, register_layer
from whence.influence.pieces import Outer, Piece, as_matrix


@register_layer(torch.conv1d, torch.conv2d)
def convolution(call: Call) -> Any:
    """Σ_p (∂ℓ/∂y_p) ⊗ [x around p, 1] over the places p, group by group."""
    x, weight, bias = call.args[0], call.argument(1, "weight"), call.argument(2, "bias")
    n_dims = weight.dim() - 2
    stride = _sizes(call.argument(3, "stride", 1), n_dims)
    padding = call.argument(4, "padding", 0)
    dilation = _sizes(call.argument(5, "dilation", 1), n_dims)
    groups = call.argument(6, "groups", 1)
    recorder = call.recorder
    of_weight, of_bias = recorder.view_of(weight), recorder.view_of(bias)
    if recorder.view_of(x) is not None or x.dim() != n_dims + 2 or not recorder.is_batched(x):
        return NotImplemented
    if of_weight is not None and of_weight.rows != (0, len(weight)):
        return NotImplemented
    kernel = list(weight.shape[2:])
    before, after = _around(padding, kernel, dilation)
    y = call.function(x, weight, bias, stride, padding, dilation, groups)
    inputs, owners = x.detach(), recorder.said_owners(x)

    def build(grad: Tensor) -> list[Piece]:
        outputs = recorder.by_example(grad.flatten(2).transpose(1, 2), owners=owners)
        pieces: list[Piece] = []
        if of_bias is not None:
            pieces.append(Outer((of_bias.name,), outputs, (None,), of_bias.start))
        if of_weight is None:
            return pieces
        patches = _patches(inputs, kernel, stride, before, after, dilation)
        patches = recorder.by_example(patches, owners=owners)
        rows, columns = len(weight) // groups, as_matrix(weight).shape[1]
        for group in range(groups):
            left = outputs[:, :, group * rows : (group + 1) * rows]
            right = patches[:, :, group * columns : (group + 1) * columns]
            pieces.append(Outer((of_weight.name,), left, (right,), group * rows))
        return pieces

    return recorder.tap(y, build)


def _sizes(value: Any, n_dims: int) -> list[int]:
    return [value] * n_dims if isinstance(value, int) else list(value) * (n_dims // len(value))


def _around(padding: Any, kernel: list[int], dilation: list[int]) -> tuple[list[int], list[int]]:
    """Zeros before and after each dimension."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [step * (size - 1) for size, step in zip(kernel, dilation)]
        return [total // 2 for total in totals], [total - total // 2 for total in totals]
    sizes = _sizes(padding, len(kernel))
    return sizes, sizes


def _patches(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    before: list[int],
    after: list[int],
    dilation: list[int],
) -> Tensor:
    """What the kernel sees at each place, [B, places, channels * kernel]."""
    around = [size for pair in zip(reversed(before), reversed(after)) for size in pair]
    x = functional.pad(x, around)
    if len(kernel) == 1:
        x, kernel = x.unsqueeze(2), [1, *kernel]
        stride, dilation = [1, *stride], [1, *dilation]
    sizes = tuple(kernel), tuple(dilation), 0, tuple(stride)
    return functional.unfold(x, *sizes).transpose(1, 2)
