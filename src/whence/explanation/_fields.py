"""Wide & deep models: which of the features of a user and of items produced the recommendation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.errors import UnsupportedError
from whence.explanation._askers import IntArray, RecommenderAsker, ScoreArray, quiet_modules
from whence.explanation._games import BoolArray, FloatArray, Game
from whence.explanation._histories import History
from whence.explanation._maskings import Masking
from whence.explanation._neural import with_parts
from whence.explanation._players import Players
from whence.explanation._targets import Scalar
from whence.models.neural.wide_deep import WideDeep, WideDeepModule
from whence.models.training.loop import torch_threads

_SCORES = 1 << 16  # that are computed at once


class FieldAsker(RecommenderAsker):
    """A wide & deep model, asked for users of the training data."""

    model: WideDeep
    takes_items = False

    def encode(self, history: Any) -> History:
        """A user; the "events" are the fields of users and of items."""
        queries = self.model.user_queries([history])
        fields = field_names(self.model)
        return History(
            tokens=np.arange(len(fields)),
            positions=np.arange(len(fields)),
            items=fields,
            events=[int(queries.users[0])],
            n_given=len(fields),
        )

    def histories(self, data: Interactions) -> dict[Any, Any]:
        """Users, by their ids."""
        return {user: user for user in data.vocabulary.sources.to_list()}

    def items_in(self, history: History) -> IntArray:
        """Items of the user's training rows."""
        offsets, user = self.model.train_.sequences.offsets, history.events[0]
        rows = slice(offsets[user], offsets[user + 1])
        return np.unique(self.model.train_.sequences.items[rows]).astype(np.int64)

    def check(self, tokens: IntArray, history: History) -> None:
        """Users of the training data can be asked for."""

    def full_scores(self, histories: list[History]) -> Iterator[ScoreArray]:
        """Raw scores [n_items] of users."""
        users = torch.tensor([history.events[0] for history in histories])
        module = self.model.module_
        for part in torch.split(users, max(1, (1 << 22) // self.n_items)):
            with quiet_modules([module]), torch.inference_mode(), torch_threads(1):
                found = module.item_scores(part.to(self.model.device)).double().cpu().numpy()
            yield from found


@dataclass(frozen=True)
class FieldGame(Game):
    """Players are the ids and the features of the user and of the recommended items.

    A masked id has the mean weight and embedding over the training interactions; a masked category
    or bag no value; a masked number its mean.
    """

    def _values(self, kept: BoolArray) -> FloatArray:
        model = self.asker.model  # type: ignore[attr-defined]
        module: WideDeepModule = model.module_
        items = np.arange(self.asker.n_items) if self.scalar.items is None else self.scalar.items
        users = np.array([self.history.events[0]])
        n_user = 1 + len(model.features_["user"])
        found = np.empty((len(kept), *self.scalar.shape))
        size = max(1, _SCORES // len(items))
        with quiet_modules([module]), torch.inference_mode(), torch_threads(1):
            means = (
                _mean_weights(model.train_.source_codes, model.train_.n_sources),
                _mean_weights(model.train_.item_codes, model.n_items),
            )
            for start in range(0, len(kept), size):
                rows = kept[start : start + size]
                twin = with_parts(
                    module,
                    users=_side(module.users, model.features_["user"], users, rows[:, :n_user],
                                means[0]),
                    items=_side(module.items, model.features_["item"], items, rows[:, n_user:],
                                means[1]),
                )  # fmt: skip
                pairs = torch.arange(len(rows) * len(items)).view(len(rows), -1)
                scores = twin.scores_of(torch.arange(len(rows)), pairs)
                found[start : start + size] = self.scalar.of(scores.double().cpu().numpy())
        return found


def field_names(model: WideDeep) -> list[str]:
    """Names of the players: ids and features of users, then of items."""
    users = [f"user: {name}" for name in model.features_["user"]]
    return ["user", *users, "item", *(f"item: {name}" for name in model.features_["item"])]


def field_game(asker: FieldAsker, history: History, masking: Masking, scalar: Scalar) -> FieldGame:
    """A game of the features of a user and of the items.

    Raises
    ------
    UnsupportedError
        If the masking is not "remove".
    """
    if masking.kind != "remove":
        raise UnsupportedError(
            f"A feature of {asker.name} that is masked is unknown to it: use masking='remove', not "
            f"{masking.label!r}."
        )
    names = list(history.items)
    return FieldGame(asker, history, Players(np.arange(len(names)), names, "feature"), None, scalar)


def _mean_weights(codes: npt.NDArray[np.int32], n: int) -> Tensor:
    counts = np.bincount(codes, minlength=n)
    return torch.from_numpy(counts / counts.sum()).float()


def _side(
    side: Any, kinds: dict[str, str], ids: IntArray, kept: BoolArray, mean: Tensor
) -> nn.Module:
    """A side whose rows are those of `ids`, once per coalition [B, 1 + features]."""
    index = torch.from_numpy(ids)
    there = torch.from_numpy(kept).repeat_interleave(len(ids), dim=0)

    def rows(table: Tensor) -> Tensor:
        return table.detach()[index].repeat(len(kept), *[1] * (table.dim() - 1))

    own = there[:, :1]
    changed = {
        part: torch.where(own, rows(table), mean.to(table) @ table.detach())
        for part, table in (("weight", side.weight), ("embedding", side.embedding))
    }
    values, numbers = rows(side.values), rows(side.numbers)
    slot, number = 0, 0
    for column, kind in enumerate(kinds.values(), 1):
        if kind == "number":
            numbers[:, number] *= there[:, column]
            number += 1
        else:
            start, stop = side.slots[slot]
            values[:, start:stop] *= there[:, column, None]
            slot += 1
    twin: nn.Module = with_parts(side, **changed, values=values, numbers=numbers)
    return twin
