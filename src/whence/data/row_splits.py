"""Splits of single rows: at random, the last ones of each source, by time, and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from whence.data._parts import (
    check_fractions,
    parts_by_share,
    points_in_time,
    split_by_part,
    warn_of_repeats,
)
from whence.data.interactions import Interactions
from whence.errors import DataError, ParameterError, UnsupportedError, check_choice, check_int


def split_rows(
    interactions: Interactions,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    seed: int = 42,
    per_source: bool = True,
) -> tuple[Interactions, ...]:
    """Split rows at random, by default those of each user (or session) apart.

    Parameters
    ----------
    interactions : Interactions
    fractions : sequence of float
        Shares of the rows, which sum to 1; a part of 0 has no rows: ``(1, 0, 0)`` trains on all.
    seed : int, default 42
        The same seed and data give the same parts, whatever the ids are called.
    per_source : bool, default True
        Cut the rows of each source by the fractions: each part but the first gets its share of
        them, rounded down, the first gets the rest, and a part whose share is less than one row
        gets one from the first as long as the first has more than one (the last part before the
        others). False: cut all rows together.

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
    UnsupportedError
        The interactions are baskets, which must not be torn.

    Notes
    -----
    With `per_source`, this is what RecBole calls a random split by ratio grouped by user: parts
    have the sizes that it gives them. Within a source, earlier rows can be in the test part and
    later ones in training; for models of sequences use `split_leave_one_out` or `split_time`.
    Where a user has an item in several rows, a `DataWarning` says so: the same pair can be in
    training and in test data; `filter_duplicates` keeps one of them.
    """
    _refuse_baskets(interactions, "split_rows")
    shares = check_fractions(fractions, zeros=True)
    generator = _generator(seed)
    warn_of_repeats(interactions)
    sequences = interactions.sequences
    place = generator.permutation(interactions.n_rows)
    if not per_source:
        part = np.empty(interactions.n_rows, dtype=np.int64)
        part[sequences.rows] = parts_by_share(place, fractions)
        return split_by_part(interactions, part, len(shares), list(shares))
    source = np.repeat(np.arange(interactions.n_sources), np.diff(sequences.offsets))
    # Sorting by source what is in random order leaves each source's rows in random order.
    shuffled = place[np.argsort(source[place], kind="stable")]
    return _cut_each(interactions, sequences.rows[shuffled], shares)


def split_leave_one_out(
    interactions: Interactions,
) -> tuple[Interactions, Interactions, Interactions]:
    """Keep the last item of each source for testing, and the last but one for validation.

    Parameters
    ----------
    interactions : Interactions
        For baskets, it is the last basket and the last but one of each user.

    Returns
    -------
    train, validation, test : Interactions
        Each is numbered by its own rows. A source with two items has none in validation; one with
        a single item is in training alone. Items with equal timestamps are taken in the order of
        the rows.

    Raises
    ------
    DataError
        No source has three items (baskets).

    Notes
    -----
    The training data looks ahead: it has rows of other users that are later than a test row, so
    that a model can learn from a future that it would not have known (Ji, Sun, Zhang and Li, *A
    critical study on data leakage in recommender system offline evaluation*, TOIS 41(3), 2023).
    Where there are times, `split_time` has no such leak.
    """
    sequences = interactions.sequences
    lengths = np.diff(sequences.offsets)
    source = np.repeat(np.arange(interactions.n_sources, dtype=np.int32), lengths)
    if sequences.baskets is None:
        position = np.arange(len(source)) - sequences.offsets[source]
        last = lengths - 1
    else:
        position = sequences.baskets.astype(np.int64)
        last = np.full(interactions.n_sources, -1, dtype=np.int64)
        last[source] = position  # the last assignment is the largest
    from_end = last[source] - position
    if not (last >= 2).any():
        one, many = ("user", "baskets") if sequences.baskets is not None else ("source", "items")
        raise DataError(
            f"No {one} has three {many}, so there is nothing to keep for validation; "
            "split by whole sources, or by split_last."
        )
    held = np.where((from_end == 0) & (position > 0), 2, 0)
    held[(from_end == 1) & (position > 0)] = 1
    part = np.empty(interactions.n_rows, dtype=np.int8)
    part[sequences.rows] = held
    train, validation, test = split_by_part(interactions, part, 3)
    return train, validation, test


def split_time(
    interactions: Interactions,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    at: Sequence[Any] | None = None,
    per_source: bool = False,
) -> tuple[Interactions, ...]:
    """Split rows by time, the oldest first: all by one clock, or those of each user apart.

    Parameters
    ----------
    interactions : Interactions
        Without a time column the order of rows is the time.
    fractions : sequence of float
        Shares of the rows, which sum to 1, exact to one row: rows of one timestamp at a boundary
        are told apart by their order, and so can be on both sides of it. A part of 0 has no rows.
    at : sequence, optional
        Instead of fractions: increasing points in time, of the type of the time column (see
        `split_temporal`); a row at a point or later goes beyond it.
    per_source : bool, default False
        Cut the rows of each source by the fractions, in order of time, with the sizes of
        `split_rows`: RecBole's ``split: {RS: [...]}, order: TO, group_by: user``.

    Returns
    -------
    tuple of Interactions
        One more than points, or one per fraction; each is numbered by its own rows. No row is
        later than any row of a later part (with `per_source`, of the same source). Sources can
        have rows in several parts.

    Raises
    ------
    ParameterError
        The fractions or the points make no sense.
    DataError
        A part would be empty.
    UnsupportedError
        The interactions are baskets, which must not be torn.

    Notes
    -----
    With `per_source`, rows of one user in training can be later than rows of another in the test
    part, so that models learn from what was the future of those that they are tested on.
    """
    _refuse_baskets(interactions, "split_time")
    if per_source:
        if at is not None:
            raise ParameterError(
                "Points in time are the same for all; give fractions with per_source=True."
            )
        shares = check_fractions(fractions, zeros=True)
        return _cut_each(interactions, interactions.sequences.rows, shares)
    part = np.zeros(interactions.n_rows, dtype=np.int64)
    if at is None:
        part[interactions.rows] = parts_by_share(np.arange(interactions.n_rows), fractions)
        return split_by_part(interactions, part, len(list(fractions)), fractions)
    points = points_in_time(interactions, at)
    times = interactions.frame[str(interactions.columns.time)]
    for point in points:
        part += (times >= point).to_numpy()
    return split_by_part(interactions, part, len(points) + 1)


def k_fold(
    interactions: Interactions, n: int = 5, *, seed: int = 42, by: str = "rows"
) -> Iterator[tuple[Interactions, Interactions]]:
    """Split at random into n parts of equal size, and hold out each in turn.

    Parameters
    ----------
    interactions : Interactions
    n : int, default 5
        Number of folds, at least 2; their sizes differ by one at most.
    seed : int, default 42
        The same seed and data give the same folds, whatever the ids are called.
    by : {"rows", "sources"}, default "rows"
        What the folds consist of: single rows, or whole sessions or users.

    Yields
    ------
    train, test : Interactions
        Each is numbered by its own rows. The n tests are disjoint and cover the data.

    Raises
    ------
    ParameterError
        `n`, `seed` or `by` makes no sense.
    DataError
        There are fewer rows (sources) than folds.
    UnsupportedError
        Rows of baskets, which must not be torn.
    """
    check_int("n", n, minimum=2)
    check_choice("by", by, ("rows", "sources"))
    generator = _generator(seed)
    if by == "rows":
        _refuse_baskets(interactions, "k_fold with by='rows'")
        warn_of_repeats(interactions)
        present = np.arange(interactions.n_rows)
    else:
        present = np.flatnonzero(interactions.recency >= 0)
    if len(present) < n:
        raise DataError(f"There are {len(present)} {by}, too few for {n} folds; use a smaller n.")
    n_all = interactions.n_rows if by == "rows" else interactions.n_sources
    fold = np.full(n_all, -1, dtype=np.int64)
    fold[present[generator.permutation(len(present))]] = np.arange(len(present)) % n
    part = np.empty(interactions.n_rows, dtype=np.int64)
    part[interactions.rows] = fold if by == "rows" else fold[interactions.source_codes]
    return _folds(interactions, part, n)


def _folds(
    interactions: Interactions, part: NDArray[np.int64], n: int
) -> Iterator[tuple[Interactions, Interactions]]:
    for number in range(n):
        held = part == number
        yield interactions.keep_rows(~held).rebuild(), interactions.keep_rows(held).rebuild()


def _cut_each(
    interactions: Interactions, rows: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[Interactions, ...]:
    """Cut the rows of each source by shares, in the order given.

    Parameters
    ----------
    interactions : Interactions
    rows : int64 array [n_rows]
        Rows of the frame, by source.
    shares : float64 array [n_parts]
    """
    offsets = interactions.sequences.offsets
    lengths = np.diff(offsets)
    source = np.repeat(np.arange(interactions.n_sources), lengths)
    position = np.arange(interactions.n_rows) - offsets[source]
    ends = np.cumsum(_part_sizes(lengths, shares), axis=0)[:, source]
    part = np.empty(interactions.n_rows, dtype=np.int64)
    part[rows] = (position >= ends[:-1]).sum(axis=0)
    return split_by_part(interactions, part, len(shares), list(shares))


def _part_sizes(lengths: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many rows of each source go to each part.

    Parameters
    ----------
    lengths : int64 array [n_sources]
    shares : float64 array [n_parts]

    Returns
    -------
    int64 array [n_parts, n_sources]
    """
    exact = shares[:, None] * lengths
    sizes = exact.astype(np.int64)
    sizes[0] = lengths - sizes[1:].sum(axis=0)
    for number in range(len(shares) - 1, 0, -1):
        takes_one = (exact[number] > 0) & (exact[number] < 1) & (sizes[0] > 1)
        sizes[number] += takes_one
        sizes[0] -= takes_one
    return sizes


def _refuse_baskets(interactions: Interactions, name: str) -> None:
    if interactions.kind == "baskets":
        raise UnsupportedError(
            f"{name} is for single rows, and would tear baskets apart; use split_last, "
            "split_leave_one_out or split_random."
        )


def _generator(seed: int) -> Generator:
    return np.random.Generator(np.random.PCG64(check_int("seed", seed, minimum=0)))
