"""NeuMF: a product of embeddings and a network over embeddings, fused for one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from whence.data import Interactions
from whence.models.matrix._fused import fused_products
from whence.models.neural._activations import Activation
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


class NeuMF(UserItemRecommender, name="neumf"):
    """Neural matrix factorisation: GMF and a multi-layer perceptron, trained together.

    Generalised matrix factorisation (GMF) multiplies one embedding of the user and one of the
    item, entry by entry; a network with rectified layers takes another pair of embeddings, one
    behind the other; a last linear layer over both makes the score. The loss of an
    interaction is the binary cross-entropy of its item and of `n_negatives` items that the user
    does not have, drawn uniformly for each epoch. Initial parameters are those of the authors'
    code: normal for embeddings, Glorot uniform for the layers,
    uniform of LeCun for the last, and 0 for biases; there is no pre-training. Sessions of session
    data take the place of users; nothing is recommended to users without training rows.

    Parameters
    ----------
    gmf_dim : int, default 64
        Length of the embeddings that are multiplied.
    mlp_dim : int, default 32
        Length of the embeddings that go into the network.
    layers : sequence of int, default (32, 16, 8)
        Widths of the hidden layers, after the ``2 * mlp_dim`` inputs: the default is the tower
        64-32-16-8 of the paper.
    dropout : float, default 0.0
        Share of the inputs of each hidden layer set to 0 in training; an item's negatives share
        the user's.
    activation : {"relu", "gelu", "swish", "tanh", "sigmoid"}, default "relu"
        Of the hidden layers.
    initial_std : float, default 0.01
        Standard deviation of the initial embeddings.
    n_negatives : int, default 4
        Negatives of each interaction, which belong to its example.
    epochs, batch_size, learning_rate, weight_decay
        As in `DifferentiableRecommender`, which has further parameters; the defaults suit data of
        about 100,000 interactions, and the best epoch is found with validation data.

    Notes
    -----
    The NeuMF of RecBole's tutorial is ``NeuMF(gmf_dim=64, mlp_dim=64, layers=(128, 64),
    dropout=0.1, n_negatives=1, batch_size=256, learning_rate=1e-3, weight_decay=0.0)``: a batch
    of 512 counts 256 negatives there.

    References
    ----------
    -  He, Liao, Zhang, Nie, Hu and Chua. Neural collaborative filtering. WWW 2017.

    Examples
    --------
    >>> import polars as pl
    >>> likes = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "c", "a"]})
    >>> model = NeuMF(gmf_dim=4, mlp_dim=4, layers=(4,), epochs=2).fit(likes)
    >>> sorted(model.recommend(3, k=2)[0].tolist())
    ['b', 'c']
    """

    smooth_rate: ClassVar[float] = 3e-2

    gmf_dim: PositiveInt = 64
    mlp_dim: PositiveInt = 32
    layers: Sequence[int] = (32, 16, 8)
    dropout: Dropout = 0.0
    activation: Activation = "relu"
    initial_std: NonNegative = 0.01
    n_negatives: PositiveInt = 4
    epochs: PositiveInt = 12
    batch_size: PositiveInt = 1024
    learning_rate: NonNegative = 2e-3
    weight_decay: NonNegative = 1e-5

    module_: NeuMFModule = field(init=False)

    def _check_params(self) -> None:
        super()._check_params()
        check_layers(self.layers)

    def _module(self, train: Interactions) -> PairModule:
        sizes = train.n_sources, train.n_items, self.gmf_dim, self.mlp_dim
        return NeuMFModule(*sizes, self.layers, self.dropout, self.activation, self.initial_std)

    def example_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of each item and its negatives, Tensor [B]; see the base class."""
        return losses.bce(*self._scores_of_batch(batch))

    def _training_loss(self, batch: Batch) -> Tensor:
        return losses.bce(*self._scores_of_batch(batch, fused=True))


class NeuMFModule(PairModule):
    """GMF and a network; the last layer over both is kept as a part of each."""

    def __init__(
        self,
        n_users: int,
        n_items: int,
        gmf_dim: int,
        mlp_dim: int,
        layers: Sequence[int],
        dropout: float,
        activation: str,
        initial_std: float,
    ) -> None:
        super().__init__()
        self.gmf_users = nn.Embedding(n_users, gmf_dim)
        self.gmf_items = nn.Embedding(n_items, gmf_dim)
        self.gmf_output = nn.Linear(gmf_dim, 1, bias=False)
        self.mlp_users = nn.Embedding(n_users, mlp_dim)
        self.mlp_items = nn.Embedding(n_items, mlp_dim)
        self.mlp = PairTower(mlp_dim, mlp_dim, layers, dropout, activation)
        for embedding in (self.gmf_users, self.gmf_items, self.mlp_users, self.mlp_items):
            nn.init.normal_(embedding.weight, std=initial_std)
        outputs = (self.gmf_output.weight, self.mlp.output.weight)
        bound = (3.0 / sum(weight.shape[1] for weight in outputs)) ** 0.5
        for weight in outputs:
            nn.init.uniform_(weight, -bound, bound)

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        """Scores [B, n]; see `PairModule`."""
        deep = self.mlp.pairs(
            gathered(self.mlp_users.weight, users), gathered(self.mlp_items.weight, items)
        )
        if fused:
            weighted = self.gmf_users.weight * self.gmf_output.weight
            return fused_products(weighted, self.gmf_items.weight, users, items) + deep
        own = gathered(self.gmf_users.weight, users) * self.gmf_output.weight
        return (own.unsqueeze(1) * gathered(self.gmf_items.weight, items)).sum(2) + deep

    def item_scores(self, users: Tensor) -> Tensor:
        """Scores [Q, n_items]; see `PairModule`."""
        weighted = self.gmf_users(users) * self.gmf_output.weight
        scores = self.mlp.all_pairs(self.mlp_users(users), self.mlp_items.weight)
        return scores.addmm_(weighted, self.gmf_items.weight.T)
