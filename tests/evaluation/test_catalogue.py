"""Coverage, Gini index and popularity of what is recommended."""

import numpy as np
import pytest
from dense import Dense, by_user, random_users
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.errors import DataWarning, MetricError
from whence.evaluation import compare, evaluate, parse_metric
from whence.evaluation.catalogue import average_popularity, coverage, gini


def naive_gini(times):
    """Half the mean absolute difference between two items, over the mean."""
    pairs = [abs(a - b) for a in times for b in times]
    return sum(pairs) / len(pairs) / 2 / np.mean(times)


class TestValues:
    @settings(max_examples=50, deadline=None)
    @given(
        lists=st.lists(st.lists(st.integers(0, 6), unique=True, max_size=5), max_size=8),
        extra=st.integers(0, 5),
    )
    def test_definitions(self, lists, extra):
        block = np.full((len(lists), 5), -1, dtype=np.int32)
        for line, row in zip(block, lists):
            line[: len(row)] = row
        n_items = 7 + extra
        times = [sum(i in row for row in lists) for i in range(n_items)]
        assert coverage(block, n_items) == pytest.approx(np.mean(np.array(times) > 0))
        assert gini(block, n_items) == pytest.approx(naive_gini(times) if any(times) else 0.0)
        counts = np.arange(n_items) ** 2
        expected = [np.mean([i * i for i in row]) if row else 0.0 for row in lists]
        assert average_popularity(block, counts) == pytest.approx(expected)

    def test_extremes(self):
        assert gini(np.array([[0, 1], [2, 3]], dtype=np.int32), 4) == 0.0
        assert gini(np.array([[0], [0]], dtype=np.int32), 1000) == pytest.approx(0.999)

    def test_through_evaluate(self):
        train = by_user({"u": ["a", "a", "b"], "v": ["c"], "w": ["d"]})
        test = by_user({"u": ["d"], "v": ["a"]})
        table = np.array([[0, 0, 3, 2], [4, 3, 0, 0], [0, 0, 0, 0]], dtype=float)
        names = ["coverage@1", "Gini@2", "AveragePopularity@2", "hit@2"]
        result = evaluate(Dense(train, table), test, names)
        # Lists: c d for u (a, b seen) and a b for v.
        assert result.scores == {
            "coverage@1": 0.5,
            "gini@2": 0.0,
            "averagepopularity@2": pytest.approx((1.0 + 1.5) / 2),
            "hitrate@2": 1.0,
        }
        assert result.per_query.columns == ["user_id", "averagepopularity@2", "hitrate@2"]
        errors = dict(zip(result, result.to_frame()["std_error"]))
        assert errors["coverage@1"] is None
        assert errors["averagepopularity@2"] == pytest.approx(0.25)

    def test_negatives_count_as_recommended(self):
        train, test = random_users(1)
        model = Dense(train, np.ones((train.n_sources, train.n_items)))
        assert 0 < evaluate(model, test, "coverage@3", negatives=3)["coverage@3"] <= 1

    def test_objects_of_others(self):
        class Lists:
            def recommend(self, users, k):
                return [["a", "new"]] * len(users)

        train, test = by_user({"u": ["a"], "v": ["b"]}), by_user({"u": ["b"]})
        names = ["coverage@2", "averagepopularity@2"]
        result = evaluate(Lists(), test, names, train=train)
        assert result["coverage@2"] == pytest.approx(2 / 3)
        assert result["averagepopularity@2"] == 0.5
        with pytest.raises(MetricError, match="pass train="):
            evaluate(Lists(), by_user({"u": ["b", "a"]}), names)


class TestTogether:
    @pytest.fixture
    def result(self):
        train, test = random_users(2)
        model = Dense(train, np.random.default_rng(0).random((train.n_sources, train.n_items)))
        return evaluate(model, test, ["coverage@3", "gini@3", "recall@3"])

    def test_no_value_per_query(self, result):
        with pytest.raises(MetricError, match="one value of the lists of all queries together"):
            result.values("coverage@3")
        with pytest.raises(MetricError, match="cannot be compared query by query"):
            compare(result, result, "gini@3")
        assert compare(result, result).metric == "recall@3"

    def test_not_of_one_list(self):
        metric = parse_metric("coverage@3")
        assert (metric.of_lists, metric.per_query) == (False, False)
        assert (parse_metric("auc").of_lists, parse_metric("auc").per_query) == (False, True)
        assert parse_metric("map@3").of_lists


def test_a_list_longer_than_the_catalogue_is_pointed_out():
    train, test = random_users(3)
    model = Dense(train, np.ones((train.n_sources, train.n_items)))
    with pytest.warns(DataWarning, match="ndcg@50 looks at 50 items but the catalogue has 15"):
        evaluate(model, test, ["mrr@3", "ndcg@50"])


def test_users_without_test_items_are_counted():
    train, test = random_users(4)
    model = Dense(train, np.ones((train.n_sources, train.n_items)))
    result = evaluate(model, test, "mrr@3")
    asked = set(test.frame["user_id"].to_list())
    left_out = set(train.frame["user_id"].to_list()) - asked
    assert result.n_queries == len(asked)
    assert result.n_without_targets == len(left_out) > 0
    assert f"{len(left_out)} users without test items left out" in repr(result)
