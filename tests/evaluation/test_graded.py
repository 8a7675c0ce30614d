"""DCG, and gains by rating: against scikit-learn and by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import polars as pl
import pytest
from dense import Dense, by_user
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import dcg_score, ndcg_score

import whence
from whence import evaluate
from whence.errors import DataError, MetricError, ParameterError
from whence.evaluation import parse_metric


class Fixed:
    """Recommends the same to everybody."""

    asks = "users"

    def __init__(self, items):
        self.items = items

    def recommend(self, users, k):
        return [self.items[:k] for _ in users]


ITEMS = [f"d{i}" for i in range(1, 9)]
RATED = pl.DataFrame(
    {"user_id": [1] * 8, "item_id": ITEMS, "rating": [3.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 2.0]}
)
KNOWN = pl.DataFrame({"user_id": [2] * 8 + [1], "item_id": [*ITEMS, "d0"], "rating": [1.0] * 9})


def asked(metrics, rated=RATED, items=ITEMS, **options):
    return evaluate(Fixed(items), rated, metrics, train=KNOWN, protocol="users", **options)


def test_the_example_of_the_encyclopedia():
    found = asked(["ndcg@6", "dcg@6", "mrr@6"], gain="rating")
    assert found["dcg@6"] == pytest.approx(6.861, abs=1e-3)
    assert found["ndcg@6"] == pytest.approx(0.785, abs=1e-3)
    assert found["mrr@6"] == 1.0
    # Without gain, a hit is a hit.
    plain = asked(["ndcg@6", "dcg@6"])
    assert plain["ndcg@6"] == 1.0
    assert plain["dcg@6"] == pytest.approx(sum(1 / log2(r + 1) for r in range(1, 7)))
    with pytest.raises(MetricError, match="gain"):
        whence.compare(found, plain, "ndcg@6")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=12),
    st.integers(1, 14),
    st.randoms(use_true_random=False),
)
def test_agrees_with_scikit_learn(ratings, k, random):
    n = len(ratings)
    scores = random.sample(range(n), n)
    train = by_user({0: ["z"], 1: [f"i{i}" for i in range(n)]})
    rated = pl.DataFrame(
        {
            "user_id": [0] * n,
            "item_id": [f"i{i}" for i in range(n)],
            "rating": [float(r) for r in ratings],
        }
    )
    table = np.zeros((2, n + 1))
    table[0, 1:] = scores
    found = evaluate(Dense(train, table), rated, [f"ndcg@{k}", f"dcg@{k}"], gain="rating")
    assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score([ratings], [scores], k=k))
    assert found[f"dcg@{k}"] == pytest.approx(dcg_score([ratings], [scores], k=k))


def test_repetitions():
    rated = pl.concat([RATED[:2], RATED[:1].with_columns(rating=pl.lit(5.0))])
    rated = rated.with_columns(timestamp=pl.Series([1, 2, 3]))
    found = asked("ndcg@2", rated, gain="rating")  # of two ratings of d1 the later
    assert float(found) == 1.0
    twice = asked("dcg@3", rated, ["d1", "d1", "d2"], gain="rating")  # d1 is paid once
    assert float(twice) == pytest.approx(5.0 + 2.0 / 2)


def test_nothing_but_zeros_is_zero():
    assert float(asked("ndcg@3", RATED.with_columns(rating=pl.lit(0.0)), gain="rating")) == 0.0


def test_against_drawn_items_each_target_has_its_rating():
    train = by_user({0: ["a"], 1: ["a", "b", "c", "d", "e", "f"]})
    rated = pl.DataFrame({"user_id": [0, 0], "item_id": ["b", "c"], "rating": [2.0, 5.0]})
    table = np.array([[0, 6, 5, 4, 3, 2], [0.0] * 6])
    found = evaluate(Dense(train, table), rated, ["dcg@3", "ndcg@3"], gain="rating", negatives=3)
    assert found.values("dcg@3").tolist() == [2.0, 5.0]
    assert found.values("ndcg@3").tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (RATED.drop("rating"), "has no column of them"),
        (RATED.with_columns(rating=pl.col("rating") - 1.0), "1 ratings that are missing"),
        (RATED.with_columns(rating=pl.lit(None, pl.Float64)), "8 ratings that are missing"),
        (RATED.with_columns(rating=pl.lit("good")), "cannot be ratings"),
    ],
)
def test_bad_ratings(data, words):
    with pytest.raises(DataError, match=words):
        asked("ndcg@3", data, gain="rating")


def test_bad_requests():
    with pytest.raises(ParameterError, match="gain must be one of"):
        asked("ndcg@3", gain="ratings")
    train = by_user({0: ["a"], 1: ["a", "b"]})
    model = whence.ItemKNN().fit(train)
    queries = whence.make_queries(model, by_user({0: ["b"]}))
    with pytest.raises(MetricError, match="Queries do not hold"):
        evaluate(model, queries, "ndcg@3", gain="rating")
    graded = parse_metric("ndcg@1", gain="rating")
    with pytest.raises(MetricError, match="ratings"):
        whence.Shapley(graded).attribute(model, by_user({0: ["b"]}))
