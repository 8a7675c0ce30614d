"""Training examples: addressable by number, made into batches when they are needed.

An example is what a loss is computed of: a positive interaction with its negatives, a rating, or
a window of a sequence with what comes next. Batches are made from flat arrays on the fly, so that
memory stays that of the data; the same numbers give the same batch in any order, because negatives
are keyed by (seed, epoch, example).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.data import Interactions
from whence.errors import DataError
from whence.models._histories import incidence
from whence.models.training import _kernels as kernels

Batch = dict[str, Tensor]
IntArray = npt.NDArray[np.int64]


class Examples(ABC):
    """All training examples of a data set."""

    train: Interactions

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """Tensors of some examples, the first dimension being theirs.

        Parameters
        ----------
        numbers : int64 [B]
        epoch : int
            Decides the negatives.
        """

    @abstractmethod
    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the training table that some examples were made of.

        Returns
        -------
        rows : int64 [total]
            Row numbers of ``train.frame``, example after example, oldest first.
        offsets : int64 [B + 1]
            Windows of the examples in `rows`.
        """

    def sources(self, numbers: IntArray) -> IntArray:
        """Number of the session or user of each example, int64 [B]."""
        rows, offsets = self.rows(numbers)
        source_of_row = np.empty(self.train.n_rows, dtype=np.int64)
        source_of_row[self.train.rows] = self.train.source_codes
        last: IntArray = source_of_row[rows[offsets[1:] - 1]]
        return last


class Negatives:
    """Uniform negatives: items that a user does not have in the training data.

    Parameters
    ----------
    train : Interactions
    seed : int

    Raises
    ------
    DataError
        If somebody has every item, so that there is no negative.
    """

    def __init__(self, train: Interactions, seed: int) -> None:
        owned = incidence(train)
        self._offsets = owned.indptr.astype(np.int64)
        self._owned = owned.indices.astype(np.int32)
        self._n_items = train.n_items
        self._seed = np.uint64(seed)
        counts = np.diff(self._offsets)
        if counts.max(initial=0) >= train.n_items:
            full = train.source_ids[int(counts.argmax())]
            raise DataError(
                f"{train.columns.source} {full!r} has every item, so there is no negative to "
                "sample; leave it out, or choose a loss without negatives."
            )

    def draw(self, numbers: IntArray, sources: IntArray, n: int, epoch: int) -> IntArray:
        """Negatives of some examples of some sources, int64 [B, n]."""
        negatives: IntArray = kernels.sample_negatives(
            self._seed,
            np.uint64(epoch),
            numbers,
            sources,
            self._offsets,
            self._owned,
            self._n_items,
            n,
        )
        return negatives


class PairExamples(Examples):
    """One example per interaction: a user, an item, and negatives of the user.

    A batch has ``user`` and ``item`` (int64 [B]) and, if wanted, ``negatives`` (int64 [B, n]).

    Parameters
    ----------
    train : Interactions
    n_negatives : int
        0 for none.
    seed : int
    """

    def __init__(self, train: Interactions, n_negatives: int, seed: int) -> None:
        self.train = train
        self.n_negatives = n_negatives
        self._users = train.source_codes.astype(np.int64)
        self._items = train.item_codes.astype(np.int64)
        self._negatives = Negatives(train, seed) if n_negatives else None

    def __len__(self) -> int:
        return len(self._users)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``user``, ``item`` and ``negatives`` of some examples; see `Examples`."""
        users = self._users[numbers]
        batch = {"user": torch.from_numpy(users), "item": torch.from_numpy(self._items[numbers])}
        if self._negatives is not None:
            drawn = self._negatives.draw(numbers, users, self.n_negatives, epoch)
            batch["negatives"] = torch.from_numpy(drawn)
        return batch

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """The row of each example; see `Examples`."""
        return self.train.rows[numbers], np.arange(len(numbers) + 1, dtype=np.int64)


class RatingExamples(PairExamples):
    """One example per rated interaction: a user, an item and the rating.

    A batch has ``user`` and ``item`` (int64 [B]) and ``rating`` (float32 [B]).

    Raises
    ------
    DataError
        If there is no rating column, or a rating is missing or not finite.
    """

    def __init__(self, train: Interactions) -> None:
        super().__init__(train, 0, 0)
        self.ratings = ratings_of(train)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``user``, ``item`` and ``rating`` of some examples; see `Examples`."""
        batch = super().batch(numbers, epoch)
        batch["rating"] = torch.from_numpy(self.ratings[numbers].astype(np.float32))
        return batch


