"""How torch modules are called: with sequences of items, or with pairs of a user and an item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whence._native import padded_windows
from whence.data import Interactions
from whence.errors import ParameterError
from whence.evaluation.queries import Queries
from whence.models.training import (
    Batch,
    Examples,
    PairExamples,
    RatingExamples,
    WindowExamples,
    losses,
)
from whence.models.training.examples import IntArray, Negatives
from whence.models.training.pairs import blocks_of

Loss = str | Callable[[Tensor, Tensor], Tensor]

_SAMPLED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sampled_cross_entropy": losses.sampled_cross_entropy,
    "bpr": losses.bpr,
    "bpr_max": losses.bpr_max,
    "bce": losses.bce,
}
SEQUENCE_LOSSES = ("cross_entropy", *_SAMPLED)
PAIR_LOSSES = (*_SAMPLED, "squared_error")


class SequenceWay:
    """Call modules with padded sequences [B, L] and their lengths, for scores of all items.

    Parameters
    ----------
    numbers : int64 [n_items]
        Number in the module of each item.
    offset : int
        What numbers begin with, where the module has no columns for those below.
    padding : int or None
    is_left : bool
        Whether the padding comes first.
    length : int
        L.
    passes_lengths : bool
    by_index : bool
        Whether the module has a numbering, and so perhaps items, of its own.
    """

    loss: Loss = "cross_entropy"

    def __init__(
        self,
        numbers: IntArray,
        *,
        offset: int,
        padding: int | None,
        is_left: bool,
        length: int,
        passes_lengths: bool,
        by_index: bool,
    ) -> None:
        if padding is None:
            padding = 0 if numbers.min() > 0 else int(numbers.max()) + 1
        elif padding in numbers:
            raise ParameterError(
                f"padding is {padding}, which is the number of an item; choose another number, or "
                "another offset."
            )
        self._offset = offset
        self._is_left = is_left
        self._length = length
        self._passes_lengths = passes_lengths
        self._by_index = by_index
        # The last entry is for Whence's own padding, which has the number n_items.
        self._numbers = torch.from_numpy(np.append(numbers, padding))

    def examples(self, train: Interactions, loss: Loss, n_negatives: int, seed: int) -> Examples:
        """Each item with the window before it, and negatives where the loss takes them."""
        if loss not in _SAMPLED:
            return WindowExamples(train, self._length, "last")
        return _WindowsWithNegatives(train, self._length, n_negatives, seed)

    def losses(self, module: nn.Module, batch: Batch, loss: Loss) -> Any:
        """Loss of each example, [B]; whatever the loss returns, where it is the caller's."""
        scores = self.scores(module, batch["items"], batch["length"])
        target = batch["target"]
        if callable(loss):
            return loss(scores, target)
        if loss == "cross_entropy":
            return losses.cross_entropy(scores, target)
        positive = scores.gather(1, target.unsqueeze(1)).squeeze(1)
        return _SAMPLED[loss](positive, scores.gather(1, batch["negatives"]))

    def query_scores(self, module: nn.Module, queries: Queries, device: str) -> Tensor:
        """Scores of all items for the histories of queries, [Q, n_items]."""
        windows, lengths = padded_windows(
            queries.history_items,
            queries.history_start,
            queries.history_end,
            self._length,
            len(self._numbers) - 1,
        )
        # An empty history is forbidden later; many modules cannot be asked with length 0.
        items, length = torch.from_numpy(windows), torch.from_numpy(lengths).clamp(min=1)
        return self.scores(module, items.to(device), length.to(device))

    def scores(self, module: nn.Module, items: Tensor, lengths: Tensor) -> Tensor:
        """Scores of all items, [B, n_items], of left-aligned windows [B, L] in Whence's numbers."""
        numbers = self._numbers.to(items.device)
        given = numbers[items]
        if self._is_left:
            places = torch.arange(self._length, device=items.device)
            place = places - (self._length - lengths).unsqueeze(1)
            moved = given.gather(1, place.clamp(min=0))
            given = torch.where(place >= 0, moved, numbers[-1])
        extra = (lengths,) if self._passes_lengths else ()
        found = _called(module, given, *extra)
        columns = self._columns(module, found, len(items))
        scores: Tensor = found
        if self._by_index:
            return scores.index_select(1, columns.to(scores.device))
        return scores.narrow(1, int(columns[0]), len(columns))

    def _columns(self, module: nn.Module, found: Any, size: int) -> Tensor:
        """Columns of the items in what a module returned."""
        numbers, padding = self._numbers[:-1], int(self._numbers[-1])
        highest, n_items = int(numbers.max()), len(numbers)
        if isinstance(found, Tensor) and found.dim() == 2 and len(found) == size:
            width = found.shape[1]
            if highest < width and (self._by_index or width <= max(highest, padding) + 1):
                return numbers
            without_first = highest - self._offset < width and int(numbers.min()) >= self._offset
            if without_first and (self._by_index or width == n_items):
                return numbers - self._offset
        wanted = f"at least {highest + 1 - self._offset}" if self._by_index else str(n_items)
        raise ParameterError(
            f"{type(module).__name__} must return scores of shape [{size}, {wanted}] for {size} "
            f"sequences, one for each of the {n_items} items of the training data, but returned "
            f"{_shape(found)}; make it for that many items, or say with index= which numbers "
            "it has for them."
        )


