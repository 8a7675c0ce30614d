"""From scores of training examples to scores of what they are made of: rows, users, items."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import ColumnError, UnsupportedError, check_choice

FloatArray = npt.NDArray[np.float64]
BY = ("example", "interaction", "session", "user", "item")
_CHUNK = 1 << 15


def credited(
    train: Interactions | None, examples: Any, scores: FloatArray, by: str
) -> tuple[str, pl.DataFrame]:
    """Name of the column of sources, and the table of an attribution.

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
        return "example", example_table(train, examples, scores)
    if train is None:
        raise UnsupportedError(f"by={by!r} needs examples made of interactions; take by='example'.")
    if by in ("session", "user") and _is_source(train, by):
        totals = np.zeros(train.n_sources)
        for numbers in _chunks(len(scores)):
            np.add.at(totals, examples.sources(numbers), scores[numbers])
        ids = train.source_ids
        return ids.name, pl.DataFrame({ids.name: ids, "score": totals})
    shares = _by_row(train, examples, scores)
    if by == "interaction":
        names = [train.columns.source, train.columns.item]
        known = {name: train.frame[name] for name in names if name not in ("row", "score")}
        return "row", pl.DataFrame({"row": np.arange(train.n_rows), **known, "score": shares})
    if by == "item":
        codes, ids = train.item_codes, train.item_ids
        sums = np.bincount(codes, weights=shares[train.rows], minlength=len(ids))
        return ids.name, pl.DataFrame({ids.name: ids, "score": sums})
    name = _user_column(train)
    table = pl.DataFrame({name: train.frame[name], "score": shares})
    return name, table.group_by(name, maintain_order=True).agg(pl.col("score").sum())


def example_table(train: Interactions | None, examples: Any, scores: FloatArray) -> pl.DataFrame:
    """One row per example: number, whose it is, the item of its last row, and the score."""
    columns: dict[str, Any] = {"example": np.arange(len(scores))}
    if train is not None:
        sources, rows = [], []
        for numbers in _chunks(len(scores)):
            sources.append(examples.sources(numbers))
            of_examples, offsets = examples.rows(numbers)
            rows.append(of_examples[offsets[1:] - 1])
        columns[train.columns.source] = train.source_ids[np.concatenate(sources)]
        columns[train.columns.item] = train.frame[train.columns.item][np.concatenate(rows)]
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
