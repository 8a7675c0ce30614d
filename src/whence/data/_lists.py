"""Tables with a list of items in each row, such as one row per session, to a row per item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data.columns import USUAL_NAMES, plain_name
from whence.errors import DataError

_EXPLODED = ("item", "time", "rating")


def explode_lists(
    table: pl.DataFrame, given: Mapping[str, str | None]
) -> tuple[pl.DataFrame, dict[str, str | None], NDArray[np.int64] | None]:
    """Return a table with a row for each item, where the item column has lists.

    Parameters
    ----------
    table : polars.DataFrame
    given : mapping
        Role to the column's name, or None to have it recognised, in the plural, too.

    Returns
    -------
    table : polars.DataFrame
        Lists that are as long as those of items, in each row, such as times, go with them; all
        else is repeated. Rows with empty lists are gone.
    given : dict
        With the columns that were recognised as lists.
    rows : int64 array or None
        Row that each new one comes from; None where there are no lists of items.

    Raises
    ------
    DataError
        A list of times or ratings is not as long as that of the items.
    """
    lists = [
        name
        for name, dtype in table.schema.items()
        if isinstance(dtype, (pl.List, pl.Array))
        and name != given.get("negatives")
        and plain_name(name) not in USUAL_NAMES["negatives"]
    ]
    found = {role: _of_role(role, lists, table.columns, given) for role in _EXPLODED}
    item = found["item"]
    if item is None:
        return table, dict(given), None
    table = table.with_columns(pl.col(name).cast(pl.List(_inner(table[name]))) for name in lists)
    lengths = table[item].list.len().fill_null(0)
    together = [item]
    for name in lists:
        same = table[name].list.len().fill_null(0) == lengths
        if name != item and same.all():
            together.append(name)
        elif not same.all() and name in found.values():
            row = int((~same).arg_max() or 0)
            raise DataError(
                f"Row {row + 1} has {lengths[row]} items in {item!r} and "
                f"{table[name].list.len()[row]} values in {name!r}; give as many of each."
            )
    rows = np.repeat(np.arange(table.height, dtype=np.int64), lengths.to_numpy())
    exploded = table.filter(lengths > 0).explode(together)
    return exploded, {**given, **{k: v for k, v in found.items() if v in together}}, rows


def _inner(lists: pl.Series) -> pl.DataType:
    inner: pl.DataType = lists.dtype.inner  # type: ignore[attr-defined]
    return inner


def _of_role(
    role: str, lists: list[str], names: list[str], given: Mapping[str, str | None]
) -> str | None:
    """Return the column of lists that has a role, if there is one and no other column has it."""
    named = given.get(role)
    if named is not None:
        return named if named in lists else None
    usual = USUAL_NAMES[role]
    if any(plain_name(name) in usual for name in names if name not in lists):
        return None
    for name in lists:
        plain = plain_name(name)
        if name not in given.values() and any(form in usual for form in _singulars(plain)):
            return name
    return None


def _singulars(plain: str) -> list[str]:
    """Return what a column of lists could be called if each row had one value."""
    forms = [plain]
    for ending in ("list", "seq", "sequence", "history"):
        forms += [plain.removesuffix(ending)] if plain.endswith(ending) else []
    return forms + [form.removesuffix("s") for form in forms]
