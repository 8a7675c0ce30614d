"""Models asked for raw scores of many histories, whatever kind of model they are.

A history is a row of tokens in order: item numbers, -1 where an event is gone without a trace, and
numbers of n_items and above for what else may stand in an event's place.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, UnsupportedError
from whence.evaluation.queries import Queries
from whence.explanation._histories import History, encode
from whence.models.base import Recommender
from whence.models.popularity import Popularity

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
ScoreArray = npt.NDArray[np.floating[Any]]

_CELLS = 1 << 23  # scores that are held at once
_COUNTS: WeakKeyDictionary[Interactions, IntArray] = WeakKeyDictionary()


class Asker(ABC):
    """A model, as explanations ask it.

    Attributes
    ----------
    name : str
        For people.
    n_items : int
    item_ids : list
        Ids of the items, by number.
    floor : float
        Items with a score of this or below are not recommended.
    pad : int or None
        Token of padding.
    mask_token : int or None
        Token that stands for a masked event, where the model has learned one.
    has_embeddings : bool
        Whether a mean embedding can stand for an event.
    single_thread : bool
        Whether the model must not be asked by two threads at once.
    takes_items : bool
        Whether its events are items, so that any item could be one event more.
    """

    name: str
    n_items: int
    item_ids: list[Any]
    floor: float = -np.inf
    pad: int | None = None
    mask_token: int | None = None
    has_embeddings = False
    single_thread = False
    takes_items = False

    @abstractmethod
    def encode(self, history: Any) -> History:
        """The history as the model sees it."""

    def histories(self, data: Interactions) -> dict[Any, Any]:
        """Histories of the users or sessions of some data, by their ids."""
        offsets, baskets = data.sequences.offsets.tolist(), data.sequences.baskets
        items = data.vocabulary.items.gather(data.sequences.items).to_list()
        found: dict[Any, Any] = {}
        for name, start, end in zip(data.vocabulary.sources.to_list(), offsets, offsets[1:]):
            history = items[start:end]
            if baskets is not None:
                parts = np.flatnonzero(np.diff(baskets[start:end])) + 1
                history = [part.tolist() for part in np.split(np.array(history, object), parts)]
            if history:
                found[name] = history
        return found

    def history_of(self, queries: Queries, start: int, end: int) -> list[Any]:
        """A history of queries: places `start` to `end` of their items, as ids."""
        ids = self.item_ids
        return [ids[code] for code in queries.history_items[start:end].tolist()]

    @property
    def feature_names(self) -> list[str] | None:
        """Features of every event; None where events have none, or as many as they are given."""
        return None

    def baseline(self, masking: Any, history: History, level: str) -> Any:
        """What stands for each masked cell, where events have features."""
        raise self._no_features(level)

    def cell_token(
        self, history: History, place: int, there: npt.NDArray[np.bool_], baseline: Any
    ) -> int:
        """Token of an event with some of its cells masked."""
        raise self._no_features("cell")

    def _no_features(self, level: str) -> UnsupportedError:
        return UnsupportedError(
            f"level={level!r} needs a model whose events have features, given as dictionaries; "
            f"{self.name} sees only items here: use level='event', or fit a sequential network "
            "with item_features, user_features or context_features."
        )

    @abstractmethod
    def scores(self, tokens: IntArray, history: History, items: IntArray | None) -> ScoreArray:
        """Raw scores [B, n] of histories [B, L], of some items or of all (None)."""

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Ask without training, gradients or more than one thread; all as before afterwards."""
        yield

    @property
    def mean_token(self) -> int:
        """Token of the mean embedding."""
        return self.n_items + 1

    @cached_property
    def cell(self) -> Any:
        """The recurrent network as a `Cell`; None where the model is not recurrent."""
        return None

    def steps_of(self, tokens: IntArray, history: History) -> Any:
        """What the cell takes for tokens, one entry per place."""
        return self.cell.tokens(tokens)

    def check(self, tokens: IntArray, history: History) -> None:  # noqa: B027 (most can)
        """Raise UnsupportedError if the model does not answer histories."""

    def full_scores(self, histories: list[History]) -> Iterator[ScoreArray]:
        """Raw scores [n_items] of whole histories, one after another."""
        for history in histories:
            yield self.scores(history.tokens[None], history, None)[0]

    @property
    def counts(self) -> IntArray | None:
        """Interactions of each item in the training data; None where they are not known."""
        return None

    @property
    def titles(self) -> dict[Any, str]:
        """Titles of items by id, where the training data has them."""
        return {}

    def item_number(self, item: Any) -> int:
        """Number of an item.

        Raises
        ------
        DataError
            If the model does not know it.
        """
        number = self._numbers.get(item)
        if number is None:
            raise DataError(
                f"Item {item!r} is unknown to {self.name}; give an id of its training data."
            )
        return number

    def items_in(self, history: History) -> IntArray:
        """Numbers of the known items of a history."""
        return history.tokens

    def item_token(self, item: Any, history: History) -> int:
        """Token of an item that stands for masked events."""
        return self.item_number(item)

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {item: number for number, item in enumerate(self.item_ids)}

    def blocks(self, n: int, width: int) -> Iterator[slice]:
        """Blocks of n rows that hold a bounded number of scores each."""
        size = max(1, _CELLS // max(width, 1))
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))


