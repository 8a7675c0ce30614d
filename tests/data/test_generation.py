"""Generated data have the figures that they are asked for, in any number, and again the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from whence.data import Interactions, generate, generate_file, profile_of, read_interactions
from whence.data._profiles import Profile, recurrence, repeats
from whence.data._published import PUBLISHED
from whence.data.generation import Ring
from whence.errors import FileFormatError, OutputExistsError, ParameterError


def shares(data):
    """Share of the rows of each item, the most popular first."""
    counts = np.sort(np.bincount(data.item_codes))[::-1]
    return counts / counts.sum()


@pytest.mark.parametrize("like", PUBLISHED)
def test_lengths_popularity_and_repeats_are_those_of_the_data_set(like):
    profile = PUBLISHED[like]
    n_items = profile.n_items
    data = generate(like, 60_000, n_items=n_items, seed=3)
    lengths = np.diff(data.sequences.offsets)
    assert 0.97 * 60_000 <= data.n_rows <= 60_000
    for length, share in profile.lengths:
        assert abs((lengths <= length).mean() - share) < (0.05 if data.by_user else 0.02)
    first = np.arange(1, 1 + n_items // 100)  # of rare items, chance decides which are the more so
    wanted = np.interp(first / n_items, *_curve(profile.popularity))
    assert np.abs(np.cumsum(shares(data))[first - 1] - wanted).max() < 0.03
    again, back = repeats(data)
    # Where a popular item is drawn twice in a row, it is one that comes again, too.
    assert -0.01 < again - profile.again < 0.04
    assert -0.01 < back - profile.back < 0.04


def _curve(points):
    items, rows = np.array([(0.0, 0.0), *points]).T
    return items, rows


def test_the_same_arguments_give_the_same_rows_in_memory_and_in_files(tmp_path):
    data = generate("diginetica", 20_000, days=7, seed=5)
    assert data.frame.equals(generate("diginetica", 20_000, days=7, seed=5).frame)
    assert not data.frame.equals(generate("diginetica", 20_000, days=7, seed=6).frame)
    for name in ("a.parquet", "a.csv", "a.tsv"):
        path = generate_file(tmp_path / name, "diginetica", 20_000, days=7, seed=5)
        assert read_interactions(path).frame.equals(data.frame)
    with pytest.raises(OutputExistsError):
        generate_file(tmp_path / "a.csv", "diginetica", 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.parquet", "a.tsv"]


def test_sessions_are_whole_and_in_order_of_time():
    data = generate("rsc15", 30_000, days=10, seed=1)
    times = data.frame["timestamp"]
    assert (times.diff().drop_nulls() >= 0).all()
    days = data.frame.with_columns(day=pl.col("timestamp") // 86_400)
    assert (days.group_by("session_id").agg(pl.col("day").n_unique())["day"] == 1).all()
    assert days["day"].n_unique() == 10
    assert data.frame["session_id"].unique().sort().to_list() == list(range(1, data.n_sources + 1))


def test_what_a_row_says_of_the_next_leaves_popularity_as_it_is():
    profile = replace(PUBLISHED["rsc15"], again=0.0, back=0.0)
    counts = []
    for follow in (0.0, 1.0):
        frame = generate(replace(profile, follow=follow), 80_000, n_items=200, seed=2).frame
        counts.append(frame.group_by("item_id").len().sort("item_id")["len"].to_numpy().astype(int))
    assert np.abs(counts[0] - counts[1]).max() < 6 * np.sqrt(counts[0].max())
    assert abs(np.corrcoef(*counts)[0, 1] - 1) < 0.01


def test_exchanges_of_the_ring_are_one_to_one():
    generator = np.random.default_rng(0)
    ring = Ring.make(PUBLISHED["rsc15"], 20, generator)
    places = np.unique(generator.integers(0, 2**40, 50_000))
    for which in (0.1, 0.7, 0.95):
        assert len(np.unique(ring.follow(places, np.full(len(places), which)))) == len(places)
    assert set(ring.items(ring.ends - 1)) == set(range(1, 21))


def test_repeats_and_recurrence_are_those_counted_by_hand():
    data = generate("rsc15", 3000, n_items=150, seed=4)
    sequences = data.frame.group_by("session_id", maintain_order=True).agg("item_id")
    lists = sequences["item_id"].to_list()
    again = back = second = third = 0
    for items in lists:
        for place in range(1, len(items)):
            second += 1
            third += place > 1
            again += items[place] == items[place - 1]
            back += items[place] in items[:place] and items[place] != items[place - 1]
    assert repeats(data) == (again / second, back / third)
    owner = [n for n, items in enumerate(lists) for _ in items]
    last = owner[int(0.8 * (len(owner) - 1))]
    seen, asked = set(), []
    for n, items in enumerate(lists):
        for place in range(1, len(items)):
            if items[place] not in items[:place]:
                pair = (items[place - 1], items[place])
                asked.append(pair) if n > last else seen.add(pair)
    assert recurrence(data) == pytest.approx(np.mean([pair in seen for pair in asked]))


@pytest.mark.parametrize("like", ["rsc15", "tafeng"])
def test_what_is_measured_of_generated_data_is_what_they_were_generated_from(like):
    profile = replace(PUBLISHED[like], follow=0.6)
    data = generate(profile, 40_000, n_items=3000, seed=1)
    found = profile_of(data)
    assert (found.kind, found.n_rows) == (profile.kind, data.n_rows)
    assert abs(found.follow - 0.6) < 0.1
    assert found.again == pytest.approx(profile.again, abs=0.04)
    assert found.back == pytest.approx(profile.back, abs=0.06)
    assert generate(data, 500, seed=2).n_rows > 450


def test_shares_of_drawing_give_those_of_having_each_item_once():
    """Users who draw until they have as many items as they should, one by one."""
    profile = PUBLISHED["ml-1m"]
    n_items, rng = 300, np.random.default_rng(0)
    profile = replace(profile, lengths=((20, 0.5), (60, 1.0)))
    draw = np.cumsum(profile.item_shares(n_items))
    counts = np.zeros(n_items)
    for length in np.repeat(profile.draw(profile.lengths, (np.arange(40) + 0.5) / 40), 8):
        has = set()
        while len(has) < length:
            has.add(min(int(np.searchsorted(draw, rng.random())), n_items - 1))
        counts[list(has)] += 1
    found = np.cumsum(np.sort(counts)[::-1]) / counts.sum()
    wanted = np.interp(np.arange(1, n_items + 1) / n_items, *_curve(profile.popularity))
    assert np.abs(found - wanted).max() < 0.03


def test_baskets_have_an_item_once_and_users_too():
    baskets = generate("tafeng", 5000, seed=1).frame
    assert not baskets.select("user_id", "basket_id", "item_id").is_duplicated().any()
    users = generate("ml-1m", 5000, seed=1)
    assert users.by_user
    assert not users.frame.select("user_id", "item_id").is_duplicated().any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"like": "rsc51"}, "Did you mean 'rsc15'"),
        ({"n_rows": 0}, "n_rows must be an integer between 1"),
        ({"n_items": 3}, "n_items must be an integer between 10"),
        ({"days": 0}, "days must be an integer between 1"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(ParameterError, match=words):
        generate(**arguments)


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"change the ending"):
        generate_file(tmp_path / "x.json")


def test_few_rows_and_a_profile_of_ones_own():
    profile = Profile(
        "mine", "sessions", 100, 20, lengths=((1, 0.5), (3, 1.0)), popularity=((0.5, 0.9), (1, 1))
    )
    assert generate(profile, 1).n_rows == 1
    data = generate(profile, 4000, n_items=20, seed=0)
    assert isinstance(data, Interactions)
    lengths = np.diff(data.sequences.offsets)
    assert abs((lengths == 1).mean() - 0.5) < 0.05
    assert lengths.max() == 3
    assert abs(shares(data)[:10].sum() - 0.9) < 0.03
