"""Attacks: each against its definition, on rated and on implicit data."""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest

import whence
from whence.curation.attacks import BOT_LENGTH, COPIES, SHILLING, Attack, AttackKind
from whence.errors import DataError, ParameterError

KINDS = get_args(AttackKind)
ADDED = [kind for kind in KINDS if kind != "shuffled"]


def table():
    """60 users with 4 to 12 of 80 films, the first ones more popular, each film rated its way."""
    rng = np.random.default_rng(3)
    chance = 1.0 / np.arange(1, 81)
    rows = []
    for user in range(60):
        films = rng.choice(80, rng.integers(4, 13), replace=False, p=chance / chance.sum())
        rows += [
            (user, film, int(np.clip(1 + film % 5 + rng.integers(-1, 2), 1, 5)), 100 * user + nth)
            for nth, film in enumerate(films)
        ]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


@pytest.fixture(scope="module")
def rated():
    return whence.Interactions.from_frame(table())


@pytest.fixture(scope="module")
def implicit():
    return whence.Interactions.from_frame(table().drop("rating"))


def profiles(attacked):
    """Rows of each planted user, in their order."""
    rows = attacked.data.frame.filter(pl.col("user_id").is_in(attacked.corrupted.implode()))
    return [part.sort("timestamp") for _, part in sorted(rows.group_by("user_id"))]


