"""What is credited: sessions or users of the training data, groups of them, items, or rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import OWN_COLUMNS
from whence.data import Interactions
from whence.errors import ColumnError, DataError, UnsupportedError, did_you_mean

ITEM, INTERACTION = "item", "interaction"


@dataclass(frozen=True)
class Sources:
    """The players of a valuation.

    Attributes
    ----------
    by : str
        What a player is: "session", "user", "item", "interaction", or the name of a column.
    name : str
        Name of the column of their ids in tables of values; "row" for interactions.
    ids : polars.Series
        Their external ids, in number order; row numbers of the caller's table for interactions.
    group_of : ndarray of int32
        Player of each session or user of the training data, where players are groups; else empty.
    column : str
        Name of that column in the training data.
    """

    by: str
    name: str
    ids: pl.Series
    group_of: npt.NDArray[np.int32]
    column: str

    def __len__(self) -> int:
        return len(self.ids)


def resolve_sources(train: Interactions, by: str | None, *, fine: bool = False) -> Sources:
    """Find out who the players are.

    Parameters
    ----------
    train : Interactions
        Training data.
    by : str, optional
        "session" or "user", the name of a column that groups whole sessions (or users), "item"
        or "interaction".
    fine : bool
        Whether the method can value items and single interactions.

    Raises
    ------
    UnsupportedError
        If items or interactions are asked of a method that cannot value them.
    ColumnError
        If there is no such column.
    DataError
        If a session (or user) has rows in more than one group, or in none.
    """
    columns = train.columns
    whole = "user" if train.kind == "baskets" else "session"
    if by is None or by in (whole, columns.source):
        nobody = np.empty(0, dtype=np.int32)
        name = columns.beside(columns.source, OWN_COLUMNS)
        return Sources(whole, name, train.vocabulary.sources, nobody, columns.source)
    if by in (ITEM, columns.item, INTERACTION):
        return _fine_sources(train, INTERACTION if by == INTERACTION else ITEM, fine)
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
    return Sources(by, columns.beside(column, OWN_COLUMNS), ids, group_of, column)


def _fine_sources(train: Interactions, by: str, fine: bool) -> Sources:
    if not fine:
        raise UnsupportedError(
            f"by={by!r} is for leave-one-out values and for methods that refit: a model's "
            "neighbours are whole sessions or users, so there is no game among single "
            f"{by}s; use LeaveOneOut(by={by!r}), which is exact, or RetrainingShapley(by={by!r})."
        )
    nobody = np.empty(0, dtype=np.int32)
    if by == ITEM:
        column = train.columns.item
        name = train.columns.beside(column, OWN_COLUMNS)
        return Sources(ITEM, name, train.vocabulary.items, nobody, column)
    return Sources(INTERACTION, "row", pl.Series(np.arange(train.n_rows)), nobody, "row")


def players_of_rows(train: Interactions, sources: Sources) -> npt.NDArray[np.int64]:
    """Number of the player that each row belongs to, int64 (n_rows,), by row of ``train.frame``."""
    players = np.arange(train.n_rows)
    if sources.by == ITEM:
        players[train.rows] = train.item_codes
    elif sources.by != INTERACTION:
        group_of = sources.group_of
        codes = train.source_codes
        players[train.rows] = group_of[codes] if len(group_of) else codes
    return players


def identifying_columns(train: Interactions, sources: Sources) -> dict[str, pl.Series]:
    """What says which interaction a row number is: its source and its item; else nothing."""
    if sources.by != INTERACTION:
        return {}
    return train.ids_beside(OWN_COLUMNS)
