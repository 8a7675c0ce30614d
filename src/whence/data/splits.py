"""Splits into training, validation and test data: disjoint, covering, the same every time.

Here whole sessions and users are told apart; those of single rows are in `row_splits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._parts import parts_by_share, points_in_time, split_by_part
from whence.data.interactions import Interactions
from whence.data.row_splits import k_fold, split_leave_one_out, split_rows, split_time
from whence.errors import DataError, ParameterError, UnsupportedError, check_int

__all__ = [
    "k_fold",
    "split_last",
    "split_leave_one_out",
    "split_random",
    "split_rows",
    "split_temporal",
    "split_time",
]


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
        Shares of the sessions, which sum to 1; a part of 0 has no rows. Sessions that end at the
        same time are told apart by their number, so a share is exact to one session.
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
        part = parts_by_share(interactions.recency, fractions)
        return _split_sources(interactions, part, len(list(fractions)), fractions)
    points = points_in_time(interactions, at)
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
        Shares of the sources, which sum to 1; a part of 0 has no rows.
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
    part = parts_by_share(_ranks_of_present(place), fractions)
    return _split_sources(interactions, part, len(list(fractions)), fractions)


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


def _ranks_of_present(place: NDArray[np.int64]) -> NDArray[np.int64]:
    rank = np.full(len(place), -1, dtype=np.int64)
    present = place >= 0
    rank[present] = np.argsort(np.argsort(place[present]))
    return rank


def _split_sources(
    interactions: Interactions,
    part: NDArray[np.int64],
    n_parts: int,
    shares: Sequence[float] | None = None,
) -> tuple[Interactions, ...]:
    row_part = np.empty(interactions.n_rows, dtype=np.int64)
    row_part[interactions.rows] = part[interactions.source_codes]
    return split_by_part(interactions, row_part, n_parts, shares)


def _last_times(interactions: Interactions) -> pl.Series:
    """Return the last timestamp of each source by number, null where it has no rows."""
    if interactions.columns.time is None:
        raise ParameterError("There is no time column to split at; split by fractions instead.")
    times = interactions.frame[interactions.columns.time].gather(interactions.rows)
    last = np.full(interactions.n_sources, -1, dtype=np.int64)
    last[interactions.source_codes] = np.arange(interactions.n_rows)
    return times.gather(pl.Series(last).replace(-1, None)).fill_null(times.min())
