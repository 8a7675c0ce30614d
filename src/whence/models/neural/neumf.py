"""NeuMF: a product of embeddings and a network over them, fused for the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whence.data import Interactions
from whence.errors import check_int
from whence.models.neural.sequential import check_dropout
from whence.models.training import Batch, losses
from whence.models.training.pairs import (
    PairModule,
    UserItemRecommender,
    blocks_of,
    check_layers,
    gathered,
)


class NeuMF(UserItemRecommender):
    def __init__(
        self,
        gmf_dim: int = 64,
        mlp_dim: int = 64,
        layers: Sequence[int] = (128, 64),
        dropout: float = 0.1,
        n_negatives: int = 1,
        epochs: int = 10,
        batch_size: int = 256,
        init: str = "he",
        **training: Any,
    ) -> None:
        super().__init__(epochs=epochs, batch_size=batch_size, **training)
        self.init=init
        self.gmf_dim = gmf_dim
        self.mlp_dim = mlp_dim
        self.layers = tuple(layers)
        self.dropout = dropout
        self.n_negatives = n_negatives

    def _check_params(self) -> None:
        super()._check_params()
        for name in ("gmf_dim", "mlp_dim", "n_negatives"):
            check_int(name, getattr(self, name), minimum=1)
        check_layers(self.layers)
        check_dropout(self.dropout)

    def _module(self, train: Interactions) -> PairModule:
        return NeuMFModule(
            train.n_sources, train.n_items, self.gmf_dim, self.mlp_dim, self.layers, self.dropout, self.init
        )

    def example_loss(self, batch: Batch) -> Tensor:
        return losses.bce(*self._scores_of_batch(batch))


class NeuMFModule(PairModule):
    def __init__(self, n_users, n_items, gmf_dim, mlp_dim, layers, dropout, init) -> None:
        super().__init__()
        self.gmf_users = nn.Embedding(n_users, gmf_dim)
        self.gmf_items = nn.Embedding(n_items, gmf_dim)
        self.mlp_users = nn.Embedding(n_users, mlp_dim)
        self.mlp_items = nn.Embedding(n_items, mlp_dim)
        self.user_layer = nn.Linear(mlp_dim, layers[0])
        self.item_layer = nn.Linear(mlp_dim, layers[0], bias=False)
        widths = zip(layers[:-1], layers[1:])
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in widths)
        self.output = nn.Linear(gmf_dim + layers[-1], 1)
        self.dropout = nn.Dropout(dropout)
        for e in (self.gmf_users, self.gmf_items, self.mlp_users, self.mlp_items):
            nn.init.normal_(e.weight, std=0.01)
        first = torch.empty(layers[0], 2 * mlp_dim)
        if init == "he":
            nn.init.xavier_uniform_(first)
            for l in self.hidden:
                nn.init.xavier_uniform_(l.weight); nn.init.zeros_(l.bias)
            nn.init.zeros_(self.user_layer.bias); nn.init.zeros_(self.output.bias)
            nn.init.uniform_(self.output.weight, -(3 / self.output.in_features) ** .5, (3 / self.output.in_features) ** .5)
        else:
            nn.init.kaiming_uniform_(first, a=5**.5)
            nn.init.uniform_(self.user_layer.bias, -(2*mlp_dim)**-.5, (2*mlp_dim)**-.5)
        with torch.no_grad():
            self.user_layer.weight.copy_(first[:, :mlp_dim])
            self.item_layer.weight.copy_(first[:, mlp_dim:])

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        g = self.gmf_dim_
        own = self.user_layer(self.dropout(gathered(self.mlp_users.weight, users)))
        other = self.item_layer(self.dropout(gathered(self.mlp_items.weight, items)))
        deep = self._deep(torch.relu(own.unsqueeze(1) + other))
        wide = gathered(self.gmf_users.weight, users) * self.output.weight[0, :g]
        product = (wide.unsqueeze(1) * gathered(self.gmf_items.weight, items)).sum(2)
        return product + deep

    @property
    def gmf_dim_(self):
        return self.gmf_users.embedding_dim

    def _deep(self, x):
        for layer in self.hidden:
            x = torch.relu(layer(self.dropout(x)))
        return functional.linear(x, self.output.weight[:, self.gmf_dim_:], self.output.bias).squeeze(-1)

    def item_scores(self, users: Tensor) -> Tensor:
        g = self.gmf_dim_
        scores = (self.gmf_users(users) * self.output.weight[0, :g]) @ self.gmf_items.weight.T
        others = self.item_layer(self.mlp_items.weight)
        own = self.user_layer(self.mlp_users(users))
        for part, s in zip(blocks_of(own, *others.shape), blocks_of(scores, *others.shape)):
            x = (part.unsqueeze(1) + others).relu_()
            s += self._deep(x)
        return scores
