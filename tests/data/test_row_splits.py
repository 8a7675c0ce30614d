from __future__ import annotations

import itertools
import warnings
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import (
    Interactions,
    filter_duplicates,
    k_fold,
    read_interactions,
    split_leave_one_out,
    split_random,
    split_rows,
    split_temporal,
    split_time,
)
from whence.errors import DataError, DataWarning, ParameterError, UnsupportedError

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
tables = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 9)), min_size=4, max_size=40
)


def users(table) -> Interactions:
    frame = pl.DataFrame(table, schema=["user", "item", "time"], orient="row")
    return Interactions.from_frame(frame.with_row_index("row"))


def rows_of(*parts):
    return [part.frame["row"].to_list() for part in parts]


def sizes(n, ratios):
    """The rule of RecBole, one user at a time."""
    counts = [int(ratio * n) for ratio in ratios]
    counts[0] = n - sum(counts[1:])
    for place in range(len(ratios) - 1, 0, -1):
        if counts[0] > 1 and 0 < ratios[place] * n < 1:
            counts[place] += 1
            counts[0] -= 1
    return counts


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.5), (0.7, 0.05, 0.25)])
def test_rows_of_each_user_are_cut_by_the_rule_of_recbole(fractions):
    lengths = list(range(1, 41))
    data = users([(u, i, i) for u, n in enumerate(lengths) for i in range(n)])
    parts = split_rows(data, fractions, seed=3)
    counts = [Counter(part.frame["user"].to_list()) for part in parts]
    for user, n in enumerate(lengths):
        assert [count[user] for count in counts] == sizes(n, fractions)


def test_rows_are_shuffled_within_users_by_the_seed():
    data = users([(u, i, i) for u in range(3) for i in range(20)])
    first = rows_of(*split_rows(data, seed=1))
    assert first == rows_of(*split_rows(data, seed=1))
    assert first != rows_of(*split_rows(data, seed=2))
    held = Counter()
    for seed in range(40):
        held.update(row % 20 for row in split_rows(data, seed=seed)[2].frame["row"])
    assert len(held) == 20  # each place in a history is held out now and then
    with pytest.raises(ParameterError, match="seed must be an integer"):
        split_rows(data, seed=-1)
    with pytest.raises(ParameterError, match="must sum to 1"):
        split_rows(data, (0.5, 0.4))


def test_all_rows_may_be_cut_together():
    data = users([(u, i, i) for u in range(5) for i in range(10)])
    parts = split_rows(data, (0.8, 0.1, 0.1), per_source=False)
    assert [part.n_rows for part in parts] == [40, 5, 5]
    assert len(set(Counter(parts[0].frame["user"].to_list()).values())) > 1


def test_ids_do_not_matter():
    table = [(u, i, i) for u in range(4) for i in range(10)]
    renamed = [(f"u{9 - u}", f"i{9 - i}", t) for u, i, t in table]
    for split in (split_rows, lambda data: next(k_fold(data))):
        assert rows_of(*split(users(table))) == rows_of(*split(users(renamed)))


def test_leave_one_out():
    table = [(1, 5, 1), (1, 6, 3), (1, 7, 2), (1, 8, 3), (2, 5, 1), (2, 6, 2), (3, 5, 9)]
    train, validation, test = split_leave_one_out(users(table))
    assert rows_of(train, validation, test) == [[0, 2, 4, 6], [1], [3, 5]]
    with pytest.raises(DataError, match="No source has three items"):
        split_leave_one_out(users(table[4:]))


def test_leave_one_out_of_baskets_takes_whole_baskets():
    assert rows_of(*split_leave_one_out(BASKETS)) == [[1, 2, 4, 6], [0], [3, 5]]
    with pytest.raises(DataError, match="No user has three baskets"):
        split_leave_one_out(BASKETS.without([1]).rebuild())


def test_time_cuts_rows_wherever_they_are():
    data = users([(1, 1, 5), (1, 2, 1), (2, 1, 3), (2, 2, 3), (3, 1, 9)])
    assert rows_of(*split_time(data, (0.4, 0.4, 0.2))) == [[1, 2], [0, 3], [4]]
    assert rows_of(*split_time(data, at=[3, 6])) == [[1], [0, 2, 3], [4]]
    with pytest.raises(DataError, match="Part 3 of 3 would be empty"):
        split_time(data, at=[3, 10])
    with pytest.raises(ParameterError, match="increasing points in time"):
        split_time(data, at=["x"])


def test_folds():
    data = users([(u, i, i) for u in range(6) for i in range(u + 1)])
    tests = [rows for _, test in k_fold(data, 4) for rows in rows_of(test)]
    assert sorted(map(len, tests)) == [5, 5, 5, 6]
    assert sorted(itertools.chain(*tests)) == list(range(21))
    for train, test in k_fold(data, 3, by="sources"):
        assert not set(train.vocabulary.sources) & set(test.vocabulary.sources)
        assert test.n_sources == 2
    for train, test in k_fold(BASKETS, 3, by="sources", seed=1):
        assert (train.kind, train.n_sources, test.n_sources) == ("baskets", 2, 1)
    assert len(list(k_fold(data.without([0, 1]), 4, by="sources"))) == 4
    with pytest.raises(DataError, match="There are 6 sources, too few for 7 folds"):
        k_fold(data, 7, by="sources")
    with pytest.raises(ParameterError, match=r"by must be one of .* Did you mean 'sources'"):
        k_fold(data, by="source")
    with pytest.raises(ParameterError, match="n must be an integer of at least 2"):
        k_fold(data, 1)


