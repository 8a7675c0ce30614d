"""From scores of training examples to scores of what they are made of: rows, users, items."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import OWN_COLUMNS
from whence.data import Interactions
from whence.errors import ColumnError, UnsupportedError, check_choice

FloatArray = npt.NDArray[np.float64]
BY = ("example", "interaction", "session", "user", "item")
_CHUNK = 1 << 15


def credited(
    train: Interactions | None, examples: Any, scores: FloatArray, by: str
) -> tuple[str, str, pl.DataFrame]:
    """Name of the column of sources in the data, the same in the table, and the table.

    The score of an example goes to its session or user; to single interactions and items it goes
    in equal shares for the rows that the example is made of, so that all tables have one sum.

    Parameters
    ----------
    train : Interactions or None
        None where examples do not come from interactions.
    examples : Examples
    scores : float64 [n]
    by : {"example", "interaction", "session", "user", "item"}

    Raises
    ------
    UnsupportedError
        If there are no interactions to credit.
    ColumnError
        If there is no user column.
    """
    check_choice("by", by, BY)
    if by == "example":
        return "example", "example", example_table(train, examples, scores)
    if train is None:
        raise UnsupportedError(f"by={by!r} needs examples made of interactions; take by='example'.")
    if by in ("session", "user") and _is_source(train, by):
        totals = np.zeros(train.n_sources)
        for numbers in _chunks(len(scores)):
            np.add.at(totals, examples.sources(numbers), scores[numbers])
        ids = train.source_ids
        return _named(train, ids, totals)
    shares = _by_row(train, examples, scores)
    if by == "interaction":
        return "row", "row", row_table(train, shares)
    if by == "item":
        codes, ids = train.item_codes, train.item_ids
        sums = np.bincount(codes, weights=shares[train.rows], minlength=len(ids)).astype(np.float64)
        return _named(train, ids, sums)
    users = train.frame[_user_column(train)]
    column, name, table = _named(train, users, shares)
    return column, name, table.group_by(name, maintain_order=True).agg(pl.col("score").sum())


def row_table(train: Interactions, scores: FloatArray) -> pl.DataFrame:
    """A table of single rows, with what identifies them."""
    known = train.ids_beside(OWN_COLUMNS)
    return pl.DataFrame({"row": np.arange(train.n_rows), **known, "score": scores})


def _named(
    train: Interactions, ids: pl.Series, scores: FloatArray
) -> tuple[str, str, pl.DataFrame]:
    name = train.columns.beside(ids.name, OWN_COLUMNS)
    return ids.name, name, pl.DataFrame({name: ids, "score": scores})


def example_table(train: Interactions | None, examples: Any, scores: FloatArray) -> pl.DataFrame:
    """One row per example: number, whose it is, the item of its last row, and the score."""
    columns: dict[str, Any] = {"example": np.arange(len(scores))}
    if train is not None:
        sources, rows = [], []
        for numbers in _chunks(len(scores)):
            sources.append(examples.sources(numbers))
            of_examples, offsets = examples.rows(numbers)
            rows.append(of_examples[offsets[1:] - 1])
        own, named = (*OWN_COLUMNS, "example"), train.columns
        ids = train.source_ids[np.concatenate(sources)]
        columns[named.beside(named.source, own)] = ids
        columns[named.beside(named.item, own)] = train.frame[named.item][np.concatenate(rows)]
    columns["score"] = scores
    return pl.DataFrame(columns)


def _by_row(train: Interactions, examples: Any, scores: FloatArray) -> FloatArray:
    """Shares of single rows, float64 [n_rows]."""
    totals = np.zeros(train.n_rows)
    for numbers in _chunks(len(scores)):
        rows, offsets = examples.rows(numbers)
        sizes = np.diff(offsets)
        np.add.at(totals, rows, np.repeat(scores[numbers] / np.maximum(sizes, 1), sizes))
    return totals


def _is_source(train: Interactions, by: str) -> bool:
    return by == ("user" if train.columns.user == train.columns.source else "session")


def _user_column(train: Interactions) -> str:
    if train.columns.user is None:
        raise ColumnError(
            "by='user' needs a user column in the training data; name it with user='...', or take "
            "by='session'."
        )
    return train.columns.user


def _chunks(n: int) -> list[npt.NDArray[np.int64]]:
    return [np.arange(first, min(first + _CHUNK, n)) for first in range(0, n, _CHUNK)]
