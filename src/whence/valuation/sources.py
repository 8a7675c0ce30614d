"""What is credited: the sessions or users of the training data, or groups of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import ColumnError, DataError, did_you_mean


@dataclass(frozen=True)
class Sources:
    """The players of a valuation.

    Attributes
    ----------
    by : str
        What a player is: "session", "user", or the name of a column.
    name : str
        Name of the column of their ids.
    ids : polars.Series
        Their external ids, in number order.
    group_of : ndarray of int32
        Player of each session or user of the training data; empty where each is one.
    """

    by: str
    name: str
    ids: pl.Series
    group_of: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def resolve_sources(train: Interactions, by: str | None) -> Sources:
    """Find out who the players are.

    Parameters
    ----------
    train : Interactions
        Training data.
    by : str, optional
        "session" or "user", or the name of a column that groups whole sessions (or users).

    Raises
    ------
    ColumnError
        If there is no such column.
    DataError
        If a session (or user) has rows in more than one group, or in none.
    """
    columns = train.columns
    whole = "user" if train.kind == "baskets" else "session"
    if by is None or by in (whole, columns.source):
        nobody = np.empty(0, dtype=np.int32)
        return Sources(whole, columns.source, train.vocabulary.sources, nobody)
    column = columns.user if by == "user" and columns.user is not None else by
    if column not in train.frame.columns:
        known = [whole, "item", "interaction", *train.frame.columns]
        raise ColumnError(
            f"by={by!r} is neither {whole!r}, 'item' nor 'interaction', nor a column of the "
            f"training data ({', '.join(train.frame.columns)}); name the column whose groups "
            f"are to be valued.{did_you_mean(by, known)}"
        )
    labels = train.frame.get_column(column).gather(train.rows)
    if labels.null_count():
        raise DataError(
            f"Column {column!r} has {labels.null_count()} nulls; every row needs a group to be "
            "valued by it."
        )
    ids = labels.unique(maintain_order=True)
    numbers = pl.DataFrame({"id": labels}).join(
        pl.DataFrame({"id": ids}).with_row_index("number"), on="id", how="left",
        maintain_order="left",
    )["number"].to_numpy().astype(np.int32)  # fmt: skip
    group_of = np.zeros(train.n_sources, dtype=np.int32)
    group_of[train.source_codes] = numbers
    torn = np.flatnonzero(group_of[train.source_codes] != numbers)
    if len(torn):
        source = train.vocabulary.sources[int(train.source_codes[torn[0]])]
        raise DataError(
            f"Column {column!r} has several values within {whole} {source!r}; groups are made of "
            f"whole {whole}s, so give each {whole} one value."
        )
    return Sources(by, column, ids, group_of)
