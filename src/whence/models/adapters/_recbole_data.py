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
from whence.models.training import Batch, Examples
from whence.models.training.examples import IntArray, Negatives

NEGATIVES = "negatives"


@dataclass(frozen=True)
class TrainingData:
    """The training rows of a dataset of RecBole.

    Attributes
    ----------
    dataset : recbole.data.dataset.Dataset
    train : Interactions
        General models: its rows. Sequential models: also the first item of each user, which is in
        the windows only.
    user_numbers, item_numbers : int64 [n_sources], [n_items]
        RecBole's numbers of Whence's users and items; 0 is its padding.
    target_rows : int64 [N]
        Row of the table of `train` that each row of the dataset is.
    lengths : int64 [N]
        Rows before it that are its window; 0 for general models.
    """

    dataset: Any
    train: Interactions
    user_numbers: IntArray
    item_numbers: IntArray
    target_rows: IntArray
    lengths: IntArray

    @property
    def user_field(self) -> str:
        return str(self.dataset.uid_field)

    @property
    def item_field(self) -> str:
        return str(self.dataset.iid_field)

    @classmethod
    def of(cls, dataset: Any, is_sequential: bool) -> TrainingData:
        """Read a dataset.

        Raises
        ------
        UnsupportedError
            If it has windows that are not made of its own rows.
        """
        fields = dataset.inter_feat.interaction
        if len(dataset.inter_feat) == 0:
            raise DataError("The dataset has no rows; give the data that RecBole was trained on.")
        rows = _with_first_items(dataset) if is_sequential else _as_they_are(dataset)
        columns, target_rows, lengths = rows
        users, items = columns[dataset.uid_field], columns[dataset.iid_field]
        table = pl.DataFrame(
            {
                dataset.uid_field: _ids(dataset, dataset.uid_field).gather(users),
                dataset.iid_field: _ids(dataset, dataset.iid_field).gather(items),
                **{name: columns[name] for name in columns if name in _floats(dataset, fields)},
            }
        )
        source = "session" if "session" in dataset.uid_field.lower() else "user"
        roles = {source: dataset.uid_field, "item": dataset.iid_field}
        if dataset.time_field in table.columns:
            roles["time"] = dataset.time_field
        train = Interactions.from_frame(table, kind="sessions", **roles)
        user_numbers = np.zeros(train.n_sources, dtype=np.int64)
        item_numbers = np.zeros(train.n_items, dtype=np.int64)
        user_numbers[train.source_codes] = users[train.rows]
        item_numbers[train.item_codes] = items[train.rows]
        return cls(dataset, train, user_numbers, item_numbers, target_rows, lengths)

    def interaction(self, fields: dict[str, Tensor]) -> Any:
        """An Interaction of RecBole, with the features of its users and items."""
        made = type(self.dataset.inter_feat)(dict(fields))
        device = next(iter(fields.values())).device
        if device.type == "cpu":
            return self.dataset.join(made)
        # The tables of features are in main memory.
        return self.dataset.join(made.to("cpu")).to(device)


class RecBoleExamples(Examples):
    """One example per row of RecBole's training data, with its negatives.

    A batch has the fields of the rows, as RecBole names them, and ``negatives`` (int64 [B, n], in
    RecBole's numbers) where the model is trained with any.

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
        self.data = data
        self.train = data.train
        self.n_negatives = n_negatives
        self.is_pairwise = is_pairwise
        self._negatives = Negatives(data.train, seed) if n_negatives else None

    def __len__(self) -> int:
        return len(self.data.target_rows)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """Fields of some rows, and their negatives; see `Examples`."""
        rows = self.data.dataset[np.asarray(numbers, dtype=np.int64)]
        batch: Batch = dict(rows.interaction)
        if self._negatives is not None:
            drawn = self._negatives.draw(numbers, self.sources(numbers), self.n_negatives, epoch)
            batch[NEGATIVES] = torch.from_numpy(self.data.item_numbers[drawn])
        return batch

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the window and of the item after it; see `Examples`."""
        last, lengths = self.data.target_rows[numbers], self.data.lengths[numbers] + 1
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        back = np.repeat(offsets[1:], lengths) - 1 - np.arange(offsets[-1])
        return np.repeat(last, lengths) - back, offsets


def _as_they_are(dataset: Any) -> tuple[dict[str, Any], IntArray, IntArray]:
    """Columns of the rows of a general dataset, the place of each, and lengths of 0."""
    fields = {name: one.numpy() for name, one in dataset.inter_feat.interaction.items()}
    n = len(dataset.inter_feat)
    return fields, np.arange(n, dtype=np.int64), np.zeros(n, dtype=np.int64)


def _with_first_items(dataset: Any) -> tuple[dict[str, Any], IntArray, IntArray]:
    """Columns of users, items and times, the place of each row, and the length of its window.

    A row of a sequential dataset is an item with those before it; the first item of a user is in
    windows only, and becomes a row of its own.
    """
    settings = dataset.config
    suffix, length_field = settings["LIST_SUFFIX"], settings["ITEM_LIST_LENGTH_FIELD"]
    fields = {name: one.numpy() for name, one in dataset.inter_feat.interaction.items()}
    windows = fields[dataset.iid_field + suffix]
    lengths = fields[length_field].astype(np.int64)
    order = np.argsort(fields[dataset.uid_field], kind="stable")
    users = fields[dataset.uid_field][order]
    is_first = np.append(True, users[1:] != users[:-1])
    # In front of the first row of each user, that of the first item of its window.
    places = np.arange(len(order)) + np.cumsum(is_first)
    total = len(order) + int(is_first.sum())
    columns: dict[str, Any] = {}
    for name in (dataset.uid_field, dataset.iid_field, dataset.time_field):
        if name not in fields:
            continue
        before = fields[name + suffix][:, 0] if name != dataset.uid_field else fields[name]
        column = np.empty(total, dtype=fields[name].dtype)
        column[places] = fields[name][order]
        column[places[is_first] - 1] = before[order][is_first]
        columns[name] = column
    target_rows = np.empty(len(order), dtype=np.int64)
    target_rows[order] = places
    _check_windows(columns, dataset, target_rows, lengths, windows)
    return columns, target_rows, lengths


def _check_windows(
    columns: dict[str, Any],
    dataset: Any,
    target_rows: IntArray,
    lengths: IntArray,
    windows: IntArray,
) -> None:
    """Raise UnsupportedError unless the windows are the rows before, of the same user."""
    items, users = columns[dataset.iid_field], columns[dataset.uid_field]
    for place in range(int(lengths.max(initial=0))):
        inside = np.flatnonzero(lengths > place)
        rows = target_rows[inside] - lengths[inside] + place
        same = (rows >= 0) & (items[rows] == windows[inside, place])
        if not (same & (users[rows] == users[target_rows[inside]])).all():
            raise UnsupportedError(
                "The dataset has windows that are not the rows before them, as data that were "
                "split before RecBole read them can have; give RecBole rows, not windows."
            )


def _ids(dataset: Any, field: str) -> pl.Series:
    """Ids by RecBole's numbers; what stands at 0, for padding, is never asked for."""
    tokens = [str(token) for token in dataset.field2id_token[field]]
    ids = integers_or_text(pl.Series(field, tokens[1:], dtype=pl.String))
    return pl.concat([ids[:1], ids])


def _floats(dataset: Any, fields: Any) -> set[str]:
    """Names of the columns of times and ratings."""
    names = {dataset.time_field, dataset.config["RATING_FIELD"]}
    return {name for name in names if name in fields}
