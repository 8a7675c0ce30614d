from __future__ import annotations

import datetime
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions, split_last, split_random, split_temporal
from whence.errors import DataError, ParameterError, UnsupportedError

SESSIONS = Interactions.from_frame(
    pl.DataFrame(
        {
            "session": [1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
            "item": [1, 2, 3, 4, 5, 6, 7, 8, 9, 1],
            "time": [1, 20, 2, 3, 4, 5, 6, 7, 8, 7],
            "row": list(range(10)),
        }
    )
)
BASKETS = Interactions.from_frame(
    pl.DataFrame(
        {
            "user": [1, 1, 1, 1, 2, 2, 3],
            "basket": [10, 9, 9, 11, 1, 2, 5],
            "item": [1, 2, 3, 4, 5, 6, 7],
            "row": list(range(7)),
        }
    )
)


def rows_of(*parts):
    return [part.frame["row"].to_list() for part in parts]


def sessions_of(*parts):
    return [sorted(part.vocabulary.sources.to_list()) for part in parts]


def test_temporal_split_takes_whole_sessions_by_their_last_click():
    parts = split_temporal(SESSIONS, (0.4, 0.4, 0.2))
    assert sessions_of(*parts) == [[2, 3], [4, 5], [1]]
    assert sorted(itertools.chain(*rows_of(*parts))) == list(range(10))
    assert parts[2].vocabulary.items.to_list() == [1, 2]
    assert parts[2].source_codes.tolist() == [0, 0]


def test_temporal_split_at_points():
    assert sessions_of(*split_temporal(SESSIONS, at=[7])) == [[2, 3], [1, 4, 5]]
    assert sessions_of(*split_temporal(SESSIONS, at=[7.5, np.int64(9)])) == [[2, 3, 4], [5], [1]]
    for message, at in [
        ("do not increase", [9, 7]),
        ("do not increase", [7, 7]),
        ("is no number", ["7"]),
        ("none given", []),
    ]:
        with pytest.raises(ParameterError, match=message):
            split_temporal(SESSIONS, at=at)
    with pytest.raises(DataError, match="Part 2 of 2 would be empty"):
        split_temporal(SESSIONS, at=[100])


@pytest.mark.parametrize("dtype", [pl.Datetime("ns"), pl.Datetime("ms", "UTC"), pl.Date])
def test_temporal_split_at_dates(dtype):
    days = pl.Series([datetime.datetime(2020, 1, day) for day in (1, 2, 3)])
    times = days.dt.date() if dtype == pl.Date else days.cast(pl.Datetime("us")).cast(dtype)
    if getattr(dtype, "time_zone", None):
        times = days.dt.replace_time_zone("UTC").dt.cast_time_unit("ms")
    data = Interactions.from_frame(
        pl.DataFrame({"session": [1, 2, 3], "item": [1, 2, 3], "time": times})
    )
    for point in ("2020-01-02", datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2)):
        assert sessions_of(*split_temporal(data, at=[point])) == [[1], [2, 3]]
    with pytest.raises(ParameterError, match="increasing points in time"):
        split_temporal(data, at=[5])
    with pytest.raises(ParameterError, match="increasing points in time"):
        split_temporal(data, at=["the second"])


def test_temporal_split_without_time_goes_by_rows():
    data = Interactions.from_frame(pl.DataFrame({"session": [3, 1, 2, 3], "item": [1, 1, 1, 1]}))
    assert sessions_of(*split_temporal(data, (0.5, 0.5))) == [[1, 2], [3]]
    with pytest.raises(ParameterError, match="no time column to split at"):
        split_temporal(data, at=[1])


def test_temporal_split_is_not_for_baskets():
    with pytest.raises(UnsupportedError, match="split_last"):
        split_temporal(BASKETS)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.8, 0.1), "must sum to 1, and .* sums to 0.9"),
        ((1.0,), "two or more"),
        ((1.2, -0.2), "none below"),
        ((0.5, float("nan")), "none below"),
    ],
)
@pytest.mark.parametrize("split", [split_temporal, split_random])
def test_fractions_must_make_sense(split, fractions, message):
    with pytest.raises(ParameterError, match=message):
        split(SESSIONS, fractions)


def test_parts_are_not_empty():
    with pytest.raises(DataError, match="Part 3 of 3 would be empty"):
        split_temporal(SESSIONS, (0.8, 0.19, 0.01))


def test_split_last_of_sessions_takes_the_last_items():
    train, held = split_last(SESSIONS)
    assert rows_of(train, held) == [[0, 2, 4, 6, 9], [1, 3, 5, 7, 8]]
    with pytest.raises(DataError, match="No session has more than 2 items"):
        split_last(SESSIONS, 2)


def test_split_last_of_baskets_takes_the_last_baskets():
    train, held = split_last(BASKETS)
    assert rows_of(train, held) == [[0, 1, 2, 4, 6], [3, 5]]
    train, held = split_last(BASKETS, n=2)
    assert rows_of(train, held) == [[1, 2, 4, 5, 6], [0, 3]]
    for n in (0, 1.5, True):
        with pytest.raises(ParameterError, match="n must be an integer of at least 1"):
            split_last(BASKETS, n)
    with pytest.raises(DataError, match="No user has more than 3 baskets"):
        split_last(BASKETS, n=3)


def test_random_split_is_seeded():
    first = split_random(SESSIONS, (0.6, 0.4), seed=1)
    assert rows_of(*first) == rows_of(*split_random(SESSIONS, (0.6, 0.4), seed=1))
    assert [part.n_sources for part in first] == [3, 2]
    seen = {str(rows_of(*split_random(SESSIONS, (0.6, 0.4), seed=seed))) for seed in range(9)}
    assert len(seen) > 1
    with pytest.raises(ParameterError, match="seed must be an integer of at least 0"):
        split_random(SESSIONS, seed=-1)


def test_sources_without_rows_do_not_count():
    data = SESSIONS.without([2])
    for split in (split_temporal, split_random):
        parts = split(data, (0.5, 0.5))
        assert [part.n_sources for part in parts] == [2, 2]
        assert sorted(itertools.chain(*sessions_of(*parts))) == [1, 3, 4, 5]
    assert sessions_of(*split_temporal(data, at=[6])) == [[3], [1, 4, 5]]


tables = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 9)), min_size=4, max_size=40
)


@given(tables, st.integers(0, 3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_every_split_is_disjoint_and_covering(table, seed, has_baskets):
    time = "basket" if has_baskets else "time"
    frame = pl.DataFrame(table, schema=["user", "item", time], orient="row").with_row_index("row")
    data = Interactions.from_frame(frame)
    splits = {
        "random": lambda: split_random(data, (0.5, 0.5), seed=seed),
        "last": lambda: split_last(data),
        "time": lambda: split_temporal(data, (0.7, 0.3)),
    }
    for name, split in splits.items():
        try:
            parts = split()
        except (DataError, UnsupportedError):
            continue
        rows = [set(part) for part in rows_of(*parts)]
        assert set.union(*rows) == set(range(len(table)))
        assert sum(map(len, rows)) == len(table)
        if name != "last":
            sources = [set(part) for part in sessions_of(*parts)]
            assert not set.intersection(*sources)
        if name == "time":
            last = [part.frame.group_by("user").agg(pl.col("time").max())["time"] for part in parts]
            assert last[0].max() <= last[1].min()
