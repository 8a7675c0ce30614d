"""ImplicitModel: every kind of model of implicit, against implicit itself."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import sparse

import whence
from whence.data import Interactions, Vocabulary
from whence.errors import ParameterError, UnsupportedError
from whence.models.adapters import ImplicitModel

pytest.importorskip("implicit")
threadpoolctl = pytest.importorskip("threadpoolctl")

from implicit.cpu.als import AlternatingLeastSquares  # noqa: E402
from implicit.cpu.bpr import BayesianPersonalizedRanking  # noqa: E402
from implicit.cpu.lmf import LogisticMatrixFactorization  # noqa: E402
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender  # noqa: E402


def likes(n_users=40, n_items=24, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for item in (user % 2) * 12 + rng.integers(0, 12, 6):
            rows.append((f"u{user}", int(item), float(rng.integers(1, 6)), len(rows)))
    names = ["user_id", "item_id", "rating", "timestamp"]
    return pl.DataFrame(rows, schema=names, orient="row")


def all_but_last(table):
    """Distinct items of each user, and the last of them apart."""
    table = table.unique(["user_id", "item_id"], maintain_order=True)
    is_last = pl.col("timestamp") == pl.col("timestamp").max().over("user_id")
    return table.filter(~is_last), table.filter(is_last)


def make(name):
    return {
        "als": lambda: AlternatingLeastSquares(factors=4, iterations=4, random_state=1),
        "bpr": lambda: BayesianPersonalizedRanking(
            factors=4, iterations=5, num_threads=1, random_state=1
        ),
        "lmf": lambda: LogisticMatrixFactorization(
            factors=4, iterations=5, num_threads=1, random_state=1
        ),
        "cosine": lambda: CosineRecommender(K=8, num_threads=1),
        "bm25": lambda: BM25Recommender(K=8, num_threads=1),
    }[name]()


def matrix(train):
    shape = (train.n_sources, train.n_items)
    ones = np.ones(train.n_rows, dtype=np.float32)
    return sparse.csr_matrix((ones, (train.source_codes, train.item_codes)), shape=shape)


def direct(name, train):
    """The same model, trained without Whence."""
    model = make(name)
    with threadpoolctl.threadpool_limits(1, "blas"):
        model.fit(matrix(train), show_progress=False)
    return model


NAMES = ["als", "bpr", "lmf", "cosine", "bm25"]
FACTORS = ["als", "bpr", "lmf"]


@pytest.mark.parametrize("name", NAMES)
class TestEveryModel:
    def test_lists_are_those_of_implicit(self, name):
        train = Interactions.from_frame(likes())
        ours, theirs = ImplicitModel(make(name)).fit(train), direct(name, train)
        rows = matrix(train)
        codes, scores = ours.recommend_codes(ours.user_queries(train.source_ids), 4)
        for user in range(train.n_sources):
            items, values = theirs.recommend(user, rows[user], N=4)
            kept = codes[user] >= 0
            np.testing.assert_allclose(scores[user][kept], values[: kept.sum()], rtol=1e-4)
            if len(np.unique(values.round(5))) == len(values):
                np.testing.assert_array_equal(codes[user][kept], items[: kept.sum()])

    def test_scores_are_those_of_implicit(self, name):
        train = Interactions.from_frame(likes())
        ours = ImplicitModel(make(name), exclude_seen=False).fit(train)
        scores = ours.score(train.source_ids.to_list())
        items, values = direct(name, train).recommend(
            np.arange(train.n_sources), matrix(train), N=24, filter_already_liked_items=False
        )
        for user, row in enumerate(scores):
            there = items[user] >= 0
            np.testing.assert_allclose(row[items[user][there]], values[user][there], rtol=1e-4)
            assert np.isfinite(row).sum() == there.sum()

    def test_what_was_given_is_not_changed_and_fit_starts_anew(self, name):
        given = make(name)
        first = ImplicitModel(given).fit(likes())
        assert getattr(given, "user_factors", None) is None
        assert getattr(given, "similarity", None) is None
        # A trained model is trained again from the beginning.
        again = ImplicitModel(first.model_).fit(likes(seed=1))
        expected = ImplicitModel(given).fit(likes(seed=1))
        np.testing.assert_array_equal(again.score(["u0", "u7"]), expected.score(["u0", "u7"]))
        assert again.model_ is not first.model_

    def test_evaluation(self, name):
        train, rest = all_but_last(likes())
        model = ImplicitModel(make(name)).fit(train)
        result = whence.evaluate(model, rest, ["hitrate@6", "mrr@6"])
        assert result.n_queries == 40
        # Two tastes of twelve items each: above what chance gives.
        assert result["hitrate@6"] > 0.3

    def test_value_by_retraining(self, name):
        train, rest = all_but_last(likes(n_users=8))
        model = ImplicitModel(make(name)).fit(train)
        values = whence.RetrainingLeaveOneOut("mrr@5").attribute(model, rest).to_frame()
        assert set(values["user_id"]) == set(train["user_id"])
        assert np.isfinite(values["score"].to_numpy()).all()
        gone = ImplicitModel(make(name)).fit(Interactions.from_frame(train).without(["u3"]))
        assert len(gone.recommend("u2", k=3)[0]) > 0


class TestHistories:
    @pytest.mark.parametrize("name", ["als", "cosine"])
    def test_models_that_can_fold_in(self, name):
        model = ImplicitModel(make(name)).fit(likes())
        history = likes().filter(pl.col("user_id") == "u5")["item_id"].to_list()
        folded, known = model.score([history])[0], model.score("u5")
        finite = np.isfinite(known)
        np.testing.assert_array_equal(np.isfinite(folded), finite)
        np.testing.assert_allclose(folded[finite], known[finite], atol=0.1)
        lists, _ = model.recommend([[10**6], history[:2]], k=3)
        assert [len(row) for row in lists] == [0, 3]

    @pytest.mark.parametrize("name", ["bpr", "lmf"])
    def test_models_that_cannot(self, name):
        model = ImplicitModel(make(name)).fit(likes())
        with pytest.raises(UnsupportedError, match="only for users that it was trained on"):
            model.recommend([[1, 2]], k=3)
        assert len(model.recommend([[10**6]], k=3)[0][0]) == 0
        queries = model.user_queries(["u0"])
        shorter = replace(queries, history_end=queries.history_end - 1)
        whole, part = model.score_codes(queries)[0], model.score_codes(shorter)[0]
        finite = np.isfinite(whole)
        np.testing.assert_array_equal(part[finite], whole[finite])

    @pytest.mark.parametrize("name", NAMES)
    def test_users_whose_rows_are_gone(self, name):
        model = ImplicitModel(make(name)).fit(Interactions.from_frame(likes()).without(["u3"]))
        lists, _ = model.recommend(["u3", "u4"], k=3)
        assert [len(row) for row in lists] == [0, 3]

    def test_sessions(self):
        data = whence.make_sessions(n_sessions=150, seed=1)
        model = ImplicitModel(make("cosine")).fit(data.train)
        assert whence.evaluate(model, data.validation, "recall@20")["recall@20"] > 0.1
        assert whence.evaluate(model, data.validation, "recall@20").n_queries > 10


class TestFitted:
    def test_a_model_trained_elsewhere(self):
        table = likes()
        users = pl.Series([f"u{i}" for i in reversed(range(40))])
        items = pl.Series(range(24))
        train = Interactions.from_frame(table, vocabulary=Vocabulary(items, users))
        trained = direct("als", train)
        model = ImplicitModel.from_fitted(trained, train)
        assert model.model_ is trained
        theirs, _ = trained.recommend(39, matrix(train)[39], N=5)
        assert model.recommend("u0", k=5)[0].tolist() == theirs.tolist()

    def test_ratings(self):
        model = ImplicitModel(make("als"), use_ratings=True).fit(likes())
        counted = ImplicitModel(make("als")).fit(likes())
        assert np.abs(model.model_.item_factors - counted.model_.item_factors).max() > 0.01

    def test_bad_input(self, tmp_path):
        with pytest.raises(UnsupportedError, match="not a recommender of the library implicit"):
            ImplicitModel(object()).fit(likes())
        with pytest.raises(ParameterError, match="use_ratings must be True or False"):
            ImplicitModel(make("als"), use_ratings=3).fit(likes())
        model = ImplicitModel(make("als")).fit(likes())
        with pytest.raises(UnsupportedError, match="from_fitted"):
            model.save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []
