"""LSTM layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whence.influence import _kernels as kernels
from whence.influence.layers.registry import Call, register_layer
from whence.influence.pieces import Outer, Piece


@register_layer(torch.lstm)
def lstm(call: Call) -> Any:
    """Σ_t D_t ⊗ [x_t, h_{t-1}, 1, 1] with the gradients D_t of the gates before they are squashed.

    Packed sequences, projections and two directions are not known here.
    """
    if len(call.args) != 9 or call.kwargs:
        return NotImplemented
    x, states, weights, has_bias, n_layers, _, training, both_ways, batch_first = call.args
    usual = isinstance(weights, (list, tuple)) and isinstance(states, (list, tuple))
    if not usual or training or both_ways or len(weights) != n_layers * (4 if has_bias else 2):
        return NotImplemented
    recorder = call.recorder
    h0, c0 = states
    x = x.transpose(0, 1) if batch_first else x
    per_layer = 4 if has_bias else 2
    last_h, last_c = [], []
    for layer in range(n_layers):
        given = list(weights[layer * per_layer : (layer + 1) * per_layer])
        views = [recorder.view_of(weight) for weight in given]
        # Adding nothing to the gates gives their gradients a name.
        nothing = x.new_zeros(1).expand(*x.shape[:2], given[0].shape[0])
        nothing = recorder.tap(nothing, lambda grad: build(grad))
        inputs = x.detach()
        out, cell = _Recurrence.apply(x, nothing, h0[layer], c0[layer], *given)  # type: ignore[no-untyped-call]
        before = torch.cat([h0[layer : layer + 1], out.detach()[:-1]])
        rights = [inputs, before, None, None]
        kept = [(view.name, right) for view, right in zip(views, rights) if view is not None]

        def build(grad: Tensor, kept: list[Any] = kept) -> list[Piece]:
            if not kept:
                return []
            key = tuple(name for name, _ in kept)
            parts = tuple(None if part is None else part.transpose(0, 1) for _, part in kept)
            return [Outer(key, grad.transpose(0, 1), parts)]

        recorder.replace(nothing, build)
        last_h.append(out[-1])
        last_c.append(cell)
        x = out
    output = x.transpose(0, 1) if batch_first else x
    return output, torch.stack(last_h), torch.stack(last_c)
