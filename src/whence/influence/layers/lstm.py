"""LSTM layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from whence import _native as kernels
from whence.influence.layers.recurrent import States, stacked
from whence.influence.layers.registry import Call, Recorder, register_layer
from whence.influence.pieces import Piece, by_time

_LARGEST_TABLE = 1 << 24
"""Numbers in the products of all rows of an embedding."""


@register_layer(torch.lstm, anywhere=True)
def lstm(call: Call) -> Any:
    """Σ_t D_t ⊗ [x_t, h_{t-1}, 1, 1], D_t being the gradient of the gates' inputs."""
    batch_first = call.args[-1] is True

    def layer(
        recorder: Recorder,
        x: Tensor,
        state: States,
        weights: list[Tensor],
        owners: Tensor | None,
        first: bool,
    ) -> States:
        lookup = _from_table(recorder, call.args[0], weights, batch_first) if first else None
        return _layer(recorder, x, state, weights, owners, lookup)

    return stacked(call, layer)


Lookup = tuple[Tensor, Tensor]
"""Numbers of the inputs [T, B], and what each row of their table gives to the gates [rows, 4H]."""


def _from_table(
    recorder: Recorder, x: Tensor, weights: list[Tensor], batch_first: bool
) -> Lookup | None:
    """Products of all possible inputs, where these are rows of an embedding."""
    w_in, _, *biases = weights
    found, name = recorder.looked_up(x), recorder.whole(w_in)
    if found is None or name is None or found[0].dim() != 2:
        return None
    numbers, table = found[0], recorder.parameter(found[1]).detach()
    if len(table) * len(w_in) > _LARGEST_TABLE:
        return None
    products = recorder.table(
        ("lstm", found[1], name), lambda: torch.addmm(_sum(biases, w_in), table, w_in.detach().T)
    )
    if products is None:
        return None
    return (numbers.T if batch_first else numbers).contiguous(), products


def _sum(biases: Sequence[Tensor], weight: Tensor) -> Tensor:
    return torch.stack(list(biases)).sum(0) if biases else weight.new_zeros(1)


def _layer(
    recorder: Recorder,
    x: Tensor,
    state: States,
    weights: list[Tensor],
    owners: Tensor | None,
    lookup: Lookup | None,
) -> States:
    """Outputs and cells [T, B, H] of one layer."""
    h0, c0 = state
    steps = x.detach().contiguous()

    def build(grad: Tensor) -> list[Piece]:
        before = torch.cat([h0.detach().unsqueeze(0), out.detach()[:-1]])
        views = [recorder.view_of(weight) for weight in weights]
        return by_time(recorder, grad, views, [steps, before, None, None], owners)

    # Adding nothing to the inputs of the gates gives their gradient a name.
    nothing = x.new_zeros(1).expand(*x.shape[:2], weights[0].shape[0])
    nothing = recorder.tap(nothing, build)
    out, cells = _Recurrence.apply(  # type: ignore[no-untyped-call]
        x, steps, lookup, nothing, h0, c0, *weights
    )
    return out, cells


class _Recurrence(torch.autograd.Function):
    """The steps of an LSTM, forward and back, without the gradients of its weights."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        steps: Tensor,
        lookup: Lookup | None,
        nothing: Tensor,
        h0: Tensor,
        c0: Tensor,
        w_in: Tensor,
        w_state: Tensor,
        *biases: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Outputs and cells [T, B, H] for inputs [T, B, D].

        `steps` are the inputs by place in memory, without a gradient; with a lookup, their
        products with the weights are known.
        """
        n_steps, n, width = *x.shape[:2], w_state.shape[1]
        bias = _sum(biases, w_in)
        gates = x.new_empty(n_steps, n, 4 * width)
        cells = x.new_empty(n_steps + 1, n, width)
        squashed, out = x.new_empty(n_steps, n, width), x.new_empty(n_steps, n, width)
        cells[0] = c0
        h = h0
        for step in range(n_steps):
            # Both products step by step, while the gates are in the processor's cache.
            gate = gates[step]
            if lookup is None:
                torch.addmm(bias, steps[step], w_in.T, out=gate)
            else:
                torch.index_select(lookup[1], 0, lookup[0][step], out=gate)
            gate.addmm_(h, w_state.T)
            i, f, g, o = torch.split(gate, width, 1)
            gate[:, : 2 * width].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            cell = torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
            h = torch.mul(o, torch.tanh(cell, out=squashed[step]), out=out[step])
        ctx.kept = gates, cells, squashed, w_in, w_state
        ctx.set_materialize_grads(False)
        return out, cells[1:].detach()

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor | None, grad_cells: Tensor | None) -> Any:
        """Gradients of the inputs [T, B, D] and of the gates' inputs [T, B, 4H]."""
        gates, cells, squashed, w_in, w_state = ctx.kept
        grad_out = torch.zeros_like(squashed) if grad_out is None else grad_out.contiguous()
        grads = torch.empty_like(gates)
        dc = torch.zeros_like(cells[0])
        dh = grad_out[-1].clone()
        given, before, after, written = (t.numpy() for t in (gates, cells, squashed, grads))
        for step in reversed(range(len(gates))):
            if step + 1 < len(gates):
                torch.addmm(grad_out[step], grads[step + 1], w_state, out=dh)
            if grad_cells is not None:
                dc += grad_cells[step]
            kernels.lstm_step_back(
                given[step], before[step], after[step], dh.numpy(), dc.numpy(), written[step]
            )
        dx = (grads.view(-1, grads.shape[2]) @ w_in).view(*grads.shape[:2], -1)
        return dx, None, None, grads, *(None,) * 6
