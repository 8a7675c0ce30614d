"""What all splits have in common: shares, points in time, and cutting rows into parts."""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data.interactions import Interactions
from whence.errors import DataError, DataWarning, ParameterError, check_list


def check_fractions(fractions: Sequence[float], *, zeros: bool = False) -> NDArray[np.float64]:
    """Return shares as an array.

    Parameters
    ----------
    fractions : sequence of float
    zeros : bool
        Whether all but the first may be 0.

    Raises
    ------
    ParameterError
        There are fewer than two, one is not above 0 (or negative), or they do not sum to 1.
    """
    try:
        shares = np.asarray(check_list("fractions", fractions, "numbers"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"fractions must be a list of numbers, not {fractions!r}.") from error
    if shares.ndim != 1:
        raise ParameterError(f"fractions must be a list of numbers, not {fractions!r}.")
    enough = (shares >= 0).all() and shares[:1].all() if zeros else (shares > 0).all()
    if len(shares) < 2 or not (np.isfinite(shares).all() and enough):
        what = ", of which the first is above 0 and none below," if zeros else " above 0"
        raise ParameterError(f"fractions must be two or more numbers{what}, not {fractions!r}.")
    if abs(float(shares.sum()) - 1.0) > 1e-9:
        raise ParameterError(
            f"fractions must sum to 1, and {fractions!r} sums to {float(shares.sum()):g}."
        )
    return shares


def parts_by_share(rank: NDArray[np.int64], fractions: Sequence[float]) -> NDArray[np.int64]:
    """Return the part of each rank 0, 1, ...; what is absent (-1) is in the first."""
    shares = check_fractions(fractions, zeros=True)
    ends = np.rint(np.cumsum(shares) * np.count_nonzero(rank >= 0))
    part: NDArray[np.int64] = np.searchsorted(ends[:-1], rank, side="right").astype(np.int64)
    return part


def split_by_part(
    interactions: Interactions,
    part: NDArray[np.integer[Any]],
    n_parts: int,
    shares: Sequence[float] | None = None,
) -> tuple[Interactions, ...]:
    """Cut interactions by the part of each row of their frame.

    Parameters
    ----------
    interactions : Interactions
    part : integer array [n_rows]
    n_parts : int
    shares : sequence of float, optional
        Of the parts; one of 0 has no rows, and the numbers that the whole has.

    Raises
    ------
    DataError
        A part would be empty, and its share is not 0.
    """
    wanted = [True] * n_parts if shares is None else [share > 0 for share in shares]
    for number in range(n_parts):
        if wanted[number] and not (part == number).any():
            raise DataError(
                f"Part {number + 1} of {n_parts} would be empty; choose other fractions or points, "
                f"or give more data than {interactions.n_rows} rows."
            )
    parts = [interactions.keep_rows(part == number) for number in range(n_parts)]
    return tuple(one.rebuild() if wanted[number] else one for number, one in enumerate(parts))


def warn_of_repeats(interactions: Interactions, stacklevel: int = 3) -> None:
    """Warn where rows that are split at random repeat an item of their session or user."""
    pairs = pl.DataFrame({"source": interactions.source_codes, "item": interactions.item_codes})
    n = interactions.n_rows - pairs.n_unique()
    if n:
        source = interactions.columns.source
        warnings.warn(
            f"{n} of the {interactions.n_rows} rows repeat an item of their {source}. Split at "
            "random, the same pair is in training and in test data, and models that leave out what "
            "was seen cannot find it; keep one of each with filter_duplicates, or split by time.",
            DataWarning,
            stacklevel=stacklevel,
        )


def points_in_time(interactions: Interactions, at: Sequence[Any]) -> pl.Series:
    """Return the points of a split as a series of the type of the time column.

    Raises
    ------
    ParameterError
        There is no time column, or the points are of another type or do not increase.
    """
    if interactions.columns.time is None:
        raise ParameterError("There is no time column to split at; split by fractions instead.")
    dtype = interactions.frame.schema[interactions.columns.time]
    listed = check_list("at", at, "points in time")
    try:
        if not listed:
            raise ValueError("none given")
        if dtype.is_numeric():
            points = pl.Series([_number(point) for point in listed])
        else:
            zone = getattr(dtype, "time_zone", None)
            points = pl.Series([_datetime(point, zone) for point in listed]).cast(dtype)
        ordered = points.to_list()
        if not all(earlier < later for earlier, later in itertools.pairwise(ordered)):
            raise ValueError("they do not increase")
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise ParameterError(
            f"at must be increasing points in time of type {dtype}, as the column "
            f"{interactions.columns.time!r} has, not {at!r} ({error})."
        ) from error
    return points


def _number(point: Any) -> float | int:
    if isinstance(point, bool) or not isinstance(point, (int, float, np.integer, np.floating)):
        raise TypeError(f"{point!r} is no number")
    if abs(float(point)) > 2**63:  # no column has it
        raise ValueError(f"{point!r} is no point in time")
    return point.item() if isinstance(point, np.generic) else point


def _datetime(point: Any, zone: str | None) -> datetime.datetime:
    if isinstance(point, str):
        point = datetime.datetime.fromisoformat(point)
    if isinstance(point, datetime.date) and not isinstance(point, datetime.datetime):
        point = datetime.datetime(point.year, point.month, point.day)
    if not isinstance(point, datetime.datetime):
        raise TypeError(f"{point!r} is no date")
    naive_in_zone = zone is not None and point.tzinfo is None
    return point.replace(tzinfo=datetime.timezone.utc) if naive_in_zone else point
