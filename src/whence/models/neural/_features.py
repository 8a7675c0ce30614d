"""Columns of the tables of users and items as numbers that a network can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data._side_tables import rows_of
from whence.errors import ColumnError, DataError, did_you_mean

CATEGORY, BAG, NUMBER = "category", "bag", "number"
_FEW_INTEGERS = 32


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
        Columns; all that are usable by default, see `usable_kind`.
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
    if wanted is None:
        kinds = {name: usable_kind(table[name]) for name in table.columns[1:]}
        chosen = {name: kind for name, kind in kinds.items() if kind is not None}
    else:
        chosen = {name: _named_kind(table, name, what) for name in wanted}
    return _gather(table, rows, chosen)


def usable_kind(column: pl.Series) -> str | None:
    """What a column is taken for if it is not asked for by name, None if it is not taken.

    Texts and truth values are categories, texts with ``|`` between several values and lists of
    texts or integers are bags, floats and times are numbers; integers are categories if there are
    at most 32 different ones, else numbers. Not taken are columns with a single value, and
    categories and bags with more different values than half of the rows, such as titles.
    """
    kind = _kind(column)
    if kind is None:
        return None
    if kind == NUMBER:
        known = _as_numbers(column)
        known = known[np.isfinite(known)]
        return kind if len(known) and np.ptp(known) > 0 else None
    n_values = _as_lists(column).explode().drop_nulls().n_unique()
    return kind if 2 <= n_values <= len(column) / 2 else None


def _named_kind(table: pl.DataFrame, name: str, what: str) -> str:
    names = table.columns[1:]
    if name not in names:
        raise ColumnError(
            f"The {what} table has no column {name!r}; it has {', '.join(names) or 'none'}."
            f"{did_you_mean(name, names)}"
        )
    kind = _kind(table[name])
    if kind is None:
        raise DataError(
            f"Column {name!r} of the {what} table holds {table[name].dtype}, which is neither "
            f"text, number nor list of texts; leave it out of {what}_features, or cast it."
        )
    return kind


def _kind(column: pl.Series) -> str | None:
    dtype = column.dtype
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return BAG if inner == pl.String or inner.is_integer() else None
    if dtype == pl.String:
        return BAG if column.str.contains("|", literal=True).any() else CATEGORY
    if dtype == pl.Boolean or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return CATEGORY
    if dtype.is_integer():
        return CATEGORY if column.drop_nulls().n_unique() <= _FEW_INTEGERS else NUMBER
    return NUMBER if dtype.is_float() or dtype.is_temporal() else None


def _gather(table: pl.DataFrame, rows: pl.Series, kinds: dict[str, str]) -> Features:
    values: list[npt.NDArray[np.int64]] = []
    slots: list[tuple[int, int]] = []
    numbers: list[npt.NDArray[np.float32]] = []
    place = n_values = 0
    for name, kind in kinds.items():
        # Only what users or items of the data have: others would never be learned.
        column = table[name].gather(rows)
        if kind == NUMBER:
            numbers.append(_standardised(_as_numbers(column)))
            continue
        coded, n_new = _coded(_as_lists(column))
        values.append(np.where(coded > 0, coded + n_values, 0))
        slots.append((place, place + coded.shape[1]))
        place, n_values = place + coded.shape[1], n_values + n_new
    return Features(
        kinds=kinds,
        slots=slots,
        values=np.concatenate([np.zeros((len(rows), 0), np.int64), *values], axis=1),
        n_values=n_values,
        numbers=np.stack(numbers, axis=1) if numbers else np.zeros((len(rows), 0), np.float32),
    )


def _as_lists(column: pl.Series) -> pl.Series:
    """Every value as a list of texts, an empty text being none."""
    if isinstance(column.dtype, pl.List):
        lists = column.cast(pl.List(pl.String))
    elif column.dtype == pl.String:
        lists = column.str.split("|")
    else:
        lists = column.cast(pl.String).reshape((-1, 1)).arr.to_list()
    return lists.fill_null([]).list.eval(pl.element().filter(pl.element() != ""))


def _coded(lists: pl.Series) -> tuple[npt.NDArray[np.int64], int]:
    """Numbers of the distinct values of each list, int64 [n, longest], from 1 and padded with 0."""
    flat = pl.DataFrame({"row": np.arange(len(lists)), "value": lists}).explode("value")
    flat = flat.drop_nulls().unique(maintain_order=True)
    names = flat["value"].unique(maintain_order=True)
    codes = flat["value"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64) + 1
    row = flat["row"].to_numpy()
    counts = np.bincount(row, minlength=len(lists))
    first = np.cumsum(counts) - counts
    padded = np.zeros((len(lists), max(1, int(counts.max(initial=0)))), dtype=np.int64)
    padded[row, np.arange(len(row)) - first[row]] = codes
    return padded, len(names)


def _as_numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    if column.dtype.is_temporal():
        column = column.to_physical()
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _standardised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), dtype=np.float32)
    centred = values - values[known].mean()
    spread = values[known].std() or 1.0
    return np.where(known, centred / spread, 0.0).astype(np.float32)
