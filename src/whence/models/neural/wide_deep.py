"""Wide & Deep: a linear model of crossed features beside a network over embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from whence.data import Interactions
from whence.errors import ParameterError
from whence.models.neural._activations import Activation
from whence.models.neural._columns import are_names
from whence.models.neural._features import Features, make_features, no_features
from whence.models.neural._tower import PairTower
from whence.models.training import Batch, losses
from whence.models.training.differentiable import Dropout
from whence.models.training.pairs import (
    PairModule,
    UserItemRecommender,
    check_layers,
    gathered,
)
from whence.parameters import NonNegative, PositiveInt, field


class WideDeep(UserItemRecommender, name="widedeep"):
    """A linear model of ids and crossed features, and a network over their embeddings.

    The score is the sum of two parts that are trained together. Wide: weights of the user,
    of the item, of each value of their features, and of each pair of a value of the user's and
    one of the item's (a cross product, such as occupation × genre). Deep: embeddings of the user,
    the item and each of their categories and bags of values (which is the mean of those of its
    values), and numbers, one behind the other, through rectified layers. The loss of an
    interaction is the binary cross-entropy of its item and of `n_negatives` items that the user
    does not have, drawn uniformly for each epoch.

    As in RecBole, embeddings are Xavier normal at first, and both parts have one optimiser,
    where the paper has follow-the-regularised-leader for the wide one; weights of the wide part
    and biases are 0 at first, matrices Glorot uniform. Sessions of session data take the place of
    users; nothing is recommended to users without training rows.

    Parameters
    ----------
    embedding_dim : int, default 32
        Length of the embeddings of users and items.
    feature_dim : int, default 8
        Length of the embeddings of each category and bag.
    layers : sequence of int, default (64, 32)
        Widths of the hidden layers.
    dropout : float, default 0.0
        Share of the inputs of each hidden layer set to 0 in training.
    activation : {"relu", "gelu", "swish", "tanh", "sigmoid"}, default "relu"
        Of the hidden layers.
    cross : bool, default True
        Whether the wide part has weights for pairs of values.
    user_features, item_features : sequence of str, optional
        Columns of ``train.user_table`` and ``train.item_table``. By default all that look usable:
        texts and truth values are categories; lists of texts or integers, and texts with ``|``
        between several values, are bags; floats and times are numbers, scaled to mean 0 and
        standard deviation 1; integers are categories if there are at most 32 different ones, else
        numbers. Columns with a single value, and categories and bags with more values than half
        of the rows (titles, zip codes), are taken only if they are named. Without tables, or with
        empty lists, ids are all there is.
    n_negatives : int, default 4
        Negatives of each interaction, which belong to its example.
    epochs, batch_size, learning_rate, weight_decay
        As in `DifferentiableRecommender`, which has further parameters; the defaults suit data of
        about 100,000 interactions, and the best epoch is found with validation data.

    Attributes
    ----------
    features_ : dict
        ``{"user": {column: kind}, "item": {column: kind}}``: the columns that are used, as
        ``"category"``, ``"bag"`` or ``"number"``.

    References
    ----------
    -  Cheng et al. Wide & deep learning for recommender systems. DLRS 2016.
    -  Zhao et al. RecBole: towards a unified, comprehensive and efficient framework for
       recommendation algorithms. CIKM 2021.

    Examples
    --------
    >>> import polars as pl
    >>> import whence
    >>> likes = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "c", "a"]})
    >>> items = pl.DataFrame({"item": ["a", "b", "c"], "genres": [["X"], ["X", "Y"], ["Y"]]})
    >>> train = whence.Interactions.from_frame(likes).with_tables(items=items)
    >>> model = WideDeep(embedding_dim=4, item_features=["genres"], epochs=2).fit(train)
    >>> model.features_
    {'user': {}, 'item': {'genres': 'bag'}}
    """

    smooth_rate: ClassVar[float] = 3e-2

    embedding_dim: PositiveInt = 32
    feature_dim: PositiveInt = 8
    layers: Sequence[int] = (64, 32)
    dropout: Dropout = 0.0
    activation: Activation = "relu"
    cross: bool = True
    user_features: Sequence[str] | None = None
    item_features: Sequence[str] | None = None
    n_negatives: PositiveInt = 4
    epochs: PositiveInt = 15
    batch_size: PositiveInt = 1024
    learning_rate: NonNegative = 2e-3
    weight_decay: NonNegative = 1e-5

    features_: dict[str, dict[str, str]] = field(init=False)

    def _check_params(self) -> None:
        super()._check_params()
        check_layers(self.layers)
        for name in ("user_features", "item_features"):
            names = getattr(self, name)
            if names is not None and not are_names(names):
                raise ParameterError(f"{name} must be a list of names of columns, not {names!r}.")

    def _module(self, train: Interactions) -> PairModule:
        users = no_features(train.n_sources)
        if train.by_user:
            users = make_features(train.user_table, train.source_ids, self.user_features, "user")
        items = make_features(train.item_table, train.item_ids, self.item_features, "item")
        self.features_ = {"user": users.kinds, "item": items.kinds}
        return WideDeepModule(
            users,
            items,
            self.embedding_dim,
            self.feature_dim,
            self.layers,
            self.dropout,
            self.activation,
            self.cross,
        )

    def example_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of each item and its negatives, Tensor [B]; see the base class."""
        return losses.bce(*self._scores_of_batch(batch))


