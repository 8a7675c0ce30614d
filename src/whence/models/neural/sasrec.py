"""SASRec: self-attention over the items of a history."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from whence.data import Interactions
from whence.errors import ParameterError
from whence.models.neural._activations import ACTIVATIONS, Activation
from whence.models.neural.sequential import SequenceModule, SequentialRecommender
from whence.models.training.differentiable import Dropout
from whence.parameters import NonNegative, PositiveInt

_STD = 0.02
"""Of initial parameters."""


class SASRec(SequentialRecommender, name="sasrec"):
    """Predict the next item by causal self-attention over the latest items.

    Item and position embeddings go through blocks of causal multi-head attention and a point-wise
    feed-forward network, each as ``x + dropout(f(norm(x)))``, and a last layer norm; the score of
    an item is the dot product with its embedding. RecBole's variant is ``inner_dim=256,
    activation="gelu", norm_first=False``. Initial parameters: normal for embeddings and matrices,
    0 for biases, as in the reference implementation in RecBole.

    Parameters
    ----------
    embedding_dim : int, default 64
    num_layers : int, default 2
        Blocks.
    num_heads : int, default 2
    dropout : float, default 0.2
        After the embedding, attention and both layers of the feed-forward network.
    inner_dim : int, optional
        Width of the feed-forward network; `embedding_dim` by default, as in the paper.
    activation : {"relu", "gelu", "swish", "tanh", "sigmoid"}, default "relu"
        Between the two layers of the feed-forward network.
    norm_first : bool, default True
        Layer norms before attention and the feed-forward network, and one at the end. False: after
        the embedding, and after each sum, ``norm(x + dropout(f(x)))``.
    norm_eps : float, default 1e-8
        Added to the variance in layer norms. The smaller the embeddings are beside it, the less
        they are scaled up, and the less a step of training turns what comes out.
    initial_std : float, default 0.02
        Standard deviation of the initial embeddings of items; that of places and matrices is 0.02.
    max_length : int, default 50
        Items of the history that are looked at.
    positions : {"all", "last"}, default "all"
        The next item at every place of a window, as in the paper, or only after the last.
    item_features, user_features, context_features, loss, n_negatives
        As in `SequentialRecommender`; "bce" with ``n_negatives=1`` is the loss of the paper.
    epochs, batch_size, ...
        Those of `DifferentiableRecommender`.

    References
    ----------
    -  Kang and McAuley. Self-attentive sequential recommendation. ICDM 2018.
    """

    smooth_rate: ClassVar[float] = 5e-3

    embedding_dim: PositiveInt = 64
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 2
    dropout: Dropout = 0.2
    inner_dim: PositiveInt | None = None
    activation: Activation = "relu"
    norm_first: bool = True
    norm_eps: NonNegative = 1e-8
    initial_std: NonNegative = _STD

    def _check_params(self) -> None:
        super()._check_params()
        if self.embedding_dim % self.num_heads:
            raise ParameterError(
                f"embedding_dim ({self.embedding_dim}) must be a multiple of num_heads "
                f"({self.num_heads}); change one of them."
            )

    def _module(self, train: Interactions) -> SequenceModule:
        return SelfAttentionModule(
            train.n_items,
            self.max_length,
            self.embedding_dim,
            self.num_layers,
            self.num_heads,
            self.dropout,
            self.inner_dim or self.embedding_dim,
            self.activation,
            norm_first=self.norm_first,
            norm_eps=self.norm_eps,
            initial_std=self.initial_std,
        )


class SelfAttentionModule(SequenceModule):
    """Embeddings of items and places, blocks of attention, dot product with the embedding."""

    def __init__(
        self,
        n_items: int,
        max_length: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
        inner_dim: int,
        activation: Activation,
        *,
        norm_first: bool,
        norm_eps: float,
        initial_std: float,
    ) -> None:
        super().__init__()
        self.n_items = n_items
        self.norm_first = norm_first
        self.embedding = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.place = nn.Embedding(max_length, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            _Block(dim, num_heads, dropout, inner_dim, activation, norm_first, norm_eps)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.apply(_initialise)
        with torch.no_grad():
            self.embedding.weight *= initial_std / _STD

    def states(self, items: Tensor, lengths: Tensor, features: Tensor | None = None) -> Tensor:
        """States [B, L, dim]; see `SequenceModule`."""
        embedded = self.embedded(items, lengths, features)
        places = self.place(torch.arange(embedded.shape[1], device=items.device))
        # Padding comes after the items, and attention looks back only: it needs no other mask.
        x = embedded + places
        x = self.dropout(x if self.norm_first else self.norm(x))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x) if self.norm_first else x
        return states

    def item_scores(self, states: Tensor) -> Tensor:
        """Scores [N, n_items]; see `SequenceModule`."""
        return states @ self.embedding.weight[: self.n_items].T

    def scores_of(self, states: Tensor, items: Tensor) -> Tensor:
        """Scores [N, n]; see `SequenceModule`."""
        return torch.einsum("nd,nkd->nk", states, self.embedding(items))


class _Block(nn.Module):
    """Causal multi-head attention and a feed-forward network, each with a residual."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dropout: float,
        inner_dim: int,
        activation: Activation,
        norm_first: bool,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.activation = ACTIVATIONS[activation]
        self.norm_first = norm_first
        self.norm_attention = nn.LayerNorm(dim, eps=norm_eps)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        self.norm_feed = nn.LayerNorm(dim, eps=norm_eps)
        self.feed_in = nn.Linear(dim, inner_dim)
        self.feed_out = nn.Linear(inner_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """States [B, L, dim] of states [B, L, dim]."""
        if self.norm_first:
            x = x + self.dropout(self._attention(self.norm_attention(x)))
            inner = self.dropout(self.activation(self.feed_in(self.norm_feed(x))))
            out: Tensor = x + self.dropout(self.feed_out(inner))
        else:
            x = self.norm_attention(x + self.dropout(self._attention(x)))
            inner = self.activation(self.feed_in(x))
            out = self.norm_feed(x + self.dropout(self.feed_out(inner)))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        shape = (n, length, self.num_heads, dim // self.num_heads)
        query, key, value = (
            layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=True,
        )
        mixed_back: Tensor = self.output(mixed.transpose(1, 2).reshape(n, length, dim))
        return mixed_back


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx] = 0.0
