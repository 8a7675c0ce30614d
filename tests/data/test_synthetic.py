from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from whence.data import make_baskets, make_sessions
from whence.errors import ParameterError

SMALL = {"n_sessions": 400, "n_items": 120, "n_clusters": 6, "n_validation": 80, "n_test": 60}
SMALL_BASKETS = {"n_users": 200, "n_items": 120, "n_clusters": 6}


@pytest.mark.parametrize(
    ("make", "settings"), [(make_sessions, SMALL), (make_baskets, SMALL_BASKETS)]
)
def test_the_same_seed_gives_the_same_data(make, settings):
    first, again, other = (make(**settings, seed=seed) for seed in (3, 3, 4))
    for part in ("train", "validation", "test"):
        assert getattr(first, part).frame.equals(getattr(again, part).frame)
        assert not getattr(first, part).frame.equals(getattr(other, part).frame)
    assert first.corrupted.equals(again.corrupted)
    assert first.frame.equals(again.frame)


def test_sessions_are_as_asked_for():
    data = make_sessions(**SMALL, corrupted=0.1)
    assert data.train.n_sources == 400
    assert data.validation.n_sources == 80
    assert data.test.n_sources == 60
    assert len(data.corrupted) == 40
    assert data.train.kind == "sessions"
    assert data.train.columns.extras == ()
    assert data.frame.drop("corruption").equals(data.train.frame)
    labels = data.frame.group_by("session_id").agg(pl.col("corruption").unique())
    assert (labels["corruption"].list.len() == 1).all()
    counts = dict(labels.explode("corruption").group_by("corruption").len().iter_rows())
    assert counts == {"none": 360, "shuffled": 14, "bot": 13, "duplicated": 13}
    marked = labels.explode("corruption").filter(pl.col("corruption") != "none")
    assert marked["session_id"].sort().equals(data.corrupted)
    lengths = np.diff(data.train.sequences.offsets)
    assert lengths.min() >= 2


def test_sessions_are_in_time_and_disjoint():
    data = make_sessions(**SMALL)
    ids = [set(part.vocabulary.sources) for part in (data.train, data.validation, data.test)]
    assert len(set.union(*ids)) == sum(map(len, ids))
    start = [part.frame["timestamp"].min() for part in (data.validation, data.test)]
    assert start[0] < start[1]
    begins = data.train.frame.group_by("session_id").agg(pl.col("timestamp").min())
    assert begins["timestamp"].max() < start[0]
    assert data.train.frame["timestamp"].is_sorted()
    bad = pl.col("session_id").is_in(data.corrupted.implode())
    middle = begins["timestamp"].min() + 14 * 86_400 - 86_400
    assert begins.filter(bad)["timestamp"].min() > middle


def test_clean_sessions_follow_first_order_structure():
    data = make_sessions(**{**SMALL, "n_sessions": 3000}, corrupted=0, wander=0)
    frame = data.train.frame.sort("session_id", "timestamp")
    pairs = frame.with_columns(next=pl.col("item_id").shift(-1).over("session_id")).drop_nulls()
    counts = pairs.group_by("item_id", "next").len().sort("len", descending=True)
    share = counts.group_by("item_id").agg(pl.col("len").head(3).sum() / pl.col("len").sum())
    # Three successors take 85% of the clicks, and the rest of the cluster the other 15%.
    assert 0.75 < share["len"].mean() < 1.0
    neighbours = counts.group_by("item_id").len()["len"]
    assert neighbours.max() <= 120 // 6


@pytest.mark.parametrize("kind", ["shuffled", "bot", "duplicated"])
def test_corrupted_sessions_hurt_a_neighbourhood_recommender(kind):
    data = make_sessions(
        2000, n_items=500, n_clusters=12, corrupted=0.1, kinds=[kind], n_test=500, seed=1
    )
    dirty = _reciprocal_rank(data.train, data.test)
    clean = _reciprocal_rank(data.train.without(data.corrupted), data.test)
    assert 0.2 < clean < 0.5
    assert dirty < clean


