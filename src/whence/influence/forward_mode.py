"""Derivatives of the losses of examples along one vector, by forward-mode differentiation.

With dual numbers for the parameters, one pass forward gives ∇ℓ(z) · v for all examples of a batch
at once, whatever the module is made of, and nothing has to be kept for a pass back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad as _forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from whence.influence import _kernels as kernels
from whence.influence.capture import Batch
from whence.influence.checkpoints import State

forward_ad: Any = _forward_ad  # its functions have no types
_lock = threading.Lock()
_inside = 0


def along(state: State, batch: Batch, direction: Mapping[str, Tensor]) -> Tensor:
    """Derivative of each example's loss along a vector over parameters, [n].

    Parameters
    ----------
    state : State
    batch : dict of str to Tensor
    direction : mapping of str to Tensor
        By name of the parameter, in its shape.
    """
    with torch.no_grad(), _level():
        duals = {}
        for name, vector in direction.items():
            parameter = state.module.get_parameter(name)
            duals[id(parameter)] = forward_ad.make_dual(parameter.detach(), vector)
        with _Dual(duals):
            losses = state.model.example_loss(batch)
        tangent = forward_ad.unpack_dual(losses).tangent
        return torch.zeros_like(losses) if tangent is None else tangent.clone()


@contextmanager
def _level() -> Iterator[None]:
    """A level of dual numbers; torch has one at a time for all threads, which they share."""
    global _inside
    with _lock:
        if _inside == 0:
            forward_ad.enter_dual_level()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                forward_ad.exit_dual_level()


class _Dual(TorchFunctionMode):
    """Gives every function dual numbers in place of the parameters."""

    def __init__(self, duals: dict[int, Tensor]) -> None:
        super().__init__()
        self._duals = duals

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a torch function, LSTM layers by steps of their own."""
        args = self._replaced(args)
        kwargs = {name: self._replaced(value) for name, value in (kwargs or {}).items()}
        if func is torch.lstm and len(args) == 9 and not args[6] and not args[7]:
            return _lstm(*args)
        if func is functional.embedding:
            return _embedding(*args, **kwargs)
        return func(*args, **kwargs)

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._duals.get(id(value), value)
        if type(value) in (list, tuple):
            return type(value)(self._replaced(part) for part in value)
        return value


def _embedding(
    numbers: Tensor, weight: Tensor, padding_idx: int | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Rows of a table; as in a pass back, that of padding is a constant."""
    rows = functional.embedding(numbers, weight, padding_idx, *args, **kwargs)
    if padding_idx is None:
        return rows
    value, derivative = _parts(rows)
    is_padding = (numbers == padding_idx % len(weight)).unsqueeze(-1)
    dual: Tensor = forward_ad.make_dual(value, derivative.masked_fill(is_padding, 0.0))
    return dual


def _lstm(
    x: Tensor,
    states: tuple[Tensor, Tensor],
    weights: list[Tensor],
    has_bias: bool,
    n_layers: int,
    _dropout: float,
    _training: bool,
    _both_ways: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x = x.transpose(0, 1) if batch_first else x
    per_layer = 4 if has_bias else 2
    last_h, last_c = [], []
    for layer in range(n_layers):
        given = weights[layer * per_layer : (layer + 1) * per_layer]
        x, cell = _layer(x, states[0][layer], states[1][layer], given)
        last_h.append(x[-1])
        last_c.append(cell)
    output = x.transpose(0, 1) if batch_first else x
    return output, torch.stack(last_h), torch.stack(last_c)


def _layer(x: Tensor, h0: Tensor, c0: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Outputs [T, B, H] and last cell [B, H] of one layer, as dual numbers.

    Values and derivatives lie one below the other, so that they share products.
    """
    (w_in, v_in), (w_state, v_state), *biases = (_parts(weight) for weight in weights)
    weight, weight_along = torch.cat([w_in, w_state], 1).T, torch.cat([v_in, v_state], 1).T
    steps, n, width = len(x), x.shape[1], w_state.shape[1]
    inputs = torch.cat(_parts(x), 1)
    gates = x.new_empty(2 * n, 4 * width)
    bias = gates.new_zeros(2, 1, 4 * width)
    for value, derivative in biases:
        bias += torch.stack([value, derivative]).unsqueeze(1)
    bias = bias.expand(2, n, 4 * width).reshape(2 * n, 4 * width)
    out = x.new_empty(steps, 2 * n, width)
    cell, cell_along = (part.clone() for part in _parts(c0))
    squashed = torch.empty_like(cell)
    h = torch.cat(_parts(h0))
    for step in range(steps):
        before = torch.cat([inputs[step], h], 1)
        torch.addmm(bias, before, weight, out=gates)
        gate, gate_along = gates[:n], gates[n:]
        gate_along.addmm_(before[:n], weight_along)
        i, f, g, o = torch.split(gate, width, 1)
        gate[:, : 2 * width].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        kernels.lstm_cell_along(gate.numpy(), gate_along.numpy(), cell.numpy(), cell_along.numpy())
        cell.mul_(f).addcmul_(i, g)
        h = out[step]
        torch.mul(o, torch.tanh(cell, out=squashed), out=h[:n])
        kernels.lstm_state_along(
            gate.numpy(), gate_along.numpy(), squashed.numpy(), cell_along.numpy(), h[n:].numpy()
        )
    state = forward_ad.make_dual(out[:, :n], out[:, n:])
    return state, forward_ad.make_dual(cell, cell_along)


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Value and derivative."""
    value, derivative = forward_ad.unpack_dual(tensor)
    return value, torch.zeros_like(value) if derivative is None else derivative
