"""evaluate(): per-query values, means, custom metrics, foreign objects, threads, bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from whence.data import Interactions
from whence.errors import DataError, MetricError, NotFittedError, UnsupportedError
from whence.evaluation import Evaluation, Metric, evaluate, make_queries
from whence.models.base import Recommender
from whence.models.knn.itemknn import ItemKNN
from whence.models.popularity import Popularity

pytestmark = pytest.mark.filterwarnings("ignore:.*so that no list is that long")


def sessions(lists, start=0):
    """A table of sessions "s<start>", …, one after the other in time."""
    rows = [(f"s{start + s}", item) for s, items in enumerate(lists) for item in items]
    frame = pl.DataFrame(rows, schema=["session_id", "item_id"], orient="row")
    return frame.with_columns(timestamp=pl.int_range(pl.len()) + 1000 * start)


def baskets(users):
    rows = [(u, b, i) for u, own in users.items() for b, items in enumerate(own) for i in items]
    return pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")


TRAIN = sessions([["a", "b", "c"], ["b", "c"], ["b", "d"], ["a", "b"], ["e", "b", "c"]])
# Popularity ranks b (5), c (3), a (2), d, e. The last session has only unknown items before "b".
VALID = sessions([["a", "c", "b"], ["x", "d"], ["y", "y", "b"]], start=10)


def random_sessions(n, seed, n_items=40, start=0):
    rng = np.random.default_rng(seed)
    skew = rng.zipf(1.6, size=(n, 8)) % n_items
    lengths = rng.integers(2, 8, size=n)
    lists = [[f"i{i}" for i in row[:length]] for row, length in zip(skew, lengths)]
    return sessions(lists, start)


class Listed:
    """An object that only recommends: the same items to everybody."""

    def __init__(self, items, as_tuple=False, wrap=list):
        self.items, self.as_tuple, self.wrap = items, as_tuple, wrap
        self.asked = []

    def recommend(self, queries, k):
        self.asked.append((queries, k))
        lists = [self.wrap(self.items[:k]) for _ in queries]
        return (lists, [np.ones(len(row)) for row in lists]) if self.as_tuple else lists


class TestValues:
    def test_per_query_values_and_mean_with_empty_queries_as_zero(self):
        result = evaluate(Popularity().fit(TRAIN), VALID, ["mrr@20", "recall@2"])
        # Queries: [a] -> c b; [a c] -> b; [] -> d; [] -> y b; [] -> b.
        assert result.per_query["mrr@20"].to_list() == [1 / 2, 1.0, 0.0, 0.0, 0.0]
        assert result.per_query["recall@2"].to_list() == [1.0, 1.0, 0.0, 0.0, 0.0]
        assert result.scores == pytest.approx({"mrr@20": 1.5 / 5, "recall@2": 2 / 5})
        assert (result.n_queries, result.n_empty, result.n_unknown_rows) == (5, 3, 3)
        expected = ["s10", "s10", "s11", "s12", "s12"]
        assert result.per_query["session_id"].to_list() == expected
        assert result.per_query.columns == ["session_id", "position", "mrr@20", "recall@2"]

    def test_unknown_and_target_are_passed_on(self):
        model = Popularity().fit(TRAIN)
        dropped = evaluate(model, VALID, unknown="drop")
        assert (dropped.n_queries, dropped.n_empty) == (2, 0)
        nearest = evaluate(model, VALID, "recall@1", target="next")
        assert nearest.values().tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]

    def test_queries_can_be_given_and_reused(self):
        model = Popularity().fit(TRAIN)
        queries = make_queries(model, VALID)
        assert evaluate(model, queries).per_query.equals(evaluate(model, VALID).per_query)

    def test_relevant(self):
        model = Popularity().fit(TRAIN)
        assert evaluate(model, VALID, relevant="any").values()[0] == 1.0
        assert evaluate(model, VALID).metrics[0].relevant == "next"

    def test_baskets(self):
        train = baskets({"u": [["a", "b"], ["b"]], "v": [["b", "c"], ["c"]]})
        valid = baskets({"v": [["a", "x"], ["b"]], "new": [["b"]]})
        result = evaluate(Popularity().fit(train), valid, ["mrr@3", "precision@3"])
        assert result.per_query["user_id"].to_list() == ["v", "new"]
        assert result.per_query["mrr@3"].to_list() == [1 / 3, 0.0]
        assert result["precision@3"] == pytest.approx(1 / 6)
        assert (result.n_empty, result.n_unknown_rows) == (1, 1)

    def test_lists_of_several_lengths_agree_with_one_at_a_time(self):
        train, valid = random_sessions(60, 1), random_sessions(20, 2, start=100)
        model = ItemKNN().fit(train)
        names = ["mrr@1", "ndcg@5", "map@20", "f1@500"]
        together = evaluate(model, valid, names)
        for name in names:
            assert np.array_equal(together.values(name), evaluate(model, valid, name).values())

    def test_sustainability(self):
        model = Popularity().fit(TRAIN)
        names = ["st@2", "sustainablemrr@2", "mrr@2"]
        result = evaluate(model, VALID, names, sustainable_items=iter(["b", "e", "unknown"]))
        assert result["st@2"] == pytest.approx((0.5 + 0.5) / 5)
        assert result["sustainablemrr@2"] == pytest.approx(
            0.8 * result["mrr@2"] + 0.2 * result["st@2"]
        )
        half = evaluate(model, VALID, names[1], sustainable_items=["b"], sustainability_weight=0.5)
        assert float(half) == pytest.approx(0.5 * result["mrr@2"] + 0.5 * result["st@2"])

    def test_ties_are_ranked_by_item_number(self):
        class Tied(Recommender):
            """Scores of 0, 1 or 2 by (query, item), so that almost everything ties."""

            def _fit(self, train, run):
                pass

            def score_codes(self, queries, *, threads=None):
                q = np.arange(len(queries))[:, None] + queries.history_end[:, None]
                return ((q + np.arange(self.n_items)) % 3).astype(float)

        train, valid = random_sessions(50, 3), random_sessions(10, 4, start=100)
        model = Tied().fit(train)
        queries = make_queries(model, valid)
        expected = []
        for q, scores in enumerate(model.score_codes(queries)):
            ranked = [i for i in np.lexsort((np.arange(len(scores)), -scores)) if scores[i] > 0]
            wanted = queries.target_items[queries.target_start[q]]
            top = ranked[:10]
            expected.append(1 / (top.index(wanted) + 1) if wanted in top else 0.0)
        assert evaluate(model, queries, "mrr@10").values().tolist() == expected

    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_threads_do_not_matter(self, threads):
        train, valid = random_sessions(80, 5), random_sessions(20, 6, start=100)
        model = ItemKNN().fit(train)
        result = evaluate(model, valid, ["mrr@20", "map@20"], threads=threads)
        assert result.per_query.equals(evaluate(model, valid, ["mrr@20", "map@20"]).per_query)


class TestCustom:
    def test_function_gets_external_ids_unknown_ones_included(self):
        seen = []

        def overlap(recommended, targets):
            seen.append((recommended, targets))
            return len(set(recommended) & set(targets)) / len(set(targets))

        metric = Metric.custom(overlap, k=3)
        result = evaluate(Popularity().fit(TRAIN), VALID, [metric, "recall@3"])
        assert np.array_equal(result.values("overlap@3"), result.values("recall@3"))
        assert seen[0] == (["b", "c", "a"], ["c", "b"])
        assert seen[3] == ([], ["y", "b"])

    def test_plain_function(self):
        result = evaluate(Popularity().fit(TRAIN), VALID, lambda r, t: float(len(r)))
        assert float(result) == pytest.approx(2 * 5 / 5)
        assert list(result) == ["custom@20"]

    def test_names_must_not_collide(self):
        model = Popularity().fit(TRAIN)
        twice = [lambda r, t: 0.0, lambda r, t: 1.0]
        with pytest.raises(MetricError, match="Two different metrics are called 'custom@20'"):
            evaluate(model, VALID, twice)
        with pytest.raises(MetricError, match="name of a column of ids, 'position'"):
            evaluate(model, VALID, Metric.custom(twice[0], name="position"))


class TestForeignObjects:
    @pytest.mark.parametrize("as_tuple", [True, False])
    @pytest.mark.parametrize("wrap", [list, np.array, pl.Series, pd.Series])
    def test_lists_of_any_type(self, as_tuple, wrap):
        items = ["b", "c", "a", "d", "e"]
        ours = evaluate(Popularity().fit(TRAIN), VALID, ["mrr@4", "ndcg@2"])
        theirs = evaluate(Listed(items, as_tuple, wrap), VALID, ["mrr@4", "ndcg@2"], train=TRAIN)
        assert theirs.per_query.equals(ours.per_query)
        assert theirs.n_empty == 3

    def test_is_asked_all_histories_at_once(self):
        model = Listed(["b"])
        evaluate(model, VALID, "mrr@7", train=TRAIN)
        assert model.asked == [([["a"], ["a", "c"]], 7)]

    def test_without_training_data_every_item_is_known(self):
        model = Listed(["b", "y", "never seen"])
        result = evaluate(model, VALID, ["mrr@5", "st@5"], sustainable_items=["y", "never seen"])
        assert model.asked[0][0] == [["a"], ["a", "c"], ["x"], ["y"], ["y", "y"]]
        assert result.per_query["mrr@5"].to_list() == [0.0, 1.0, 0.0, 1 / 2, 1.0]
        assert result.per_query["st@5"].to_list() == pytest.approx([2 / 3] * 5)
        assert (result.n_empty, result.n_unknown_rows) == (0, 0)

    def test_training_data_it_keeps_is_used(self):
        model = Listed(["b"])
        model.train_ = Interactions.from_frame(TRAIN)
        assert evaluate(model, VALID).n_empty == 3

    def test_unknown_target_cannot_be_hit(self):
        valid = sessions([["a", "x"]], start=10)
        assert float(evaluate(Listed(["x"]), valid, "mrr@5", train=TRAIN)) == 0.0

    def test_custom_metric_sees_items_outside_the_training_data(self):
        seen = []
        metric = Metric.custom(lambda r, t: float(seen.append(r) or 0))
        evaluate(Listed(["new", "b"]), VALID, metric, train=TRAIN)
        assert seen[0] == ["new", "b"]

    def test_baskets_are_asked_by_user(self):
        train = baskets({7: [["a"], ["b"]], 8: [["b"]]})
        valid = baskets({8: [["a"]], 9: [["b"]]})
        model = Listed(["b", "a"])
        result = evaluate(model, valid, "mrr@5", train=train)
        assert model.asked == [([8], 5)]
        assert result.values().tolist() == [0.5, 0.0]

    def test_queries_need_the_training_data(self):
        queries = make_queries(Interactions.from_frame(TRAIN), VALID)
        with pytest.raises(DataError, match="pass train="):
            evaluate(Listed(["b"]), queries)
        assert evaluate(Listed(["b"]), queries, train=TRAIN).n_queries == 5

    @pytest.mark.parametrize("answer", [None, [["b"]], 3, [1, 2, 3, 4, 5]])
    def test_wrong_answers(self, answer):
        class Wrong:
            def recommend(self, queries, k):
                return answer

        with pytest.raises(UnsupportedError, match="must return one list of item ids for each"):
            evaluate(Wrong(), VALID)

    def test_no_recommend(self):
        with pytest.raises(UnsupportedError, match="needs a method recommend"):
            evaluate(object(), VALID)

    def test_ids_of_another_type(self):
        with pytest.raises(DataError, match="Item ids are String"):
            evaluate(Listed([1, 2]), VALID, train=TRAIN)


class TestEvaluation:
    @pytest.fixture
    def result(self):
        return evaluate(Popularity().fit(TRAIN), VALID, ["mrr@20", "hitrate@20"])

    def test_access(self, result):
        assert isinstance(result, Evaluation)
        assert result["MRR@20"] == result["mrr@20"] == result.scores["mrr@20"]
        assert result["hit@20"] == result["hitrate@20"]
        assert ("mrr@20" in result, "ndcg@20" in result, 3 in result) == (True, False, False)
        assert (list(result), len(result)) == (["mrr@20", "hitrate@20"], 2)

    def test_unknown_metric_is_said_so(self, result):
        with pytest.raises(MetricError, match=r"'mrr@10' was not evaluated. Did you mean 'mrr@20'"):
            result["mrr@10"]
        with pytest.raises(MetricError, match="was not evaluated"):
            result["nonsense"]
        with pytest.raises(MetricError, match="Say which metric"):
            float(result)

    def test_float(self):
        assert float(evaluate(Popularity().fit(TRAIN), VALID)) == pytest.approx(0.3)

    def test_repeated_names_are_computed_once(self):
        result = evaluate(Popularity().fit(TRAIN), VALID, ["mrr@20", "MRR@20"])
        assert list(result) == ["mrr@20"]

    def test_to_frame(self, result):
        frame = result.to_frame()
        assert frame.columns == ["metric", "value", "std_error"]
        # The three sessions ask (1/2, 1), (0) and (0, 0), whose mean is 0.3.
        sums = np.array([1.5 - 2 * 0.3, 0.0 - 0.3, 0.0 - 2 * 0.3])
        expected = np.sqrt(3 / 2 * (sums @ sums)) / 5
        assert frame["std_error"][0] == pytest.approx(expected)
        one = evaluate(Popularity().fit(TRAIN), sessions([["a", "b"]], 10))
        assert one.to_frame()["std_error"].to_list() == [None]

    def test_repr_is_a_small_table(self, result):
        lines = repr(result).splitlines()
        assert lines[0] == (
            "Evaluation(5 queries, protocol prefixes, 3 of them empty, 3 rows with unknown items)"
        )
        assert lines[1].split() == ["mrr@20", "0.300000"]


class TestBadInput:
    def test_no_metric(self):
        with pytest.raises(MetricError, match="name at least one"):
            evaluate(Popularity().fit(TRAIN), VALID, [])

    def test_unknown_metric(self):
        with pytest.raises(MetricError, match="Did you mean 'ndcg'"):
            evaluate(Popularity().fit(TRAIN), VALID, ["mrr@20", "ncdg@20"])

    def test_no_known_sustainable_item(self):
        with pytest.raises(MetricError, match="None of the 1 sustainable items"):
            evaluate(Popularity().fit(TRAIN), VALID, "st@20", sustainable_items=["zzz"])

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            evaluate(Popularity(), VALID)

    def test_no_query_left(self):
        with pytest.raises(DataError, match="no query"):
            evaluate(Popularity().fit(TRAIN), sessions([["a"], ["b"]], 10))
