"""Filters that drop rows, and say how many of what they dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data.interactions import Interactions
from whence.errors import (
    ColumnError,
    DataError,
    ParameterError,
    check_choice,
    check_float,
    check_int,
)


@dataclass(frozen=True)
class Dropped:
    """What a filter dropped.

    Attributes
    ----------
    rows, sources, items : int
        Rows, and the sources (sessions or users) and items that have no rows left.
    of_rows, of_sources, of_items : int
        How many there were.
    """

    rows: int
    sources: int
    items: int
    of_rows: int
    of_sources: int
    of_items: int

    def __str__(self) -> str:
        return (
            f"Dropped {self.rows:,} of {self.of_rows:,} rows, {self.sources:,} of "
            f"{self.of_sources:,} sources and {self.items:,} of {self.of_items:,} items."
        )


def filter_core(
    interactions: Interactions, *, users: int = 5, items: int = 5
) -> tuple[Interactions, Dropped]:
    """Keep users (or sessions) and items with enough interactions, over and over till all have.

    Parameters
    ----------
    interactions : Interactions
    users, items : int, default 5
        The fewest rows of a source and of an item; 0 or 1 keeps all of them. Rows are counted,
        repeated ones too.

    Returns
    -------
    kept : Interactions
        Numbered by its own rows; the largest part of the data in which all have enough.
    dropped : Dropped

    Raises
    ------
    ParameterError
        A number is negative.
    DataError
        Nothing would be left.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [7, 8, 7, 8, 9]})
    >>> kept, dropped = filter_core(Interactions.from_frame(table), users=2, items=2)
    >>> print(kept, dropped)
    <Interactions: 4 rows, 2 users, 2 items> Dropped 1 of 5 rows, 1 of 3 sources and 1 of 3 items.
    """
    check_int("users", users, minimum=0)
    check_int("items", items, minimum=0)
    source, item = interactions.source_codes, interactions.item_codes
    rows = np.arange(interactions.n_rows)
    while True:
        enough = np.bincount(source[rows], minlength=interactions.n_sources) >= users
        left = rows[enough[source[rows]]]
        enough = np.bincount(item[left], minlength=interactions.n_items) >= items
        left = left[enough[item[left]]]
        if len(left) == len(rows):
            break
        rows = left
    keep = np.zeros(interactions.n_rows, dtype=np.bool_)
    keep[interactions.rows[rows]] = True
    return _kept(interactions, keep)


def filter_length(
    interactions: Interactions, *, at_least: int | None = None, at_most: int | None = None
) -> tuple[Interactions, Dropped]:
    """Keep sessions or users of some length.

    Parameters
    ----------
    interactions : Interactions
    at_least, at_most : int, optional
        Bounds on the number of rows of a source, or of baskets of a user, where there are baskets;
        both inclusive.

    Returns
    -------
    kept : Interactions
        Numbered by its own rows.
    dropped : Dropped

    Raises
    ------
    ParameterError
        Neither bound is given, or one is no integer above 0, or they exclude everything.
    DataError
        Nothing would be left.
    """
    low = 1 if at_least is None else check_int("at_least", at_least, minimum=1)
    high = None if at_most is None else check_int("at_most", at_most, minimum=1)
    _check_bounds(at_least, at_most)
    sequences = interactions.sequences
    lengths = np.diff(sequences.offsets)
    if sequences.baskets is not None:
        some = lengths > 0
        lengths[some] = sequences.baskets[sequences.offsets[1:][some] - 1] + 1
    fits = lengths >= low
    if high is not None:
        fits &= lengths <= high
    keep = np.zeros(interactions.n_rows, dtype=np.bool_)
    keep[interactions.rows] = fits[interactions.source_codes]
    return _kept(interactions, keep)


def filter_duplicates(
    interactions: Interactions, *, keep: str = "first"
) -> tuple[Interactions, Dropped]:
    """Keep one row of each item of a session or user (in baskets: of each item of a basket).

    Parameters
    ----------
    interactions : Interactions
    keep : {"first", "last"}, default "first"
        Which of them, in order of time, and of rows where there is none.

    Returns
    -------
    kept : Interactions
        Numbered by its own rows.
    dropped : Dropped

    Raises
    ------
    ParameterError
        `keep` is neither.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"user": [1, 1, 1, 2], "item": [7, 8, 7, 7]})
    >>> kept, dropped = filter_duplicates(Interactions.from_frame(table))
    >>> print(dropped)
    Dropped 1 of 4 rows, 0 of 2 sources and 0 of 2 items.
    """
    check_choice("keep", keep, ("first", "last"))
    sequences = interactions.sequences
    columns = {
        "source": np.repeat(np.arange(interactions.n_sources), np.diff(sequences.offsets)),
        "item": sequences.items,
        "basket": sequences.baskets if sequences.baskets is not None else 0,
    }
    row = pl.struct(pl.all())
    chosen = row.is_first_distinct() if keep == "first" else row.is_last_distinct()
    wanted = np.zeros(interactions.n_rows, dtype=np.bool_)
    wanted[sequences.rows] = pl.DataFrame(columns).select(chosen).to_series().to_numpy()
    return _kept(interactions, wanted)


def filter_ratings(
    interactions: Interactions, *, at_least: float | None = None, at_most: float | None = None
) -> tuple[Interactions, Dropped]:
    """Keep rows by their rating.

    Parameters
    ----------
    interactions : Interactions
        With a rating column.
    at_least, at_most : float, optional
        Bounds on the rating, both inclusive. Rows without a rating are dropped.

    Returns
    -------
    kept : Interactions
        Numbered by its own rows.
    dropped : Dropped

    Raises
    ------
    ColumnError
        There is no rating column, or its values are no numbers.
    ParameterError
        Neither bound is given, or they exclude everything.
    DataError
        Nothing would be left.
    """
    bounds = [
        None if bound is None else check_float(name, bound)
        for name, bound in (("at_least", at_least), ("at_most", at_most))
    ]
    _check_bounds(*bounds)
    name = interactions.columns.rating
    if name is None:
        raise ColumnError("There is no rating column; name it with rating='...'.")
    ratings = interactions.frame[name]
    if not ratings.dtype.is_numeric():
        raise ColumnError(f"Column {name!r} has ratings of type {ratings.dtype}, not numbers.")
    values = ratings.cast(float).fill_null(np.nan).to_numpy()
    keep = np.ones(len(values), dtype=np.bool_) & ~np.isnan(values)
    if bounds[0] is not None:
        keep &= values >= bounds[0]
    if bounds[1] is not None:
        keep &= values <= bounds[1]
    return _kept(interactions, keep)


def filter_described(interactions: Interactions) -> tuple[Interactions, Dropped]:
    """Keep rows whose item and user the tables beside the interactions have.

    Parameters
    ----------
    interactions : Interactions
        A side without a table drops nothing.

    Returns
    -------
    kept : Interactions
        Numbered by its own rows.
    dropped : Dropped

    Raises
    ------
    DataError
        Nothing would be left.
    """
    keep = np.ones(interactions.n_rows, dtype=np.bool_)
    tables = (interactions.item_table, interactions.user_table)
    for table, name in zip(tables, (interactions.columns.item, interactions.columns.user)):
        if table is not None and name is not None:
            known = table.to_series(0).implode()
            keep &= interactions.frame[name].is_in(known).to_numpy()
    return _kept(interactions, keep)


def _kept(interactions: Interactions, keep: NDArray[np.bool_]) -> tuple[Interactions, Dropped]:
    """Return the rows that a mask over the frame keeps, and what was dropped."""
    if not keep.any():
        raise DataError(f"None of the {interactions.n_rows} rows would be left; loosen the bounds.")
    kept = interactions.keep_rows(keep).rebuild()
    n_sources = len(np.unique(interactions.source_codes))
    n_items = len(np.unique(interactions.item_codes))
    dropped = Dropped(
        rows=interactions.n_rows - kept.n_rows,
        sources=n_sources - kept.n_sources,
        items=n_items - kept.n_items,
        of_rows=interactions.n_rows,
        of_sources=n_sources,
        of_items=n_items,
    )
    return kept, dropped


def _check_bounds(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise ParameterError("Give at_least, at_most or both.")
    if low is not None and high is not None and low > high:
        raise ParameterError(f"at_least ({low}) must not be above at_most ({high}).")
