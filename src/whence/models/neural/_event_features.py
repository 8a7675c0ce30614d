"""What is known of an event beside its item: of the item, of the user, of the event itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.data._side_tables import rows_of
from whence.errors import ColumnError, DataError
from whence.models.neural._columns import NUMBER, Column, FloatArray, chosen_kinds

SIDES = ("item", "user", "context")
CODING = "features.coding"
"""Name of a network's buffer that says what its numbers of values mean."""


@dataclass(frozen=True)
class Coding:
    """Columns of the tables of items, of users and of interactions, as numbers of an event.

    The row of an event has the places of all columns one behind the other: of the item, of the
    user, of the event itself (its context). What is not known is 0: of a category or bag no value,
    of a number the mean.

    Attributes
    ----------
    sides : dict of str to list of Column
        Of ``"item"``, ``"user"`` and ``"context"``.
    """

    sides: dict[str, list[Column]]

    @classmethod
    def learned(cls, train: Interactions, wanted: Mapping[str, Sequence[str] | None]) -> Coding:
        """From the training data, those that rows were taken away from since included.

        Parameters
        ----------
        train : Interactions
        wanted : mapping from side to sequence of str or None
            Names of columns; None: all that are usable.

        Raises
        ------
        DataError
            If columns are wanted, but there is no table, or one cannot be used.
        ColumnError
            If a column is not in the table.
        """
        frame = train.whole.frame if train.whole.frame is not None else train.frame
        ids = {
            "item": train.item_ids,
            "user": None if train.columns.user is None else frame[train.columns.user].unique(),
        }
        sides = {
            side: _of_table(getattr(train, f"{side}_table"), ids[side], wanted[side], side)
            for side in ("item", "user")
        }
        names = [*filter(None, [train.columns.rating]), *train.columns.extras]
        kinds = chosen_kinds(frame, names, wanted["context"], "context")
        sides["context"] = [
            Column.learned(frame[name], kind, in_order=False) for name, kind in kinds.items()
        ]
        for side, columns in sides.items():
            for column in columns:
                _check(column, side, sides, train.columns.item)
        return cls(sides)

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Coding | None:
        """That of a network's parameters and buffers; None of one without features.

        Raises
        ------
        ValueError
            If it is none.
        """
        if CODING not in state:
            return None
        given = json.loads(np.asarray(state[CODING], dtype=np.uint8).tobytes().decode())
        sides = {side: [Column.of(entry) for entry in given[side]] for side in SIDES}
        return cls(sides)

    @property
    def state(self) -> Tensor:
        """As a buffer of a network, uint8: so it is saved, compared and started from with it."""
        sides = {side: [column.entry for column in self.sides[side]] for side in SIDES}
        return torch.frombuffer(bytearray(json.dumps(sides).encode()), dtype=torch.uint8)

    @property
    def kinds(self) -> dict[str, dict[str, str]]:
        """What each column is taken for, by side."""
        return {side: {column.name: column.kind for column in self.sides[side]} for side in SIDES}

    @property
    def columns(self) -> list[Column]:
        """All columns, in the order of their places."""
        return [column for side in SIDES for column in self.sides[side]]

    @property
    def slices(self) -> list[slice]:
        """Places of each column."""
        ends = np.cumsum([column.width for column in self.columns]).tolist()
        return [slice(end - column.width, end) for end, column in zip(ends, self.columns)]

    def width(self, *sides: str) -> int:
        """Places of the columns of some sides."""
        return sum(column.width for side in sides for column in self.sides[side])

    def __bool__(self) -> bool:
        return bool(self.columns)

    def item_rows(self, train: Interactions) -> FloatArray:
        """Numbers of the items' columns, float32 [n_items + 1, width]; the last are of padding."""
        rows = self._rows_of("item", train.item_table, train.item_ids)
        return np.concatenate([rows, np.zeros((1, rows.shape[1]), np.float32)])

    def event_rows(self, data: Interactions, train: Interactions) -> FloatArray:
        """Numbers of the users' and the events' columns, for each row of some data.

        Parameters
        ----------
        data : Interactions
        train : Interactions
            Whose table of users is looked at.

        Returns
        -------
        float32 [n_rows, width]
            In the order of ``data.frame``.

        Raises
        ------
        ColumnError
            If the data lack a column of their own.
        """
        users = np.zeros((data.n_rows, self.width("user")), np.float32)
        if users.shape[1] and data.columns.user is not None:
            names, numbers = _numbered(data.frame[data.columns.user])
            users = self._rows_of("user", train.user_table, names)[numbers]
        parts = [users]
        parts += [column.coded(given) for column, given in self._context(data)]
        return np.concatenate(parts, axis=1)

    def _context(self, data: Interactions) -> Iterator[tuple[Column, pl.Series]]:
        """Columns of the interactions, with what some data have in them."""
        for column in self.sides["context"]:
            if column.name not in data.frame.columns:
                raise ColumnError(
                    f"The data lack the column {column.name!r}, which the model has learned from "
                    "(context_features); add it, with nulls where it is not known."
                )
            yield column, data.frame[column.name]

    def values_of(
        self, data: Interactions, train: Interactions, rows: npt.NDArray[np.int64]
    ) -> pl.DataFrame:
        """Values of the users' and the events' columns, for some rows of ``data.frame``."""
        found = []
        users, columns = train.user_table, [column.name for column in self.sides["user"]]
        if columns and users is not None and data.columns.user is not None:
            whose = rows_of(users, data.frame[data.columns.user].gather(rows))
            found += [users[name].gather(whose) for name in columns]
        found += [given.gather(rows) for _, given in self._context(data)]
        return pl.DataFrame(found)

    def given_rows(self, events: Sequence[Any], known: FloatArray) -> FloatArray:
        """Numbers of all columns of events that are given as mappings.

        Parameters
        ----------
        events : sequence of length n
            Those that are no mappings have no more than their item.
        known : float32 [n, width]
            What is known of them without.

        Returns
        -------
        float32 [n, width]
        """
        rows = known.copy()
        for column, places in zip(self.columns, self.slices):
            numbers = [
                n
                for n, event in enumerate(events)
                if isinstance(event, Mapping) and column.name in event
            ]
            if numbers:
                values = [_plain(events[n][column.name]) for n in numbers]
                series = pl.Series(column.name, values, strict=False)
                if series.dtype == pl.Null:
                    series = series.cast(pl.String)
                rows[numbers, places] = column.coded(series)
        return rows

    def _rows_of(self, side: str, table: pl.DataFrame | None, ids: pl.Series) -> FloatArray:
        columns = self.sides[side]
        if not columns:
            return np.zeros((len(ids), 0), np.float32)
        if table is None:
            raise DataError(
                f"The data have no table of {side}s, of which the model takes "
                f"{columns[0].name!r}; add it with with_tables({side}s=...)."
            )
        rows = rows_of(table, ids)
        return np.concatenate([one.coded(table[one.name].gather(rows)) for one in columns], axis=1)


