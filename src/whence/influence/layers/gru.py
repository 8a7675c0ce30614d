"""GRU layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whence import _native as kernels
from whence.influence.layers.recurrent import States, stacked
from whence.influence.layers.registry import Call, Recorder, register_layer
from whence.influence.pieces import Piece, by_time


@register_layer(torch.gru, anywhere=True)
def gru(call: Call) -> Any:
    """Σ_t D_t ⊗ [x_t, 1] of the input's weights, and Σ_t D'_t ⊗ [h_{t-1}, 1] of the state's.

    D and D' differ in the new gate, where the reset gate is between them.
    """
    return stacked(call, _layer)


def _layer(
    recorder: Recorder,
    x: Tensor,
    state: States,
    weights: list[Tensor],
    owners: Tensor | None,
    first: bool,
) -> States:
    """Outputs [T, B, H] of one layer."""
    (h0,) = state
    views = [recorder.view_of(weight) for weight in weights]
    steps = x.detach().contiguous()

    def build_input(grad: Tensor) -> list[Piece]:
        return by_time(recorder, grad, views[0::2], [steps, None], owners)

    def build_state(grad: Tensor) -> list[Piece]:
        before = torch.cat([h0.detach().unsqueeze(0), out.detach()[:-1]])
        return by_time(recorder, grad, views[1::2], [before, None], owners)

    # Adding nothing to what comes from the input and from the state gives its gradient a name.
    nothing = x.new_zeros(1).expand(*x.shape[:2], weights[0].shape[0])
    of_input = recorder.tap(nothing, build_input)
    of_state = recorder.tap(nothing, build_state)
    out: Tensor = _Recurrence.apply(x, steps, of_input, of_state, h0, *weights)  # type: ignore[no-untyped-call]
    return (out,)


class _Recurrence(torch.autograd.Function):
    """The steps of a GRU, forward and back, without the gradients of its weights."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        steps: Tensor,
        of_input: Tensor,
        of_state: Tensor,
        h0: Tensor,
        w_in: Tensor,
        w_state: Tensor,
        b_in: Tensor | None = None,
        b_state: Tensor | None = None,
    ) -> Tensor:
        """Outputs [T, B, H] for inputs [T, B, D], which `steps` are by place in memory."""
        n_steps, n, width = *x.shape[:2], w_state.shape[1]
        bias = x.new_zeros(1) if b_in is None else b_in
        gates = torch.addmm(bias, steps.view(n_steps * n, -1), w_in.T).view(n_steps, n, 3 * width)
        shares, states = x.new_empty(n_steps, n, width), x.new_empty(n_steps + 1, n, width)
        states[0] = h0
        for step in range(n_steps):
            from_state = states[step] @ w_state.T
            if b_state is not None:
                from_state += b_state
            shares[step] = from_state[:, 2 * width :]
            r, z, new = torch.split(gates[step], width, 1)
            gates[step, :, : 2 * width].add_(from_state[:, : 2 * width]).sigmoid_()
            new.addcmul_(r, shares[step]).tanh_()
            torch.lerp(new, states[step], z, out=states[step + 1])
        ctx.kept = gates, shares, states, w_in, w_state
        return states[1:].clone()

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        """Gradients of the inputs [T, B, D], and of what came from input and state [T, B, 3H]."""
        gates, shares, states, w_in, w_state = ctx.kept
        grad_out = grad_out.contiguous()
        of_input, of_state = torch.empty_like(gates), torch.empty_like(gates)
        dh = torch.zeros_like(states[0])
        given, share, before = (tensor.numpy() for tensor in (gates, shares, states))
        to_input, to_state = of_input.numpy(), of_state.numpy()
        for step in reversed(range(len(gates))):
            if step + 1 < len(gates):
                dh.addmm_(of_state[step + 1], w_state)
            dh += grad_out[step]
            kernels.gru_step_back(
                given[step],
                share[step],
                before[step],
                dh.numpy(),
                to_input[step],
                to_state[step],
            )
        dx = (of_input.view(-1, of_input.shape[2]) @ w_in).view(*of_input.shape[:2], -1)
        return dx, None, of_input, of_state, *(None,) * 5
