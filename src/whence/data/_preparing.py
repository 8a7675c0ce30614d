"""From a table as it was given to one whose columns have their roles and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data import _text
from whence.data._lists import explode_lists
from whence.data._times import NULLS, check_time_format, formatted_times, written_times
from whence.data._warning import warn
from whence.data.columns import Columns, resolve_columns, settle_by_type
from whence.data.vocabulary import family
from whence.errors import ColumnError, DataError, ParameterError


@dataclass(frozen=True)
class Prepared:
    """A table whose columns have their roles and types.

    Attributes
    ----------
    table : polars.DataFrame
    kind : {"sessions", "baskets"}
    columns : Columns
    rows : int64 array [n_rows] or None
        Row of the table given that each comes from; None where they are the same.
    """

    table: pl.DataFrame
    kind: str
    columns: Columns
    rows: NDArray[np.int64] | None


def prepared(
    table: pl.DataFrame,
    given: Mapping[str, str | None],
    kind: str | None,
    *,
    typed: bool = True,
    written: bool = False,
    time_format: str | None = None,
) -> Prepared:
    """Give the columns of a table their roles, and types where they are text.

    Parameters
    ----------
    table : polars.DataFrame
    given, kind
        As for `resolve_columns`.
    typed : bool
        False: all columns are text still, of which numbers are recognised.
    written : bool
        Whether times in text are recognised where it is clear how they are written.
    time_format : str, optional
        How they are written.

    Raises
    ------
    ColumnError, DataError
        As in `Interactions.from_frame`.
    ParameterError
        There is a format of times and no time column.
    """
    check_time_format(time_format)
    table, given, rows = explode_lists(table, given)
    kind, columns = _resolved(table, given, kind, typed)
    time = columns.time
    if time_format is not None:
        if time is None:
            raise ParameterError("time_format is given, but there is no time column; name it.")
        table = table.with_columns(formatted_times(table[time], time_format))
    if not typed:
        ids = (columns.source, columns.item, columns.user, columns.basket)
        table = _text.infer_types(table, [name for name in ids if name is not None])
        if columns.rating is not None:
            table = table.with_columns(_text.with_points(table[columns.rating]))
    if written and time is not None and table.schema[time] == pl.String:
        table = table.with_columns(written_times(table[time]))
    if not typed or written:
        table = _typed_negatives(table, columns)
    return Prepared(table, kind, settle_by_type(table, columns, given), rows)


def _resolved(
    table: pl.DataFrame, given: dict[str, str | None], kind: str | None, typed: bool
) -> tuple[str, Columns]:
    """Resolve the columns, without a basket or session that hardly any row has.

    In logs of several kinds of events, such as RetailRocket's, only purchases have a transaction.
    """
    found_kind, columns = resolve_columns(table.columns, given, kind)
    role = "basket" if found_kind == "baskets" else "session"
    name = columns.basket if role == "basket" else columns.source
    if name is None or given.get(role) is not None or name == columns.user:
        return found_kind, columns
    values = table[name]
    absent = values.is_null()
    if not typed and values.dtype == pl.String:
        absent |= values.is_in(NULLS)
    n_absent = int(absent.sum())
    if n_absent == 0 or 2 * n_absent < len(values):
        return found_kind, columns
    try:
        again = resolve_columns([one for one in table.columns if one != name], given, kind)
    except ColumnError:  # there is no other
        return found_kind, columns
    warn(
        f"Column {name!r} has no value in {n_absent:,} of {len(values):,} rows, so it is not taken "
        f"for the {role}, and each {again[1].source} is one sequence; if only the rows that have "
        f"one are wanted, drop the others and say {role}={name!r}.",
    )
    extras = [one for one in table.columns if one in {name, *again[1].extras}]
    return again[0], replace(again[1], extras=tuple(extras))


def _typed_negatives(table: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Return the table with lists of negatives of the type of the items."""
    name = columns.negatives
    if name is None:
        return table
    values = table[name]
    if values.dtype == pl.String:
        values = _text.parse_lists(values)
    if not isinstance(values.dtype, pl.List):
        return table
    item = table.schema[columns.item]
    values = _text.integers_or_text(values.cast(pl.List(pl.String)))
    inner = values.dtype.inner  # type: ignore[attr-defined]
    if family(item) == "integer" and family(inner) == "text" and values.list.len().sum():
        raise DataError(
            f"Column {name!r} has ids that are text, but those in {columns.item!r} are integers; "
            "write them alike."
        )
    try:
        return table.with_columns(values.cast(pl.List(item)))
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Column {name!r} has ids beyond the range of those in {columns.item!r}, which are "
            f"{item}; correct them."
        ) from error
