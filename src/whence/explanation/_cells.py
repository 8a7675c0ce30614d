"""Recurrent networks one step at a time, in the form that enumeration needs.

A state is one row of a matrix, so that rows can be gathered, doubled and written in place. The
product of an item's embedding with the input matrix is made once per token, and the product of the
hidden state with the recurrent matrix is shared by the two children of a state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.errors import UnsupportedError

IntArray = npt.NDArray[np.int64]
Head = tuple[Tensor, Tensor]


class Cell(ABC):
    """One step of a recurrent network.

    Attributes
    ----------
    width : int
        Numbers in a state.
    device : torch.device
    """

    width: int
    device: torch.device

    @abstractmethod
    def tokens(self, tokens: IntArray) -> Any:
        """What `combine` takes for these tokens, one entry per token."""

    @abstractmethod
    def initial(self, n: int) -> Tensor:
        """States before the first event, [n, width]."""

    @abstractmethod
    def hidden(self, states: Tensor) -> Any:
        """What the children of states [N, width] share; rows can be chosen by `rows`."""

    @abstractmethod
    def combine(self, states: Tensor, hidden: Any, token: Any, out: Tensor | None = None) -> Tensor:
        """States [N, width] after a token; `out` may be `states` itself."""

    @abstractmethod
    def scores(self, states: Tensor, head: Any) -> Tensor:
        """Scores [N, n] of states [N, width] by a head that `head` gave."""

    @abstractmethod
    def head(self, items: IntArray | None) -> Any:
        """What `scores` needs for some items, or for all (None)."""

    def rows(self, hidden: Any, index: Tensor) -> Any:
        """Rows of what `hidden` gave."""
        return [part.index_select(0, index) for part in hidden]

    def step(self, states: Tensor, token: Any, out: Tensor | None = None) -> Tensor:
        """States [N, width] after a token."""
        return self.combine(states, self.hidden(states), token, out)


class TorchCell(Cell):
    """Layers of ``nn.GRU`` or ``nn.LSTM`` between embeddings and an affine layer over items.

    Parameters
    ----------
    embed : callable
        From tokens, int64 [n], to their embeddings, Tensor [n, E].
    network : nn.GRU or nn.LSTM
    affine : callable
        From items (None: all) to the weights [H, n] and bias [n] of their scores.
    """

    parts = 1

    def __init__(
        self,
        embed: Callable[[IntArray], Tensor],
        network: nn.RNNBase,
        affine: Callable[[IntArray | None], Head],
    ) -> None:
        self._embed, self._affine = embed, affine
        self.size = network.hidden_size
        self.layers = [_Layer(network, number) for number in range(network.num_layers)]
        self.width = self.size * network.num_layers * self.parts
        self.device = self.layers[0].recurrent.device

    def tokens(self, tokens: IntArray) -> Tensor:
        """Input products of tokens, [n, gates]."""
        return self.of_inputs(self._embed(tokens))

    def of_inputs(self, inputs: Tensor) -> Tensor:
        """Input products of inputs [n, E], [n, gates]."""
        return self.layers[0].project(inputs)

    def initial(self, n: int) -> Tensor:
        """Zeros [n, width]."""
        return self.layers[0].recurrent.new_zeros(n, self.width)

    def hidden(self, states: Tensor) -> list[Tensor]:
        """Product of the hidden state of each layer with its recurrent matrix."""
        return [
            torch.mm(self._part(states, number), layer.recurrent)
            for number, layer in enumerate(self.layers)
        ]

    def combine(
        self, states: Tensor, hidden: list[Tensor], token: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """States after a token [gates]; leaves `hidden` as it is."""
        out = torch.empty_like(states) if out is None else out
        inputs = token
        for number, layer in enumerate(self.layers):
            if number:
                inputs = layer.project(self._part(out, number - 1))
            self._gates(number, states, hidden[number], inputs, layer, out)
        return out

    @abstractmethod
    def _gates(
        self,
        number: int,
        states: Tensor,
        hidden: Tensor,
        inputs: Tensor,
        layer: _Layer,
        out: Tensor,
    ) -> None:
        """Write the new state of a layer into `out`, which may be `states` itself."""

    def _part(self, states: Tensor, number: int) -> Tensor:
        start = number * self.parts * self.size
        return states[:, start : start + self.size]

    def head(self, items: IntArray | None) -> Head:
        """Weights [H, n] and bias [n]."""
        return self._affine(items)

    def scores(self, states: Tensor, head: Head) -> Tensor:
        """Scores [N, n]."""
        top = self._part(states, len(self.layers) - 1)
        return torch.addmm(head[1], top, head[0])


class GRUCell(TorchCell):
    """Gated recurrent units, gates in torch's order: reset, update, new."""

    def _gates(
        self,
        number: int,
        states: Tensor,
        hidden: Tensor,
        inputs: Tensor,
        layer: _Layer,
        out: Tensor,
    ) -> None:
        size = self.size
        gates = (hidden[:, : 2 * size] + inputs[..., : 2 * size]).sigmoid_()
        new = hidden[:, 2 * size :]
        new = (
            new * gates[:, :size]
            if layer.new_bias is None
            else (new + layer.new_bias).mul_(gates[:, :size])
        )
        _tanh_of_half_(new.add_(inputs[..., 2 * size :]))
        torch.lerp(new, self._part(states, number), gates[:, size:], out=self._part(out, number))


