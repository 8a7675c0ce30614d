"""What part of explanations groups of events have, with intervals over histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from whence.errors import DataError, ParameterError

Groups = str | Mapping[Any, Any] | Callable[[dict[str, Any]], Any]
_LEVEL = 0.95


def labelled(frame: pl.DataFrame, by: Groups) -> pl.DataFrame:
    """Shares with the group of each: ``history``, ``group``, ``score``.

    Parameters
    ----------
    frame : polars.DataFrame
        As ``Explanations.to_frame()`` gives it.
    by : str, mapping or callable
        A column; a mapping from items to groups, or from histories to one group per event of the
        history as it was given; or a function of a row as a dictionary.

    Raises
    ------
    ParameterError
        If it names no column, or a history has fewer groups than events.
    """
    if isinstance(by, str):
        if by not in frame.columns or frame[by].null_count() == frame.height:
            known = [name for name in frame.columns if name not in ("history", "score")]
            raise ParameterError(
                f"These explanations have no {by}; group them by one of "
                f"{', '.join(map(repr, known))}, a mapping or a function."
            )
        return frame.select("history", pl.col(by).alias("group"), "score")
    if callable(by):
        found = [by(row) for row in frame.iter_rows(named=True)]
    else:
        found = [_group(by, row) for row in frame.iter_rows(named=True)]
    groups = pl.Series("group", found, strict=False)
    return frame.select("history", groups, "score")


def _group(by: Mapping[Any, Any], row: Mapping[str, Any]) -> Any:
    """The group of one event: by its history and place, or by its item."""
    own = by.get(row["history"])
    if not isinstance(own, (list, tuple, np.ndarray, pl.Series)):
        return by.get(row.get("item"))
    place = row.get("event")
    if place is None or row.get("n_events", 1) != 1:
        return None
    if place >= len(own):
        raise ParameterError(
            f"History {row['history']!r} has an event in place {place} but only {len(own)} groups; "
            "give one for each of its events."
        )
    return own[place]


def parts(frame: pl.DataFrame, by: Groups) -> pl.DataFrame:
    """Of each history and group: its part of all absolute shares, and that with signs.

    Returns
    -------
    polars.DataFrame
        ``history``, ``group``, ``part`` and ``net``; every history has every group, with 0 where it
        has no such event. Histories whose shares are all 0 are left out.

    Raises
    ------
    DataError
        If all shares are 0.
    """
    score = pl.col("score")
    table = labelled(frame, by).with_columns(whole=score.abs().sum().over("history"))
    table = table.filter(pl.col("whole") > 0)
    if not table.height:
        raise DataError("Every share is 0, so there is nothing to divide among groups.")
    own = table.group_by("history", "group", maintain_order=True).agg(
        (score.abs().sum() / pl.col("whole").first()).alias("part"),
        (score.sum() / pl.col("whole").first()).alias("net"),
    )
    histories = table.select(pl.col("history").unique(maintain_order=True))
    groups = table.select(pl.col("group").unique(maintain_order=True))
    every = histories.join(groups, how="cross")
    return every.join(
        own, on=["history", "group"], how="left", nulls_equal=True, maintain_order="left"
    ).with_columns(pl.col("part", "net").fill_null(0.0))


def by_group(frame: pl.DataFrame, by: Groups) -> pl.DataFrame:
    """What part of the absolute shares of a history each group of events has, on average.

    Parameters
    ----------
    frame : polars.DataFrame
        As `Explanations.to_frame` gives it, or as `whence.explain_files` has written it.
    by : str, mapping or callable
        As in `Explanations.by_group`, which says what comes out.

    Raises
    ------
    ParameterError
        If there is no such column.
    DataError
        If all shares are 0.
    """
    table = parts(frame, by)
    return _ordered(_means(table, {"part": "part"}, ["net"]), by)


def compared(first: pl.DataFrame, second: pl.DataFrame, by: Groups) -> pl.DataFrame:
    """Mean parts of two models, history by history; see `Explanations.compare`.

    Raises
    ------
    DataError
        If they have no history in common.
    """
    on = ["history", "group"]
    old, new = parts(first, by), parts(second, by)
    common = set(old["history"]) & set(new["history"])
    if not common:
        raise DataError(
            "The two have no history in common, so they cannot be compared; explain the same "
            "histories with both."
        )
    table = old.join(new, on=on, how="full", suffix="_new", nulls_equal=True, coalesce=True).filter(
        pl.col("history").is_in(list(common))
    )
    table = table.with_columns(pl.col("part", "part_new").fill_null(0.0))
    table = table.with_columns(difference=pl.col("part_new") - pl.col("part"))
    found = _means(table, {"difference": "difference"}, ["part", "part_new"])
    found = found.rename({"part": "first", "part_new": "second"})
    found = found.select("group", "first", "second", "difference", "std_error", "low", "high", "n")
    if by == "recency":
        return found.sort("group", nulls_last=True)
    return found.sort(pl.col("difference").abs(), descending=True, maintain_order=True)


def _means(table: pl.DataFrame, main: Mapping[str, str], others: list[str]) -> pl.DataFrame:
    """Means over histories; of one column with its standard error and a 95% interval."""
    ((name, column),) = main.items()
    value = pl.col(column)
    found = table.group_by("group", maintain_order=True).agg(
        value.mean().alias(name),
        (value.std() / pl.len().sqrt()).alias("std_error"),
        *(pl.col(other).mean() for other in others),
        pl.len().alias("n"),
    )
    n = found["n"].to_numpy()
    width = stats.t.ppf(0.5 + _LEVEL / 2, np.maximum(n - 1, 1)) * found["std_error"].to_numpy()
    found = found.with_columns(
        low=pl.Series(found[name].to_numpy() - width).fill_nan(None),
        high=pl.Series(found[name].to_numpy() + width).fill_nan(None),
    )
    return found.select("group", name, "std_error", "low", "high", *others, "n")


def _ordered(table: pl.DataFrame, by: Groups) -> pl.DataFrame:
    if by == "recency":
        return table.sort("group", nulls_last=True)
    return table.sort("part", descending=True, maintain_order=True)
