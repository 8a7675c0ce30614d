"""Histories from tables of events, and the typical event of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from whence.data._frames import to_polars
from whence.errors import ColumnError, DataError
from whence.explanation._foreign import ITEM_NAMES


def histories_from(
    table: Any,
    entity: str,
    time: str | None = None,
    features: str | Sequence[str] | None = None,
) -> dict[Any, list[Any]]:
    """Histories of a table with one event per row, for `whence.explain_many`.

    Parameters
    ----------
    table : data frame
        Of polars, pandas or Arrow.
    entity : str
        Column that says whose event it is.
    time : str, optional
        Column that orders the events of an entity; the order of the rows where times are equal, or
        not given.
    features : str or list of str, optional
        One column: events are its values, such as item ids. Several: events are dictionaries of
        them. By default all other columns.

    Returns
    -------
    dict from entity to list of events
        Entities in order of their first row.

    Raises
    ------
    ColumnError
        If a column is missing.
    DataError
        If there is no row, or an entity, a time or a feature is missing in one.

    Examples
    --------
    >>> import polars as pl
    >>> from whence.explanation import histories_from
    >>> table = pl.DataFrame({"who": ["a", "b", "a"], "when": [2, 1, 1], "item": [7, 8, 9]})
    >>> histories_from(table, "who", "when", "item")
    {'a': [9, 7], 'b': [8]}
    """
    frame, _ = to_polars(table)
    chosen = [features] if isinstance(features, str) else features
    if chosen is None:
        chosen = [name for name in frame.columns if name not in (entity, time)]
    needed = [entity, *([] if time is None else [time]), *chosen]
    _check_columns(frame, needed)
    if not frame.height or not chosen:
        raise DataError(
            "The table has no event with a feature; give rows, and at least one column besides "
            "those of the entity and the time."
        )
    for name in needed:
        if missing := frame[name].null_count():
            raise DataError(
                f"Column {name!r} is empty in {missing:,} of {frame.height:,} rows; fill in or "
                "leave out these events."
            )
    names = frame[entity].unique(maintain_order=True)
    if time is not None:
        frame = frame.sort(time, maintain_order=True)
    found: dict[Any, list[Any]] = {name: [] for name in names}
    values = (
        frame[chosen[0]].to_list()
        if isinstance(features, str)
        else frame.select(chosen).iter_rows(named=True)
    )
    for name, event in zip(frame[entity].to_list(), values):
        found[name].append(event)
    return found


def average_event(
    events: Any, features: Sequence[str] | None = None, *, categorical: Sequence[str] = ()
) -> dict[str, Any]:
    """The typical event: the median of each number, the most frequent value of all else.

    A stand-in for masked events: ``masking=("item", average_event(...))``. Look with
    `whence.explanation.stand_in_scores` whether it scores as low as what is not there should.

    Parameters
    ----------
    events : data frame, or sequence of dictionaries
        One event per row.
    features : sequence of str, optional
        All columns by default.
    categorical : sequence of str
        Columns of numbers that are names; those called ``item`` or ``item_id`` are.

    Returns
    -------
    dict
        Of the features, in order. Ties go to the value that comes first.

    Raises
    ------
    ColumnError
        If a feature is missing.
    DataError
        If there is no event, or a feature has no value.

    Examples
    --------
    >>> from whence.explanation import average_event
    >>> average_event([{"item": 7, "stars": 4.0}, {"item": 7, "stars": 5.0}])
    {'item': 7, 'stars': 4.5}
    """
    frame, _ = to_polars(events)
    chosen = list(frame.columns) if features is None else list(features)
    _check_columns(frame, [*chosen, *categorical])
    if not frame.height:
        raise DataError("There is no event to take the average of; give at least one.")
    return {name: _typical(frame[name], name in (*ITEM_NAMES, *categorical)) for name in chosen}


def average_sequence(
    histories: Mapping[Any, Sequence[Mapping[str, Any]]], *, categorical: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The typical event of each place, of histories of one length.

    For ``masking=("items", average_sequence(...))``, of histories of that length.

    Parameters
    ----------
    histories : mapping from names to lists of dictionaries
        Such as `histories_from` gives them.
    categorical : sequence of str
        As in `average_event`.

    Raises
    ------
    DataError
        If the histories are of several lengths, or there is none.
    """
    lengths = {len(history) for history in histories.values()}
    if len(lengths) != 1:
        raise DataError(
            "A typical sequence needs histories of one length, and these have "
            f"{len(lengths)} lengths; take the last so many events of each."
        )
    return [
        average_event([history[place] for history in histories.values()], categorical=categorical)
        for place in range(lengths.pop())
    ]


def _typical(column: pl.Series, is_name: bool) -> Any:
    values = column.drop_nulls()
    if not len(values):
        raise DataError(f"Column {column.name!r} has no value; leave the feature out.")
    if values.dtype.is_numeric() and not is_name:
        return values.median()
    counts = values.to_frame().group_by(column.name, maintain_order=True).len()
    return counts.sort("len", descending=True, maintain_order=True)[0, 0]


def _check_columns(frame: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise ColumnError(
                f"The table has no column {name!r}; its columns are "
                f"{', '.join(map(repr, frame.columns))}."
            )
