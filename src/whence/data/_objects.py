"""Rows, columns, arrays and matrices of Python as tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import IOBase
from typing import Any

import numpy as np
import polars as pl

from whence.data._headerless import UNUSED
from whence.errors import DataError, ParameterError

_MATRIX = ("user", "item", "rating")
_COARSE = [np.dtype(f"datetime64[{unit}]") for unit in ("Y", "M", "D", "h", "m", "s")]
_EXACT = 2.0**53  # whole numbers beyond it are not all floats


def is_plain(data: Any) -> bool:
    """Whether these are objects of Python, NumPy or SciPy that `plain_table` takes."""
    if hasattr(data, "__arrow_c_stream__"):
        return False
    rows = isinstance(data, (list, tuple, Mapping, np.ndarray))
    return rows or _is_iterator(data) or _is_matrix(data) or _is_tensor(data)


def _is_iterator(data: Any) -> bool:
    return isinstance(data, Iterator) and not isinstance(data, IOBase)


def _is_tensor(data: Any) -> bool:
    """Whether this is another library's array of two dimensions, such as one of torch."""
    return (
        hasattr(data, "__array__")
        and getattr(data, "ndim", 0) == 2
        and (not hasattr(data, "columns"))
    )


def plain_table(data: Any, names: tuple[str, ...] | None) -> pl.DataFrame:
    """Return rows, columns, an array or a matrix as a table.

    Parameters
    ----------
    data : object
        A list, or an iterator, of dicts or of tuples; a dict of columns, or of users to dicts of
        items to ratings; an array of two dimensions or with fields; a sparse matrix of users and
        items, whose entries that are not 0 are ratings, or where all are 1, interactions.
    names : tuple of str or None
        Of the columns, where they have none; ``_`` is left out.

    Raises
    ------
    DataError
        The rows are of different lengths, or a column has values of mixed types.
    ParameterError
        Names are missing, or not as many as columns, or there are some already.
    """
    if _is_matrix(data):
        return _of_matrix(data, names)
    if isinstance(data, np.ndarray) or _is_tensor(data):
        return _of_array(np.asarray(data), names)
    if isinstance(data, Mapping):
        if data and all(isinstance(value, Mapping) for value in data.values()):
            return _of_ratings(data, names)
        _refuse_names(names, list(data))
        return _frame([(str(name), _listed(name, values)) for name, values in data.items()])
    rows = list(data)
    if not rows:
        raise DataError("There are no rows; at least one interaction is needed.")
    if all(isinstance(row, Mapping) for row in rows):
        keys = list(dict.fromkeys(key for row in rows for key in row))
        _refuse_names(names, keys)
        return _frame([(str(key), [row.get(key) for row in rows]) for key in keys])
    if not all(isinstance(row, Sequence) and not isinstance(row, (str, bytes)) for row in rows):
        raise DataError(
            "A pandas, polars or pyarrow table is needed, or a list with a tuple or a dict for "
            f"each row, and this one has {_kinds(rows)}; give rows, or columns in a dict."
        )
    width = len(rows[0])
    if odd := [number for number, row in enumerate(rows) if len(row) != width]:
        raise DataError(
            f"Row {odd[0] + 1} has {len(rows[odd[0]])} values, and the first has {width}; give all "
            "rows as many."
        )
    fields = getattr(rows[0], "_fields", None)
    names = named(names, width) if fields is None or names is not None else tuple(fields)
    return _frame(list(zip(names, map(list, zip(*rows)))))


def _kinds(rows: Sequence[Any]) -> str:
    return " and ".join(sorted({type(row).__name__ for row in rows})[:3])


def named(names: tuple[str, ...] | None, width: int) -> tuple[str, ...]:
    """Return names of columns that have none.

    Raises
    ------
    ParameterError
        They are missing, or of another number.
    """
    if names is None:
        usual = (*_MATRIX, "time")[:width]
        raise ParameterError(
            f"The {width} columns have no names; name them in their order, as in "
            f"columns={' '.join(usual)!r}."
        )
    if len(names) != width:
        raise ParameterError(
            f"columns names {len(names)} columns, and there are {width}; name each of them in "
            f"order, {UNUSED!r} for one to be left out."
        )
    return names


