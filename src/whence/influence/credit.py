"""From scores of training examples to scores of what they are made of: rows, users, items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import OWN_COLUMNS
from whence.data import Interactions
from whence.errors import ColumnError, UnsupportedError
from whence.influence.places import Targets

FloatArray = npt.NDArray[np.float64]
By = Literal["example", "interaction", "session", "user", "item", "target"]
BY_PLACE = ("interaction", "target")
"""Credit that is by the terms of the losses."""
_CHUNK = 1 << 15


def check_credit(
    train: Interactions | None, examples: Any, by: str, *, places: bool = True
) -> None:
    """Refuse credit that cannot be given; `places`: whether terms of losses have scores.

    Raises
    ------
    UnsupportedError
        If there are no interactions, or no targets, to credit.
    ColumnError
        If there is no user column.
    """
    if by == "example":
        return
    if train is None:
        raise UnsupportedError(f"by={by!r} needs examples made of interactions; take by='example'.")
    if by == "user" and not _is_source(train, by):
        _user_column(train)
    if by != "target":
        return
    if Targets.of(examples, np.arange(0)) is None:
        raise UnsupportedError(
            "by='target' needs losses that are each about one item, but those of this model are "
            "about all items of an example together; take by='item'."
        )
    if not places and not Targets.of(examples).single:  # type: ignore[union-attr]
        raise UnsupportedError(
            "by='target' needs the scores of single places where windows have a target at each, "
            "which only TracIn through checkpoints gives; take by='item'."
        )


def credited(
    train: Interactions | None,
    examples: Any,
    scores: FloatArray,
    by: str,
    terms: FloatArray | None = None,
) -> tuple[str, str, pl.DataFrame]:
    """Name of the column of sources in the data, the same in the table, and the table.

    The score of an example goes to its session or user. Interactions get the scores of the terms
    of losses that they are the targets of, and ``by="target"`` sums these by item; ``by="item"``
    has an equal share for each row that the example is made of, be it a target or not. So all
    tables have one sum.

    Parameters
    ----------
    train : Interactions or None
        None where examples do not come from interactions.
    examples : Examples
    scores : float64 [n]
    by : {"example", "interaction", "session", "user", "item", "target"}
    terms : float64 [terms], optional
        Scores of the terms of the examples' losses, by example and place. Without them an example
        with several targets gives each an equal share, and with no targets each of its rows.

    Raises
    ------
    UnsupportedError
        If there are no interactions to credit, or single targets are asked for and not known.
    ColumnError
        If there is no user column.
    """
    check_credit(train, examples, by, places=terms is not None)
    if by == "example":
        return "example", "example", example_table(train, examples, scores)
    assert train is not None
    if by in ("session", "user") and _is_source(train, by):
        totals = np.zeros(train.n_sources)
        for numbers in _chunks(len(scores)):
            np.add.at(totals, examples.sources(numbers), scores[numbers])
        ids = train.source_ids
        return _named(train, ids, totals)
    targets = None if by == "item" else Targets.of(examples)
    shares = _by_row(train, examples, scores, targets, terms)
    if by == "interaction":
        return "row", "row", row_table(train, shares)
    if by in ("item", "target"):
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


def _by_row(
    train: Interactions,
    examples: Any,
    scores: FloatArray,
    targets: Targets | None,
    terms: FloatArray | None,
) -> FloatArray:
    """Shares of single rows, float64 [n_rows]."""
    if targets is not None:
        if terms is None:
            terms = np.repeat(scores / np.maximum(targets.counts, 1), targets.counts)
        sums: FloatArray = np.zeros(train.n_rows)
        np.add.at(sums, targets.rows, terms)
        return sums
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
