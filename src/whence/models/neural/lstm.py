"""The LSTM recommender: embedding, LSTM, and a linear layer over all items."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.models.neural.sequential import SequenceModule, SequentialRecommender
from whence.models.training.differentiable import Dropout
from whence.parameters import PositiveInt


class LSTMRec(SequentialRecommender, name="lstm"):
    """Predict the next item by an LSTM over the latest items.

    Item embeddings go through an LSTM; its state after the last item goes through a fully
    connected layer with bias over all items. Initial parameters are those of torch's layers:
    normal for the embedding, uniform in ±1/√hidden for the others.

    Parameters
    ----------
    embedding_dim : int, default 64
    hidden_dim : int, default 64
    num_layers : int, default 1
    dropout : float, default 0.0
        Share of the embedding's entries set to 0 in training.
    max_length : int, default 50
        Items of the history that are looked at.
    positions : {"last", "all"}, default "last"
        One example per window and its next item, or the next item at every place.
    item_features, user_features, context_features, loss, n_negatives
        As in `SequentialRecommender`.
    epochs, batch_size, ...
        Those of `DifferentiableRecommender`.

    References
    ----------
    -  Hochreiter and Schmidhuber. Long short-term memory. Neural Computation 9(8), 1997.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.LSTMRec(embedding_dim=8, hidden_dim=8, epochs=1).fit(data.train)
    >>> model.score([data.train.frame["item_id"].to_list()[:3]]).shape[0]
    1
    """

    embedding_dim: PositiveInt = 64
    hidden_dim: PositiveInt = 64
    num_layers: PositiveInt = 1
    dropout: Dropout = 0.0
    positions: Literal["last", "all"] = "last"

    def _module(self, train: Interactions) -> SequenceModule:
        return LSTMModule(
            train.n_items, self.embedding_dim, self.hidden_dim, self.num_layers, self.dropout
        )


class LSTMModule(SequenceModule):
    """Embedding, LSTM, linear layer over the items."""

    def __init__(
        self, n_items: int, embedding_dim: int, hidden_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_items + 1, embedding_dim, padding_idx=n_items)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, num_layers, batch_first=True)
        self.output = nn.Linear(hidden_dim, n_items)

    def states(self, items: Tensor, lengths: Tensor, features: Tensor | None = None) -> Tensor:
        """States [B, L, hidden]; see `SequenceModule`."""
        embedded = self.dropout(self.embedded(items, lengths, features))
        states: Tensor = self.lstm(embedded)[0]
        return states

    def item_scores(self, states: Tensor) -> Tensor:
        """Scores [N, n_items]; see `SequenceModule`."""
        scores: Tensor = self.output(states)
        return scores

    def scores_of(self, states: Tensor, items: Tensor) -> Tensor:
        """Scores [N, n]; see `SequenceModule`."""
        weight = nn.functional.embedding(items, self.output.weight)
        bias = self.output.bias[items]
        return torch.einsum("nd,nkd->nk", states, weight) + bias