class PairWay:
    """Call modules with users [B] and items [B], for their scores [B].

    Parameters
    ----------
    users : int64 [n_sources]
        Number in the module of each user.
    items : int64 [n_items]
        Number in the module of each item.
    """

    loss: Loss = "bpr"

    def __init__(self, users: IntArray, items: IntArray) -> None:
        self._users, self._items = torch.from_numpy(users), torch.from_numpy(items)

    def examples(self, train: Interactions, loss: Loss, n_negatives: int, seed: int) -> Examples:
        """Each interaction, with its rating or with negatives."""
        if loss == "squared_error" or n_negatives == 0:
            return RatingExamples(train)
        return PairExamples(train, n_negatives, seed)

    def losses(self, module: nn.Module, batch: Batch, loss: Loss) -> Any:
        """Loss of each example, [B]; whatever the loss returns, where it is the caller's."""
        if "rating" in batch:
            scores = self.scores(module, batch["user"], batch["item"])
            return (loss if callable(loss) else losses.squared_error)(scores, batch["rating"])
        items = torch.cat([batch["item"].unsqueeze(1), batch["negatives"]], dim=1)
        users = batch["user"].repeat_interleave(items.shape[1])
        scores = self.scores(module, users, items.flatten()).view(items.shape)
        if not callable(loss):
            return _SAMPLED[loss](scores[:, 0], scores[:, 1:])
        targets = torch.zeros_like(scores)
        targets[:, 0] = 1.0
        return loss(scores, targets)

    def query_scores(self, module: nn.Module, queries: Queries, device: str) -> Tensor:
        """Scores of all items for the users of queries, [Q, n_items]."""
        n_items = len(self._items)
        users = torch.from_numpy(np.maximum(queries.users, 0).astype(np.int64)).to(device)
        items = torch.arange(n_items, device=device)
        rows = [
            self.scores(module, block.repeat_interleave(n_items), items.repeat(len(block))).view(
                len(block), n_items
            )
            for block in blocks_of(users, n_items, 1)
        ]
        return torch.cat(rows)

    def scores(self, module: nn.Module, users: Tensor, items: Tensor) -> Tensor:
        """Scores [B] of users and items in Whence's numbers."""
        own = self._users.to(users.device)[users], self._items.to(items.device)[items]
        found = _called(module, *own)
        size = len(users)
        if not isinstance(found, Tensor) or found.shape not in ((size,), (size, 1)):
            raise ParameterError(
                f"{type(module).__name__} must return one score for each pair, [{size}] for "
                f"{size} users and {size} items, but returned {_shape(found)}."
            )
        return found.reshape(size)


class _WindowsWithNegatives(WindowExamples):
    """Windows and their next items, with items that the source does not have: int64 [B, n]."""

    def __init__(self, train: Interactions, length: int, n_negatives: int, seed: int) -> None:
        super().__init__(train, length, "last")
        self.n_negatives = n_negatives
        self._negatives = Negatives(train, seed)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """As of `WindowExamples`, with ``negatives``."""
        drawn = self._negatives.draw(
            self.keys[numbers], self.sources(numbers), self.n_negatives, epoch
        )
        return {**super().batch(numbers, epoch), "negatives": torch.from_numpy(drawn)}


def name_of(thing: Any) -> str:
    """Name of a function, or of the class of an object."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _called(module: nn.Module, *numbers: Tensor) -> Any:
    """What a module returns; says which numbers it was given where it has no entry for them."""
    try:
        return module(*numbers)
    except IndexError as error:
        highest = [int(one.max()) for one in numbers]
        raise ParameterError(
            f"{type(module).__name__} failed ({error}) when called with numbers up to "
            f"{' and '.join(map(str, highest))}; make its tables as large (padding included), or "
            "say with offset=, padding= or index= which numbers it knows."
        ) from error


def _shape(found: Any) -> str:
    return str(list(found.shape)) if isinstance(found, Tensor) else type(found).__name__