def _reciprocal_rank(train, test, k=100, n_sessions=250):
    """Mean reciprocal rank at 20 of a plain session kNN without sampling by recency."""
    seen = np.zeros((train.n_sources, train.n_items + 1))  # the last column: unknown items, -1
    seen[train.source_codes, train.item_codes] = 1
    items = train.vocabulary.item_codes(test.vocabulary.items)[test.sequences.items]
    bounds = list(itertools.pairwise(test.sequences.offsets[: n_sessions + 1]))
    queries = [(begin, stop) for begin, end in bounds for stop in range(begin + 1, end)]
    weights = np.zeros((len(queries), train.n_items + 1))
    for row, (begin, stop) in enumerate(queries):
        weights[row, items[begin:stop]] = np.arange(1, stop - begin + 1)
    similarity = weights @ seen.T
    kept = np.partition(similarity, -k, axis=1)[:, [-k]]
    scores = np.where(similarity >= kept, similarity, 0) @ seen
    stops = np.array([stop for _, stop in queries])
    scores[np.arange(len(stops)), items[stops - 1]] = 0
    target = scores[np.arange(len(stops)), items[stops]]
    rank = 1 + np.count_nonzero(scores > target[:, None], axis=1)
    return np.where((rank <= 20) & (target > 0), 1 / rank, 0).mean()


def test_baskets_are_as_asked_for():
    data = make_baskets(**SMALL_BASKETS, corrupted=0.1)
    assert data.train.kind == "baskets"
    assert data.train.n_sources == 200
    assert len(data.corrupted) == 20
    clean = set(data.train.vocabulary.sources) - set(data.corrupted)
    assert set(data.validation.vocabulary.sources) == clean
    assert set(data.test.vocabulary.sources) == clean
    baskets = [
        part.frame.group_by("user_id").agg(
            pl.col("basket_id").min().alias("first"), pl.col("basket_id").max().alias("last")
        )
        for part in (data.train, data.validation, data.test)
    ]
    joined = baskets[1].join(baskets[0], on="user_id", suffix="_train")
    joined = joined.join(baskets[2], on="user_id", suffix="_test")
    assert joined.height == 180
    assert (joined["first"] == joined["last_train"] + 1).all()
    assert (joined["first_test"] == joined["first"] + 1).all()
    assert data.train.n_duplicates == 0
    kinds = set(data.frame["corruption"].unique())
    assert kinds == {"none", "shuffled", "bot", "duplicated"}


def test_no_corruption():
    for data in (
        make_sessions(**SMALL, corrupted=0),
        make_baskets(**SMALL_BASKETS, corrupted=0),
    ):
        assert len(data.corrupted) == 0
        assert data.frame["corruption"].unique().to_list() == ["none"]


def test_tiny_data():
    data = make_sessions(2, n_items=8, n_clusters=2, n_validation=1, n_test=1, corrupted=0.5)
    assert data.train.n_sources == 2
    assert len(data.corrupted) == 1
    data = make_baskets(2, n_items=8, n_clusters=2, corrupted=0.5)
    assert data.validation.n_sources == 1


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (make_sessions, {"n_sessions": 1}, "n_sessions must be an integer of at least 2"),
        (make_sessions, {"corrupted": 1.0}, "corrupted must be a number between 0.0 and 0.9"),
        (make_sessions, {"kinds": ["bots"]}, "Did you mean 'bot'?"),
        (make_sessions, {"kinds": []}, "kinds is empty"),
        (make_sessions, {"n_items": 30}, "n_items must be at least 4 per cluster"),
        (make_sessions, {"n_clusters": 1}, "n_clusters must be an integer of at least 2"),
        (make_sessions, {"mean_length": 1.5}, "mean_length must be a number between 2"),
        (make_sessions, {"seed": "x"}, "seed must be an integer"),
        (make_baskets, {"n_users": 1}, "n_users must be an integer"),
        (make_baskets, {"repeat": 2}, "repeat must be a number between"),
        (make_baskets, {"mean_baskets": 1}, "mean_baskets must be a number"),
    ],
)
def test_parameters_are_checked(make, settings, message):
    with pytest.raises(ParameterError, match=message):
        make(**settings)


def test_one_kind_may_be_given_by_name():
    data = make_sessions(**SMALL, kinds="bot")
    assert set(data.frame["corruption"].unique()) == {"none", "bot"}
