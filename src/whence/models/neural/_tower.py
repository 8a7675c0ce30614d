"""A network over what is known of a user and of an item, one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from whence.models.neural._activations import ACTIVATIONS
from whence.models.training.pairs import blocks_of


class PairTower(nn.Module):
    """Hidden layers and a linear one with a single output.

    The first layer is kept as the sum of a user's and an item's part: it is computed once for
    each of them, not for each pair, and is the same as one layer over both.

    Parameters
    ----------
    user_inputs, item_inputs : int
    layers : sequence of int
        Widths of the hidden layers.
    dropout : float
        Share of the inputs of each hidden layer set to 0 in training.
    activation : str
        One of `ACTIVATIONS`.
    """

    def __init__(
        self,
        user_inputs: int,
        item_inputs: int,
        layers: Sequence[int],
        dropout: float,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self._activated = ACTIVATIONS[activation]
        if activation == "relu":
            # In place, as these are the largest tensors and nothing else looks at them.
            self._activated = partial(functional.relu, inplace=True)
        self.user_layer = nn.Linear(user_inputs, layers[0])
        self.item_layer = nn.Linear(item_inputs, layers[0], bias=False)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(layers))
        self.output = nn.Linear(layers[-1], 1)
        self.dropout = nn.Dropout(dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Glorot uniform for matrices, 0 for biases."""
        users, items = self.user_layer, self.item_layer
        bound = (6.0 / (users.in_features + items.in_features + users.out_features)) ** 0.5
        for part in (users, items):  # one matrix, of the sum of both numbers of inputs
            nn.init.uniform_(part.weight, -bound, bound)
        for layer in (*self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (users, *self.hidden, self.output):
            nn.init.zeros_(layer.bias)

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Outputs [B, n] for inputs of users [B, user_inputs] and items [B, n, item_inputs]."""
        own = self.user_layer(self.dropout(users))
        return self._above_first(own.unsqueeze(1) + self.item_layer(self.dropout(items)))

    def all_pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Outputs [Q, I] for all pairs of users [Q, user_inputs] and items [I, item_inputs]."""
        own, others = self.user_layer(users), self.item_layer(items)
        # Written into one place: results kept one by one would scatter over the memory.
        outputs = torch.empty(len(own), len(others), dtype=own.dtype, device=own.device)
        start = 0
        for block in blocks_of(own, *others.shape):
            stop = start + len(block)
            outputs[start:stop] = self._above_first(block.unsqueeze(1) + others)
            start = stop
        return outputs

    def _above_first(self, values: Tensor) -> Tensor:
        """Outputs [..., n] of what the first layer has before it is activated, [..., n, width]."""
        values = self._activated(values)
        for layer in self.hidden:
            values = self._activated(layer(self.dropout(values)))
        output: Tensor = self.output(values).squeeze(-1)
        return output
