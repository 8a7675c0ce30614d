"""Derivatives of the losses of examples along one vector, by forward-mode differentiation.

With dual numbers for the parameters, one pass forward gives ∇ℓ(z) · v for all examples of a batch
at once, whatever the module is made of, and nothing has to be kept for a pass back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad as _forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from whence import _native as kernels
from whence.engines import Shared
from whence.influence.capture import Batch
from whence.influence.checkpoints import State

forward_ad: Any = _forward_ad  # its functions have no types
# torch has one level of dual numbers at a time for all threads.
_level = Shared(lambda: forward_ad.enter_dual_level(), lambda: forward_ad.exit_dual_level())
_LARGEST_TABLE = 1 << 24
"""Numbers in the products of all rows of an embedding."""

Tables = dict[tuple[int, ...], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Direction:
    """A vector over parameters, along which many batches are differentiated.

    Attributes
    ----------
    vectors : mapping of str to Tensor
        By name of the parameter, in its shape.
    tables : dict
        What does not depend on the batch, kept once it was computed.
    """

    vectors: Mapping[str, Tensor]
    tables: Tables = field(default_factory=dict)


def along(
    state: State,
    batch: Batch,
    direction: Direction,
    losses_of: Callable[[Batch], Tensor] | None = None,
) -> Tensor:
    """Derivative of each example's loss along a vector over parameters, [n].

    Parameters
    ----------
    state : State
    batch : dict of str to Tensor
    direction : Direction
        Of this state alone.
    losses_of : callable, optional
        Other losses of a batch than one for each example.
    """
    with torch.no_grad(), _level:
        duals = {}
        for name, vector in direction.vectors.items():
            parameter = state.module.get_parameter(name)
            duals[id(parameter)] = forward_ad.make_dual(parameter.detach(), vector)
        own = {parameter.data_ptr() for parameter in state.module.parameters()}
        with _Dual(duals, own, direction.tables):
            losses = (losses_of or state.model.example_loss)(batch)
        tangent = forward_ad.unpack_dual(losses).tangent
        return torch.zeros_like(losses) if tangent is None else tangent.clone()


class _Dual(TorchFunctionMode):
    """Gives every function dual numbers in place of the parameters."""

    def __init__(self, duals: dict[int, Tensor], own: set[int], tables: Tables) -> None:
        super().__init__()
        self._duals = duals
        self._own = own
        self._tables = tables
        self._lookups: dict[int, _Lookup] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a torch function, LSTM layers by steps of their own."""
        args = self._replaced(args)
        kwargs = {name: self._replaced(value) for name, value in (kwargs or {}).items()}
        if func is torch.lstm and len(args) == 9 and not args[6] and not args[7]:
            lookup = self._lookups.get(id(args[0])) if _address(args[2][0]) in self._own else None
            return _lstm(lookup, self._tables, *args)
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func is functional.embedding:
            found = _Lookup.make(*args, **kwargs)
            renormed = kwargs.get("max_norm", args[3] if len(args) > 3 else None) is not None
            if _address(found.weight) in self._own and not renormed:
                # What is made or changed for every batch has no place among what is kept.
                self._lookups[id(found.rows)] = found
            return found.rows
        return func(*args, **kwargs)

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._duals.get(id(value), value)
        if type(value) in (list, tuple):
            return type(value)(self._replaced(part) for part in value)
        return value