def _check(column: Column, side: str, sides: dict[str, list[Column]], item: str) -> None:
    """Refuse a column that says nothing, or that has the name of another."""
    named = [one.name for columns in sides.values() for one in columns]
    if named.count(column.name) > 1 or column.name == item:
        raise DataError(
            f"{side}_features has {column.name!r}, which names another column of the event, too; "
            "rename one of them, or leave it out."
        )
    if not column.values and (column.kind != NUMBER or column.spread == 0.0):
        raise DataError(
            f"Column {column.name!r} has no value that is known; leave it out of {side}_features."
        )


def _of_table(
    table: pl.DataFrame | None, ids: pl.Series | None, wanted: Sequence[str] | None, side: str
) -> list[Column]:
    if table is None or ids is None:
        if wanted:
            raise DataError(
                f"There is no table of {side}s to take {wanted[0]!r} from; add it to the data "
                f"with with_tables({side}s=...), or leave out {side}_features."
            )
        return []
    kinds = chosen_kinds(table, table.columns[1:], wanted, side)
    rows = rows_of(table, ids)
    return [
        Column.learned(table[name].gather(rows), kind, in_order=False)
        for name, kind in kinds.items()
    ]


def _numbered(ids: pl.Series) -> tuple[pl.Series, npt.NDArray[np.int64]]:
    """Distinct ids, and the number of each."""
    names = ids.unique(maintain_order=True)
    numbers = pl.DataFrame({"id": names, "number": np.arange(len(names))})
    found = ids.rename("id").to_frame().join(numbers, on="id", how="left", maintain_order="left")
    return names, found["number"].to_numpy()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, set, frozenset, np.ndarray)) else value


