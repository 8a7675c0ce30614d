"""Wrapped: any object with fit and recommend, as a recommender of Whence."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import whence
from whence.data import Interactions
from whence.errors import DataError, NotFittedError, ParameterError, UnsupportedError
from whence.models.adapters import Wrapped

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


class Popular:
    """Counts rows; keeps what it was asked."""

    def __init__(self):
        self.questions = []

    def fit(self, table):
        self.table = table
        counts = pd.Series(table["item_id"].to_list()).value_counts(sort=False)
        self.items = counts.sort_values(ascending=False, kind="stable").index.tolist()

    def recommend(self, queries, k):
        self.questions.append((queries, k))
        return [self.items[:k] for _ in queries]


class Answers:
    """Answers whatever it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, table):
        return self

    def recommend(self, queries, k):
        return self.answer(queries, k)


def test_lists_are_its_own_and_scores_one_over_rank():
    model = Wrapped(Popular()).fit(CLICKS)
    items, scores = model.recommend(["d", "a"], k=3)
    assert items.tolist() == ["b", "a", "d"]
    assert scores.tolist() == [1.0, 1 / 2, 1 / 3]
    assert model.model_.questions == [([["d", "a"]], 3)]
    assert model.score(["a"]).tolist() == [1 / 3, 1 / 2, 1.0, 1 / 4]


def test_the_object_is_not_changed_and_the_table_is_the_callers():
    given = Popular()
    model = Wrapped(given).fit(CLICKS.to_pandas())
    assert not hasattr(given, "table")
    assert isinstance(model.model_.table, pd.DataFrame)


def test_what_fit_returns_is_asked():
    class Trainer:
        def fit(self, table):
            return Answers(lambda queries, k: [["c"] for _ in queries])

        def recommend(self, queries, k):
            raise AssertionError

    assert Wrapped(Trainer()).fit(CLICKS).recommend(["a"], k=2)[0].tolist() == ["c"]


def test_tuples_arrays_and_long_lists():
    answers = [
        lambda queries, k: ([["a", "b"]] * len(queries), [[2.0, 1.0]] * len(queries)),
        lambda queries, k: np.array([["a", "b"]] * len(queries)),
        lambda queries, k: [pl.Series(["a", "b", "c", "d"]) for _ in queries],
        lambda queries, k: [("a", "b") for _ in queries],
    ]
    for answer in answers:
        model = Wrapped(Answers(answer)).fit(CLICKS)
        lists, _ = model.recommend([["c"], ["d"]], k=2)
        assert [row.tolist() for row in lists] == [["a", "b"], ["a", "b"]]


def test_queries_without_a_known_item_are_not_asked():
    model = Wrapped(Popular()).fit(CLICKS)
    lists, _ = model.recommend([["zzz"], ["a", "zzz"], []], k=2)
    assert [row.tolist() for row in lists] == [[], ["b", "a"], []]
    assert model.model_.questions == [([["a"]], 2)]
    assert model.recommend([["zzz"]], k=2)[0][0].tolist() == []


def test_exclude_seen_asks_for_more():
    model = Wrapped(Popular(), exclude_seen=True).fit(CLICKS)
    lists, scores = model.recommend([["b", "b"], ["d", "a"], ["a", "b", "c", "d"]], k=2)
    assert [row.tolist() for row in lists] == [["a", "d"], ["b", "c"], []]
    assert [row.tolist() for row in scores] == [[1.0, 0.5], [1.0, 0.5], []]
    expected = whence.Popularity(exclude_seen=True).fit(CLICKS).recommend([["b"]], k=3)[0][0]
    assert model.recommend([["b"]], k=3)[0][0].tolist() == expected.tolist()


def test_users():
    likes = CLICKS.rename({"session_id": "user_id"})
    model = Wrapped(Popular(), asks="users").fit(likes)
    assert model.recommend([3, 1], k=1)[0][0].tolist() == ["b"]
    assert model.model_.questions == [([3, 1], 1)]
    with pytest.raises(UnsupportedError, match="asks='histories'"):
        model.recommend([["a"]], k=1)
    gone = Wrapped(Popular(), asks="users").fit(Interactions.from_frame(likes).without([3]))
    lists, _ = gone.recommend([3, 1], k=1)
    assert [len(row) for row in lists] == [0, 1]
    assert gone.model_.questions == [([1], 1)]


def test_baskets_are_asked_with_users():
    model = Wrapped(Popular()).fit(ORDERS)
    assert model.recommend("v", k=2)[0].tolist() == [20, 10]
    assert model.model_.questions == [(["v"], 2)]


def test_evaluation_is_that_of_the_bare_object():
    data = whence.make_sessions(n_sessions=120, seed=2)
    bare = Popular()
    bare.fit(data.train.frame)
    metrics = ["mrr@10", "recall@5", "ndcg@10"]
    expected = whence.evaluate(bare, data.validation, metrics, train=data.train)
    result = whence.evaluate(Wrapped(Popular()).fit(data.train), data.validation, metrics)
    assert result.scores == expected.scores


def test_value_by_retraining_is_that_of_our_own_model():
    train, rest = CLICKS, CLICKS.with_columns(session_id=pl.col("session_id") + 10)
    ours = whence.RetrainingLeaveOneOut("mrr@3").attribute(whence.Popularity(), rest, train=train)
    wrapped = Wrapped(Popular()).fit(train)
    theirs = whence.RetrainingLeaveOneOut("mrr@3").attribute(wrapped, rest)
    assert theirs.to_frame()["score"].to_list() == ours.to_frame()["score"].to_list()


def test_from_fitted():
    trained = Popular()
    trained.fit(CLICKS)
    model = Wrapped.from_fitted(trained, CLICKS, exclude_seen=True)
    assert model.model_ is trained
    assert model.recommend(["b"], k=2)[0].tolist() == ["a", "d"]
    with pytest.raises(ParameterError, match="asks must be one of"):
        Wrapped.from_fitted(trained, CLICKS, asks="items")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda queries, k: [["a", "a"]], DataError, "an item twice"),
        (lambda queries, k: [["zzz"]], DataError, "'zzz', which is not an item"),
        (lambda queries, k: [], UnsupportedError, "one list of item ids for each of the 1"),
        (lambda queries, k: [["a"], ["b"]], UnsupportedError, "of 2 lists"),
        (lambda queries, k: None, UnsupportedError, "it returned NoneType"),
    ],
)
def test_bad_answers(answer, error, words):
    with pytest.raises(error, match=words):
        Wrapped(Answers(answer)).fit(CLICKS).recommend(["b"], k=2)


def test_bad_objects(tmp_path):
    with pytest.raises(UnsupportedError, match="no method fit"):
        Wrapped(object()).fit(CLICKS)
    with pytest.raises(ParameterError, match="exclude_seen must be True or False"):
        Wrapped(Popular(), exclude_seen="no").fit(CLICKS)
    with pytest.raises(NotFittedError):
        Wrapped(Popular()).recommend(["a"])
    with pytest.raises(UnsupportedError, match=r"Wrapped\.from_fitted"):
        Wrapped(Popular()).fit(CLICKS).save(tmp_path / "model")
