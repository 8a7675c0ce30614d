"""Splits into training, validation and test data: disjoint, covering, the same every time."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data.interactions import Interactions
from whence.errors import DataError, ParameterError, UnsupportedError, check_int


def split_temporal(
    interactions: Interactions,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    at: Sequence[Any] | None = None,
) -> tuple[Interactions, ...]:
    """Split whole sessions by the time of their last interaction, the oldest first.

    Parameters
    ----------
    interactions : Interactions
        Sessions. Without a time column the order of rows is the time.
    fractions : sequence of float
        Shares of the sessions, which sum to 1. Sessions that end at the same time are told apart
        by their number, so a share is exact to one session.
    at : sequence, optional
        Instead of fractions: increasing points in time, of the type of the time column (dates and
        times also as ISO text, in UTC where the column has a zone and the point has none);
        a session that ends at a point or later goes beyond it.

    Returns
    -------
    tuple of Interactions
        One more than points, or one per fraction; each is numbered by its own rows.

    Raises
    ------
    ParameterError
        The fractions or the points make no sense.
    DataError
        A part would be empty.
    UnsupportedError
        The interactions are baskets; use `split_last`.

    Notes
    -----
    A session that is under way at the boundary goes as a whole to the later part, so rows there
    can be older than the last of the earlier part.
    """
    if interactions.kind == "baskets":
        raise UnsupportedError(
            "split_temporal is for sessions; split baskets by split_last, "
            "which keeps the last baskets of each user apart."
        )
    if at is None:
        part = _parts_by_share(interactions.recency, fractions)
        return _split_sources(interactions, part, len(list(fractions)))
    points = _points(interactions, at)
    last = _last_times(interactions)
    part = np.zeros(interactions.n_sources, dtype=np.int64)
    for point in points:
        part += (last >= point).to_numpy()
    return _split_sources(interactions, part, len(points) + 1)


def split_random(
    interactions: Interactions, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 42
) -> tuple[Interactions, ...]:
    """Split whole sessions or users at random.

    Parameters
    ----------
    interactions : Interactions
    fractions : sequence of float
        Shares of the sources, which sum to 1.
    seed : int, default 42
        The same seed and data give the same parts, whatever the ids are called.

    Returns
    -------
    tuple of Interactions
        One per fraction; each is numbered by its own rows.

    Raises
    ------
    ParameterError
        The fractions or the seed make no sense.
    DataError
        A part would be empty.
    """
    check_int("seed", seed, minimum=0)
    generator = np.random.Generator(np.random.PCG64(seed))
    place = generator.permutation(interactions.n_sources)
    place[interactions.recency < 0] = -1
    part = _parts_by_share(_ranks_of_present(place), fractions)
    return _split_sources(interactions, part, len(list(fractions)))


def split_last(interactions: Interactions, n: int = 1) -> tuple[Interactions, Interactions]:
    """Hold out the last items of each session, or the last baskets of each user.

    Parameters
    ----------
    interactions : Interactions
    n : int, default 1
        How many items or baskets; a source that has no more than `n` stays whole in training.
        Items with equal timestamps are taken in the order of the rows.

    Returns
    -------
    train, held_out : Interactions
        Each is numbered by its own rows. Split `train` again for a validation set.

    Raises
    ------
    ParameterError
        `n` is not an integer of at least 1.
    DataError
        No source is long enough.
    """
    check_int("n", n, minimum=1)
    sequences = interactions.sequences
    counts = np.diff(sequences.offsets)
    source = np.repeat(np.arange(interactions.n_sources), counts)
    if sequences.baskets is None:
        position = np.arange(len(source)) - sequences.offsets[source]
        length = counts
    else:
        position = sequences.baskets.astype(np.int64)
        length = np.zeros(interactions.n_sources, dtype=np.int64)
        length[source] = position + 1  # the last assignment is the largest
    held = (position >= length[source] - n) & (length[source] > n)
    if not held.any():
        one, many = ("session", "items") if interactions.kind == "sessions" else ("user", "baskets")
        raise DataError(
            f"No {one} has more than {n} {many}, so there is nothing to hold out; "
            "use a smaller n or split by whole sources."
        )
    mask = np.zeros(interactions.n_rows, dtype=np.bool_)
    mask[sequences.rows[held]] = True
    return interactions.keep_rows(~mask).rebuild(), interactions.keep_rows(mask).rebuild()


def _parts_by_share(rank: NDArray[np.int64], fractions: Sequence[float]) -> NDArray[np.int64]:
    """Return the part of each source by its rank; absent sources (-1) are in the first."""
    shares = np.asarray(list(fractions), dtype=np.float64)
    if len(shares) < 2 or not (np.isfinite(shares).all() and (shares > 0).all()):
        raise ParameterError(f"fractions must be two or more numbers above 0, not {fractions!r}.")
    if abs(float(shares.sum()) - 1.0) > 1e-9:
        raise ParameterError(
            f"fractions must sum to 1, and {fractions!r} sums to {float(shares.sum()):g}."
        )
    ends = np.rint(np.cumsum(shares) * np.count_nonzero(rank >= 0))
    part: NDArray[np.int64] = np.searchsorted(ends[:-1], rank, side="right").astype(np.int64)
    return part


def _ranks_of_present(place: NDArray[np.int64]) -> NDArray[np.int64]:
    rank = np.full(len(place), -1, dtype=np.int64)
    present = place >= 0
    rank[present] = np.argsort(np.argsort(place[present]))
    return rank


def _split_sources(
    interactions: Interactions, part: NDArray[np.int64], n_parts: int
) -> tuple[Interactions, ...]:
    row_part = np.empty(interactions.n_rows, dtype=np.int64)
    row_part[interactions.rows] = part[interactions.source_codes]
    parts = []
    for number in range(n_parts):
        mask = row_part == number
        if not mask.any():
            raise DataError(
                f"Part {number + 1} of {n_parts} would be empty; choose other fractions or points, "
                f"or give more data than {interactions.n_rows} rows."
            )
        parts.append(interactions.keep_rows(mask).rebuild())
    return tuple(parts)


def _last_times(interactions: Interactions) -> pl.Series:
    """Return the last timestamp of each source by number, null where it has no rows."""
    if interactions.columns.time is None:
        raise ParameterError("There is no time column to split at; split by fractions instead.")
    times = interactions.frame[interactions.columns.time].gather(interactions.rows)
    last = np.full(interactions.n_sources, -1, dtype=np.int64)
    last[interactions.source_codes] = np.arange(interactions.n_rows)
    return times.gather(pl.Series(last).replace(-1, None)).fill_null(times.min())


def _points(interactions: Interactions, at: Sequence[Any]) -> pl.Series:
    """Return the points of a split as a series of the type of the time column."""
    if interactions.columns.time is None:
        raise ParameterError("There is no time column to split at; split by fractions instead.")
    dtype = interactions.frame.schema[interactions.columns.time]
    listed = list(at)
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
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise ParameterError(
            f"at must be increasing points in time of type {dtype}, as the column "
            f"{interactions.columns.time!r} has, not {at!r} ({error})."
        ) from error
    return points


def _number(point: Any) -> float | int:
    if isinstance(point, bool) or not isinstance(point, (int, float, np.integer, np.floating)):
        raise TypeError(f"{point!r} is no number")
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
