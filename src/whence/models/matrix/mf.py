"""Biased matrix factorisation of ratings (Funk SVD), or of what was chosen and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from whence.data import Interactions
from whence.errors import DataError, ParameterError
from whence.evaluation.queries import Queries
from whence.models.matrix._fused import fused_products, products
from whence.models.training import Batch, Examples, PairExamples, RatingExamples, losses
from whence.models.training.examples import ratings_of
from whence.models.training.pairs import PairModule, UserItemRecommender, gathered, have_rows
from whence.parameters import Count, NonNegative, PositiveInt, field

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RatedQueries(Queries):
    """Queries whose histories are rated.

    Attributes
    ----------
    history_ratings : ndarray of float64, optional
        Rating of each of `history_items`.
    """

    history_ratings: FloatArray | None = None


class BiasedMF(UserItemRecommender, name="mf", aliases=("svd", "funksvd")):
    """Matrix factorisation with biases: s_ui = μ + b_u + c_i + p_u·q_i.

    With the squared loss (Funk's SVD with the biases of Koren et al.) s_ui is the
    rating, and μ the mean of the ratings in the training data. With the logistic loss, σ(s_ui) is
    the probability of an interaction. Trained by the gradients of batches, the parameters θ (b, c,
    p, q) go towards the minimum of F(θ) = (1/N) Σ_examples loss + ½ weight_decay ‖θ‖². Initial
    factors are normal with standard deviation 0.05, biases 0. Sessions of session data take the
    place of users.

    Parameters
    ----------
    embedding_dim : int, default 32
        Length of p and q.
    loss : {"squared", "logistic"}, default "squared"
        Squared difference from the rating, or binary cross-entropy of an interaction and its
        `n_negatives` negatives.
    n_negatives : int, default 4
        Logistic: negatives of each interaction, drawn uniformly for each epoch from the items
        that the user does not have; ratings are not looked at. 0: no negatives, the ratings are
        labels from 0 to 1.
    epochs, batch_size, learning_rate, weight_decay
        As in `DifferentiableRecommender`, which has further parameters; the defaults suit about
        100,000 ratings from 1 to 5.

    Notes
    -----
    A history never seen is folded in where the loss is squared: given μ, c and q, its bias and
    factors minimise what F would have of this user, which is a linear least squares problem. Items
    without ratings (see `fold_in`) count as if they had the highest rating of the training data,
    since a history usually is what was wanted; relative scores depend little on it.

    References
    ----------
    -  Funk. Netflix update: try this at home. 2006.
       https://sifter.org/simon/journal/20061211.html
    -  Koren, Bell and Volinsky. Matrix factorization techniques for recommender systems.
       Computer 42(8), 2009.

    Examples
    --------
    >>> import polars as pl
    >>> ratings = pl.DataFrame(
    ...     {"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "b", "a"], "rating": [5, 1, 4, 2, 5]}
    ... )
    >>> model = BiasedMF(embedding_dim=2, epochs=200, learning_rate=0.05).fit(ratings)
    >>> bool(model.predict([3], ["b"])[0] < 3)
    True
    """

    levels: ClassVar[frozenset[str]] = frozenset({"score", "refit", "differentiable", "rating"})

    embedding_dim: PositiveInt = 32
    loss: Literal["squared", "logistic"] = "squared"
    n_negatives: Count = 4
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 512
    learning_rate: NonNegative = 2e-3
    weight_decay: NonNegative = 3e-4

    module_: BiasedModule = field(init=False)

    @property
    def _samples(self) -> bool:
        return self.loss == "logistic" and self.n_negatives > 0

    def _examples(self, train: Interactions) -> Examples:
        if self._samples:
            return PairExamples(train, self.n_negatives, self.seed)
        examples = RatingExamples(train)
        low, high = examples.ratings.min(), examples.ratings.max()
        if self.loss == "logistic" and (low < 0 or high > 1):
            raise DataError(
                f"The logistic loss without negatives takes ratings for labels from 0 to 1, but "
                f"they go from {low:g} to {high:g}; rescale them, or set n_negatives."
            )
        return examples

    def _module(self, train: Interactions) -> PairModule:
        sizes = train.n_sources, train.n_items, self.embedding_dim
        return BiasedModule(*sizes, mean=self._mean(train))

    def _mean(self, train: Interactions) -> float:
        """Mean rating, or the log odds of an interaction among its negatives or of a label."""
        if self.loss == "squared":
            return float(ratings_of(train).mean())
        if self._samples:
            return -float(np.log(self.n_negatives))
        share = np.clip(ratings_of(train).mean(), 1e-6, 1 - 1e-6)
        return float(np.log(share / (1 - share)))

    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of each rating, or of each item and its negatives, Tensor [B]; see the base."""
        return self._loss(batch, fused=False)

    def _training_loss(self, batch: Batch) -> Tensor:
        return self._loss(batch, fused=True)

    def _loss(self, batch: Batch, fused: bool) -> Tensor:
        if self._samples:
            return losses.bce(*self._scores_of_batch(batch, fused))
        items = batch["item"].unsqueeze(1)
        scores = self.module_.scores_of(batch["user"], items, fused=fused).squeeze(1)
        labels = batch["rating"].to(scores.dtype)
        if self.loss == "squared":
            return losses.squared_error(scores, labels)
        return functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")

    def predict_codes(
        self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]
    ) -> FloatArray:
        """Predict ratings of pairs, float64 [N].

        Parameters
        ----------
        users, items : int32 [N]
            Numbers; -1 for one that is unknown. What is known is used: the mean, and the bias of
            the one that is known.

        Returns
        -------
        float64 [N]
            Within the range of the training ratings; with the logistic loss, probabilities.
        """
        self._check_fitted()
        users, items = np.asarray(users, dtype=np.int64), np.asarray(items, dtype=np.int64)
        train, module = self.train_, self.module_
        users = np.where(have_rows(train.source_codes, train.n_sources)[users], users, -1)
        items = np.where(have_rows(train.item_codes, train.n_items)[items], items, -1)
        with torch.inference_mode():
            scores: FloatArray = (
                module.known_part(
                    torch.from_numpy(users).to(self.device), torch.from_numpy(items).to(self.device)
                )
                .double()
                .cpu()
                .numpy()
            )
        if self.loss == "logistic":
            return 1.0 / (1.0 + np.exp(-scores))
        return np.clip(scores, *self._range())

    def _range(self) -> tuple[float, float]:
        ratings = ratings_of(self.train_)
        return float(ratings.min()), float(ratings.max())

    def fold_in(self, histories: Sequence[Any], ratings: Sequence[Any] | None = None) -> Queries:
        """Turn histories never seen in training into queries, without refitting.

        Parameters
        ----------
        histories : list
            One list of item ids per user.
        ratings : list, optional
            One list of ratings per user, of the same lengths; the highest rating of the training
            data by default.

        Returns
        -------
        Queries
            For `recommend` and `score`. Items unknown to the model are left out.

        Raises
        ------
        ParameterError
            If the ratings are not as many as the items, or not finite.
        """
        queries = super().fold_in(histories)
        if ratings is None:
            return queries
        lengths = [len(history) for history in histories]
        if lengths != [len(given) for given in ratings]:
            raise ParameterError(
                "There must be one rating for each item of each history; give lists of the same "
                "lengths."
            )
        flat = np.asarray([value for given in ratings for value in given], dtype=np.float64)
        if not np.isfinite(flat).all():
            raise ParameterError("A rating to fold in is missing or not finite; leave it out.")
        items = pl.Series([item for history in histories for item in history], strict=False)
        known = self.vocabulary.item_codes(items) >= 0 if len(items) else np.empty(0, dtype=bool)
        given = {one.name: getattr(queries, one.name) for one in fields(queries)}
        return RatedQueries(**given, history_ratings=flat[known])

    def _score_batch(self, queries: Queries) -> Tensor:
        scores = super()._score_batch(queries)
        folded = np.flatnonzero(~self._known(queries) & ~queries.is_empty)
        if len(folded) and self.loss == "squared":
            bias, factors = self._solve(queries, folded)
            scores[torch.from_numpy(folded)] = self.module_.scores_from(
                *(torch.from_numpy(a).to(scores) for a in (bias, factors))
            )
        return scores

    def _answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        known = self._known(queries)
        return known if self.loss == "logistic" else known | ~queries.is_empty

    def _solve(
        self, queries: Queries, rows: npt.NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Biases [n] and factors [n, D] of queries `rows`, by least squares."""
        state = {k: v.double().cpu().numpy() for k, v in self.module_.state_dict().items()}
        # A bias is the factor of a constant.
        inputs = np.column_stack([np.ones(self.n_items), state["items.weight"]])
        expected = state["mean"] + state["item_bias.weight"][:, 0]
        learned = have_rows(self.train_.item_codes, self.n_items)
        given = getattr(queries, "history_ratings", None)
        highest = self._range()[1]
        # The penalty as F weighs it against a sum over examples, of which it has the mean.
        penalty = 0.5 * self.weight_decay * len(self.examples_)
        solved = np.zeros((len(rows), inputs.shape[1]))
        for number, row in enumerate(rows):
            window = slice(queries.history_start[row], queries.history_end[row])
            items = queries.history_items[window]
            use = learned[items]
            rated = np.full(len(items), highest) if given is None else given[window]
            solved[number] = _ridge(inputs[items[use]], rated[use] - expected[items[use]], penalty)
        return solved[:, 0], solved[:, 1:]


class BiasedModule(PairModule):
    """Factors and biases of users and items; the mean is a buffer, which is not learned."""

    mean: Tensor

    def __init__(self, n_users: int, n_items: int, dim: int, mean: float) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, dim)
        self.items = nn.Embedding(n_items, dim)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        self.register_buffer("mean", torch.tensor(mean))
        for factors in (self.users, self.items):
            nn.init.normal_(factors.weight, std=0.05)
        for bias in (self.user_bias, self.item_bias):
            nn.init.zeros_(bias.weight)

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        """Scores [B, n]; see `PairModule`."""
        product = fused_products if fused else products
        bias = gathered(self.user_bias.weight, users) + gathered(
            self.item_bias.weight, items
        ).squeeze(2)
        return product(self.users.weight, self.items.weight, users, items) + bias + self.mean

    def item_scores(self, users: Tensor) -> Tensor:
        """Scores [Q, n_items]; see `PairModule`."""
        return self.scores_from(self.user_bias(users).squeeze(1), self.users(users))

    def scores_from(self, bias: Tensor, factors: Tensor) -> Tensor:
        """Scores [Q, n_items] of users with these biases [Q] and factors [Q, D]."""
        constant = bias.unsqueeze(1) + self.item_bias.weight.T + self.mean
        return torch.addmm(constant, factors, self.items.weight.T)

    def known_part(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores [N] of pairs; -1 is a user or an item that nothing is known of."""
        has_user, has_item = (numbers >= 0 for numbers in (users, items))
        users, items = users.clamp(min=0), items.clamp(min=0)
        product = (self.users(users) * self.items(items)).sum(1)
        biases = self.user_bias(users).squeeze(1) * has_user
        biases = biases + self.item_bias(items).squeeze(1) * has_item
        known: Tensor = self.mean + biases + product * (has_user & has_item)
        return known


def _ridge(inputs: FloatArray, wanted: FloatArray, penalty: float) -> FloatArray:
    """Minimise ‖wanted - inputs w‖² + penalty ‖w‖²: of several such w the shortest."""
    n = inputs.shape[1]
    left = np.vstack([inputs, np.sqrt(penalty) * np.eye(n)])
    right = np.concatenate([wanted, np.zeros(n)])
    solution: FloatArray = np.linalg.lstsq(left, right, rcond=None)[0]
    return solution
