"""BPR-MF: matrix factorisation that ranks what a user has above what they have not."""

from __future__ import annotations

from torch import Tensor, nn

from whence.data import Interactions
from whence.models.matrix._fused import fused_products, products
from whence.models.training import Batch, losses
from whence.models.training.pairs import PairModule, UserItemRecommender
from whence.parameters import NonNegative, PositiveInt


class BPRMF(UserItemRecommender, name="bpr"):
    """Matrix factorisation trained by Bayesian personalised ranking.

    The score of an item is the scalar product of the user's and the item's embedding; the loss of
    an interaction is that of ranking its item above items that the user does not have, drawn
    uniformly for each epoch. Initial parameters are Xavier normal, as in the implementation of
    RecBole. Sessions of session data take the place of users; nothing is recommended to
    users without training rows.

    Parameters
    ----------
    embedding_dim : int, default 64
    n_negatives : int, default 1
        Items that each interaction is ranked above; the loss is their mean.
    epochs, batch_size, learning_rate, weight_decay
        As in `DifferentiableRecommender`, which has further parameters; the defaults suit data of
        about 100,000 interactions, and the best epoch is found with validation data.

    References
    ----------
    -  Rendle, Freudenthaler, Gantner and Schmidt-Thieme. BPR: Bayesian personalized ranking
       from implicit feedback. UAI 2009.
    -  Zhao et al. RecBole: towards a unified, comprehensive and efficient framework for
       recommendation algorithms. CIKM 2021.

    Examples
    --------
    >>> import polars as pl
    >>> likes = pl.DataFrame({"user": [1, 1, 2, 2, 3, 4], "item": ["a", "b", "a", "b", "a", "c"]})
    >>> model = BPRMF(embedding_dim=4, epochs=50, learning_rate=0.05).fit(likes)
    >>> model.recommend(3, k=1)[0].tolist()
    ['b']
    """

    embedding_dim: PositiveInt = 64
    n_negatives: PositiveInt = 1
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 2048
    learning_rate: NonNegative = 2e-3
    weight_decay: NonNegative = 1e-5

    def _module(self, train: Interactions) -> PairModule:
        return FactorModule(train.n_sources, train.n_items, self.embedding_dim)

    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of ranking each item above its negatives, Tensor [B]; see the base class."""
        return losses.bpr(*self._scores_of_batch(batch))

    def _training_loss(self, batch: Batch) -> Tensor:
        return losses.bpr(*self._scores_of_batch(batch, fused=True))


class FactorModule(PairModule):
    """Embeddings of users and items, and their scalar product."""

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, dim)
        self.items = nn.Embedding(n_items, dim)
        nn.init.xavier_normal_(self.users.weight)
        nn.init.xavier_normal_(self.items.weight)

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        """Scores [B, n]; see `PairModule`."""
        product = fused_products if fused else products
        return product(self.users.weight, self.items.weight, users, items)

    def item_scores(self, users: Tensor) -> Tensor:
        """Scores [Q, n_items]; see `PairModule`."""
        scores: Tensor = self.users(users) @ self.items.weight.T
        return scores
