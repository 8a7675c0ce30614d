"""Columns of the tables of users and items as numbers that a network can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data._side_tables import rows_of
from whence.errors import DataError
from whence.models.neural._columns import NUMBER, Column, chosen_kinds


@dataclass(frozen=True)
class Features:
    """What is known of each user, or of each item.

    Attributes
    ----------
    kinds : dict of str to str
        The columns used: ``"category"``, ``"bag"`` (of several values) or ``"number"``.
    slots : list of (int, int)
        Places of each category and bag in `values`: one, or as many as the largest bag has.
    values : int64 [n, places]
        Numbers of values, from 1; 0 for none. No two columns share a value.
    n_values : int
    numbers : float32 [n, number of number columns]
        With mean 0 and standard deviation 1 over those known; 0 where it is not known.
    """

    kinds: dict[str, str]
    slots: list[tuple[int, int]]
    values: npt.NDArray[np.int64]
    n_values: int
    numbers: npt.NDArray[np.float32]


def no_features(n: int) -> Features:
    """Features of n users or items of which nothing is known."""
    return Features({}, [], np.zeros((n, 0), np.int64), 0, np.zeros((n, 0), np.float32))


def make_features(
    table: pl.DataFrame | None, ids: pl.Series, wanted: Sequence[str] | None, what: str
) -> Features:
    """Features from a side table.

    Parameters
    ----------
    table : polars.DataFrame or None
        The id first.
    ids : polars.Series
        Of all users or items, in number order; one without a row in the table has no values.
    wanted : sequence of str, optional
        Columns; all that are usable by default, see `_columns.usable_kind`.
    what : {"user", "item"}

    Raises
    ------
    DataError
        If columns are wanted, but there is no table, or one cannot be used.
    ColumnError
        If a column is not in the table.
    """
    if table is None:
        if wanted:
            raise DataError(
                f"There is no table of {what}s to take {wanted[0]!r} from; add it to the data "
                f"with with_tables({what}s=...), or leave out {what}_features."
            )
        return no_features(len(ids))
    rows = rows_of(table, ids)
    return _gather(table, rows, chosen_kinds(table, table.columns[1:], wanted, what))


def _gather(table: pl.DataFrame, rows: pl.Series, kinds: dict[str, str]) -> Features:
    values: list[npt.NDArray[np.int64]] = []
    slots: list[tuple[int, int]] = []
    numbers: list[npt.NDArray[np.float32]] = []
    place = n_values = 0
    for name, kind in kinds.items():
        # Only what users or items of the data have: others would never be learned.
        column = table[name].gather(rows)
        learned = Column.learned(column, kind)
        coded = learned.coded(column)
        if kind == NUMBER:
            numbers.append(coded)
            continue
        values.append(np.where(coded > 0, coded + n_values, 0).astype(np.int64))
        slots.append((place, place + learned.width))
        place, n_values = place + learned.width, n_values + len(learned.values)
    return Features(
        kinds=kinds,
        slots=slots,
        values=np.concatenate([np.zeros((len(rows), 0), np.int64), *values], axis=1),
        n_values=n_values,
        numbers=np.concatenate([np.zeros((len(rows), 0), np.float32), *numbers], axis=1),
    )
