"""What the models of users and items share: pairs in, scores out, users asked by number."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.errors import ParameterError, check_int
from whence.evaluation.queries import Queries
from whence.models.training.differentiable import DifferentiableRecommender
from whence.models.training.examples import Batch, Examples, PairExamples
from whence.parameters import PositiveInt, field

_SCORES_PER_BLOCK = 1 << 18


class PairModule(nn.Module):
    """A network from users and items, given by number, to scores."""

    def scores_of(self, users: Tensor, items: Tensor, *, fused: bool = False) -> Tensor:
        """Scores [B, n] of users [B] and items [B, n].

        With `fused` they may be made by kernels, whose result has a first derivative only.
        """
        raise NotImplementedError

    def item_scores(self, users: Tensor) -> Tensor:
        """Scores of all items, [Q, n_items], of users [Q]."""
        raise NotImplementedError


class UserItemRecommender(DifferentiableRecommender):
    """Base of the models that score an item for a user by what they learned of both.

    Sessions of session data take the place of users. Nothing is recommended to a user without
    rows in the training data.

    Parameters
    ----------
    n_negatives : int
        Negatives per interaction.

    The others are those of `DifferentiableRecommender`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sessions",)
    asks: ClassVar[Literal["histories", "users"]] = "users"

    n_negatives: PositiveInt = 1

    module_: PairModule = field(init=False)

    @abstractmethod
    def _module(self, train: Interactions) -> PairModule:
        """Build the network."""

    def _examples(self, train: Interactions) -> Examples:
        return PairExamples(train, self.n_negatives, self.seed)

    def _scores_of_batch(self, batch: Batch, fused: bool = False) -> tuple[Tensor, Tensor]:
        """Scores of the positives [B] and of their negatives [B, n]."""
        items = torch.cat([batch["item"].unsqueeze(1), batch["negatives"]], dim=1)
        scores = self.module_.scores_of(batch["user"], items, fused=fused)
        return scores[:, 0], scores[:, 1:]

    def _score_batch(self, queries: Queries) -> Tensor:
        users = torch.from_numpy(np.maximum(queries.users, 0).astype(np.int64)).to(self.device)
        return self.module_.item_scores(users)

    def _masked(self, scores: npt.NDArray[np.float32], queries: Queries) -> npt.NDArray[np.float32]:
        scores = super()._masked(scores, queries)
        scores[~self._answerable(queries)] = -np.inf
        return scores

    def _answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        """Queries that are given recommendations, bool [Q]."""
        return self._known(queries)

    def _known(self, queries: Queries) -> npt.NDArray[np.bool_]:
        """Queries of users with rows in the training data, bool [Q]."""
        trained = have_rows(self.train_.source_codes, self.train_.n_sources)
        known: npt.NDArray[np.bool_] = (queries.users >= 0) & trained[queries.users]
        return known


def have_rows(codes: npt.NDArray[np.int32], n: int) -> npt.NDArray[np.bool_]:
    """Which of n users or items have a row in the training data, bool [n]."""
    return np.bincount(codes, minlength=n) > 0


def gathered(weight: Tensor, numbers: Tensor) -> Tensor:
    """Rows of an embedding, [*numbers.shape, D]: as an embedding layer, its gradient cheaper."""
    rows = weight.index_select(0, numbers.reshape(-1))
    return rows.view(*numbers.shape, weight.shape[1])


def blocks_of(users: Tensor, n_items: int, width: int) -> tuple[Tensor, ...]:
    """Users in blocks such that [block, n_items, width] numbers stay small."""
    return torch.split(users, max(1, _SCORES_PER_BLOCK // max(1, n_items * width)))


def check_layers(layers: Any) -> None:
    """Raise ParameterError unless there is a layer and each has a positive width."""
    if not isinstance(layers, (list, tuple)) or not layers:
        raise ParameterError(
            f"layers must be the widths of one hidden layer or more, such as (64, 32), not "
            f"{layers!r}."
        )
    for width in layers:
        check_int("layers", width, minimum=1)
