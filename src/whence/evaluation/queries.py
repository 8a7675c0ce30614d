"""Evaluation queries: what a model is asked, and what it should have answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, ParameterError, check_choice

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]

Unknown = Literal["ignore", "drop"]
Target = Literal["rest", "next"]


@dataclass(frozen=True)
class Queries:
    """A batch of queries in the numbering of a model's training data.

    Histories and targets are windows into flat arrays, so that the L-1 queries of one session
    share its items.

    Attributes
    ----------
    kind : {"sessions", "baskets"}
        Sessions: a query is the beginning of a session. Baskets: a query is a user.
    history_items : ndarray of int32
        Known items, flat. Query q has ``history_items[history_start[q]:history_end[q]]``,
        oldest first. Empty for users seen in training, whose history the model has.
    history_start, history_end : ndarray of int64, shape (Q,)
        Windows of the histories.
    target_items : ndarray of int32
        Items to be found, flat; the first of a window is the next item. An item unknown to the
        training data has a negative number of its own.
    target_start, target_end : ndarray of int64, shape (Q,)
        Windows of the targets.
    users : ndarray of int32, shape (Q,)
        Baskets: number of the user in the training data, -1 if unseen. Sessions: -1.
    ids : polars.DataFrame
        One row per query: the validation session and the position in it, or the user.
    n_unknown_rows : int
        Validation rows whose item is unknown to the training data.
    n_empty : int
        Queries without a known item (or user): they get an empty list and count with value 0.
    history_baskets : ndarray of int32, optional
        For folded-in users: the running number of the basket of each history item.
    unknown_items : polars.Series, optional
        External ids of unknown items; item number -1 - j is entry j.
    """

    kind: str
    history_items: CodeArray
    history_start: IntArray
    history_end: IntArray
    target_items: CodeArray
    target_start: IntArray
    target_end: IntArray
    users: CodeArray
    ids: pl.DataFrame
    n_unknown_rows: int = 0
    n_empty: int = 0
    history_baskets: CodeArray | None = None
    unknown_items: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.users)

    def count_distinct_targets(self) -> IntArray:
        """Number of distinct targets of each query, items that cannot be found included."""
        owner = np.repeat(np.arange(len(self)), self.target_end - self.target_start)
        inside = np.arange(len(owner)) - np.searchsorted(owner, owner)
        items = self.target_items[self.target_start[owner] + inside].astype(np.int64)
        low = int(self.target_items.min(initial=0))
        width = int(self.target_items.max(initial=0)) - low + 1
        pairs = np.unique(owner * width + (items - low))
        return np.bincount(pairs // width, minlength=len(self))


def make_queries(
    model: Any, validation: Any, *, unknown: Unknown = "ignore", target: Target = "rest"
) -> Queries:
    """Build the queries that a validation set asks of a model.

    Sessions: a session of length L yields L-1 queries, every beginning of it, with the rest as
    target. Baskets: one query per user, with the user's first validation basket as target.

    Parameters
    ----------
    model : fitted recommender, Interactions or Vocabulary
        Says which items and users are known.
    validation : Interactions or data frame
        What is asked.
    unknown : {"ignore", "drop"}
        Items unknown to the training data are taken out of the history and stay in the target as
        items that cannot be found ("ignore"), or their rows are removed first ("drop").
    target : {"rest", "next"}
        Sessions: the whole rest of the session is to be found, or the next item only.

    Raises
    ------
    DataError
        If validation is of another kind than the training data, its ids are of another type, or
        no query is left.
    """
    check_choice("unknown", unknown, ("ignore", "drop"))
    check_choice("target", target, ("rest", "next"))
    vocabulary, kind = _known(model)
    data = Interactions.from_frame(validation, kind=kind)
    if kind is not None and data.kind != kind:
        raise DataError(
            f"The model was fitted on {kind} but the validation data holds {data.kind}; give "
            "validation data with the same columns as the training data."
        )
    numbers = _item_numbers(vocabulary, data)
    if data.kind == "baskets":
        return _basket_queries(vocabulary, data, numbers, unknown)
    return _session_queries(data, numbers, unknown, target)


def _known(model: Any) -> tuple[Vocabulary, str | None]:
    if isinstance(model, Vocabulary):
        return model, None
    train = model if isinstance(model, Interactions) else getattr(model, "train_", None)
    if not isinstance(train, Interactions):
        raise ParameterError(
            f"Queries need a fitted Whence model or its training data, not {type(model).__name__}; "
            "pass the training Interactions."
        )
    return train.vocabulary, train.kind


def _item_numbers(vocabulary: Vocabulary, data: Interactions) -> CodeArray:
    """Training number of each validation item; -1 - j for the j-th one that is unknown."""
    numbers = vocabulary.item_codes(data.vocabulary.items).astype(np.int32)
    missing = np.flatnonzero(numbers < 0)
    numbers[missing] = -1 - np.arange(len(missing), dtype=np.int32)
    return numbers


def _unknown_items(data: Interactions, numbers: CodeArray) -> pl.Series:
    return data.vocabulary.items.gather(np.flatnonzero(numbers < 0))


def _session_queries(
    data: Interactions, numbers: CodeArray, unknown: Unknown, target: Target
) -> Queries:
    sequences = data.sequences
    items = numbers[sequences.items]
    lengths = np.diff(sequences.offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    is_known = items >= 0
    n_unknown_rows = int(len(items) - is_known.sum())
    if unknown == "drop":
        items, owner = items[is_known], owner[is_known]
        lengths = np.bincount(owner, minlength=len(lengths))
        is_known = np.ones(len(items), dtype=bool)
    starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]

    n_queries = np.maximum(lengths - 1, 0)
    session = np.repeat(np.arange(len(lengths)), n_queries)
    if not len(session):
        raise DataError(
            "The validation data leaves no query: every session has fewer than two "
            f"{'known ' if unknown == 'drop' else ''}items; give longer sessions."
        )
    first = np.repeat(np.concatenate(([0], np.cumsum(n_queries)))[:-1], n_queries)
    position = np.arange(len(session)) - first + 1

    known_before = np.concatenate(([0], np.cumsum(is_known)))
    split = starts[session] + position
    history_start = known_before[starts[session]]
    history_end = known_before[split]
    session_end = starts[session] + lengths[session]
    id_name = data.columns.source
    return Queries(
        kind="sessions",
        history_items=np.ascontiguousarray(items[is_known], dtype=np.int32),
        history_start=history_start.astype(np.int64),
        history_end=history_end.astype(np.int64),
        target_items=np.ascontiguousarray(items, dtype=np.int32),
        target_start=split.astype(np.int64),
        target_end=(split + 1 if target == "next" else session_end).astype(np.int64),
        users=np.full(len(session), -1, dtype=np.int32),
        ids=pl.DataFrame({id_name: data.vocabulary.sources.gather(session), "position": position}),
        n_unknown_rows=n_unknown_rows,
        n_empty=int((history_start == history_end).sum()),
        unknown_items=_unknown_items(data, numbers),
    )


def _basket_queries(
    vocabulary: Vocabulary, data: Interactions, numbers: CodeArray, unknown: Unknown
) -> Queries:
    sequences = data.sequences
    items = numbers[sequences.items]
    baskets = sequences.baskets
    assert baskets is not None
    owner = np.repeat(np.arange(data.n_sources), np.diff(sequences.offsets))
    n_unknown_rows = int((items < 0).sum())
    if unknown == "drop":
        kept = items >= 0
        items, owner, baskets = items[kept], owner[kept], baskets[kept]
    if not len(items):
        raise DataError(
            "The validation data leaves no query: none of its items is known to the training "
            "data; check that both use the same ids."
        )
    # Dropping rows may empty a user's first basket: the first one left is the target.
    asked, first_row = np.unique(owner, return_index=True)
    is_target = baskets == np.repeat(baskets[first_row], np.diff(np.append(first_row, len(owner))))
    sizes = np.bincount(owner[is_target], minlength=data.n_sources)[asked]
    ends = np.cumsum(sizes)
    users = vocabulary.source_codes(data.vocabulary.sources)[asked].astype(np.int32)
    zeros = np.zeros(len(asked), dtype=np.int64)
    return Queries(
        kind="baskets",
        history_items=np.empty(0, dtype=np.int32),
        history_start=zeros,
        history_end=zeros,
        target_items=np.ascontiguousarray(items[is_target], dtype=np.int32),
        target_start=(ends - sizes).astype(np.int64),
        target_end=ends.astype(np.int64),
        users=users,
        ids=pl.DataFrame({data.columns.source: data.vocabulary.sources.gather(asked)}),
        n_unknown_rows=n_unknown_rows,
        n_empty=int((users < 0).sum()),
        unknown_items=_unknown_items(data, numbers),
    )