@pytest.mark.parametrize("split", [split_rows, split_time, k_fold])
def test_baskets_are_not_torn(split):
    with pytest.raises(UnsupportedError, match="would tear baskets apart"):
        split(BASKETS)


@given(tables, st.integers(0, 3))
@settings(deadline=None, max_examples=80)
def test_no_split_leaks(table, seed):
    data = users(table)
    splits = {
        "rows": lambda: split_rows(data, (0.6, 0.4), seed=seed),
        "together": lambda: split_rows(data, (0.6, 0.4), seed=seed, per_source=False),
        "one out": lambda: split_leave_one_out(data),
        "time": lambda: split_time(data, (0.5, 0.3, 0.2)),
        "at": lambda: split_time(data, at=[5]),
        "temporal": lambda: split_temporal(data, (0.5, 0.5)),
        "fold": lambda: next(k_fold(data, 2, seed=seed)),
        "sources": lambda: next(k_fold(data, 2, seed=seed, by="sources")),
    }
    for name, split in splits.items():
        try:
            parts = split()
        except DataError:
            continue
        rows = rows_of(*parts)
        assert sorted(itertools.chain(*rows)) == list(range(len(table)))
        times = [part.frame["time"] for part in parts]
        for earlier, later in itertools.pairwise(times):
            if name == "time":
                assert earlier.max() <= later.min()
            if name == "at":
                assert earlier.max() < later.min()
        if name in ("sources", "temporal"):
            assert not set(parts[0].vocabulary.sources) & set(parts[1].vocabulary.sources)
        if name == "one out":
            ordered = sorted(range(len(table)), key=lambda row: (table[row][2], row))
            for user in {u for u, _, _ in table}:
                mine = [row for row in ordered if table[row][0] == user]
                where = [next(p for p in range(3) if row in rows[p]) for row in mine]
                expected = {1: [0], 2: [0, 2]}.get(len(mine), [0] * (len(mine) - 2) + [1, 2])
                assert where == expected
        for part in parts:
            anew = Interactions.from_frame(part.frame)
            assert anew.fingerprint == part.fingerprint
            assert anew.moments.tolist() == part.moments.tolist()


def test_real_data(data_dir):
    data = read_interactions(data_dir / "ml-100k" / "ml-100k.inter", side_tables=False)
    parts = split_rows(data)
    assert [part.n_rows for part in parts] == [80_808, 9_596, 9_596]
    train, validation, test = split_leave_one_out(data)
    assert (train.n_rows, validation.n_rows, test.n_rows) == (98_114, 943, 943)
    last = data.frame.group_by("user_id").agg(pl.col("timestamp").max()).sort("user_id")
    assert test.frame.sort("user_id")["timestamp"].equals(last["timestamp"])
    lengths = np.bincount(data.source_codes)
    expected = [sizes(int(n), (0.8, 0.1, 0.1)) for n in lengths]
    assert np.sum(expected, axis=0).tolist() == [part.n_rows for part in parts]


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.5), (0.7, 0, 0.3), (0.9, 0.1, 0)])
def test_rows_of_each_user_are_cut_in_order_of_time_by_the_rule_of_recbole(fractions):
    rng = np.random.default_rng(0)
    lengths = list(range(1, 31))
    table = [(u, i, int(time)) for u, n in enumerate(lengths) for i, time in
             enumerate(rng.permutation(n))]  # fmt: skip
    data = users([table[place] for place in rng.permutation(len(table))])
    parts = split_time(data, fractions, per_source=True)
    for user, n in enumerate(lengths):
        times = [part.frame.filter(pl.col("user") == user)["time"].to_list() for part in parts]
        assert [len(part) for part in times] == sizes(n, fractions)
        assert sorted(itertools.chain(*times)) == list(range(n))
        assert [sorted(part) for part in times] == [
            list(range(start, start + len(part)))
            for start, part in zip(np.cumsum([0, *map(len, times)]).tolist(), times)
        ]
    with pytest.raises(ParameterError, match="the same for all"):
        split_time(data, at=[3], per_source=True)


@pytest.mark.parametrize(
    "split",
    [
        split_rows,
        split_time,
        split_random,
        split_temporal,
        lambda data, fractions: split_rows(data, fractions, per_source=False),
        lambda data, fractions: split_time(data, fractions, per_source=True),
    ],
)
def test_a_part_of_no_share_is_empty(split):
    data = users([(u, i, i) for u in range(20) for i in range(10)])
    train, validation, test = split(data, (1, 0, 0))
    assert train.fingerprint == data.fingerprint
    assert validation.n_rows == test.n_rows == 0
    assert validation.n_items == data.n_items
    assert validation.describe()["rows"] == 0
    assert repr(validation) == "<Interactions: 0 rows, 0 users, 0 items>"
    train, validation, test = split(data, (0.8, 0, 0.2))
    assert validation.n_rows == 0
    assert train.n_rows + test.n_rows == 200
    for wrong in ((0, 0.5, 0.5), (1.5, -0.5)):
        with pytest.raises(ParameterError, match="the first is above 0 and none below"):
            split(data, wrong)


def test_repetitions_are_told_where_rows_are_split_at_random():
    rows = [(u, i, 10 * u + i) for u in range(6) for i in range(5)]
    once, twice = users(rows), users([*rows, *rows[:7]])
    for split in (split_rows, lambda data: next(k_fold(data))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            split(once)
        with pytest.warns(DataWarning, match="7 of the 37 rows repeat an item of their user"):
            split(twice)
    with (
        warnings.catch_warnings()
    ):  # whole users, and times, tell nothing apart that belongs together
        warnings.simplefilter("error")
        next(k_fold(twice, by="sources"))
        split_time(twice)
        split_rows(filter_duplicates(twice)[0])
