from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import (
    Dropped,
    Interactions,
    filter_core,
    filter_duplicates,
    filter_length,
    filter_ratings,
)
from whence.data.filters import filter_described
from whence.errors import ColumnError, DataError, ParameterError

tables = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def naive_core(rows, users, items):
    while True:
        of_user, of_item = Counter(u for u, _ in rows), Counter(i for _, i in rows)
        left = [(u, i) for u, i in rows if of_user[u] >= users and of_item[i] >= items]
        if len(left) == len(rows):
            return rows
        rows = left


@given(tables, st.integers(0, 4), st.integers(0, 4))
@settings(deadline=None, max_examples=80)
def test_core_is_the_fixed_point_of_dropping(table, users, items):
    data = Interactions.from_frame(pl.DataFrame(table, schema=["user", "item"], orient="row"))
    expected = naive_core(table, users, items)
    if not expected:
        with pytest.raises(DataError, match="would be left; loosen the bounds"):
            filter_core(data, users=users, items=items)
        return
    kept, dropped = filter_core(data, users=users, items=items)
    assert kept.frame.rows() == expected
    assert dropped == Dropped(
        rows=len(table) - len(expected),
        sources=len({u for u, _ in table}) - len({u for u, _ in expected}),
        items=len({i for _, i in table}) - len({i for _, i in expected}),
        of_rows=len(table),
        of_sources=len({u for u, _ in table}),
        of_items=len({i for _, i in table}),
    )
    assert kept.n_sources == len({u for u, _ in expected})


def test_length_of_sessions_and_of_users_with_baskets():
    frame = pl.DataFrame({"session": [1, 2, 2, 3, 3, 3], "item": [1, 2, 3, 4, 5, 6]})
    data = Interactions.from_frame(frame)
    kept, dropped = filter_length(data, at_least=2)
    assert kept.vocabulary.sources.to_list() == [2, 3]
    assert (dropped.rows, dropped.sources, dropped.items) == (1, 1, 1)
    assert filter_length(data, at_most=2)[0].vocabulary.sources.to_list() == [1, 2]
    assert filter_length(data, at_least=2, at_most=2)[0].vocabulary.sources.to_list() == [2]
    frame = pl.DataFrame({"user": [1, 1, 1, 2, 2], "basket": [1, 1, 1, 1, 2], "item": [1] * 5})
    assert filter_length(Interactions.from_frame(frame), at_least=2)[0].source_ids.to_list() == [2]


def test_sources_without_rows_do_not_count():
    frame = pl.DataFrame({"session": [1, 2, 2, 3, 3, 3], "item": [1, 2, 3, 4, 5, 6]})
    data = Interactions.from_frame(frame).without([3])
    kept, dropped = filter_length(data, at_most=2)
    assert kept.n_rows == 3
    assert (dropped.sources, dropped.of_sources, dropped.of_items) == (0, 2, 3)


def test_ratings():
    frame = pl.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 1, 2], "rating": [1, 4, None, 5]})
    data = Interactions.from_frame(frame)
    kept, dropped = filter_ratings(data, at_least=4)
    assert kept.frame["rating"].to_list() == [4, 5]
    assert str(dropped) == "Dropped 2 of 4 rows, 0 of 2 sources and 1 of 2 items."
    assert filter_ratings(data, at_most=4)[0].frame["rating"].to_list() == [1, 4]
    assert filter_ratings(data, at_least=2, at_most=4)[0].n_rows == 1
    with pytest.raises(ColumnError, match="no rating column"):
        filter_ratings(Interactions.from_frame(frame.drop("rating")), at_least=1)
    words = frame.with_columns(rating=pl.lit("good"))
    with pytest.raises(ColumnError, match="'rating' has ratings of type String"):
        filter_ratings(Interactions.from_frame(words), at_least=1)
    with pytest.raises(DataError, match="None of the 4 rows would be left"):
        filter_ratings(data, at_least=6)


@pytest.mark.parametrize("filtered", [filter_length, filter_ratings])
def test_bounds_must_make_sense(filtered):
    frame = pl.DataFrame({"user": [1], "item": [1], "rating": [1.0]})
    data = Interactions.from_frame(frame)
    with pytest.raises(ParameterError, match="Give at_least, at_most or both"):
        filtered(data)
    with pytest.raises(ParameterError, match=r"at_least \(3(\.0)?\) must not be above at_most"):
        filtered(data, at_least=3, at_most=2)
    with pytest.raises(ParameterError, match="at_least must be"):
        filtered(data, at_least="3")
    for users in (-1, 2.5):
        with pytest.raises(ParameterError, match="users must be an integer"):
            filter_core(data, users=users)


def test_real_data(data_dir):
    from whence.data import read_interactions

    data = read_interactions(data_dir / "ml-100k" / "ml-100k.inter", side_tables=False)
    kept, dropped = filter_core(data, users=20, items=10)
    assert np.bincount(kept.source_codes).min() >= 20
    assert np.bincount(kept.item_codes).min() >= 10
    assert kept.n_rows + dropped.rows == 100_000


def test_rows_without_a_description_can_be_dropped():
    frame = pl.DataFrame({"user": [1, 1, 2, 3], "item": ["a", "b", "a", "c"]})
    data = Interactions.from_frame(frame)
    items, users = pl.DataFrame({"item": ["a", "c", "d"]}), pl.DataFrame({"user": [1, 2]})
    kept, dropped = filter_described(data.with_tables(items=items))
    assert kept.frame.rows() == [(1, "a"), (2, "a"), (3, "c")]
    assert (dropped.rows, dropped.items) == (1, 1)
    assert filter_described(data.with_tables(items=items, users=users))[0].n_rows == 2
    assert filter_described(data)[1].rows == 0
    with pytest.raises(DataError, match="None of the 4 rows"):
        filter_described(data.with_tables(items=pl.DataFrame({"item": ["z"]})))


@given(tables, st.sampled_from(["first", "last"]))
@settings(deadline=None, max_examples=60)
def test_one_row_of_each_pair_is_kept(table, keep):
    rows = [(*pair, number) for number, pair in enumerate(table)]
    data = Interactions.from_frame(
        pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    )
    ordered = rows if keep == "first" else rows[::-1]
    expected = {}
    for user, item, number in ordered:
        expected.setdefault((user, item), number)
    kept, dropped = filter_duplicates(data, keep=keep)
    assert kept.frame["time"].to_list() == sorted(expected.values())
    assert dropped.rows == len(rows) - len(expected)


def test_items_of_other_baskets_are_no_duplicates():
    frame = pl.DataFrame({"user": [1] * 4, "basket": [1, 1, 1, 2], "item": [5, 6, 5, 5]})
    kept, _ = filter_duplicates(Interactions.from_frame(frame))
    assert kept.frame["basket"].to_list() == [1, 1, 2]
    with pytest.raises(ParameterError, match="keep must be one of"):
        filter_duplicates(Interactions.from_frame(frame), keep="any")
