"""Single steps of recurrent layers: two products, and what follows from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, register_layer


def _shares(call: Call, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What the input and the state give to the gates, [B, ...] each."""
    w_in, w_state = call.args[2], call.args[3]
    b_in, b_state = call.argument(4, "b_ih"), call.argument(5, "b_hh")
    recorder = call.recorder
    if not recorder.is_batched(h):
        h = recorder.batched(h, like=x)
    return (
        recorder.call(functional.linear, x, w_in, b_in),
        recorder.call(functional.linear, h, w_state, b_state),
    )


@register_layer(torch.gru_cell)
def gru_cell(call: Call) -> Any:
    """A step of a GRU."""
    x, h = call.args[:2]
    of_input, of_state = (part.chunk(3, 1) for part in _shares(call, x, h))
    r = torch.sigmoid(of_input[0] + of_state[0])
    z = torch.sigmoid(of_input[1] + of_state[1])
    new = torch.tanh(of_input[2] + r * of_state[2])
    return new + z * (h - new)


@register_layer(torch.lstm_cell)
def lstm_cell(call: Call) -> Any:
    """A step of an LSTM."""
    x, (h, c) = call.args[:2]
    of_input, of_state = _shares(call, x, h)
    i, f, g, o = (of_input + of_state).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@register_layer(torch.rnn_tanh_cell, torch.rnn_relu_cell)
def rnn_cell(call: Call) -> Any:
    """A step of a plain recurrent layer."""
    x, h = call.args[:2]
    of_input, of_state = _shares(call, x, h)
    activation = torch.tanh if call.function is torch.rnn_tanh_cell else torch.relu
    return activation(of_input + of_state)
