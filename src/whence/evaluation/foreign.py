"""Recommenders that are not Whence's: objects that speak the caller's ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, UnsupportedError
from whence.evaluation.queries import Queries

CodeArray = npt.NDArray[np.int32]


def known_to_foreign(model: Any, data: Any, train: Any) -> Interactions:
    """What says which items are known to an object that is not Whence's."""
    if not any(callable(getattr(model, name, None)) for name in ("recommend", "predict")):
        raise _cannot_recommend(model)
    if train is None:
        train = getattr(model, "train_", None)
    if train is None and isinstance(data, Queries):
        raise DataError(
            f"Queries hold item numbers, which mean nothing to {type(model).__name__} without the "
            f"training data: pass train=…, or the validation data itself."
        )
    kind = data.kind if isinstance(data, (Interactions, Queries)) else None
    return Interactions.from_frame(data if train is None else train, kind=kind)


def foreign_lists(
    model: Any, queries: Queries, vocabulary: Vocabulary, k: int
) -> tuple[CodeArray, Vocabulary]:
    """Lists of an object that speaks external ids, and the vocabulary with the items it added.

    Returns
    -------
    lists : int32 [Q, k]
        Item numbers, padded with -1. Items outside the vocabulary get numbers after it.
    vocabulary : Vocabulary
    """
    if not callable(getattr(model, "recommend", None)):
        raise _cannot_recommend(model)
    lists = np.full((len(queries), k), -1, dtype=np.int32)
    by_user = getattr(model, "asks", "users") == "users"
    if queries.kind == "baskets" or (queries.kind == "users" and by_user):
        asked = np.flatnonzero(queries.users >= 0)
        questions = vocabulary.sources.gather(queries.users[asked]).to_list()
    else:
        asked = np.flatnonzero(queries.history_end > queries.history_start)
        items = np.array(vocabulary.items.to_list(), dtype=object)[queries.history_items]
        questions = [
            items[queries.history_start[q] : queries.history_end[q]].tolist() for q in asked
        ]
    if not questions:
        return lists, vocabulary
    rows = _rows(model, model.recommend(questions, k), len(questions))
    lengths = np.array([min(len(row), k) for row in rows])
    flat = pl.Series("item", [item for row in rows for item in row[:k]], strict=True)
    codes = vocabulary.item_codes(flat)
    strange = codes < 0
    if strange.any():
        added = flat.filter(pl.Series(strange)).unique(maintain_order=True)
        added = added.cast(vocabulary.items.dtype)
        vocabulary = Vocabulary(pl.concat([vocabulary.items, added]), vocabulary.sources)
        codes = vocabulary.item_codes(flat)
    inside = np.arange(k) < lengths[:, None]
    block = np.full((len(rows), k), -1, dtype=np.int32)
    block[inside] = codes
    lists[asked] = block
    return lists, vocabulary


def _rows(model: Any, result: Any, n: int) -> list[list[Any]]:
    """One list of item ids per query, from ``(items, scores)`` or the items alone."""
    items = result[0] if isinstance(result, tuple) and len(result) == 2 else result
    try:
        rows = [row.tolist() if hasattr(row, "tolist") else list(row) for row in items]
    except TypeError:
        rows = []
    if len(rows) != n:
        raise UnsupportedError(
            f"{type(model).__name__}.recommend(queries, k) must return one list of item ids for "
            f"each of the {n} queries, or a tuple (items, scores) of such lists; it returned "
            f"{type(result).__name__}{f' of {len(rows)} lists' if rows else ''}."
        )
    return rows


def _cannot_recommend(model: Any) -> UnsupportedError:
    return UnsupportedError(
        f"{type(model).__name__} cannot be evaluated: it needs a method recommend(queries, k) "
        f"that returns a list of item ids for each query."
    )
