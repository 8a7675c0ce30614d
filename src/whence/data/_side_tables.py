"""Tables beside the interactions: what is known of each item and of each user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data._frames import to_polars
from whence.data.columns import USUAL_NAMES, plain_name
from whence.data.tables import read_side_table
from whence.data.vocabulary import family
from whence.errors import DataError

TITLE_NAMES = ("title", "movietitle", "name", "itemname", "itemtitle", "productname", "songtitle")


def side_table(given: Any, ids: pl.Series, what: str) -> pl.DataFrame:
    """Return a table of items or users with the id first, so that it can be joined.

    Parameters
    ----------
    given : table or path
        The id is the column named as that of the interactions, else the one that is recognised as
        an item or a user, else the first.
    ids : polars.Series
        The interactions' column; the table's ids must be of a type that compares with it.
    what : {"item", "user"}

    Returns
    -------
    polars.DataFrame
        All rows and columns, those of items or users without interactions included.

    Raises
    ------
    DataError
        The table has no columns or two ids alike, ids are null, or they are of another type than
        the interactions'.
    FileFormatError
        The file cannot be read.
    """
    if not isinstance(given, (str, Path)):
        return _fitted(to_polars(given)[0], ids, what)
    table = read_side_table(given)
    # A text file does not say of what type its ids are: they are integers where all of them look
    # like it, though the interactions may have some that do not.
    found = _id_column(table.columns, ids.name, what)
    if family(table.schema[found]) == "integer" and family(ids.dtype) == "text":
        table = table.with_columns(pl.col(found).cast(pl.String))
    return _fitted(table, ids, what)


def titles(table: pl.DataFrame, item_ids: pl.Series) -> pl.Series | None:
    """Return the title of each item, null where it is not known; None where there are no titles."""
    by_plain_name = {plain_name(name): name for name in reversed(table.columns[1:])}
    found = next((by_plain_name[name] for name in TITLE_NAMES if name in by_plain_name), None)
    if found is None:
        return None
    values = table[found]
    if isinstance(values.dtype, pl.List):  # a sequence of words
        values = values.cast(pl.List(pl.String)).list.join(" ")
    return values.cast(pl.String).gather(rows_of(table, item_ids)).rename("title")


def rows_of(table: pl.DataFrame, ids: pl.Series) -> pl.Series:
    """Return the row number of each id in a side table, null where it has none."""
    own = table[:, 0]
    text = family(ids.dtype) == "text"
    key = pl.String() if text else own.dtype
    lookup = pl.DataFrame({"id": own.cast(key), "row": np.arange(len(own))})
    wanted = ids.cast(key, strict=False).rename("id").to_frame()
    return wanted.join(lookup, on="id", how="left", maintain_order="left")["row"]


def _fitted(table: pl.DataFrame, ids: pl.Series, what: str) -> pl.DataFrame:
    id_name = ids.name
    if not table.columns:
        raise DataError(f"The {what} table has no columns; its first must be the {what} id.")
    found = _id_column(table.columns, id_name, what)
    own = table[found]
    if n_null := own.null_count():
        raise DataError(
            f"Column {found!r} of the {what} table has {n_null} null value{'s' * (n_null > 1)}; "
            "drop those rows or fill in their ids."
        )
    if table.height and family(own.dtype) != family(ids.dtype):
        raise DataError(
            f"Column {found!r} of the {what} table is {own.dtype}, but {id_name!r} of the "
            f"interactions is {ids.dtype}; cast one of them to the type of the other."
        )
    if own.n_unique() < len(own):
        twice = own.filter(own.is_duplicated())[0]
        raise DataError(
            f"{found} {twice!r} has several rows in the {what} table; keep one row for each."
        )
    others = [name for name in table.columns if name != found]
    return table.select(pl.col(found).alias(id_name), *others)


def _id_column(names: list[str], id_name: str, what: str) -> str:
    if id_name in names:
        return id_name
    by_plain_name = {plain_name(name): name for name in reversed(names)}
    usual = ("id", *USUAL_NAMES[what])
    return next((by_plain_name[name] for name in usual if name in by_plain_name), names[0])
