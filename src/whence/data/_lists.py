"""Tables with a list of items in each row, such as one row per session, to a row per item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._text import integers_or_text, parse_lists
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
        else is repeated. Rows with empty lists are gone. Lists may be text, such as ``[3, 4]``,
        or have objects, whose fields become columns.
    given : dict
        With the columns that were recognised as lists.
    rows : int64 array or None
        Row that each new one comes from; None where there are no lists of items.

    Raises
    ------
    DataError
        A list of times or ratings is not as long as that of the items.
    """
    table, outer = _unnested(table, given)
    table = _read_lists(table, given)
    lists = [
        name
        for name, dtype in table.schema.items()
        if isinstance(dtype, (pl.List, pl.Array)) and _may_be_items(name, given)
    ]
    found = {role: _of_role(role, lists, table.columns, given) for role in _EXPLODED}
    item = found["item"]
    if item is None:
        return table, dict(given), outer
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
    rows = rows if outer is None else outer[rows]
    return exploded, {**given, **{k: v for k, v in found.items() if v in together}}, rows


def _unnested(
    table: pl.DataFrame, given: Mapping[str, str | None]
) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
    """Return a table with a row for each event, where a column has lists of objects with an item.

    As in ``{"session": 1, "events": [{"aid": 7, "ts": 5}, ...]}`` of the OTTO data set.
    """
    wanted = given.get("item")
    if wanted in table.columns or (wanted is None and any(map(_is_item, table.columns))):
        return table, None
    for name, dtype in table.schema.items():
        if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
            continue
        fields = [field.name for field in dtype.inner.fields]
        if not (wanted in fields or (wanted is None and any(map(_is_item, fields)))):
            continue
        taken = set(table.columns) - {name}
        new = [f"{name}_{field}" if field in taken else field for field in fields]
        lengths = table[name].list.len().fill_null(0)
        rows = np.repeat(np.arange(table.height, dtype=np.int64), lengths.to_numpy())
        events = table.filter(lengths > 0).explode(name)
        return events.with_columns(pl.col(name).struct.rename_fields(new)).unnest(name), rows
    return table, None


def _read_lists(table: pl.DataFrame, given: Mapping[str, str | None]) -> pl.DataFrame:
    """Return a table in which lists of items that are text, such as ``[3, 4]``, are lists."""
    texts = [
        name
        for name, dtype in table.schema.items()
        if dtype == pl.String
        and _may_be_items(name, given)
        and (table[name].drop_nulls().head(1).to_list() or [""])[0].startswith("[")
    ]
    if _of_role("item", texts, table.columns, given) is None:
        return table
    found = [_of_role(role, texts, table.columns, given) for role in _EXPLODED]
    return table.with_columns(
        integers_or_text(parse_lists(table[name])) for name in found if name is not None
    )


def _may_be_items(name: str, given: Mapping[str, str | None]) -> bool:
    return name != given.get("negatives") and plain_name(name) not in USUAL_NAMES["negatives"]


def _is_item(name: str) -> bool:
    return plain_name(name) in USUAL_NAMES["item"]


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