class LSTMCell(TorchCell):
    """Long short-term memory, gates in torch's order: input, forget, cell, output."""

    parts = 2

    def _gates(
        self,
        number: int,
        states: Tensor,
        hidden: Tensor,
        inputs: Tensor,
        layer: _Layer,
        out: Tensor,
    ) -> None:
        size = self.size
        start = number * 2 * size
        gates = hidden + inputs
        opening = gates[:, : 2 * size].sigmoid_()
        new = _tanh_of_half_(gates[:, 2 * size : 3 * size])
        exposed = gates[:, 3 * size :].sigmoid_()
        memory = torch.mul(states[:, start + size : start + 2 * size], opening[:, size:])
        memory.addcmul_(opening[:, :size], new)
        out[:, start + size : start + 2 * size] = memory
        torch.mul(_tanh_of_half_(memory.mul_(2)), exposed, out=out[:, start : start + size])


def _tanh_of_half_(x: Tensor) -> Tensor:
    """Hyperbolic tangent of half of x, in place; by the logistic function, which is far faster."""
    return x.sigmoid_().mul_(2).sub_(1)


class _Layer:
    """Matrices of one layer, transposed; biases that only add go with the input.

    What the hyperbolic tangent is taken of is doubled.
    """

    def __init__(self, network: nn.RNNBase, number: int) -> None:
        def parameter(name: str) -> Tensor:
            found: Tensor = getattr(network, f"{name}_l{number}").detach()
            return found

        self.input = _transposed(parameter("weight_ih"))
        self.recurrent = _transposed(parameter("weight_hh"))
        self.bias: Tensor | None = None
        self.new_bias: Tensor | None = None
        if network.bias:
            hidden = parameter("bias_hh")
            self.bias = parameter("bias_ih") + hidden
            if isinstance(network, nn.GRU):  # the reset gate scales this part of the hidden bias
                size = network.hidden_size
                self.new_bias = hidden[2 * size :]
                self.bias = parameter("bias_ih").clone()
                self.bias[: 2 * size] += hidden[: 2 * size]
        for part in (self.input, self.recurrent, self.bias):
            if part is not None:
                new = slice(2 * network.hidden_size, 3 * network.hidden_size)
                part[..., new] *= 2
        if self.new_bias is not None:
            self.new_bias = 2 * self.new_bias

    def project(self, rows: Tensor) -> Tensor:
        """Product of inputs [N, E] with the input matrix, and bias."""
        if self.bias is None:
            return torch.mm(rows, self.input)
        return torch.addmm(self.bias, rows, self.input)


def _transposed(matrix: Tensor) -> Tensor:
    return matrix.T.clone(memory_format=torch.contiguous_format)


class ProtocolCell(Cell):
    """A recurrent model of somebody else: ``initial_state``, ``step`` and ``scores_from_state``.

    Its states, tensors or arrays [N, …] or tuples of them, are kept as rows of one matrix.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        state = model.initial_state(1)
        first = _as_tuple(state)
        self._shapes = [tuple(part.shape[1:]) for part in first]
        self._torch = [isinstance(part, Tensor) for part in first]
        self._sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self._shapes]
        self._tuple = isinstance(state, (tuple, list))
        self.width = sum(self._sizes)
        self._dtype = torch.as_tensor(first[0]).dtype
        self.device = torch.device("cpu")

    def tokens(self, tokens: IntArray) -> Any:
        """Events themselves are the tokens."""
        return tokens

    def initial(self, n: int) -> Tensor:
        """States of the model before the first event."""
        return self._rows(self.model.initial_state(n))

    def hidden(self, states: Tensor) -> Any:
        """Nothing is shared."""
        return []

    def combine(self, states: Tensor, hidden: Any, token: Any, out: Tensor | None = None) -> Tensor:
        """Ask the model for a step."""
        new = self._rows(self.model.step(self._state(states), [token] * len(states)))
        if out is None:
            return new
        return out.copy_(new)

    def head(self, items: IntArray | None) -> IntArray | None:
        """The items."""
        return items

    def scores(self, states: Tensor, head: IntArray | None) -> Tensor:
        """Ask the model for scores."""
        found = torch.as_tensor(self.model.scores_from_state(self._state(states)))
        return found if head is None else found[:, torch.from_numpy(head)]

    def _rows(self, state: Any) -> Tensor:
        parts = [torch.as_tensor(part).detach().cpu() for part in _as_tuple(state)]
        return torch.cat([part.reshape(len(part), -1).to(self._dtype) for part in parts], dim=1)

    def _state(self, rows: Tensor) -> Any:
        parts: list[Any] = []
        for part, shape, is_torch in zip(
            torch.split(rows, self._sizes, dim=1), self._shapes, self._torch
        ):
            part = part.reshape(len(rows), *shape)
            parts.append(part if is_torch else part.numpy())
        return tuple(parts) if self._tuple else parts[0]


def _as_tuple(state: Any) -> Sequence[Any]:
    parts = tuple(state) if isinstance(state, (tuple, list)) else (state,)
    if not all(hasattr(part, "shape") and len(part.shape) >= 1 for part in parts):
        raise UnsupportedError(
            "initial_state(n) and step(state, items) must give an array or tensor with one row "
            f"per history, or a tuple of such, not {type(state).__name__}; change them, or leave "
            "them out and offer scores(histories) alone."
        )
    return parts
