"""CornacModel: against Cornac where it is installed, else against a record of its interface."""

from __future__ import annotations

import sys
import types
import warnings
from collections import OrderedDict

import numpy as np
import polars as pl
import pytest

import whence
from whence.data import Interactions
from whence.errors import DataError, UnsupportedError
from whence.models.adapters import CornacModel


def likes(n_users=30, n_items=20, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for item in (user % 2) * 10 + rng.choice(10, 6, replace=False):
            rows.append((f"u{user}", int(item), float(rng.integers(1, 6)), len(rows)))
    names = ["user_id", "item_id", "rating", "timestamp"]
    return pl.DataFrame(rows, schema=names, orient="row")


class RecordedDataset:
    """What CornacModel uses of cornac.data.Dataset, as Cornac 3.0.1 behaves."""

    def __init__(self, triples):
        self.uid_map, self.iid_map = OrderedDict(), OrderedDict()
        seen = set()
        self.uir = []
        for user, item, rating in triples:
            if (user, item) in seen:
                warnings.warn("1 duplicated observations are removed!", stacklevel=2)
                continue
            seen.add((user, item))
            u = self.uid_map.setdefault(user, len(self.uid_map))
            i = self.iid_map.setdefault(item, len(self.iid_map))
            self.uir.append((u, i, float(rating)))

    @classmethod
    def from_uir(cls, data, seed=None):
        return cls(data)


class RecordedModel:
    """What CornacModel uses of cornac.models.Recommender: the rank-k approximation of ratings."""

    def __init__(self, k=3):
        self.k = k
        self.uid_map = self.iid_map = None

    def clone(self, new_params=None):
        return type(self)(self.k)

    def fit(self, train_set, val_set=None):
        self.uid_map, self.iid_map = train_set.uid_map, train_set.iid_map
        self.mean = np.mean([rating for *_, rating in train_set.uir])
        ratings = np.zeros((len(self.uid_map), len(self.iid_map)))
        for user, item, rating in train_set.uir:
            ratings[user, item] = rating
        left, values, right = np.linalg.svd(ratings, full_matrices=False)
        self.scores = left[:, : self.k] * values[: self.k] @ right[: self.k]
        return self

    def score(self, user_idx, item_idx=None):
        scores = self.scores[user_idx]
        return scores if item_idx is None else scores[item_idx]

    def rate(self, user_idx, item_idx, clipping=True):
        known = user_idx < len(self.uid_map) and item_idx < len(self.iid_map)
        return np.clip(self.score(user_idx, item_idx) if known else self.mean, 1.0, 5.0)


@pytest.fixture(params=["recorded interface", "cornac"])
def model(request, monkeypatch):
    """A model to wrap: of Cornac itself, and of the record of its interface."""
    if request.param == "cornac":
        models = pytest.importorskip("cornac.models", reason="cornac is not installed")
        return models.MF(k=4, max_iter=20, seed=3, verbose=False)
    package, data = types.ModuleType("cornac"), types.ModuleType("cornac.data")
    data.Dataset = RecordedDataset
    package.data = data
    monkeypatch.setitem(sys.modules, "cornac", package)
    monkeypatch.setitem(sys.modules, "cornac.data", data)
    return RecordedModel()


@pytest.mark.filterwarnings("error:.*duplicated observations")
def test_scores_are_those_of_the_model(model):
    table = pl.concat([likes(), likes()[:3].with_columns(pl.col("timestamp") + 10**6)])
    ours = CornacModel(model, exclude_seen=False).fit(table)
    inner = ours.model_
    scores = ours.score(["u3", "u0"])
    for row, user in zip(scores, ("u3", "u0")):
        own = inner.score(inner.uid_map[user])
        items = ours.vocabulary.items.to_list()
        np.testing.assert_array_equal(row, [own[inner.iid_map[item]] for item in items])


def test_models_that_score_a_row_or_the_items_of_training_only(model):
    class Row(type(model)):
        def score(self, user_idx, item_idx=None):
            return super().score(user_idx)[None, :-1]

    whole = CornacModel(model, exclude_seen=False).fit(likes())
    row = CornacModel(Row(4), exclude_seen=False).fit(likes())
    last = list(row.model_.iid_map)[-1]
    assert row.score("u1", items=[last])[0] == -np.inf
    assert np.isfinite(row.score("u1")).sum() == np.isfinite(whole.score("u1")).sum() - 1


def test_the_last_rating_of_a_pair_counts(model):
    table = likes()
    again = table.with_columns(rating=6.0 - pl.col("rating"), timestamp=pl.col("timestamp") + 1000)
    twice = CornacModel(model).fit(pl.concat([table, again]))
    once = CornacModel(model).fit(again)
    np.testing.assert_allclose(twice.score(["u1"]), once.score(["u1"]))


def test_lists_leave_out_what_was_seen(model):
    ours = CornacModel(model).fit(likes())
    seen = set(likes().filter(pl.col("user_id") == "u2")["item_id"])
    items, scores = ours.recommend("u2", k=20)
    assert set(items.tolist()) == set(range(20)) - seen
    assert (np.diff(scores) <= 0).all()


def test_given_is_not_changed_and_fit_starts_anew(model):
    first = CornacModel(model).fit(likes())
    assert model.uid_map is None
    again = CornacModel(first.model_).fit(likes(seed=1))
    expected = CornacModel(model).fit(likes(seed=1))
    np.testing.assert_array_equal(again.score(["u1"]), expected.score(["u1"]))


def test_without_ratings_and_with_other_ids(model):
    plain = CornacModel(model).fit(likes().drop("rating"))
    ones = CornacModel(model).fit(likes().with_columns(rating=pl.lit(1.0)))
    np.testing.assert_array_equal(plain.score(["u1"]), ones.score(["u1"]))


def test_evaluation_and_value_by_retraining(model):
    table = likes(n_users=6)
    is_last = pl.col("timestamp") == pl.col("timestamp").max().over("user_id")
    train, rest = table.filter(~is_last), table.filter(is_last)
    ours = CornacModel(model).fit(train)
    result = whence.evaluate(ours, rest, "mrr@10")
    assert result.n_queries == 6
    assert 0.0 <= float(result) <= 1.0
    values = whence.RetrainingLeaveOneOut("mrr@10").attribute(ours, rest).to_frame()
    assert sorted(values["user_id"]) == sorted(train["user_id"].unique())
    without = CornacModel(model).fit(Interactions.from_frame(train).without(["u2"]))
    whole = Interactions.from_frame(train)
    queries = whence.make_queries(whole, rest)
    loss = float(result) - float(whence.evaluate(without, queries, "mrr@10"))
    assert values.filter(user_id="u2")["score"][0] == pytest.approx(loss)


def test_who_is_not_in_training(model):
    ours = CornacModel(model).fit(Interactions.from_frame(likes()).without(["u3"]))
    lists, _ = ours.recommend(["u3", "u4"], k=3)
    assert [len(row) for row in lists] == [0, 3]
    with pytest.raises(UnsupportedError, match="only for users that it was trained on"):
        ours.recommend([[1, 2]], k=3)


def test_from_fitted_finds_its_way_by_ids(model):
    table = likes()
    trained = CornacModel(model).fit(table.reverse()).model_
    ours = CornacModel.from_fitted(trained, table, exclude_seen=False)
    own = trained.score(trained.uid_map["u1"])
    items = ours.vocabulary.items.to_list()
    np.testing.assert_array_equal(ours.score("u1"), [own[trained.iid_map[item]] for item in items])
    # Cornac reads ids of files as text.
    as_text = table.with_columns(item_id=pl.col("item_id").cast(pl.String))
    of_text = CornacModel(model).fit(as_text).model_
    numbers = CornacModel.from_fitted(of_text, table, exclude_seen=False)
    assert np.isfinite(numbers.score("u1")).all()
    with pytest.raises(DataError, match="None of the items"):
        CornacModel.from_fitted(of_text, table.with_columns(pl.col("item_id") + 1000))
    with pytest.raises(UnsupportedError, match="not trained"):
        CornacModel.from_fitted(model, table)


def test_ratings_are_those_of_the_model(model):
    table = likes()
    is_held = pl.col("timestamp") % 6 == 5
    train, rest = table.filter(~is_held), table.filter(is_held)
    ours = CornacModel(model).fit(train)
    users, items = rest["user_id"].to_list(), rest["item_id"].to_list()
    inner = ours.model_
    pairs = [(inner.uid_map.get(user, 99), inner.iid_map.get(item, 99)) for user, item in
             zip(users, items)]  # fmt: skip
    own = np.array([float(inner.rate(*pair)) for pair in pairs])
    np.testing.assert_allclose(ours.predict(users, items), own)
    errors = own - rest["rating"].to_numpy()
    found = whence.evaluate(ours, rest, ["rmse", "mae"])
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert found["mae"] == pytest.approx(np.abs(errors).mean())
    unknown = ours.predict(["nobody", "u0"], [0, 77])
    assert ((unknown >= 1.0) & (unknown <= 5.0)).all()
    assert unknown[1] == pytest.approx(train["rating"].mean())
    with pytest.raises(UnsupportedError, match="trained without ratings"):
        CornacModel(model).fit(table.drop("rating")).predict(users, items)


def test_bad_input(model, tmp_path):
    with pytest.raises(UnsupportedError, match="not a recommender of Cornac"):
        CornacModel(object()).fit(likes())
    with pytest.raises(DataError, match="must hold a number"):
        CornacModel(model).fit(likes().with_columns(rating=pl.lit(None, pl.Float64)))
    with pytest.raises(UnsupportedError, match=r"CornacModel\.from_fitted"):
        CornacModel(model).fit(likes()).save(tmp_path / "model")

    class NextItemRecommender(RecordedModel):
        pass

    with pytest.raises(UnsupportedError, match="scores sequences"):
        CornacModel(NextItemRecommender()).fit(likes())


def test_cornac_is_not_installed(monkeypatch):
    for name in ("cornac", "cornac.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedError, match="pip install cornac"):
        CornacModel(RecordedModel()).fit(likes())
