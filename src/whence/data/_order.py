"""The canonical order of rows, on which every number and every tie depends."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._warning import warn
from whence.data.columns import Columns
from whence.data.vocabulary import family, number_by_first_appearance
from whence.errors import DataError

IntegerArray = NDArray[np.int64]


def check_times(times: pl.Series, name: str) -> None:
    """Refuse a column that cannot serve as timestamps.

    Raises
    ------
    DataError
        Null, NaN or infinite values, or a type that is no number and no date.
    """
    dtype = times.dtype
    if n_null := times.null_count():
        raise DataError(
            f"Column {name!r} has {n_null} null timestamp{'s' * (n_null > 1)}; drop those rows "
            "or fill in their times."
        )
    if family(dtype) == "text":
        raise DataError(
            f"Column {name!r} has text, not timestamps, such as {times.cast(pl.String)[0]!r}; say "
            "how it is written, as in time_format='%d.%m.%Y %H:%M', or make it dates or numbers."
        )
    if not (dtype.is_numeric() or isinstance(dtype, (pl.Datetime, pl.Date))):
        raise DataError(
            f"Column {name!r} has values of type {dtype}, which are no timestamps; "
            "give integers, floats, dates or datetimes."
        )
    if dtype.is_float() and (n_bad := int((~times.is_finite()).sum())):
        raise DataError(
            f"Column {name!r} has {n_bad} NaN or infinite timestamp{'s' * (n_bad > 1)}; "
            "drop those rows or fill in their times."
        )


def canonical_order(
    table: pl.DataFrame, columns: Columns, tie_seed: int | None = None
) -> tuple[IntegerArray, IntegerArray, NDArray[np.int32] | None]:
    """Sort the rows of a table, stably.

    Parameters
    ----------
    table : polars.DataFrame
    columns : Columns
        With a basket, rows are ordered by the time of their basket (its first row's, if they
        differ), then by basket id; else by time; else as they are.
    tie_seed : int, optional
        Put rows of equal time (all, where there is no time) in a random order.

    Returns
    -------
    rows : int64 array [n]
        Row numbers in order.
    moments : int64 array [n]
        Dense rank of the timestamp, or of what stands for it, in that order.
    baskets : int32 array [n] or None
        Number of the basket by first appearance, in that order.
    """
    n = table.height
    if columns.basket is None:
        rows = np.arange(n, dtype=np.int64)
        if tie_seed is not None:
            rows = np.random.Generator(np.random.PCG64(tie_seed)).permutation(rows)
        if columns.time is None:
            return rows, np.arange(n, dtype=np.int64), None
        key = _key(table[columns.time])
        if tie_seed is None and _ascends(key):  # as logs are: no copy is needed
            return rows, dense(key), None
        rows = rows[_stable_argsort(key[rows])]
        return rows, dense(key[rows]), None
    return _basket_order(table, columns, columns.basket)


def dense(ordered: NDArray[Any]) -> IntegerArray:
    """Return ranks 0, 1, ... of sorted values, equal for equal ones."""
    steps = np.zeros(len(ordered), dtype=np.bool_)
    steps[1:] = ordered[1:] != ordered[:-1]
    ranks: IntegerArray = np.cumsum(steps, dtype=np.int64)
    return ranks


def _basket_order(
    table: pl.DataFrame, columns: Columns, basket: str
) -> tuple[IntegerArray, IntegerArray, NDArray[np.int32]]:
    _, source = number_by_first_appearance(table[columns.source])
    ids = table[basket]
    _, basket_id = number_by_first_appearance(ids)
    _, pair = number_by_first_appearance(pl.Series(source * (basket_id.max() + 1) + basket_id))
    id_rank = _rank_of_ids(ids, alone=columns.time is None)
    rank = id_rank
    if columns.time is not None:
        key = _dense_any(_key(table[columns.time]))
        first = np.full(pair.max() + 1, np.iinfo(np.int64).max, dtype=np.int64)
        np.minimum.at(first, pair, key)
        time_rank = first[pair]
        rank = time_rank * (id_rank.max() + 1) + id_rank
    rows = _stable_argsort(rank)
    moments = dense(rank[rows] if columns.time is None else time_rank[rows])
    _, baskets = number_by_first_appearance(pl.Series(pair[rows]))
    return rows, moments, baskets.astype(np.int32)


def _rank_of_ids(ids: pl.Series, alone: bool) -> IntegerArray:
    """Return the dense rank of basket ids in their own order; numbers in text count as numbers."""
    if family(ids.dtype) != "text":
        return _ranks(ids)
    text = ids.cast(pl.String)
    numbers = text.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0:
        # "1" and "01" are one number but two baskets: the text decides between them.
        by_text = _ranks(text)
        return _dense_any(_ranks(numbers) * (by_text.max() + 1) + by_text)
    if alone:
        warn(
            f"The basket ids in {ids.name!r} are text and there is no time column, so baskets "
            "are in alphabetical order; name a time column if that is not their order.",
        )
    return _ranks(text)


def _ranks(series: pl.Series) -> IntegerArray:
    return series.rank("dense").cast(pl.Int64).to_numpy() - 1


def _key(times: pl.Series) -> NDArray[np.generic]:
    """Return timestamps as an array that sorts as they do, at full precision."""
    dtype = times.dtype
    if dtype.is_temporal():
        return times.to_physical().to_numpy()
    if dtype.is_float() or (dtype.is_integer() and not isinstance(dtype, pl.Int128)):
        return times.to_numpy()
    return _ranks(times)


def _ascends(key: NDArray[np.generic]) -> bool:
    return len(key) < 2 or bool(np.all(key[1:] >= key[:-1]))  # type: ignore[operator]


def _stable_argsort(key: NDArray[np.generic]) -> IntegerArray:
    if _ascends(key):
        return np.arange(len(key), dtype=np.int64)
    return np.argsort(key, kind="stable").astype(np.int64)


def _dense_any(values: NDArray[np.generic]) -> IntegerArray:
    ranks: IntegerArray = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return ranks
