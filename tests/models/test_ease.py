"""EASE: against a ridge regression per item, folding in, what is closed, saving, bad input."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions
from whence.errors import DataError, NotFittedError, ParameterError
from whence.models.matrix import EASE

CLICKS = pl.DataFrame(
    {
        "session_id": [1, 1, 1, 2, 2, 3, 3, 4, 4, 4],
        "item_id": ["a", "b", "a", "b", "c", "a", "b", "c", "d", "a"],
        "timestamp": range(10),
    }
)
ORDERS = pl.DataFrame(
    {
        "user_id": ["u", "u", "u", "v", "v", "w"],
        "basket_id": [1, 1, 2, 1, 2, 1],
        "item_id": [10, 20, 20, 30, 20, 10],
    }
)


def table_of(sessions):
    rows = [(s, i) for s, items in enumerate(sessions) for i in items]
    return pl.DataFrame(rows, schema=["session_id", "item_id"], orient="row")


def binary(train):
    """X as a plain array, straight from the rows."""
    has = np.zeros((train.n_sources, train.n_items))
    has[train.source_codes, train.item_codes] = 1.0
    return has


def naive_weights(has, l2):
    """Item by item: ridge regression of its column on all the other columns."""
    n_items = has.shape[1]
    weights = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        known = has[:, others]
        left = known.T @ known + l2 * np.eye(n_items - 1)
        weights[others, j] = np.linalg.solve(left, known.T @ has[:, j])
    return weights


sessions = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), min_size=1, max_size=9)
asked = st.lists(st.lists(st.integers(0, 8), max_size=5), min_size=1, max_size=5)


class TestAgainstNaive:
    @settings(max_examples=60, deadline=None)
    @given(sessions=sessions, asked=asked, l2=st.sampled_from([0.01, 1.0, 250.0]))
    def test_weights_and_scores(self, sessions, asked, l2):
        train = Interactions.from_frame(table_of(sessions))
        model = EASE(l2=l2, exclude_seen=False).fit(train)
        expected = naive_weights(binary(train), l2)
        np.testing.assert_allclose(model.weights_, expected, rtol=1e-8, atol=1e-11)
        assert (np.diag(model.weights_) == 0.0).all()
        queries = model.fold_in(asked)
        scores = model.score_codes(queries)
        for q, (start, end) in enumerate(zip(queries.history_start, queries.history_end)):
            history = sorted(set(queries.history_items[start:end].tolist()))
            if history:
                naive = expected[history].sum(axis=0)
                np.testing.assert_allclose(scores[q], naive, rtol=1e-8, atol=1e-10)
            else:
                assert (scores[q] == -np.inf).all()

    def test_no_weights_give_a_smaller_loss(self):
        rng = np.random.default_rng(0)
        train = Interactions.from_frame(table_of(rng.integers(0, 6, (30, 3)).tolist()))
        has, l2 = binary(train), 3.0
        best = EASE(l2=l2).fit(train).weights_

        def loss(weights):
            return ((has - has @ weights) ** 2).sum() + l2 * (weights**2).sum()

        for _ in range(50):
            step = rng.normal(scale=1e-3, size=best.shape)
            np.fill_diagonal(step, 0.0)
            assert loss(best + step) > loss(best)

    def test_more_items_than_a_block(self, monkeypatch):
        rng = np.random.default_rng(2)
        train = Interactions.from_frame(table_of((rng.zipf(1.4, (80, 5)) % 40).tolist()))
        whole = EASE(l2=2.0).fit(train).weights_
        monkeypatch.setattr("whence.models.matrix.ease._ITEMS_PER_BLOCK", 7)
        np.testing.assert_array_equal(EASE(l2=2.0).fit(train).weights_, whole)
        np.testing.assert_allclose(whole, naive_weights(binary(train), 2.0), atol=1e-12)


class TestWhatIsAsked:
    def test_history_of_a_training_session_and_the_same_history_folded_in(self):
        model = EASE(l2=1.0).fit(CLICKS)
        by_id, _ = model.recommend(model.user_queries([2]), k=4)
        items, _ = model.recommend(["b", "c"], k=4)
        assert by_id[0].tolist() == items.tolist()
        assert set(items) == {"a", "b", "c", "d"}
        likes = EASE(l2=1.0).fit(CLICKS.rename({"session_id": "user_id"}))
        assert set(likes.recommend(likes.user_queries([2]), k=4)[0][0]) == {"a", "d"}
        assert set(likes.recommend(["b", "c"], k=4)[0]) == {"a", "d"}

    def test_a_score_does_not_depend_on_what_else_is_asked(self):
        rng = np.random.default_rng(3)
        model = EASE(l2=5.0).fit(table_of(rng.integers(0, 150, (200, 8)).tolist()))
        histories = rng.integers(0, 150, (150, 4)).tolist()
        together = model.score(histories)
        for q in (0, 63, 64, 149):
            np.testing.assert_array_equal(model.score(histories[q]), together[q])
        for threads in (1, 3):
            queries = model.fold_in(histories)
            np.testing.assert_array_equal(model.score_codes(queries, threads=threads), together)

    def test_exclude_seen(self):
        seen = EASE(l2=1.0, exclude_seen=False).fit(CLICKS).score(["a", "b"])
        closed = EASE(l2=1.0, exclude_seen=True).fit(CLICKS).score(["a", "b"])
        assert np.isfinite(seen).all()
        assert (closed[:2] == -np.inf).all()
        np.testing.assert_array_equal(closed[2:], seen[2:])

    def test_negative_scores_are_recommended_and_unknown_histories_are_not(self):
        model = EASE(l2=1.0).fit(CLICKS)
        lists, scores = model.recommend([["a"], ["zzz"], []], k=4)
        assert [len(row) for row in lists] == [4, 0, 0]
        assert scores[0].min() < 0

    def test_baskets(self):
        model = EASE(l2=1.0, exclude_seen=False).fit(ORDERS)
        new = model.recommend(model.fold_in([[[10], [20]]]), k=3)
        known = model.recommend("u", k=3)
        assert known[0].tolist() == new[0][0].tolist()
        closed = EASE(l2=1.0, exclude_seen=True).fit(ORDERS)
        assert closed.recommend("u", k=3)[0].tolist() == [30]
        assert sorted(EASE(l2=1.0).fit(ORDERS).recommend("u", k=3)[0].tolist()) == [10, 20, 30]

    def test_items_without_rows_are_not_recommended(self):
        train = Interactions.from_frame(CLICKS).without([4])
        model = EASE(l2=1.0).fit(train)
        assert model.n_items == 4
        assert (model.weights_[3] == 0).all()
        assert "d" not in model.recommend(["a"], k=4)[0].tolist()


class TestContract:
    def test_no_rows_at_all(self):
        train = Interactions.from_frame(CLICKS)
        model = EASE(l2=1.0).fit(train.keep_rows(np.zeros(train.n_rows, dtype=bool)))
        assert len(model.recommend(["a"], k=3)[0]) == 0

    def test_save_and_load_are_exact(self, tmp_path):
        model = EASE(l2=7.0, exclude_seen=False).fit(CLICKS)
        again = EASE.load(model.save(tmp_path / "model"))
        assert again.params == model.params
        np.testing.assert_array_equal(again.weights_, model.weights_)
        histories = [["a"], ["c", "d"], []]
        np.testing.assert_array_equal(again.score(histories), model.score(histories))

    def test_what_it_is(self):
        assert EASE.floor == -np.inf
        assert {"score", "refit", "structured"} <= EASE.levels

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"l2": 0.0}, "l2 must be a number above 0"),
            ({"l2": -1.0}, "l2 must be a number above 0"),
            ({"l2": float("nan")}, "l2 must be a number"),
            ({"exclude_seen": "no"}, "exclude_seen must be True or False"),
            ({"max_items": 0}, "max_items must be an integer"),
        ],
    )
    def test_bad_parameters(self, options, words):
        with pytest.raises(ParameterError, match=words):
            EASE(**options).fit(CLICKS)

    def test_too_many_items(self):
        many = pl.DataFrame({"session_id": [0] * 2000, "item_id": range(2000)})
        with pytest.raises(DataError, match=r"2,000 items needs 0\.0 GB .* max_items is 1,000"):
            EASE(max_items=1000).fit(many)

    def test_a_penalty_that_is_lost_in_rounding(self):
        for sessions in ([[1, 2]], [[1, 2], [1, 2]]):
            with pytest.raises(DataError, match="raise l2"):
                EASE(l2=1e-300).fit(table_of(sessions))

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            EASE().score_codes(EASE().fit(CLICKS).fold_in([["a"]]))