@dataclass(frozen=True)
class _Lookup:
    """Rows of a table: their numbers [B, T], the table, and the rows themselves [B, T, D]."""

    numbers: Tensor
    weight: Tensor
    padding: int | None
    rows: Tensor

    @classmethod
    def make(
        cls,
        input: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> _Lookup:
        """Look up; as in a pass back, the row of padding is a constant."""
        rows = functional.embedding(input, weight, padding_idx, *args, **kwargs)
        if padding_idx is None:
            return cls(input, weight, None, rows)
        padding = padding_idx % len(weight)
        value, derivative = _parts(rows)
        is_padding = (input == padding).unsqueeze(-1)
        dual: Tensor = forward_ad.make_dual(value, derivative.masked_fill(is_padding, 0.0))
        return cls(input, weight, padding, dual)

    def has_small_table(self, w_in: Tensor) -> bool:
        """Whether the products of all rows with the weights [4H, D] of a layer fit into memory."""
        return self.numbers.dim() == 2 and len(self.weight) * len(w_in) <= _LARGEST_TABLE


def _lstm(lookup: _Lookup | None, tables: Tables, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `torch.lstm` does with its arguments, without dropout and in one direction."""
    x, states, weights, has_bias, n_layers, _dropout, _training, _both_ways, batch_first = args
    per_layer = 4 if has_bias else 2
    last_h, last_c = [], []
    steps = x.transpose(0, 1) if batch_first else x
    for layer in range(n_layers):
        w_in, w_state, *biases = weights[layer * per_layer : (layer + 1) * per_layer]
        if layer == 0 and lookup is not None and lookup.has_small_table(w_in):
            write = _from_table(lookup, w_in, biases, tables, batch_first)
        else:
            write = _from_products(steps, w_in, biases)
        state = states[0][layer], states[1][layer]
        steps, cell = _layer(write, len(steps), state, w_state)
        last_h.append(steps[-1])
        last_c.append(cell)
    output = steps.transpose(0, 1) if batch_first else steps
    return output, torch.stack(last_h), torch.stack(last_c)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention step by step: the function of torch has no derivative in forward mode."""
    if enable_gqa or dropout_p:
        raise NotImplementedError
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        is_flags = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if is_flags else scores + attn_mask
    return torch.softmax(scores, -1) @ value


Write = Callable[[int, Tensor], None]
"""Puts what the inputs of a step give to the gates into [2n, 4H], values above derivatives."""


def _from_products(x: Tensor, w_in: Tensor, biases: list[Tensor]) -> Write:
    """Products of the inputs [T, n, D] with their weights [4H, D]."""
    weight, weight_along = _parts(w_in)
    n, inputs = x.shape[1], torch.cat(_parts(x), 1)
    bias = torch.stack(_bias(weight, biases)).unsqueeze(1)
    bias = bias.expand(2, n, len(weight)).reshape(2 * n, len(weight))

    def write(step: int, gates: Tensor) -> None:
        torch.addmm(bias, inputs[step], weight.T, out=gates)
        gates[n:].addmm_(inputs[step][:n], weight_along.T)

    return write


def _from_table(
    lookup: _Lookup, w_in: Tensor, biases: list[Tensor], tables: Tables, batch_first: bool
) -> Write:
    """The same for rows of an embedding: all of its rows are multiplied once for all batches."""
    weight, weight_along = _parts(w_in)
    rows, rows_along = _parts(lookup.weight)
    key = _address(lookup.weight), *rows.shape, _address(w_in)
    if key not in tables:
        if lookup.padding is not None:
            rows_along = rows_along.clone()
            rows_along[lookup.padding] = 0.0
        bias, bias_along = _bias(weight, biases)
        along = torch.addmm(bias_along, rows_along, weight.T).addmm_(rows, weight_along.T)
        tables[key] = torch.addmm(bias, rows, weight.T), along
    values, derivatives = tables[key]
    numbers = (lookup.numbers.T if batch_first else lookup.numbers).contiguous()
    n = numbers.shape[1]

    def write(step: int, gates: Tensor) -> None:
        torch.index_select(values, 0, numbers[step], out=gates[:n])
        torch.index_select(derivatives, 0, numbers[step], out=gates[n:])

    return write


def _bias(weight: Tensor, biases: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Sum of the biases [4H], and its derivative."""
    parts = [_parts(bias) for bias in biases]
    nothing = weight.new_zeros(len(weight))
    return (
        sum((value for value, _ in parts), nothing),
        sum((derivative for _, derivative in parts), nothing),
    )


def _layer(
    write: Write, n_steps: int, state: tuple[Tensor, Tensor], w_state: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs [T, B, H] and last cell [B, H] of one layer, as dual numbers.

    Values and derivatives lie one below the other, so that they share products.
    """
    weight, weight_along = _parts(w_state)
    h = torch.cat(_parts(state[0]))
    cell, cell_along = (part.clone() for part in _parts(state[1]))
    n, width = cell.shape
    gates = cell.new_empty(2 * n, 4 * width)
    out = cell.new_empty(n_steps, 2 * n, width)
    squashed = torch.empty_like(cell)
    gate, gate_along = gates[:n], gates[n:]
    i, f, g, o = torch.split(gate, width, 1)
    for step in range(n_steps):
        write(step, gates)
        gates.addmm_(h, weight.T)
        gate_along.addmm_(h[:n], weight_along.T)
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
    outputs = forward_ad.make_dual(out[:, :n], out[:, n:])
    return outputs, forward_ad.make_dual(cell, cell_along)


def _address(tensor: Tensor) -> int:
    """Of the values in memory."""
    return int(_parts(tensor)[0].data_ptr())


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Value and derivative."""
    value, derivative = forward_ad.unpack_dual(tensor)
    return value, torch.zeros_like(value) if derivative is None else derivative