class WideDeepModule(PairModule):
    """The wide and the deep part, over the ids and features of users and items."""

    def __init__(
        self,
        users: Features,
        items: Features,
        embedding_dim: int,
        feature_dim: int,
        layers: Sequence[int],
        dropout: float,
        activation: str,
        cross: bool,
    ) -> None:
        super().__init__()
        self.users = _Side(users, embedding_dim, feature_dim)
        self.items = _Side(items, embedding_dim, feature_dim)
        self.deep = PairTower(self.users.width, self.items.width, layers, dropout, activation)
        self.cross: nn.Parameter | None = None
        if cross and users.n_values and items.n_values:
            self.cross = nn.Parameter(torch.zeros(users.n_values, items.n_values))

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        """Scores [B, n]; see `PairModule`."""
        scores = self.users.wide(users).unsqueeze(1) + self.items.wide(items)
        if self.cross is not None:
            # The first column stands for no value, and is 0.
            crossed = functional.pad(self._crossed(self.cross, users), (1, 0))
            values = self.items.values[items]
            scores = scores + crossed.gather(1, values.flatten(1)).view(values.shape).sum(2)
        return scores + self.deep.pairs(self.users.deep(users), self.items.deep(items))

    def item_scores(self, users: Tensor) -> Tensor:
        """Scores [Q, n_items]; see `PairModule`."""
        every = torch.arange(len(self.items.values), device=users.device)
        scores = self.deep.all_pairs(self.users.deep(users), self.items.deep(every))
        scores += self.users.wide(users).unsqueeze(1) + self.items.wide(every)
        if self.cross is not None:
            scores += (self.items.indicators(scores.dtype) @ self._crossed(self.cross, users).T).T
        return scores

    def _crossed(self, cross: Tensor, users: Tensor) -> Tensor:
        """Sum of the weights of each item value with the users' values, [B, n item values]."""
        return _rows_or_zero(cross, self.users.values[users]).sum(1)


class _Side(nn.Module):
    """Users, or items: what they have in the wide part, and what goes into the deep one.

    Parameters
    ----------
    features : Features
    embedding_dim, feature_dim : int
    """

    values: Tensor
    numbers: Tensor
    value_weight: nn.Parameter | None
    value_embedding: nn.Parameter | None
    number_weight: nn.Parameter | None

    def __init__(self, features: Features, embedding_dim: int, feature_dim: int) -> None:
        super().__init__()
        n, n_numbers = features.numbers.shape
        self.slots, self.n_values = features.slots, features.n_values
        # Both follow from the data, so they are no part of the state.
        self.register_buffer("values", torch.from_numpy(features.values), persistent=False)
        self.register_buffer("numbers", torch.from_numpy(features.numbers), persistent=False)
        self.weight = nn.Parameter(torch.zeros(n, 1))
        self.embedding = nn.Parameter(nn.init.xavier_normal_(torch.empty(n, embedding_dim)))
        self.value_weight = self.value_embedding = self.number_weight = None
        if features.n_values:
            embedding = torch.empty(features.n_values, feature_dim)
            self.value_weight = nn.Parameter(torch.zeros(features.n_values, 1))
            self.value_embedding = nn.Parameter(nn.init.xavier_normal_(embedding))
        if n_numbers:
            self.number_weight = nn.Parameter(torch.zeros(n_numbers))
        self.width = embedding_dim + feature_dim * len(self.slots) + n_numbers

    def wide(self, ids: Tensor) -> Tensor:
        """Linear terms of ids [...], of the same shape."""
        return self._once(self._wide, ids).squeeze(-1)

    def deep(self, ids: Tensor) -> Tensor:
        """Inputs of the network, [..., width], of ids [...]."""
        return self._once(self._deep, ids)

    def _once(self, compute: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
        """Compute for every one and gather, where that is less than computing for each of ids.

        Only in training: attributions need to see whose each row is.
        """
        n = len(self.values)
        if ids.numel() < n or not self.training:
            return compute(ids)
        return gathered(compute(torch.arange(n, device=ids.device)), ids)

    def _wide(self, ids: Tensor) -> Tensor:
        terms = gathered(self.weight, ids)
        if self.value_weight is not None:
            terms = terms + _rows_or_zero(self.value_weight, self.values[ids]).sum(-2)
        if self.number_weight is not None:
            terms = terms + self.numbers[ids].to(terms.dtype) @ self.number_weight.unsqueeze(1)
        return terms

    def _deep(self, ids: Tensor) -> Tensor:
        parts = [gathered(self.embedding, ids)]
        if self.value_embedding is not None:
            values = self.values[ids]
            embedded = _rows_or_zero(self.value_embedding, values)
            for start, stop in self.slots:
                n_known = (values[..., start:stop] > 0).sum(-1, keepdim=True).clamp(min=1)
                parts.append(embedded[..., start:stop, :].sum(-2) / n_known)
        if self.number_weight is not None:
            parts.append(self.numbers[ids].to(parts[0].dtype))
        return torch.cat(parts, dim=-1)

    def indicators(self, dtype: torch.dtype) -> Tensor:
        """Which one has which value: a sparse matrix of 0 and 1."""
        row, place = self.values.nonzero(as_tuple=True)
        where = torch.stack([row, self.values[row, place] - 1])
        shape = len(self.values), self.n_values
        ones = torch.ones_like(row, dtype=dtype)
        return torch.sparse_coo_tensor(where, ones, shape, check_invariants=False)


def _rows_or_zero(weight: Tensor, numbers: Tensor) -> Tensor:
    """Rows ``numbers - 1`` of a matrix, [*numbers.shape, D]; zeros for number 0."""
    return gathered(functional.pad(weight, (0, 0, 1, 0)), numbers)
