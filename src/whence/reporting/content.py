"""What sources are: the items of a session or user, with titles where there are some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from whence.attribution import Attribution
    from whence.data import Interactions

_ITEMS = 12
"""Items of a source that are listed at most."""


def names_of(data: Interactions, codes: Any) -> list[str]:
    """Return titles of items, or ids where there is none."""
    codes = np.asarray(codes)
    ids = data.item_ids.gather(codes).cast(pl.String)
    if data.item_titles is None:
        return ids.to_list()
    return data.item_titles.gather(codes).fill_null(ids).to_list()


def titled(data: Interactions, codes: Any) -> pl.DataFrame:
    """Return a table of items: id, and title where there are titles."""
    codes = np.asarray(codes)
    columns = [data.item_ids.gather(codes)]
    if data.item_titles is not None:
        columns.append(data.item_titles.gather(codes))
    return pl.DataFrame(columns)


def id_columns(values: Attribution, data: Interactions | None) -> tuple[str, ...]:
    """Return the columns of `with_content` that are ids."""
    more = () if data is None else (data.columns.source, data.columns.item)
    return (values.source, "example", *more)


def with_content(values: Attribution, rows: Any, data: Interactions | None) -> pl.DataFrame:
    """Return some rows of a table of values, with what the sources are.

    Parameters
    ----------
    values : Attribution
    rows : int array [m]
        Positions of the sources.
    data : Interactions or None
        That the values are of, where they are at hand.
    """
    frame = values.frame[np.asarray(rows)]
    if data is None:
        return frame
    column = values.column
    if column == data.columns.source:
        codes = data.vocabulary.source_codes(frame[values.source])
        lengths = np.diff(data.sequences.offsets)
        length = pl.Series("length", [int(lengths[code]) if code >= 0 else None for code in codes])
        items = pl.Series("items", [_items(data, int(code)) for code in codes], dtype=pl.String)
        return frame.with_columns(length, items)
    if column == data.columns.item and data.item_titles is not None:
        known = data.vocabulary.item_codes(frame[values.source])
        return frame.insert_column(1, pl.Series("title", names_of(data, known)))
    if values.noun == "interactions" and values.source == "row":
        own = data.frame[frame["row"].to_numpy()]
        return frame.with_columns(
            own.get_column(name)
            for name in (data.columns.source, data.columns.item)
            if name not in frame.columns
        )
    return frame


def _items(data: Interactions, code: int) -> str:
    """The items of a source, the first so many."""
    if code < 0:
        return ""
    start, end = data.sequences.offsets[code], data.sequences.offsets[code + 1]
    names = names_of(data, data.sequences.items[start : min(end, start + _ITEMS)])
    more = f" … and {end - start - _ITEMS:,} more" if end - start > _ITEMS else ""
    return " · ".join(names) + more
