"""What recurrent layers share: layers above layers, two directions, packed sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whence.influence.layers.axes import batched
from whence.influence.layers.registry import Call, Recorder, register_layer
from whence.influence.pieces import Piece, by_time

States = tuple[Tensor, ...]
Layer = Callable[[Recorder, Tensor, States, list[Tensor], Tensor | None, bool], States]
"""From inputs [T, B, D], first states [B, H], weights, the examples of the B sequences (None: in
their order), and whether it is the first, to all states [T, B, H], the outputs before others."""


@dataclass(frozen=True)
class _Sequences:
    """Sequences as a recurrent layer is given them.

    Attributes
    ----------
    sizes : int64 Tensor [T] or None
        Of packed sequences: how many go on at each step.
    batch_first : bool
    owners : int64 Tensor [B] or None
        Their examples, where these are not in order.
    """

    sizes: Tensor | None
    batch_first: bool
    owners: Tensor | None

    def by_step(self, x: Tensor) -> Tensor:
        """Inputs [T, B, D]."""
        if self.sizes is None:
            return x.transpose(0, 1) if self.batch_first else x
        starts = self.sizes.cumsum(0) - self.sizes
        place = starts.unsqueeze(1) + torch.arange(int(self.sizes[0]))
        # What is beyond the end of a sequence changes nothing before.
        return x[torch.where(self._inside, place, 0)]

    def given_back(self, out: Tensor) -> Tensor:
        """Outputs as they are expected."""
        if self.sizes is None:
            return out.transpose(0, 1) if self.batch_first else out
        return out[self._inside]

    def turned(self, x: Tensor) -> Tensor:
        """Each sequence from its end to its beginning."""
        if self.sizes is None:
            return x.flip(0)
        step = torch.arange(len(x)).unsqueeze(1)
        place = torch.where(self._inside, self._lengths - 1 - step, step)
        return x[place, torch.arange(x.shape[1])]

    def last(self, states: Tensor) -> Tensor:
        """States after the last step of each sequence, [B, H]."""
        if self.sizes is None:
            return states[-1]
        return states[self._lengths - 1, torch.arange(states.shape[1])]

    @property
    def _inside(self) -> Tensor:
        assert self.sizes is not None
        return torch.arange(int(self.sizes[0])) < self.sizes.unsqueeze(1)

    @property
    def _lengths(self) -> Tensor:
        return self._inside.sum(0)


def stacked(call: Call, layer: Layer) -> Any:
    """Outputs and last states of all layers and directions, as the function of torch gives them.

    Projections of the state are not known here.
    """
    if len(call.args) != 9 or call.kwargs:
        return NotImplemented
    packed = isinstance(call.args[1], Tensor) and isinstance(call.args[3], (list, tuple))
    if packed:
        x, sizes, states, weights, has_bias, n_layers, _, training, both_ways = call.args
        owners = call.recorder.said_owners(x)
        if owners is None:
            return NotImplemented
        sequences = _Sequences(sizes, False, owners[: int(sizes[0])])
    else:
        x, states, weights, has_bias, n_layers, _, training, both_ways, batch_first = call.args
        owners = None
        sequences = _Sequences(None, batch_first, None)
    states = states if isinstance(states, (list, tuple)) else (states,)
    ways, per = 2 if both_ways else 1, 4 if has_bias else 2
    if training or len(weights) != n_layers * ways * per:
        return NotImplemented
    out, lasts = sequences.by_step(x), [[] for _ in states]  # type: ignore[var-annotated]
    for number in range(n_layers):
        outputs = []
        for way in range(ways):
            place = number * ways + way
            found = layer(
                call.recorder,
                sequences.turned(out) if way else out,
                tuple(state[place] for state in states),
                list(weights[place * per : (place + 1) * per]),
                sequences.owners,
                not packed and place == 0,
            )
            for kept, every in zip(lasts, found):
                kept.append(sequences.last(every))
            outputs.append(sequences.turned(found[0]) if way else found[0])
        out = torch.cat(outputs, 2) if both_ways else outputs[0]
    owners, axis = (owners, 0) if packed else (None, 0 if batch_first else 1)
    return (
        batched(sequences.given_back(out), axis, owners),
        *(batched(torch.stack(kept), 1, sequences.owners) for kept in lasts),
    )


@register_layer(torch.rnn_tanh, torch.rnn_relu, anywhere=True)
def rnn(call: Call) -> Any:
    """``h_t = f(W x_t + U h_{t-1} + b)``: Σ_t D_t ⊗ [x_t, h_{t-1}, 1, 1]."""
    activation = torch.tanh if call.function is torch.rnn_tanh else torch.relu

    def layer(
        recorder: Recorder,
        x: Tensor,
        state: States,
        weights: list[Tensor],
        owners: Tensor | None,
        first: bool,
    ) -> States:
        (h0,), (w_in, w_state, *biases) = state, weights
        views = [recorder.view_of(weight) for weight in weights]

        def build(grad: Tensor) -> list[Piece]:
            before = torch.cat([h0.detach().unsqueeze(0), out.detach()[:-1]])
            return by_time(recorder, grad, views, [x.detach(), before, None, None], owners)

        # Adding nothing to what is given to each step gives its gradient a name.
        nothing = recorder.tap(x.new_zeros(1).expand(*x.shape[:2], len(w_in)), build)
        given, h, outs = x @ w_in.T + sum(biases) + nothing, h0, []
        for step in given.unbind(0):
            h = activation(step + h @ w_state.T)
            outs.append(h)
        out = torch.stack(outs)
        return (out,)

    return stacked(call, layer)