class RecommenderAsker(Asker):
    """A recommender of Whence, asked through queries of histories folded in."""

    takes_items = True

    def __init__(self, model: Recommender) -> None:
        model.vocabulary  # noqa: B018 (raises NotFittedError)
        self.model = model
        self.name = type(model).__name__
        self.n_items = model.n_items
        self.floor = model.floor
        # A twin that does not mask what a coalition holds: masks would mix with values.
        self._twin = copy.copy(model)
        if hasattr(model, "exclude_seen"):
            self._twin.exclude_seen = False  # type: ignore[attr-defined]
        if hasattr(model, "module_") and model.asks == "histories":
            # A network answers an empty history, too: it sees a window of padding alone.
            self._twin._needs_history = _nobody  # type: ignore[attr-defined]

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """In evaluation mode, where the model is a network; each part as before afterwards."""
        module = getattr(self.model, "module_", None)
        if module is None:
            yield
            return
        with quiet_modules([module]):
            yield

    @property
    def vocabulary(self) -> Vocabulary:
        """Items of the training data."""
        return self.model.vocabulary

    @cached_property
    def item_ids(self) -> list[Any]:  # type: ignore[override]
        """Ids of the items, by number."""
        return self.vocabulary.items.to_list()

    @cached_property
    def counts(self) -> IntArray:
        """Interactions of each item in the training data."""
        train = self.model.train_
        if train not in _COUNTS:
            _COUNTS[train] = np.bincount(train.item_codes, minlength=self.n_items).astype(np.int64)
        return _COUNTS[train]

    @cached_property
    def titles(self) -> dict[Any, str]:
        """Titles of items by id, from the item table of the training data."""
        found = self.model.train_.item_titles
        if found is None:
            return {}
        return {item: title for item, title in zip(self.item_ids, found.to_list()) if title}

    def encode(self, history: Any) -> History:
        """The history as the model sees it; see `_histories.encode`."""
        window = getattr(self.model, "max_length", None)
        return encode(
            history, self.vocabulary, window, self.name, self.model.train_.kind == "baskets"
        )

    def scores(self, tokens: IntArray, history: History, items: IntArray | None) -> ScoreArray:
        """Raw scores; 0 of everything where a model has no answer to an empty history."""
        empty = (tokens < 0).all(axis=1)
        if isinstance(self._twin, Popularity):
            # Its scores do not depend on the history; that it recommends nothing to nobody does.
            found = np.broadcast_to(
                self._twin.counts_.astype(np.float64), (len(tokens), self.n_items)
            )
            return found if items is None else found[:, items]
        scores = np.empty((len(tokens), self.n_items if items is None else len(items)))
        for rows in self.blocks(len(tokens), self.n_items):
            block = self._twin.score_codes(self._queries(tokens[rows], history), threads=1)
            scores[rows] = block if items is None else block[:, items]
        scores[empty & np.isneginf(scores).all(axis=1)] = 0.0
        return scores

    def check(self, tokens: IntArray, history: History) -> None:
        """Raise UnsupportedError if the model answers users, not histories."""
        if self.model.asks != "users":
            return
        why = UnsupportedError(
            f"{self.name} knows a user by what it learned for that user in training and takes no "
            "history, so no event of one can be removed; explain a model that folds histories in, "
            "such as EASE, GRU4Rec or VMISKNN (of WideDeep, level='feature' explains features)."
        )
        try:
            scores = self.scores(tokens, history, None)
        except UnsupportedError:
            raise why from None
        if np.isneginf(scores).all():
            raise why

    def full_scores(self, histories: list[History]) -> Iterator[ScoreArray]:
        """Raw scores [n_items] of whole histories, asked in batches."""
        if self.model.train_.kind == "baskets":
            yield from super().full_scores(histories)
            return
        for rows in self.blocks(len(histories), self.n_items):
            part = histories[rows]
            tokens = np.full((len(part), max(map(len, part))), -1)
            for row, history in enumerate(part):
                tokens[row, : len(history)] = history.tokens
            yield from self.scores(tokens, part[0], None)

    def _queries(self, tokens: IntArray, history: History) -> Queries:
        there = tokens >= 0
        lengths = there.sum(axis=1)
        ends = np.cumsum(lengths)
        none = np.zeros(len(tokens), dtype=np.int64)
        baskets = None
        if history.baskets is not None:
            baskets = _renumbered(there, history.baskets)[there].astype(np.int32)
        return Queries(
            kind=self.model.train_.kind,
            history_items=tokens[there].astype(np.int32),
            history_start=ends - lengths,
            history_end=ends,
            target_items=np.empty(0, dtype=np.int32),
            target_start=none,
            target_end=none,
            users=np.full(len(tokens), -1, dtype=np.int32),
            ids=pl.DataFrame({"query": np.arange(len(tokens))}),
            history_baskets=baskets,
        )


def _nobody(queries: Queries) -> npt.NDArray[np.bool_]:
    """Queries that cannot be answered without a history: none."""
    return np.zeros(len(queries), dtype=np.bool_)


def _renumbered(there: npt.NDArray[np.bool_], baskets: IntArray) -> IntArray:
    """Running numbers [B, L] of the baskets that still hold something."""
    numbers = np.unique(baskets, return_inverse=True)[1]
    alive = np.zeros((len(there), int(numbers.max()) + 1), dtype=np.int64)
    for number in range(alive.shape[1]):
        alive[:, number] = there[:, numbers == number].any(axis=1)
    running: IntArray = np.cumsum(alive, axis=1)[:, numbers] - 1
    return running


@contextmanager
def quiet_modules(modules: list[Any]) -> Iterator[None]:
    """Evaluation mode, and each part's own mode as before afterwards."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
