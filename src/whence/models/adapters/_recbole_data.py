"""RecBole's training data as Interactions of Whence, and its rows as examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from whence.data import Interactions
from whence.data._text import integers_or_text
from whence.errors import DataError, UnsupportedError
from whence.models.training import Batch, PairExamples, WindowExamples
from whence.models.training.examples import IntArray, Negatives

FIELD = "field:"
"""What names of RecBole's fields begin with in a batch."""
_BLOCK = 1 << 14


@dataclass(frozen=True)
class TrainingData:
    """The training rows of a dataset of RecBole.

    Attributes
    ----------
    dataset : recbole.data.dataset.Dataset
    train : Interactions
        General models: its rows. Sequential models: also the first item of each user, which is in
        the windows only.
    user_numbers, item_numbers : int64 Tensor [n_sources + 1], [n_items + 1]
        RecBole's numbers of Whence's users and items; the last is 0, its padding.
    dataset_rows : int64 [n_rows]
        Row of the dataset that each row of the table of `train` is; -1 for first items.
    """

    dataset: Any
    train: Interactions
    user_numbers: Tensor
    item_numbers: Tensor
    dataset_rows: IntArray

    @property
    def user_field(self) -> str:
        return str(self.dataset.uid_field)

    @property
    def item_field(self) -> str:
        return str(self.dataset.iid_field)

    @property
    def window_field(self) -> str:
        return self.item_field + str(self.dataset.config["LIST_SUFFIX"])

    @property
    def length_field(self) -> str:
        return str(self.dataset.config["ITEM_LIST_LENGTH_FIELD"])

    @classmethod
    def of(cls, dataset: Any, is_sequential: bool) -> TrainingData:
        """Read a dataset.

        Raises
        ------
        DataError
            If it is empty.
        """
        fields = {name: one.numpy() for name, one in dataset.inter_feat.interaction.items()}
        if len(dataset.inter_feat) == 0:
            raise DataError("The dataset has no rows; give the data that RecBole was trained on.")
        times_and_ratings = (dataset.time_field, dataset.config["RATING_FIELD"])
        names = [dataset.uid_field, dataset.iid_field]
        if is_sequential:
            names += [dataset.time_field] if dataset.time_field in fields else []
            suffix = dataset.config["LIST_SUFFIX"]
            columns, dataset_rows = _with_first_items(fields, names, suffix)
        else:
            names += [name for name in times_and_ratings if name in fields]
            columns = {name: fields[name] for name in names}
            dataset_rows = np.arange(len(dataset.inter_feat), dtype=np.int64)
        return cls._numbered(dataset, columns, dataset_rows)

    @classmethod
    def _numbered(
        cls, dataset: Any, columns: dict[str, Any], dataset_rows: IntArray
    ) -> TrainingData:
        users, items = columns[dataset.uid_field], columns[dataset.iid_field]
        ids = {
            name: _ids(dataset, name).gather(columns[name])
            for name in (dataset.uid_field, dataset.iid_field)
        }
        source = "session" if "session" in dataset.uid_field.lower() else "user"
        roles = {source: dataset.uid_field, "item": dataset.iid_field}
        if dataset.time_field in columns:
            roles["time"] = dataset.time_field
        table = pl.DataFrame({**columns, **ids})
        train = Interactions.from_frame(table, kind="sessions", **roles)
        user_numbers = torch.zeros(train.n_sources + 1, dtype=torch.int64)
        item_numbers = torch.zeros(train.n_items + 1, dtype=torch.int64)
        user_numbers.numpy()[train.source_codes] = users[train.rows]
        item_numbers.numpy()[train.item_codes] = items[train.rows]
        return cls(dataset, train, user_numbers, item_numbers, dataset_rows)

    def interaction(self, fields: dict[str, Tensor]) -> Any:
        """An Interaction of RecBole, with the features of its users and items."""
        ids = fields[self.item_field if self.item_field in fields else self.user_field]
        made = type(self.dataset.inter_feat)({name: one.cpu() for name, one in fields.items()})
        # The tables of features are in main memory, and are looked up with plain lists: that the
        # features belong to the rows of the batch must be seen by whoever follows its tensors.
        joined = self.dataset.join(made).to(ids.device)
        rows = torch.arange(len(ids), device=ids.device) + 0 * ids
        features = {
            name: one.index_select(0, rows)
            for name, one in joined.interaction.items()
            if name not in fields
        }
        return type(joined)({**fields, **features})

    def other_fields(self, rows: IntArray, known: set[str]) -> Batch:
        """Fields of rows of the dataset that do not follow from Whence's own numbers."""
        found = self.dataset.inter_feat[rows].interaction
        return {FIELD + name: values for name, values in found.items() if name not in known}


