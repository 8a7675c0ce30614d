"""Sequential networks of Whence that know more of an event than its item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.data import Interactions
from whence.errors import ParameterError, UnsupportedError
from whence.evaluation.queries import Queries
from whence.explanation._askers import IntArray, ScoreArray
from whence.explanation._histories import History, as_events, encode
from whence.explanation._maskings import RULES, Masking
from whence.explanation._neural import SequentialAsker, index_of
from whence.models.neural._event_features import Coding, FeatureEmbedding

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
_ROWS = 1 << 14


@dataclass
class Events:
    """Events of one history, and those that stand in for them, each with a token of its own.

    Attributes
    ----------
    first : int
        Token of the first.
    items : list of int
        Number of the item of each, or of padding.
    rows : list of float32 [width]
        What is known beside.
    means : list of bool [1 + columns]
        Whether in place of the item, and of each column, is the mean over the training events.
    user : float32 [width]
        What the history knows of its user, and so of any event of it.
    """

    first: int
    user: FloatArray
    items: list[int] = field(default_factory=list)
    rows: list[FloatArray] = field(default_factory=list)
    means: list[BoolArray] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)

    def token(self, item: int, row: FloatArray, means: BoolArray) -> int:
        """Token of an event, the same for equal ones."""
        key = b"".join((int(item).to_bytes(8, "big", signed=True), row.tobytes(), means.tobytes()))
        if key not in self._known:
            self._known[key] = self.first + len(self.items)
            self.items.append(int(item))
            self.rows.append(row)
            self.means.append(means)
        return self._known[key]


@dataclass(frozen=True)
class Baseline:
    """What a masked event is, place by place, and with it each of its cells.

    Attributes
    ----------
    items : list of int
    rows : list of float32 [width]
    mean : bool
        Whether it is the mean over the training events instead.
    vanishes : bool
        Whether an event of which everything is masked never happened.
    """

    items: list[int]
    rows: list[FloatArray]
    mean: bool = False
    vanishes: bool = False


class FeaturedAsker(SequentialAsker):
    """A network over events, whose tokens are items with what is known of these, or `Events`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        coding, features = model.coding_, self.module.features
        assert coding is not None
        assert isinstance(features, FeatureEmbedding)
        self.coding: Coding = coding
        self._features: FeatureEmbedding = features
        self._item_rows: FloatArray = features.item_rows.cpu().numpy()
        widths = [coding.width(side) for side in ("item", "user", "context")]
        self._of_user = slice(widths[0], widths[0] + widths[1])

    @property
    def feature_names(self) -> list[str]:
        """The item, and the columns."""
        return [self.model.train_.columns.item, *(column.name for column in self.coding.columns)]

    def histories(self, data: Interactions) -> dict[Any, Any]:
        """Histories of some data, their events with their features."""
        return self.model.event_histories(data)

    def history_of(self, queries: Queries, start: int, end: int) -> list[Any]:
        """A history of queries, its events with their features."""
        items = super().history_of(queries, start, end)
        if queries.history_features is None:
            return items
        rows = queries.history_features[start:end]
        first = 0 if rows.shape[1] == self._width else self._of_user.start
        name = self.model.train_.columns.item
        events = []
        for item, row in zip(items, rows):
            event = {name: item}
            for column, places in zip(self.coding.columns, self.coding.slices):
                if places.start >= first:
                    own = slice(places.start - first, places.stop - first)
                    event[column.name] = column.text(row[own])
            events.append(event)
        return events

    def encode(self, history: Any) -> History:
        """Events: ids, or mappings with the item and what else is known of each."""
        given = as_events(history)
        model = self.model
        plain = encode(
            [model.item_of(event) for event in given],
            self.vocabulary, model.max_length, self.name, False,
        )  # fmt: skip
        events = [given[place] for place in plain.positions]
        rows = model.rows_of_events(plain.tokens, events)
        user = np.zeros(self._width, np.float32)
        user[self._of_user] = rows[0, self._of_user]
        table = Events(self.n_items + 2, user)
        tokens = [table.token(item, row, self._no_means) for item, row in zip(plain.tokens, rows)]
        return replace(plain, tokens=np.array(tokens), events=events, known=table)

    @cached_property
    def _width(self) -> int:
        return self.coding.width("item", "user", "context")

    @cached_property
    def _no_means(self) -> BoolArray:
        return np.zeros(1 + len(self.coding.columns), np.bool_)

    def items_in(self, history: History) -> IntArray:
        """Number of the item of each event."""
        items = np.array(history.known.items)
        found: IntArray = items[history.tokens - history.known.first]
        return found

    def item_token(self, item: Any, history: History) -> int:
        """Token of an item or an event; what it lacks is of the user, or not known."""
        if not isinstance(item, Mapping):
            return self.item_number(item)
        known: Events = history.known
        return known.token(*self._event(item, history), self._no_means)

    def _event(self, event: Any, history: History) -> tuple[int, FloatArray]:
        number = self.item_number(self.model.item_of(event))
        known = history.known.user.copy()
        known[: self._of_user.start] = self._item_rows[number]
        return number, self.coding.given_rows([event], known[None])[0]

    def vectors(self, tokens: IntArray, history: History) -> Tensor:
        """Inputs of the network, [n, D], of tokens."""
        events: Events = history.known
        width, n_cells = self._width, 1 + len(self.coding.columns)
        items = np.minimum(tokens, self.n_items)
        rows = np.zeros((len(tokens), width), np.float32)
        means = np.zeros((len(tokens), n_cells), np.bool_)
        plain = tokens < self.n_items
        rows[plain] = events.user
        rows[plain, : self._of_user.start] = self._item_rows[tokens[plain]]
        means[tokens == self.mean_token] = True
        own = np.flatnonzero(tokens >= events.first)
        if len(own):
            numbers = (tokens[own] - events.first).tolist()
            items[own] = [events.items[number] for number in numbers]
            rows[own] = [events.rows[number] for number in numbers]
            means[own] = [events.means[number] for number in numbers]
        rows *= ~np.repeat(means[:, 1:], self._widths, axis=1)
        table = self.embedding
        vectors: Tensor = table[index_of(np.where(means[:, 0], self.n_items, items), table)]
        vectors = vectors + self._features(torch.from_numpy(rows).to(table.device))
        if means.any():
            share = torch.from_numpy(means).to(vectors)
            vectors = vectors + share @ self._mean_parts
        return vectors

    @cached_property
    def _widths(self) -> IntArray:
        return np.array([column.width for column in self.coding.columns], dtype=np.int64)

    @cached_property
    def _mean_parts(self) -> Tensor:
        """Mean over the training events of what the item, and each column, adds, [1 + C, D]."""
        train = self.model.train_
        own = self.model.event_rows(train)
        items = np.empty(train.n_rows, dtype=np.int64)
        items[train.rows] = train.item_codes
        parts = [self.mean_embedding]
        for places in self.coding.slices:
            total = torch.zeros_like(parts[0], dtype=torch.float64)
            for start in range(0, len(items), _ROWS):
                block = slice(start, start + _ROWS)
                rows = np.zeros((len(items[block]), self._width), np.float32)
                rows[:, : self._of_user.start] = self._item_rows[items[block]]
                if own is not None:
                    rows[:, self._of_user.start :] = own[block]
                alone = np.zeros_like(rows)
                alone[:, places] = rows[:, places]
                total += self._features(torch.from_numpy(alone).to(parts[0].device)).sum(0)
            parts.append((total / len(items)).to(parts[0]))
        return torch.stack(parts)

    def full_scores(self, histories: list[History]) -> Iterator[ScoreArray]:
        """Raw scores [n_items] of whole histories, asked in batches."""
        for rows in self.blocks(len(histories), self.n_items):
            part = histories[rows]
            joined = Events(self.n_items + 2, np.zeros(self._width, np.float32))
            tokens = np.full((len(part), max(map(len, part))), -1)
            for row, history in enumerate(part):
                own: Events = history.known
                tokens[row, : len(history)] = history.tokens + len(joined.items)
                joined.items += own.items
                joined.rows += own.rows
                joined.means += own.means
            yield from self.scores(tokens, replace(part[0], known=joined), None)

    def baseline(self, masking: Masking, history: History, level: str) -> Baseline:
        """What stands for each masked cell.

        Raises
        ------
        UnsupportedError
            If the masking has no value for each.
        ParameterError
            If it is not as long as the history.
        """
        length, kind = len(history), masking.kind
        if kind in ("item", "items", *RULES):
            several = kind == "items"
            if several and len(masking.item) != length:
                raise ParameterError(
                    f"masking=('items', …) has {len(masking.item)} events for a history of "
                    f"{length}; give one for each place."
                )
            given: Sequence[Any] = masking.item if several else [masking.item] * length
            pairs = [self._event(event, history) for event in given]
            return Baseline([item for item, _ in pairs], [row for _, row in pairs])
        unknown = [np.zeros(self._width, np.float32)] * length
        padding = [self.n_items] * length
        if kind in ("remove", "pad", "mean_embedding"):
            return Baseline(
                padding, unknown, mean=kind == "mean_embedding", vanishes=kind == "remove"
            )
        raise UnsupportedError(
            f"level={level!r} masks single features, for which masking={masking.label!r} has no "
            "values; use 'remove' or 'pad', by which they are unknown, 'mean_embedding', or "
            "('item', event)."
        )

    def cell_token(self, history: History, place: int, there: BoolArray, baseline: Baseline) -> int:
        """Token of an event with some of its cells masked."""
        if not there.any() and baseline.vanishes:
            return -1
        events: Events = history.known
        number = int(history.tokens[place]) - events.first
        item = events.items[number] if there[0] else baseline.items[place]
        kept = np.repeat(there[1:], self._widths)
        row = np.where(kept, events.rows[number], baseline.rows[place])
        return events.token(item, row, ~there if baseline.mean else np.zeros_like(there))
