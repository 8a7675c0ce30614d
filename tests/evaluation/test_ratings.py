"""Root mean squared and mean absolute error of predicted ratings."""

import numpy as np
import polars as pl
import pytest
from dense import Dense, by_user, table_of
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from whence.errors import DataError, MetricError, ParameterError, UnsupportedError
from whence.evaluation import compare, evaluate, make_queries

TRAIN = by_user({"u": ["a", "b"], "v": ["c"]})
TEST = table_of({"v": ["a", "x", "b"], "u": ["c"], "new": ["a"]}).with_columns(
    rating=pl.Series([1.0, 2.0, 4.0, 5.0, 3.0])
)


class Rater(Dense):
    """Predicts 2 + user number + item number / 2, where the unknown have number -1."""

    def __init__(self, train):
        super().__init__(train, np.ones((train.n_sources, train.n_items)))

    def predict_codes(self, users, items):
        self.seen = users.tolist(), items.tolist()
        return 2.0 + users + items / 2


class TestValues:
    def test_over_all_rows_and_per_user(self):
        model = Rater(TRAIN)
        result = evaluate(model, TEST, ["rmse", "mae", "hit@3"])
        assert model.seen == ([1, 1, 1, 0, -1], [0, -1, 1, 2, 0])
        predicted = np.array([3.0, 2.5, 3.5, 3.0, 1.0])
        given = TEST["rating"].to_numpy()
        assert result["rmse"] == pytest.approx(root_mean_squared_error(given, predicted))
        assert result["mae"] == pytest.approx(mean_absolute_error(given, predicted))
        assert result.per_query["user_id"].to_list() == ["v", "u", "new"]
        assert result.values("rmse") == pytest.approx([np.sqrt(4.5 / 3), 2.0, 2.0])
        assert result.values("mae") == pytest.approx([1.0, 2.0, 2.0])
        # The root over all rows is not the mean of the users' roots.
        assert result["rmse"] != pytest.approx(result.values("rmse").mean())
        # Absolute errors of the users sum up to 3, 2 and 2 in 3, 1 and 1 rows; squared ones to 4.5,
        # 4 and 4: the residuals from the means 1.4 and 2.5 are independent between users alone.
        expected = np.sqrt(1.5 * (3.0**2 + 1.5**2 + 1.5**2)) / 5 / (2 * np.sqrt(2.5))
        assert result.std_error("rmse") == pytest.approx(expected)
        assert result.std_error("mae") == pytest.approx(np.sqrt(1.5 * (1.2**2 + 2 * 0.6**2)) / 5)
        assert result.to_frame()["std_error"][0] == result.std_error("rmse")
        assert "rmse" in repr(result)

    def test_unknown_items_may_be_dropped(self):
        model = Rater(TRAIN)
        result = evaluate(model, TEST, "mae", unknown="drop")
        assert model.seen == ([1, 1, 0, -1], [0, 1, 2, 0])
        assert float(result) == pytest.approx((2.0 + 0.5 + 2.0 + 2.0) / 4)
        assert result.values() == pytest.approx([1.25, 2.0, 2.0])

    def test_rows_may_come_in_any_order(self):
        shuffled = TEST.sample(fraction=1.0, shuffle=True, seed=3)
        expected = evaluate(Rater(TRAIN), TEST, ["rmse", "mae"])
        result = evaluate(Rater(TRAIN), shuffled, ["rmse", "mae"])
        assert result.scores == pytest.approx(expected.scores)
        assert result.per_query.equals(expected.per_query)

    def test_the_next_item_alone_is_of_lists(self):
        result = evaluate(Rater(TRAIN), TEST, ["mae", "recall@3"], target="next")
        assert result["mae"] == evaluate(Rater(TRAIN), TEST, "mae")["mae"]

    def test_any_object_that_predicts(self):
        class Foreign:
            def predict(self, users, items):
                self.asked = list(zip(users, items))
                return [3] * len(users)

        model = Foreign()
        result = evaluate(model, TEST, "rmse", train=TRAIN)
        assert model.asked == TEST.select("user_id", "item_id").rows()
        assert float(result) == pytest.approx(np.sqrt((4 + 1 + 1 + 4 + 0) / 5))
        with pytest.raises(UnsupportedError, match="needs a method recommend"):
            evaluate(model, TEST, ["rmse", "hit@3"], train=TRAIN)

    def test_users_are_compared(self):
        better = Rater(TRAIN)
        better.predict_codes = lambda users, items: np.full(len(users), 3.0)
        a, b = evaluate(Rater(TRAIN), TEST, "rmse"), evaluate(better, TEST, "rmse")
        result = compare(a, b)
        assert result.difference == pytest.approx(np.mean(a.values() - b.values()))


class TestBadInput:
    def test_no_ratings(self):
        with pytest.raises(DataError, match="need ratings"):
            evaluate(Rater(TRAIN), TEST.drop("rating"), "rmse")
        with pytest.raises(MetricError, match="pass the validation data itself"):
            evaluate(Rater(TRAIN), make_queries(TRAIN, TEST), "rmse")

    def test_no_numbers(self):
        with pytest.raises(DataError, match="cast it to numbers"):
            evaluate(Rater(TRAIN), TEST.with_columns(pl.col("rating").cast(pl.String)), "rmse")
        for bad in (None, np.nan):
            ratings = pl.Series("rating", [bad, 2.0, 4.0, 5.0, 3.0])
            with pytest.raises(DataError, match="1 ratings that are missing or not finite"):
                evaluate(Rater(TRAIN), TEST.with_columns(ratings), "rmse")

    def test_no_predictions(self):
        with pytest.raises(UnsupportedError, match="Dense predicts no ratings"):
            evaluate(Dense(TRAIN, np.ones((2, 3))), TEST, "rmse")

    @pytest.mark.parametrize("answer", [np.zeros(3), 1.0, "many", None])
    def test_wrong_predictions(self, answer):
        model = Rater(TRAIN)
        model.predict_codes = lambda users, items: answer
        with pytest.raises(UnsupportedError, match="one number for each of the 5 pairs"):
            evaluate(model, TEST, "rmse")

    def test_nan(self):
        model = Rater(TRAIN)
        model.predict_codes = lambda users, items: np.full(len(users), np.nan)
        with pytest.raises(DataError, match="Rater predicted a rating that is not a number"):
            evaluate(model, TEST, "mae")

    def test_other_ways_to_ask(self):
        with pytest.raises(MetricError, match="leave protocol='prefixes' out"):
            evaluate(Rater(TRAIN), TEST, "rmse", protocol="prefixes")
        with pytest.raises(MetricError, match="have no negatives"):
            evaluate(Rater(TRAIN), TEST, "rmse", negatives=1)
        sessions = TEST.rename({"user_id": "session_id"})
        with pytest.raises(ParameterError, match="rows belong to users"):
            evaluate(Rater(TRAIN), sessions, "rmse")

    def test_nothing_is_known(self):
        strange = TEST.with_columns(item_id=pl.lit("x"))
        with pytest.raises(DataError, match="none of its items is known"):
            evaluate(Rater(TRAIN), strange, "rmse", unknown="drop")