class RecBolePairs(PairExamples):
    """One example per row of a general model's training data.

    A batch is as of `PairExamples`, in Whence's numbers, with RecBole's other fields.

    Parameters
    ----------
    data : TrainingData
    n_negatives : int
        0 for none.
    is_pairwise : bool
        Whether each negative is compared with the item, rather than being a row of its own.
    seed : int
    """

    def __init__(self, data: TrainingData, n_negatives: int, is_pairwise: bool, seed: int) -> None:
        super().__init__(data.train, n_negatives, seed)
        self.data = data
        self.is_pairwise = is_pairwise

    def dataset_rows(self, numbers: IntArray) -> IntArray:
        """Rows of RecBole's dataset that examples are."""
        return self.data.dataset_rows[self.train.rows[numbers]]

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``user``, ``item``, ``negatives`` and other fields; see `Examples`."""
        known = {self.data.user_field, self.data.item_field}
        others = self.data.other_fields(self.dataset_rows(numbers), known)
        return {**super().batch(numbers, epoch), **others}


class RecBoleWindows(WindowExamples):
    """One example per row of a sequential model's training data.

    A batch is as of `WindowExamples` with the next item of the last place, in Whence's numbers,
    with negatives and RecBole's other fields.

    Parameters
    ----------
    data, n_negatives, is_pairwise, seed
        As of `RecBolePairs`.

    Raises
    ------
    UnsupportedError
        If the dataset's windows are not the rows before them.
    """

    def __init__(self, data: TrainingData, n_negatives: int, is_pairwise: bool, seed: int) -> None:
        super().__init__(data.train, int(data.dataset.config["MAX_ITEM_LIST_LENGTH"]), "last")
        self.data = data
        self.n_negatives = n_negatives
        self.is_pairwise = is_pairwise
        self._negatives = Negatives(data.train, seed) if n_negatives else None
        for start in range(0, len(self), _BLOCK):
            self._check(np.arange(start, min(start + _BLOCK, len(self))))

    def dataset_rows(self, numbers: IntArray) -> IntArray:
        """Rows of RecBole's dataset that examples are."""
        return self.data.dataset_rows[self.train.sequences.rows[self._target[numbers]]]

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``items``, ``length``, ``target``, ``negatives`` and other fields; see `Examples`."""
        batch = super().batch(numbers, epoch)
        if self._negatives is not None:
            drawn = self._negatives.draw(
                self.keys[numbers], self.sources(numbers), self.n_negatives, epoch
            )
            batch["negatives"] = torch.from_numpy(drawn)
        known = {self.data.item_field, self.data.window_field, self.data.length_field}
        return {**batch, **self.data.other_fields(self.dataset_rows(numbers), known)}

    def _check(self, numbers: IntArray) -> None:
        """Raise UnsupportedError unless examples and rows have the same windows."""
        rows, ours = self.dataset_rows(numbers), super().batch(numbers)
        theirs = self.data.dataset.inter_feat[rows]
        windows, numbers_of = theirs[self.data.window_field], self.data.item_numbers
        if not (
            (rows >= 0).all()
            and torch.equal(numbers_of[ours["items"]], windows)
            and torch.equal(ours["length"], theirs[self.data.length_field].long())
        ):
            raise UnsupportedError(
                "The dataset has windows that are not the rows before them, as data that were "
                "split before RecBole read them can have; give RecBole rows, not windows."
            )


RecBoleExamples = RecBolePairs | RecBoleWindows


def _with_first_items(
    fields: dict[str, Any], names: list[str], suffix: str
) -> tuple[dict[str, Any], IntArray]:
    """Columns of users, items and times, and the row of the dataset that each of their rows is.

    A row of a sequential dataset is an item with those before it; the first item of a user is in
    windows only, and becomes a row of its own, in front of the user's others.
    """
    user_field = names[0]
    order = np.argsort(fields[user_field], kind="stable")
    users = fields[user_field][order]
    is_first = np.append(True, users[1:] != users[:-1])
    places = np.arange(len(order)) + np.cumsum(is_first)
    total = len(order) + int(is_first.sum())
    columns: dict[str, Any] = {}
    for name in names:
        before = fields[name] if name == user_field else fields[name + suffix][:, 0]
        columns[name] = np.empty(total, dtype=fields[name].dtype)
        columns[name][places] = fields[name][order]
        columns[name][places[is_first] - 1] = before[order][is_first]
    dataset_rows = np.full(total, -1, dtype=np.int64)
    dataset_rows[places] = order
    return columns, dataset_rows


def _ids(dataset: Any, field: str) -> pl.Series:
    """Ids by RecBole's numbers; what stands at 0, for padding, is never asked for."""
    tokens = [str(token) for token in dataset.field2id_token[field]]
    ids = integers_or_text(pl.Series(field, tokens[1:], dtype=pl.String))
    return pl.concat([ids[:1], ids])