def _refuse_names(names: tuple[str, ...] | None, own: Sequence[Any]) -> None:
    if names is not None:
        raise ParameterError(
            "columns is for what has no names of columns, and there are "
            f"{', '.join(map(repr, own[:6]))}; say what they are by user=... "
            "and the like."
        )


def _frame(columns: Sequence[tuple[str, Any]]) -> pl.DataFrame:
    series = [column(name, values) for name, values in columns if name != UNUSED]
    lengths = {len(one): one.name for one in series}
    if len(lengths) > 1:
        described = " and ".join(f"{name!r} {length:,}" for length, name in lengths.items())
        raise DataError(
            f"The columns are of different lengths, {described}; give a list of values for each "
            "column, one for each row."
        )
    return pl.DataFrame(series)


def column(name: str, values: Any) -> pl.Series:
    """Return values as a column of one type.

    Raises
    ------
    DataError
        They are of mixed types.
    """
    if getattr(values, "dtype", np.dtype(int)) in _COARSE:
        values = values.astype("datetime64[us]")
    try:
        try:
            return pl.Series(name, values)
        except TypeError:
            if not all(value is None or _is_number(value) for value in values):
                raise
            return pl.Series(name, values, dtype=pl.Float64, strict=False)
    except ImportError:
        raise
    except Exception as error:  # polars has errors of many kinds here
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise DataError(
            f"Column {name!r} has values of mixed or unknown types ({reason}); "
            "give them all as one type."
        ) from error


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return abs(int(value)) <= _EXACT
    return isinstance(value, (float, np.floating))


def _listed(name: Any, values: Any) -> Any:
    if isinstance(values, (pl.Series, np.ndarray)):
        return values
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise DataError(
            f"A dict must have a list of values for each column, and {name!r} has "
            f"{type(values).__name__}; give rows as a list of dicts."
        )
    return list(values)


def _of_ratings(data: Mapping[Any, Any], names: tuple[str, ...] | None) -> pl.DataFrame:
    """``{user: {item: rating}}``."""
    found = [(user, item, rating) for user, items in data.items() for item, rating in items.items()]
    if not found:
        raise DataError("There are no rows; at least one interaction is needed.")
    return _frame(list(zip(named(names or _MATRIX, 3), map(list, zip(*found)))))


def _of_array(data: Any, names: tuple[str, ...] | None) -> pl.DataFrame:
    if data.dtype.names:
        _refuse_names(names, data.dtype.names)
        return _frame([(name, _plain(data[name])) for name in data.dtype.names])
    if data.ndim != 2:
        raise DataError(
            f"An array must have two dimensions, rows and columns, not {data.ndim}; give one row "
            "for each interaction."
        )
    names = named(names, data.shape[1])
    return _frame([(name, _plain(data[:, place])) for place, name in enumerate(names)])


def _plain(values: Any) -> Any:
    """Return a column of an array: whole numbers as integers, of which ids and times may be."""
    if values.dtype == object:
        return values.tolist()
    if values.dtype.kind == "f" and len(values):
        exact = np.isfinite(values).all() and (np.abs(values) <= _EXACT).all()
        if exact and (values == np.floor(values)).all():
            return values.astype(np.int64)
    return np.ascontiguousarray(values)


def _is_matrix(data: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(data))


def _of_matrix(data: Any, names: tuple[str, ...] | None) -> pl.DataFrame:
    if data.ndim != 2:
        raise DataError(f"A sparse array must have two dimensions, not {data.ndim}.")
    entries = data.tocsr().tocoo()
    present = entries.data != 0
    users, items = entries.coords[0][present], entries.coords[1][present]
    ratings = entries.data[present]
    columns = [users.astype(np.int64), items.astype(np.int64)]
    plain = (ratings == 1).all() and (names is None or len(names) == 2)
    if not plain:
        columns.append(_plain(ratings))
    names = named(names or _MATRIX[: len(columns)], len(columns))
    return _frame(list(zip(names, columns)))
