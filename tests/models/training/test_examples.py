"""Training examples: what a batch holds, where its rows come from, and that order is free."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from oracles import random_sessions

torch = pytest.importorskip("torch")

from whence import Interactions  # noqa: E402
from whence.errors import DataError  # noqa: E402
from whence.models.training import PairExamples, RatingExamples, WindowExamples  # noqa: E402


@pytest.fixture
def train():
    table = random_sessions(np.random.default_rng(2), 30, 12)
    return Interactions.from_frame(table.sample(fraction=1, shuffle=True, seed=4))


def histories(train):
    """Items of each source with their row numbers, in order of time."""
    offsets, items, rows = train.sequences.offsets, train.sequences.items, train.sequences.rows
    return [
        list(zip(items[a:b].tolist(), rows[a:b].tolist())) for a, b in itertools.pairwise(offsets)
    ]


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_last_windows(train, length):
    examples = WindowExamples(train, length, "last")
    want = [
        (source, history[max(0, i - length) : i], history[i])
        for source, history in enumerate(histories(train))
        for i in range(1, len(history))
    ]
    assert len(examples) == len(want)
    numbers = np.arange(len(want))
    batch = examples.batch(numbers)
    rows, offsets = examples.rows(numbers)
    assert examples.sources(numbers).tolist() == [source for source, _, _ in want]
    for i, (_, window, target) in enumerate(want):
        n = len(window)
        assert batch["length"][i] == n
        assert batch["items"][i].tolist() == [item for item, _ in window] + [train.n_items] * (
            length - n
        )
        assert batch["target"][i] == target[0]
        got = rows[offsets[i] : offsets[i + 1]].tolist()
        assert got == [row for _, row in [*window, target]]


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_all_windows_have_every_next_item_once(train, length):
    examples = WindowExamples(train, length, "all")
    numbers = np.arange(len(examples))
    batch, sources = examples.batch(numbers), examples.sources(numbers)
    seen = []
    for i, source in enumerate(sources):
        n = int(batch["length"][i])
        items = batch["items"][i, :n].tolist()
        target = batch["target"][i]
        assert (target[n:] == -1).all()
        pairs = list(zip(items, target[:n].tolist()))
        fresh = sum(after >= 0 for _, after in pairs)
        assert all(after == -1 for _, after in pairs[: n - fresh])
        assert items[n - fresh + 1 :] == [after for _, after in pairs[n - fresh : -1]]
        # Whatever is predicted in a later window is predicted from half a window at least.
        assert n - fresh in (0, *range(length // 2, length))
        seen += [(int(source), before, after) for before, after in pairs if after >= 0]
    want = [
        (source, a, b)
        for source, history in enumerate(histories(train))
        for (a, _), (b, _) in itertools.pairwise(history)
    ]
    assert sorted(seen) == sorted(want)


def test_negatives_are_not_owned_and_do_not_depend_on_the_batch(train):
    examples = PairExamples(train, 5, seed=7)
    owned = [{item for item, _ in history} for history in histories(train)]
    everything = np.arange(len(examples))
    whole = examples.batch(everything, epoch=3)
    for user, row in zip(whole["user"].tolist(), whole["negatives"].tolist()):
        assert not owned[user] & set(row)
    shuffled = np.random.default_rng(0).permutation(everything)
    for part in np.array_split(shuffled, 4):
        batch = examples.batch(part, epoch=3)
        assert torch.equal(batch["negatives"], whole["negatives"][part])
    assert not torch.equal(examples.batch(everything, 4)["negatives"], whole["negatives"])
    other = PairExamples(train, 5, seed=8).batch(everything, 3)["negatives"]
    assert not torch.equal(other, whole["negatives"])


def test_negatives_are_uniform():
    table = pl.DataFrame({"user_id": [0] + [1] * 20, "item_id": [0, *range(20)]})
    table = table.vstack(pl.DataFrame({"user_id": [2], "item_id": [20]}))
    train = Interactions.from_frame(table, user="user_id")
    examples = PairExamples(train, 60_000, seed=0)
    drawn = examples.batch(np.array([0]))["negatives"].numpy().ravel()
    counts = np.bincount(drawn, minlength=21)
    own = train.vocabulary.item_codes(pl.Series([0]))[0]
    assert counts[own] == 0
    expected = 60_000 / 20
    chi2 = ((np.delete(counts, own) - expected) ** 2 / expected).sum()
    assert chi2 < 43.8  # 0.999 quantile with 19 degrees of freedom


def test_somebody_with_every_item_is_told():
    table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": ["a", "b", "a"]})
    with pytest.raises(DataError, match="user_id 1 has every item"):
        PairExamples(Interactions.from_frame(table), 1, seed=0)


def test_ratings_follow_the_canonical_order():
    table = pl.DataFrame(
        {"user_id": [1, 2, 1], "item_id": [5, 5, 6], "rating": [1, 2, 3], "time": [30, 10, 20]}
    )
    train = Interactions.from_frame(table)
    examples = RatingExamples(train)
    numbers = np.array([2, 0])
    batch = examples.batch(numbers)
    assert batch["rating"].tolist() == [1.0, 2.0]
    rows, _ = examples.rows(numbers)
    assert table["rating"].gather(rows).to_list() == [1, 2]


@pytest.mark.parametrize(
    ("ratings", "match"),
    [([1.0, None], "missing"), ([1.0, float("inf")], "infinite"), (["a", "b"], "numbers")],
)
def test_bad_ratings(ratings, match):
    table = pl.DataFrame({"user_id": [1, 2], "item_id": [5, 6], "rating": ratings})
    with pytest.raises(DataError, match=match):
        RatingExamples(Interactions.from_frame(table))
    with pytest.raises(DataError, match="no rating column"):
        RatingExamples(Interactions.from_frame(table.drop("rating")))


def test_single_clicks_leave_nothing_to_learn():
    table = pl.DataFrame({"session_id": [1, 2], "item_id": [5, 6]})
    with pytest.raises(DataError, match="two items"):
        WindowExamples(Interactions.from_frame(table), 5, "last")
