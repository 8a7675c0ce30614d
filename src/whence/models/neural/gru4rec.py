"""GRU4Rec: a gated recurrent network over the items of a session."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.models.neural.sequential import SequenceModule, SequentialRecommender
from whence.models.training.differentiable import Dropout
from whence.parameters import NonNegative, PositiveInt


class GRU4Rec(SequentialRecommender, name="gru4rec"):
    """Predict the next item by a GRU over the latest items.

    Item embeddings go through a GRU and a linear layer back to the embedding's size; the score of
    an item is the dot product with its embedding. Initial parameters: Xavier normal for
    the embedding, Xavier uniform for the matrices of the GRU, as in the reference implementation
    of Tan et al.; torch's defaults for the rest.

    Parameters
    ----------
    embedding_dim : int, default 64
    hidden_dim : int, default 128
    num_layers : int, default 1
    dropout : float, default 0.3
        Share of the embedding's entries set to 0 in training.
    initial_std : float, optional
        Standard deviation of the initial embeddings; by default that of Xavier, which falls with
        the root of the number of items.
    max_length : int, default 50
        Items of the history that are looked at.
    positions : {"all", "last"}, default "all"
        The next item at every place of a window, or one example per window and its next item.
    item_features, user_features, context_features, loss, n_negatives
        As in `SequentialRecommender`; "bpr" and "bpr_max" are those of the papers.
    epochs, batch_size, ...
        Those of `DifferentiableRecommender`.

    References
    ----------
    -  Hidasi, Karatzoglou, Baltrunas and Tikk. Session-based recommendations with recurrent
       neural networks. ICLR 2016.
    -  Hidasi and Karatzoglou. Recurrent neural networks with top-k gains for session-based
       recommendations. CIKM 2018.
    -  Tan, Xu and Liu. Improved recurrent neural networks for session-based recommendations.
       DLRS 2016.
    """

    embedding_dim: PositiveInt = 64
    hidden_dim: PositiveInt = 128
    num_layers: PositiveInt = 1
    dropout: Dropout = 0.3
    initial_std: NonNegative | None = None

    def _module(self, train: Interactions) -> SequenceModule:
        return GRUModule(
            train.n_items,
            self.embedding_dim,
            self.hidden_dim,
            self.num_layers,
            self.dropout,
            self.initial_std,
        )


class GRUModule(SequenceModule):
    """Embedding, GRU, linear layer, dot product with the embedding."""

    def __init__(
        self,
        n_items: int,
        embedding_dim: int,
        hidden_dim: int,
        num_layers: int,
        dropout: float,
        initial_std: float | None = None,
    ) -> None:
        super().__init__()
        self.n_items = n_items
        self.embedding = nn.Embedding(n_items + 1, embedding_dim, padding_idx=n_items)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(embedding_dim, hidden_dim, num_layers, bias=False, batch_first=True)
        self.dense = nn.Linear(hidden_dim, embedding_dim)
        if initial_std is None:
            nn.init.xavier_normal_(self.embedding.weight)
        else:
            nn.init.normal_(self.embedding.weight, std=initial_std)
        with torch.no_grad():
            self.embedding.weight[n_items] = 0.0
        for weight in self.gru.parameters():
            nn.init.xavier_uniform_(weight)

    def states(self, items: Tensor, lengths: Tensor, features: Tensor | None = None) -> Tensor:
        """States [B, L, embedding]; see `SequenceModule`."""
        embedded = self.dropout(self.embedded(items, lengths, features))
        states: Tensor = self.dense(self.gru(embedded)[0])
        return states

    def item_scores(self, states: Tensor) -> Tensor:
        """Scores [N, n_items]; see `SequenceModule`."""
        return states @ self.embedding.weight[: self.n_items].T

    def scores_of(self, states: Tensor, items: Tensor) -> Tensor:
        """Scores [N, n]; see `SequenceModule`."""
        return torch.einsum("nd,nkd->nk", states, self.embedding(items))