def cosines(data, item):
    """Cosine of every item's incidence with one item's, by brute force."""
    users = {i: set(part["user_id"]) for (i,), part in data.frame.group_by("item_id")}
    return {
        i: len(own & users[item]) / np.sqrt(len(own) * len(users[item]))
        for i, own in users.items()
        if i != item
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", ["rated", "implicit"])
def test_what_holds_of_every_attack(kind, data, request):
    data = request.getfixturevalue(data)
    attacked = Attack(kind=kind, share=0.2, seed=5).plant(data)
    assert len(attacked.corrupted) == 12
    again = Attack(kind=kind, share=0.2, seed=5).plant(data)
    assert attacked.data.frame.equals(again.data.frame)
    other = Attack(kind=kind, share=0.2, seed=6).plant(data)
    assert not attacked.data.frame.equals(other.data.frame)
    assert attacked.data.frame.schema == data.frame.schema
    assert attacked.data.n_sources == 60 + (0 if kind == "shuffled" else 12)
    assert len(attacked.targets) == (kind == "bot" or kind in SHILLING)
    real = attacked.data.frame.filter(~pl.col("user_id").is_in(attacked.corrupted.implode()))
    was = data.frame.filter(pl.col("user_id").is_in(real["user_id"].unique().implode()))
    assert real.equals(was)


@pytest.mark.parametrize("kind", [kind for kind in ADDED if kind != "duplicated"])
def test_planted_users_have_times_and_lengths_of_real_ones(kind, implicit):
    real = {tuple(sorted(part["timestamp"])) for _, part in implicit.frame.group_by("user_id")}
    for rows in profiles(Attack(kind=kind, seed=1).plant(implicit)):
        times = rows["timestamp"].to_list()
        assert tuple(times[:: BOT_LENGTH if kind == "bot" else 1]) in real
        if kind != "bot":
            assert rows["item_id"].n_unique() == rows.height


def test_uniform_and_popularity_draw_as_they_say(implicit):
    """Each item's rows against its expectation, with many users of one row."""
    rows = {"user_id": np.arange(50), "item_id": np.repeat([0, 1, 2], [30, 15, 5])}
    data = whence.Interactions.from_frame(pl.DataFrame(rows))
    for kind, wanted in (("uniform", [1 / 3] * 3), ("popularity", [0.6, 0.3, 0.1])):
        found = [
            row
            for seed in range(20)
            for part in profiles_of_rows(Attack(kind=kind, share=1.0, seed=seed).plant(data))
            for row in part
        ]
        shares = np.bincount(found, minlength=3) / len(found)
        assert np.abs(shares - wanted).max() < 4 * np.sqrt(0.25 / len(found))


def profiles_of_rows(attacked):
    rows = attacked.data.frame.filter(pl.col("user_id").is_in(attacked.corrupted.implode()))
    return [part["item_id"].to_list() for _, part in rows.group_by("user_id")]


def test_shuffled_users_keep_their_rows_and_their_times(rated):
    attacked = Attack(kind="shuffled", share=0.5, seed=2).plant(rated)
    assert attacked.data.n_rows == rated.n_rows
    assert attacked.data.frame["timestamp"].equals(rated.frame["timestamp"])
    assert attacked.data.frame["user_id"].equals(rated.frame["user_id"])
    pairs = ["user_id", "item_id", "rating"]
    assert (
        attacked.data.frame.select(pairs).sort(pairs).equals(rated.frame.select(pairs).sort(pairs))
    )
    changed = attacked.data.frame["item_id"] != rated.frame["item_id"]
    assert set(rated.frame.filter(changed)["user_id"]) <= set(attacked.corrupted)
    assert changed.mean() > 0.3


def test_bots_repeat_their_targets(implicit):
    attacked = Attack(kind="bot", targets=(70, 71), seed=0).plant(implicit)
    assert attacked.targets.to_list() == [70, 71]
    for rows in profiles(attacked):
        assert set(rows["item_id"][::2]) <= {70, 71}


def test_duplicates_differ_in_a_tenth(implicit):
    found = profiles(Attack(kind="duplicated", share=0.5, seed=0).plant(implicit))
    for first in range(0, len(found), COPIES):
        original = set(found[first]["item_id"])
        for copy in found[first + 1 : first + COPIES]:
            assert copy["timestamp"].equals(found[first]["timestamp"])
            changed = max(1, len(original) // 10)
            assert len(original & set(copy["item_id"])) == len(original) - changed


@pytest.mark.parametrize("kind", SHILLING)
@pytest.mark.parametrize("direction", ["push", "nuke"])
def test_ratings_of_shilling_attacks(rated, kind, direction):
    attacked = Attack(kind=kind, direction=direction, targets=(40,), share=1.0, seed=4).plant(rated)
    frame, means = rated.frame, dict(rated.frame.group_by("item_id").agg(pl.mean("rating")).rows())
    counts = dict(frame["item_id"].value_counts().rows())
    push = direction == "push"
    fillers = []
    for rows in profiles(attacked):
        ratings = dict(zip(rows["item_id"], rows["rating"], strict=True))
        assert ratings.pop(40) == (5 if push else 1)
        n = int(np.ceil(0.3 * rows.height)) if kind in ("bandwagon", "segment") else 0
        if kind == "bandwagon" and push:
            order = sorted(counts, key=lambda i: -counts[i])
            worth = {i: -counts[i] for i in order}
        elif kind == "bandwagon":
            worth = means
        else:
            worth = {i: -c for i, c in cosines(rated, 40).items()}
        limit = sorted(v for i, v in worth.items() if i != 40)[n - 1] if n else None
        chosen = [i for i in ratings if n and worth[i] < limit - 1e-9]
        # All items before the last of those selected are there; ties may stand for each other.
        assert (
            len(chosen) == sum(v < limit - 1e-9 for i, v in worth.items() if i != 40) if n else True
        )
        high = kind == "segment" or push
        assert all(ratings.pop(i) == (5 if high else 1) for i in chosen)
        if kind == "segment":
            assert set(ratings.values()) <= {1, 5}
        fillers += ratings.items()
    items, values = (np.array(part) for part in zip(*fillers, strict=True))
    own = np.array([means[i] for i in items])
    overall = frame["rating"].mean()
    if kind == "average":
        assert np.corrcoef(values, own)[0, 1] > 0.6
    elif kind == "random":
        assert abs(np.corrcoef(values, own)[0, 1]) < 0.2
        assert abs(values.mean() - overall) < 0.25


def test_shilling_without_ratings(implicit):
    for kind in SHILLING:
        for rows in profiles_of_rows(Attack(kind=kind, targets=(40, 41), seed=1).plant(implicit)):
            assert {40, 41} <= set(rows)
        nuked = Attack(kind=kind, direction="nuke", targets=(0, 1), seed=1).plant(implicit)
        first = cosines(implicit, 0)
        first.pop(1)
        best = max(first.values())
        for rows in profiles_of_rows(nuked):
            assert any(first[i] == pytest.approx(best) for i in rows if i in first)


def test_profiles_repeat_items_where_real_ones_do():
    rows = pl.DataFrame({"user_id": [1] * 6, "item_id": [1, 2, 3, 1, 2, 3]})
    (found,) = profiles_of_rows(Attack(kind="uniform", share=1.0).plant(rows))
    assert len(found) == 6
    assert set(found) <= {1, 2, 3}


def test_default_targets_are_rare_to_push_and_popular_to_nuke(implicit):
    counts = dict(implicit.frame["item_id"].value_counts().rows())
    ranked = sorted(counts.values(), reverse=True)
    push = Attack(kind="random", targets=3).plant(implicit).targets
    assert push.n_unique() == 3
    assert max(counts[i] for i in push) <= ranked[len(ranked) // 2]
    nuke = Attack(kind="random", direction="nuke").plant(implicit).targets
    assert counts[nuke[0]] >= ranked[len(ranked) // 10 - 1]


def test_sessions_and_ids_in_words():
    data = whence.make_sessions(n_sessions=100, corrupted=0.0, seed=1).train
    names = data.frame.with_columns(pl.format("planted-{}", "session_id").alias("session_id"))
    attacked = Attack(kind="bandwagon").plant(names)
    assert attacked.data.n_sources == 110
    assert not set(attacked.corrupted) & set(names["session_id"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kind": "spam"}, ParameterError, "kind"),
        ({"share": 1.5}, ParameterError, "share"),
        ({"targets": 0}, ParameterError, "targets"),
        ({"targets": ()}, ParameterError, "at least one id"),
        ({"kind": "bot", "targets": (999,)}, DataError, "999 is given as a target"),
        ({"kind": "bot", "targets": ("a",)}, DataError, "cast one to the other"),
        ({"kind": "random", "targets": 70}, DataError, "70 targets are to be drawn from"),
    ],
)
def test_bad_input(implicit, changes, error, message):
    with pytest.raises(error, match=message):
        Attack(**changes).plant(implicit)


def test_data_that_cannot_be_attacked(rated):
    single = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2]})
    with pytest.raises(DataError, match="nothing to shuffle"):
        Attack(kind="shuffled").plant(single)
    worded = rated.frame.with_columns(pl.col("rating").cast(pl.String))
    with pytest.raises(DataError, match="no scale"):
        Attack(kind="random").plant(worded)
