"""Training examples: addressable by number, made into batches when they are needed.

An example is what a loss is computed of: a positive interaction with its negatives, a rating, or
a window of a sequence with what comes next. Batches are made from flat arrays on the fly, so that
memory stays that of the data; the same numbers give the same batch in any order, because negatives
are keyed by (seed, epoch, example). Where rows were taken away (`Interactions.keep_rows`), the keys
are the numbers that examples have in the whole data, so that what is left is learned from in the
same order, and with the same negatives, as before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels
from whence.data import Interactions
from whence.errors import DataError
from whence.models._histories import incidence

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

    def targets(self, numbers: IntArray) -> tuple[IntArray, IntArray] | None:
        """Rows of the training table that the terms of the losses of some examples are about.

        Returns
        -------
        rows : int64 [terms]
            Row numbers of ``train.frame``, example after example, in the order of the places.
        offsets : int64 [B + 1]
            Terms of the examples in `rows`.

        None, where a loss is of all rows of an example together.
        """
        return None

    @cached_property
    def keys(self) -> IntArray:
        """Number of each example among those of the whole data, ascending, int64 [n].

        Their own numbers, unless rows were taken away; see `Interactions.keep_rows`.
        """
        return np.arange(len(self), dtype=np.int64)

    @property
    def n_whole(self) -> int:
        """Number of examples of the whole data."""
        return len(self)

    def n_terms(self, keys: IntArray) -> IntArray:
        """Number of loss terms that examples of the whole data have there, int64 [B]."""
        return np.ones(len(keys), dtype=np.int64)

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

    def draw(self, keys: IntArray, sources: IntArray, n: int, epoch: int) -> IntArray:
        """Negatives of some examples, by their keys, of some sources, int64 [B, n]."""
        negatives: IntArray = kernels.sample_negatives(
            self._seed,
            np.uint64(epoch),
            keys,
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

    @cached_property
    def keys(self) -> IntArray:
        """Place of each row in the whole data, in canonical order; see `Examples`."""
        return self.train.whole.places

    @property
    def n_whole(self) -> int:
        """Rows of the whole data; see `Examples`."""
        return len(self.train.whole.source_codes)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``user``, ``item`` and ``negatives`` of some examples; see `Examples`."""
        users = self._users[numbers]
        batch = {"user": torch.from_numpy(users), "item": torch.from_numpy(self._items[numbers])}
        if self._negatives is not None:
            drawn = self._negatives.draw(self.keys[numbers], users, self.n_negatives, epoch)
            batch["negatives"] = torch.from_numpy(drawn)
        return batch

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """The row of each example; see `Examples`."""
        return self.train.rows[numbers], np.arange(len(numbers) + 1, dtype=np.int64)

    def targets(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """The row of each example; see `Examples`."""
        return self.rows(numbers)


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
    (int64 [B]), and ``target``: int64 [B], or [B, length] with -1 for places without target; and
    with features ``features`` (float32 [B, length, width]), padded with 0.

    Parameters
    ----------
    train : Interactions
    length : int
    positions : {"last", "all"}
    features : float32 [n_rows, width], optional
        What is known of the event of each row of ``train.frame`` beside its item.

    Raises
    ------
    DataError
        If no sequence has two items.
    """

    def __init__(
        self,
        train: Interactions,
        length: int,
        positions: str,
        features: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.train = train
        self.length = length
        self.positions = positions
        self._features = None
        if features is not None:
            self._features = FlatRows.of(features[train.sequences.rows])
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
            owner, self._nth, end, self._fresh = _pieces(counts, length)
            self._target = starts[owner] + end
        self._owner = owner
        self._first = np.maximum(starts[owner], self._target - length)

    def __len__(self) -> int:
        return len(self._target)

    @cached_property
    def _first_keys(self) -> IntArray:
        """Key of the first example of each source, and their number, int64 [n_sources + 1]."""
        counts = np.diff(self.train.whole.offsets)
        sizes = np.maximum(counts - 1, 0)
        if self.positions == "all":
            sizes = np.bincount(_pieces(counts, self.length)[0], minlength=len(counts))
        return np.concatenate(([0], np.cumsum(sizes)))

    @cached_property
    def keys(self) -> IntArray:
        """Number in the whole data of the window of the same target, or of as many before it.

        See `Examples`. With ``positions="all"`` windows are counted from the beginning of their
        sequence, with "last" it is the place of the target that counts.
        """
        if self.positions == "all":
            return self._first_keys[self._owner] + self._nth
        whole = self.train.whole
        rank = whole.grouped_places[self._target] - whole.offsets[self._owner]
        return self._first_keys[self._owner] + rank - 1

    @property
    def n_whole(self) -> int:
        """Number of windows of the whole data; see `Examples`."""
        return int(self._first_keys[-1])

    @cached_property
    def _whole_terms(self) -> IntArray:
        return _pieces(np.diff(self.train.whole.offsets), self.length)[3]

    def n_terms(self, keys: IntArray) -> IntArray:
        """Number of targets of windows of the whole data; see `Examples`."""
        return super().n_terms(keys) if self.positions == "last" else self._whole_terms[keys]

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
        if self._features is not None:
            arrays["features"] = self._features.windows(first, target, self.length)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the window and of its targets; see `Examples`."""
        return self._rows_between(self._first[numbers], self._target[numbers] + 1)

    def targets(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the items that come next; see `Examples`."""
        last = self._target[numbers] + 1
        return self._rows_between(
            last - (1 if self.positions == "last" else self._fresh[numbers]), last
        )

    def _rows_between(self, first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of windows of the grouped items, and the windows' offsets in them."""
        offsets = np.concatenate(([0], np.cumsum(last - first)))
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
        return self.train.sequences.rows[places], offsets

    def sources(self, numbers: IntArray) -> IntArray:
        """Number of the session or user of each example; see `Examples`."""
        return self._owner[numbers]


class FlatRows(NamedTuple):
    """Rows of numbers of events that are in sequences one behind the other.

    Attributes
    ----------
    rows : float32 [N + 1, width]
        The last is that of padding.
    numbers : int32 [N]
        Of the events.
    """

    rows: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.int32]

    @classmethod
    def of(cls, rows: npt.NDArray[np.float32]) -> FlatRows:
        """Of events, float32 [N, width]."""
        padded = np.concatenate([rows, np.zeros((1, rows.shape[1]), dtype=np.float32)])
        return cls(padded, np.arange(len(rows), dtype=np.int32))

    def windows(self, start: IntArray, end: IntArray, length: int) -> npt.NDArray[np.float32]:
        """Rows of the last `length` events before each end, float32 [B, length, width]."""
        padding = len(self.numbers)
        places, _ = kernels.padded_windows(self.numbers, start, end, length, padding)
        found: npt.NDArray[np.float32] = self.rows[places]
        return found


def _pieces(counts: IntArray, length: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Windows that sequences are cut into, each item being a target once.

    Parameters
    ----------
    counts : int64 [n_sources]
        Items of each sequence.
    length : int
        Places of a window.

    Returns
    -------
    owner, nth, end, fresh : int64 [n]
        The sequence of each window, its number there, the place of its last target, and how many
        of its places have a target.
    """
    targets = np.maximum(counts - 1, 0)
    step = length - length // 2
    first = np.minimum(targets, length)
    pieces = (targets > 0) - (-(targets - first) // step)
    owner = np.repeat(np.arange(len(counts)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    end = np.minimum(first[owner] + nth * step, targets[owner])
    before = np.where(nth > 0, np.minimum(first[owner] + (nth - 1) * step, end), 0)
    return owner, nth, end, end - before


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