class FeatureEmbedding(nn.Module):
    """Embeddings of the features of events: the sum over their columns.

    A category has the embedding of its value, a bag the mean of those of its values, a number a
    vector times its value; what is not known adds nothing.

    Parameters
    ----------
    coding : Coding
    item_rows : float32 [n_items + 1, width of the items' columns]
    dim : int
    std : float
        Standard deviation of the initial embeddings.
    """

    coding: Tensor
    item_rows: Tensor
    places: Tensor
    offsets: Tensor
    slot: Tensor
    number_places: Tensor

    def __init__(self, coding: Coding, item_rows: FloatArray, dim: int, std: float) -> None:
        super().__init__()
        self.register_buffer("coding", coding.state)
        # What follows is known from the data and from the coding, and is no part of the state.
        self.register_buffer("item_rows", torch.from_numpy(item_rows), persistent=False)
        self.n_event = coding.width("user", "context")
        places: list[int] = []
        offsets: list[int] = []
        slots: list[int] = []
        numbers: list[int] = []
        n_values = 0
        for number, (column, where) in enumerate(zip(coding.columns, coding.slices)):
            if column.kind == NUMBER:
                numbers.append(where.start)
                continue
            places += range(where.start, where.stop)
            offsets += [n_values] * column.width
            slots += [number] * column.width
            n_values += len(column.values)
        for name, values in (
            ("places", places), ("offsets", offsets), ("number_places", numbers),
        ):  # fmt: skip
            buffer = torch.tensor(values, dtype=torch.int64)
            self.register_buffer(name, buffer, persistent=False)
        same = torch.tensor(slots)
        self.register_buffer("slot", (same[:, None] == same).float(), persistent=False)
        self.values = nn.Embedding(n_values + 1, dim, padding_idx=0) if n_values else None
        self.numbers = nn.Linear(len(numbers), dim, bias=False) if numbers else None
        for layer in (self.values, self.numbers):
            if layer is not None:
                nn.init.normal_(layer.weight, std=std)
        if self.values is not None:
            with torch.no_grad():
                self.values.weight[0] = 0.0

    def rows(self, items: Tensor, given: Tensor | None) -> Tensor:
        """Rows [..., width] of events: of their items, and what is given beside, or all of it."""
        own = self.item_rows[items]
        if given is None:
            given = own.new_zeros(*items.shape, self.n_event)
        if given.shape[-1] == own.shape[-1] + self.n_event:
            return given
        return torch.cat([own, given.to(own)], dim=-1)

    def forward(self, rows: Tensor) -> Tensor:
        """Embeddings [..., dim] of rows [..., width]."""
        total: Tensor | None = None
        if self.values is not None:
            numbers = rows[..., self.places].long()
            known = (numbers > 0).to(self.values.weight.dtype)
            share = known / (known @ self.slot.to(known)).clamp(min=1)
            embedded = self.values(torch.where(numbers > 0, numbers + self.offsets, 0))
            total = (embedded * share.unsqueeze(-1)).sum(-2)
        if self.numbers is not None:
            scaled = rows[..., self.number_places].to(self.numbers.weight.dtype)
            linear: Tensor = self.numbers(scaled)
            total = linear if total is None else total + linear
        assert total is not None
        return total
