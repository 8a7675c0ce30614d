"""Numbers for external ids, and back, without loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._numbering import renumber
from whence.errors import DataError, check_list

_MACHINE_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_NARROW = 100_000
_FEW = 256


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """External ids of items and sources, in the order of their numbers.

    Attributes
    ----------
    items : polars.Series
        Item ids, in the caller's dtype; the position is the item's number.
    sources : polars.Series
        Session or user ids likewise.
    """

    items: pl.Series
    sources: pl.Series

    def item_codes(self, ids: pl.Series | Iterable[Any]) -> NDArray[np.int64]:
        """Return the numbers of items.

        Parameters
        ----------
        ids : polars.Series or iterable
            External ids. Integers of another width are compared by value.

        Returns
        -------
        int64 array, same length
            The number of each, or -1 where it is unknown.

        Raises
        ------
        DataError
            The ids are of another type than those known, e.g. text against integers.
        """
        series = as_ids(ids)
        kind = family(series.dtype)
        if len(series) <= _FEW and kind in ("integer", "text") and kind == family(self.items.dtype):
            numbers = self._item_numbers
            return np.array([numbers.get(one, -1) for one in series.to_list()], dtype=np.int64)
        return _codes(self._item_lookup, self.items, series, "Item")

    def item_mask(self, ids: pl.Series | Iterable[Any]) -> NDArray[np.bool_]:
        """Return which items are among these; ids that are unknown are left out.

        Parameters
        ----------
        ids : polars.Series or iterable
            External ids.

        Returns
        -------
        bool array [n_items]

        Raises
        ------
        DataError
            The ids are of another type than those known, or none of them is known.
        ParameterError
            They are no list.
        """
        given = ids if isinstance(ids, pl.Series) else check_list("items", ids, "ids")
        codes = self.item_codes(given)
        if (codes < 0).all():
            raise DataError(
                f"None of the {len(codes)} items is in the training data; give ids of its items, "
                "which model.vocabulary.items has."
            )
        mask = np.zeros(len(self.items), dtype=np.bool_)
        mask[codes[codes >= 0]] = True
        return mask

    def source_codes(self, ids: pl.Series | Iterable[Any]) -> NDArray[np.int64]:
        """Return the numbers of sources; as `item_codes`."""
        return _codes(self._source_lookup, self.sources, ids, "Source")

    def with_items(self, ids: pl.Series) -> Vocabulary:
        """Return the vocabulary with further items, numbered after those that are there.

        Raises
        ------
        DataError
            The ids are of another type than those known.
        """
        new = ids.unique(maintain_order=True)
        new = new.filter(pl.Series(self.item_codes(new) < 0))
        return Vocabulary(pl.concat([self.items, new.cast(self.items.dtype)]), self.sources)

    @cached_property
    def _item_numbers(self) -> dict[Any, int]:
        """Numbers by id, for a few at a time, where a join would take much longer."""
        return {item: number for number, item in enumerate(self.items.to_list())}

    @cached_property
    def _item_lookup(self) -> pl.DataFrame:
        return _lookup(self.items)

    @cached_property
    def _source_lookup(self) -> pl.DataFrame:
        return _lookup(self.sources)


def check_ids(ids: pl.Series, name: str) -> None:
    """Refuse a column that cannot serve as ids.

    Raises
    ------
    DataError
        Null or NaN values, or a type whose values cannot be compared (lists, objects).
    """
    if ids.null_count():
        raise DataError(
            f"Column {name!r} has {_many(ids.null_count(), 'null value')}; "
            "drop those rows or fill in their ids."
        )
    if family(ids.dtype) is None:
        raise DataError(
            f"Column {name!r} has values of type {ids.dtype}, which cannot be ids; "
            "cast it to integers or text."
        )
    if ids.dtype.is_float() and (n_nan := int(ids.is_nan().sum())):
        raise DataError(
            f"Column {name!r} has {_many(n_nan, 'NaN value')}; "
            "drop those rows, and cast the ids to integers."
        )


def number_by_first_appearance(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return the distinct ids in order of appearance, and the number of each row's id."""
    distinct, numbers = numbered(ids)
    return distinct, numbers.astype(np.int64, copy=False)


def numbered(ids: pl.Series) -> tuple[pl.Series, NDArray[np.integer[Any]]]:
    """Return what `number_by_first_appearance` does, in integers as narrow as they are."""
    if isinstance(ids.dtype, _MACHINE_INTEGERS) and len(ids):
        values = ids.to_numpy()
        low, high = int(values.min()), int(values.max())
        if high - low < max(2 * len(ids), _NARROW):  # a table over the range is soon filled
            narrow = np.int32 if high - low < 2**31 else np.int64
            codes: NDArray[np.integer[Any]] = np.empty(len(values), dtype=narrow)
            np.subtract(values, low, out=codes, dtype=np.int64, casting="unsafe")
            old, numbers = renumber(codes, high - low + 1)
            return pl.Series(ids.name, old + low, dtype=ids.dtype), numbers
    distinct = ids.unique(maintain_order=True)
    codes = _codes(_lookup(distinct), distinct, ids, "")
    return distinct, codes


def as_ids(ids: pl.Series | Iterable[Any]) -> pl.Series:
    """Return any iterable of ids as a Series.

    Raises
    ------
    DataError
        The ids are of mixed types.
    """
    if isinstance(ids, pl.Series):
        return ids
    try:
        if isinstance(ids, np.ndarray):
            return pl.Series(ids.tolist() if ids.dtype == object else ids)
        return pl.Series(list(ids))
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"The ids cannot be read as one type ({error}); give them all as integers or as text."
        ) from error


def family(dtype: pl.DataType) -> str | None:
    """Return what ids of a type are compared as, or None where they cannot be ids."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "text"
    if isinstance(dtype, (pl.Boolean, pl.Binary)) or dtype.is_temporal() or dtype.is_decimal():
        return str(dtype.base_type())
    return None


def _lookup(ids: pl.Series) -> pl.DataFrame:
    key = ids.cast(pl.String) if family(ids.dtype) == "text" else ids
    return pl.DataFrame({"id": key, "code": np.arange(len(ids), dtype=np.int64)})


def _codes(
    lookup: pl.DataFrame, known: pl.Series, ids: pl.Series | Iterable[Any], what: str
) -> NDArray[np.int64]:
    series = as_ids(ids)
    if len(series) == 0:
        return np.empty(0, dtype=np.int64)
    if len(known) and family(series.dtype) != family(known.dtype):
        raise DataError(
            f"{what} ids are {known.dtype} in the training data but {series.dtype} in the data "
            f"given; cast them to the same type, e.g. .cast(pl.{known.dtype.base_type()}) in "
            f"polars or .astype({_pandas_name(known.dtype)!r}) in pandas."
        )
    # Not strict: an id beyond the range of the known type is null here, and so unknown.
    key = series.cast(lookup.schema["id"], strict=False).rename("id")
    joined = key.to_frame().join(lookup, on="id", how="left", maintain_order="left")
    return joined["code"].fill_null(-1).to_numpy()


def _pandas_name(dtype: pl.DataType) -> str:
    return "str" if family(dtype) == "text" else str(dtype).lower()


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
