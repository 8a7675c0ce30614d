"""Whether a column of times can be what it says: one unit, not all equal, not in the future."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import polars as pl

from whence.data._warning import warn

if TYPE_CHECKING:
    from whence.data.interactions import Interactions

# Seconds since 1970 of the years 1985 to 2100, in each of the usual units: these do not overlap.
_FIRST, _LAST = 473_385_600, 4_102_444_800
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_NEARLY_ALL = 0.99
_AHEAD = 2 * 86_400  # seconds: clocks and zones differ


def warn_of_times(interactions: Interactions) -> None:
    """Warn of a column of times that has several units, is constant, or has years for times.

    Times after today, and numbers that are not above 0 among times since 1970, are counted.
    """
    name = interactions.columns.time
    if name is None or interactions.n_rows < 2:
        return
    times = interactions.frame[name]
    constant = _constant(times)
    if times.dtype.is_numeric():
        times = times.cast(pl.Float64)
    for message in filter(None, (constant, _of_numbers(times), _future(times))):
        warn(f"Column {name!r} {message}")


def _constant(times: pl.Series) -> str | None:
    if times.min() != times.max():
        return None
    return (
        f"has the same time in all {len(times):,} rows, so it says nothing of their order, which "
        "is that of the table; name another column if there is one."
    )


def _of_numbers(times: pl.Series) -> str | None:
    if not times.dtype.is_numeric():
        return None
    counts = {unit: int(_within(times, scale).sum()) for unit, scale in _UNITS.items()}
    used = {unit: count for unit, count in counts.items() if count}
    if sum(used.values()) < _NEARLY_ALL * len(times):
        bounds = times.to_numpy()
        low, high = float(bounds.min()), float(bounds.max())
        if low >= 1900 and high <= 2100 and low < high:
            return (
                f"has years, {low:g} to {high:g}, for times, so rows of one year are in the order "
                "of the table; name a column with more precise times if there is one."
            )
        return None
    if len(used) > 1:
        listed = " and ".join(f"{count:,} in {unit}" for unit, count in used.items())
        return (
            f"has times in several units, {listed} since 1970, so their order is wrong; bring them "
            "to one unit."
        )
    if n_early := int((times <= 0).sum()):
        return (
            f"has {n_early:,} times that are 0 or less among times in {next(iter(used))} since "
            "1970; these rows come first. Drop them if they stand for an unknown time."
        )
    return None


def _within(times: pl.Series, scale: int) -> pl.Series:
    return times.is_between(_FIRST * scale, _LAST * scale)


def _future(times: pl.Series) -> str | None:
    now = datetime.datetime.now(datetime.timezone.utc).timestamp() + _AHEAD
    if times.dtype.is_numeric():
        counts = {scale: int(_within(times, scale).sum()) for scale in _UNITS.values()}
        scale = max(counts, key=lambda one: counts[one])
        if counts[scale] < _NEARLY_ALL * len(times):
            return None
        late = (times > now * scale) & _within(times, scale)
    else:
        seconds = times.cast(pl.Datetime("us")).dt.timestamp("us")
        late = seconds > int(now * 1e6)
    if not late.any():
        return None
    return (
        f"has {int(late.sum()):,} times in the future, the last {times.max()!s}; correct them if "
        "they are not meant."
    )