class WindowExamples(Examples):
    """Windows of sequences, with the next item of the last place or of every place.

    With ``positions="last"`` every item that has one before it is an example: the `length` items
    before it are the window, and it is the target. With ``positions="all"`` a sequence is cut into
    windows in which every place has the item after it as target. Each item is a target once: a
    window that does not begin with its sequence overlaps the one before, and the first half of its
    places have no target but are what the second half is predicted from.

    A batch has ``items`` (int64 [B, length], left-aligned, padded with n_items), ``length``
    (int64 [B]), and ``target``: int64 [B], or [B, length] with -1 for places without target.

    Parameters
    ----------
    train : Interactions
    length : int
    positions : {"last", "all"}

    Raises
    ------
    DataError
        If no sequence has two items.
    """

    def __init__(self, train: Interactions, length: int, positions: str) -> None:
        self.train = train
        self.length = length
        self.positions = positions
        offsets = train.sequences.offsets
        self._items = train.sequences.items
        starts, counts = offsets[:-1], np.diff(offsets)
        if counts.max(initial=0) < 2:
            raise DataError(
                "No sequence of the training data has two items, so there is no next item to "
                "learn; give longer sessions or histories."
            )
        # An example is the place of its (last) target; its window ends just before.
        if positions == "last":
            targets = np.arange(len(self._items))
            self._target = np.delete(targets, starts[counts > 0])
            owner = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, 0))
        else:
            targets = np.maximum(counts - 1, 0)
            step = length - length // 2
            first = np.minimum(targets, length)
            pieces = (targets > 0) - (-(targets - first) // step)
            owner = np.repeat(np.arange(len(counts)), pieces)
            nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            end = np.minimum(first[owner] + nth * step, targets[owner])
            before = np.where(nth > 0, np.minimum(first[owner] + (nth - 1) * step, end), 0)
            self._fresh = end - before
            self._target = starts[owner] + end
        self._first = np.maximum(starts[owner], self._target - length)

    def __len__(self) -> int:
        return len(self._target)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``items``, ``length`` and ``target`` of some examples; see `Examples`."""
        first, target = self._first[numbers], self._target[numbers]
        padding = self.train.n_items
        windows, lengths = kernels.padded_windows(self._items, first, target, self.length, padding)
        if self.positions == "last":
            wanted = self._items[target].astype(np.int64)
        else:
            wanted, _ = kernels.padded_windows(self._items, first + 1, target + 1, self.length, -1)
            known = lengths - self._fresh[numbers]
            wanted[np.arange(self.length) < known[:, None]] = -1
        arrays = {"items": windows, "length": lengths, "target": wanted}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the window and of its targets; see `Examples`."""
        first, last = self._first[numbers], self._target[numbers] + 1
        offsets = np.concatenate(([0], np.cumsum(last - first)))
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
        return self.train.sequences.rows[places], offsets

    def sources(self, numbers: IntArray) -> IntArray:
        """Number of the session or user of each example; see `Examples`."""
        offsets = self.train.sequences.offsets
        owner: IntArray = np.searchsorted(offsets, self._target[numbers], side="right") - 1
        return owner


def ratings_of(train: Interactions) -> npt.NDArray[np.float64]:
    """Ratings in canonical order, float64 [n_rows].

    Raises
    ------
    DataError
        If there is no rating column, or a rating is missing or not finite.
    """
    name = train.columns.rating
    if name is None:
        raise DataError(
            "The data has no rating column, which this model learns from; name it with "
            "rating='...', or choose a model for implicit feedback such as BPRMF."
        )
    column: Any = train.frame[name]
    if not column.dtype.is_numeric():
        raise DataError(f"The rating column {name!r} holds {column.dtype}; convert it to numbers.")
    values: npt.NDArray[np.float64] = column.cast(float).to_numpy()[train.rows]
    if not np.isfinite(values).all():
        raise DataError(
            f"The rating column {name!r} has a missing or infinite value; drop such rows."
        )
    return values
