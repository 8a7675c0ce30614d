"""Popularity: counts, ties, own history left out on request, queries without history."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions
from whence.errors import NotFittedError, ParameterError
from whence.evaluation import evaluate, make_queries
from whence.models.base import Recommender
from whence.models.popularity import Popularity

CLICKS = pl.DataFrame(
    {
        "session_id": [1, 1, 2, 2, 3, 3, 3],
        "item_id": ["d", "a", "b", "a", "b", "c", "b"],
        "timestamp": range(7),
    }
)
ORDERS = pl.DataFrame(
    {
        "user_id": ["u", "u", "u", "v", "v"],
        "basket_id": [1, 1, 2, 1, 2],
        "item_id": [10, 20, 20, 30, 20],
    }
)


def test_counts_rows_and_breaks_ties_by_item_number():
    model = Popularity().fit(CLICKS)
    assert model.counts_.tolist() == [1, 2, 3, 1]  # d, a, b, c by first appearance
    items, scores = model.recommend(["c"], k=4)
    assert items.tolist() == ["b", "a", "d", "c"]
    assert scores.tolist() == [3.0, 2.0, 1.0, 1.0]


def test_strangers_get_the_most_popular_items_but_count_as_empty():
    model = Popularity().fit(CLICKS)
    lists, scores = model.recommend([["unknown"], ["a"], []], k=2)
    assert [row.tolist() for row in lists] == [["b", "a"]] * 3
    assert model.score([["unknown"], ["a"]]).tolist() == [model.counts_.tolist()] * 2
    assert [row.tolist() for row in scores] == [[3.0, 2.0]] * 3
    asked = pl.DataFrame({"session": [9, 9, 8, 8], "item": ["zzz", "b", "a", "b"]})
    assert evaluate(model, asked, "recall@1").values().tolist() == [0.0, 1.0]


def test_exclude_seen():
    model = Popularity(exclude_seen=True).fit(CLICKS)
    lists, _ = model.recommend([["b", "b"], ["d", "a"], ["a", "b", "c", "d"]], k=3)
    assert [row.tolist() for row in lists] == [["a", "d", "c"], ["b", "c"], []]


def test_baskets():
    model = Popularity().fit(ORDERS)
    items, scores = model.recommend("v", k=3)
    assert items.tolist() == [20, 10, 30]
    assert scores.tolist() == [3.0, 1.0, 1.0]
    assert Popularity(exclude_seen=True).fit(ORDERS).recommend("v", k=3)[0].tolist() == [10]
    new = model.fold_in([[[30], [10, 20]], []])
    seen = Popularity(exclude_seen=True).fit(ORDERS).fold_in([[[30], [20]]])
    assert [row.tolist() for row in model.recommend(new, k=2)[0]] == [[20, 10], [20, 10]]
    assert Popularity(exclude_seen=True).fit(ORDERS).recommend(seen, k=2)[0][0].tolist() == [10]


def test_removed_sessions_keep_the_numbering():
    train = Interactions.from_frame(CLICKS)
    model = Popularity().fit(train.without([1]))
    assert model.counts_.tolist() == [0, 1, 3, 1]
    assert model.recommend(["d"], k=4)[0].tolist() == ["b", "a", "c"]


histories = st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=6)
tables = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(table=tables, asked=histories, exclude=st.booleans(), k=st.integers(1, 9))
def test_recommend_is_the_ranking_of_score(table, asked, exclude, k):
    rows = [(s, i) for s, items in enumerate(table) for i in items]
    train = pl.DataFrame(rows, schema=["session_id", "item_id"], orient="row")
    model = Popularity(exclude_seen=exclude).fit(train)
    queries = model.fold_in(asked)
    lists, scores = model.recommend_codes(queries, k)
    # The general way, from the scores, is the oracle of the quick one.
    expected, expected_scores = Recommender.recommend_codes(model, queries, k)
    assert np.array_equal(lists, expected)
    assert np.array_equal(scores, expected_scores)
    assert (lists.dtype, scores.dtype) == (np.int32, np.float64)


def test_many_queries_in_blocks():
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {"session_id": np.repeat(np.arange(900), 4), "item_id": rng.integers(0, 50, 3600)}
    )
    model = Popularity(exclude_seen=True).fit(table)
    queries = make_queries(model, table)
    assert len(queries) > 2 * 1024
    lists, scores = model.recommend_codes(queries, 5)
    expected = Recommender.recommend_codes(model, queries, 5)
    assert np.array_equal(lists, expected[0])
    assert np.array_equal(scores, expected[1])


def test_save_and_load(tmp_path):
    model = Popularity(exclude_seen=True).fit(CLICKS)
    again = Popularity.load(model.save(tmp_path / "model.parquet"))
    assert again.params == {"exclude_seen": True}
    assert again.recommend(["a"], k=3)[0].tolist() == model.recommend(["a"], k=3)[0].tolist()


def test_bad_input():
    with pytest.raises(ParameterError, match="exclude_seen must be True or False"):
        Popularity(exclude_seen="yes").fit(CLICKS)
    with pytest.raises(NotFittedError):
        Popularity().recommend(["a"])
    queries = Popularity().fit(CLICKS).fold_in([["a"]])
    with pytest.raises(NotFittedError):
        Popularity().recommend_codes(queries, 2)
