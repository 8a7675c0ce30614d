"""ALS: against implicit and naive least squares, folding in, explanations, threads, bad input."""

import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from whence.data import Interactions
from whence.errors import (
    ColumnError,
    DataError,
    NotFittedError,
    ParameterError,
    UnsupportedError,
)

implicit_als = pytest.importorskip("implicit.cpu.als")
threadpoolctl = pytest.importorskip("threadpoolctl")

from whence.models.matrix import ALS  # noqa: E402


def likes(n_users=60, n_items=30, seed=0):
    """Users of two tastes, some items more than once, with ratings and moments."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        taste = (user % 2) * (n_items // 2)
        for item in taste + rng.integers(0, n_items // 2, 8):
            rows.append((f"u{user}", f"i{item}", float(rng.integers(1, 6)), len(rows)))
    names = ["user_id", "item_id", "rating", "timestamp"]
    return pl.DataFrame(rows, schema=names, orient="row")


def small(**options):
    return ALS(**{"factors": 5, "l2": 0.3, "iterations": 8, **options})


def naive_confidences(model):
    """c_ui as a plain array, from the rows."""
    train = model.train_
    values = np.zeros((train.n_sources, train.n_items))
    ratings = train.frame["rating"].gather(train.rows) if model.use_ratings else [1] * train.n_rows
    for user, item, value in zip(train.source_codes, train.item_codes, ratings):
        values[user, item] += model.alpha * value
    return values


def naive_loss(model, users, items):
    confidence = naive_confidences(model)
    weights = np.where(confidence > 0, confidence, 1.0)
    errors = weights * ((confidence > 0) - users @ items.T) ** 2
    return errors.sum() + model.l2 * ((users**2).sum() + (items**2).sum())


def naive_user(confidence, items, l2):
    """x_u that is best for the confidences of one user."""
    left = l2 * np.eye(items.shape[1])
    right = np.zeros(items.shape[1])
    for c, y in zip(confidence, items):
        left += (c if c > 0 else 1.0) * np.outer(y, y)
        right += c * y
    return np.linalg.solve(left, right), left


OPTIONS = [{}, {"alpha": 8.0}, {"use_ratings": True}, {"use_ratings": True, "alpha": 0.5}]


class TestAgainstNaive:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_users_are_solved_for_exactly(self, options):
        model = small(**options).fit(likes())
        confidence = naive_confidences(model)
        items = model.item_factors_.astype(float)
        for user in range(0, 60, 7):
            expected, _ = naive_user(confidence[user], items, model.l2)
            np.testing.assert_allclose(model.user_factors_[user], expected, rtol=2e-3, atol=1e-4)

    @pytest.mark.parametrize("options", OPTIONS)
    def test_loss_goes_down_to_where_no_small_step_improves_it(self, options):
        losses = []
        for iterations in (1, 2, 4, 30):
            model = small(iterations=iterations, **options).fit(likes())
            users, items = model.user_factors_.astype(float), model.item_factors_.astype(float)
            losses.append(naive_loss(model, users, items))
        assert losses == sorted(losses, reverse=True)
        rng = np.random.default_rng(0)
        for _ in range(20):
            step = rng.normal(scale=0.02, size=users.shape)
            assert naive_loss(model, users + step, items) > losses[-1]

    def test_the_same_item_factors_as_implicit_called_directly(self):
        model = small(alpha=3.0).fit(likes())
        with threadpoolctl.threadpool_limits(1, "blas"):
            direct = implicit_als.AlternatingLeastSquares(
                factors=5, regularization=0.3, alpha=3.0, iterations=8, random_state=42
            )
            train = model.train_
            shape = (train.n_sources, train.n_items)
            ones = np.ones(train.n_rows, dtype=np.float32)
            rows = sparse.csr_matrix((ones, (train.source_codes, train.item_codes)), shape=shape)
            direct.fit(rows, show_progress=False)
        np.testing.assert_array_equal(model.item_factors_, direct.item_factors)
        # implicit's own users are one half-step behind, and close by.
        scores = model.user_factors_ @ model.item_factors_.T
        np.testing.assert_allclose(scores, direct.user_factors @ direct.item_factors.T, atol=0.1)

    def test_it_learns_the_tastes(self):
        model = small().fit(likes())
        items, _ = model.recommend("u0", k=3)
        assert all(int(item[1:]) < 15 for item in items)
        items, _ = model.recommend("u1", k=3)
        assert all(int(item[1:]) >= 15 for item in items)


class TestFoldingIn:
    @pytest.mark.parametrize("options", [{}, {"alpha": 8.0}])
    def test_the_history_of_a_training_user_gives_their_scores(self, options):
        model = small(**options).fit(likes())
        users = model.vocabulary.sources.to_list()
        histories = [
            model.train_.frame.filter(pl.col("user_id") == user)["item_id"].to_list()
            for user in users
        ]
        known, folded = model.score(users), model.score(histories)
        np.testing.assert_array_equal(np.isfinite(known), np.isfinite(folded))
        finite = np.isfinite(known)
        np.testing.assert_allclose(folded[finite], known[finite], atol=1e-6)

    def test_a_new_history_against_the_formula(self):
        model = small(alpha=2.0, exclude_seen=False).fit(likes())
        history = ["i3", "i4", "i4", "i20", "never seen"]
        confidence = np.zeros(model.n_items)
        for item in history[:4]:
            confidence[model.vocabulary.item_codes([item])[0]] += 2.0
        items = model.item_factors_.astype(float)
        expected, _ = naive_user(confidence, items, model.l2)
        np.testing.assert_allclose(model.score([history])[0], items @ expected, atol=1e-4)

    def test_rows_since_training_are_taken_into_account(self):
        model = small(use_ratings=True, exclude_seen=False).fit(likes())
        queries = model.user_queries(["u0"])
        more = np.append(queries.history_items[: queries.history_end[0]], [20, 21]).astype(np.int32)
        later = replace(queries, history_items=more, history_end=queries.history_end + 2)
        confidence = naive_confidences(model)[0]
        confidence[[20, 21]] += model.train_.frame["rating"].mean()
        items = model.item_factors_.astype(float)
        expected, _ = naive_user(confidence, items, model.l2)
        np.testing.assert_allclose(model.score(later)[0], items @ expected, atol=1e-4)
        assert np.abs(model.score(later) - model.score(queries)).max() > 0.01

    def test_a_score_does_not_depend_on_what_else_is_asked_nor_on_threads(self):
        model = small().fit(likes(n_users=100))
        users = model.vocabulary.sources.to_list()
        together = model.score(users)
        for q in (0, 31, 32, 99):
            np.testing.assert_array_equal(model.score(users[q]), together[q])
        histories = [["i1", "i2"], ["i5"], ["i20", "i1"]]
        np.testing.assert_array_equal(model.score(histories)[1], model.score([histories[1]])[0])
        queries = model.user_queries(users)
        for threads in (1, 3):
            np.testing.assert_array_equal(model.score_codes(queries, threads=threads), together)

    def test_nobody_and_nothing(self):
        model = small().fit(likes())
        lists, _ = model.recommend([["never seen"], []], k=3)
        assert [len(row) for row in lists] == [0, 0]
        with pytest.raises(DataError, match="User 'x' is unknown"):
            model.recommend("x")

    def test_sessions_and_baskets(self):
        clicks = likes().rename({"user_id": "session_id"})
        items, _ = small().fit(clicks).recommend([["i1", "i2"]], k=3)
        assert len(items[0]) == 3
        orders = likes().with_columns(basket_id=pl.col("timestamp") // 4)
        model = small(exclude_seen=False).fit(orders)
        history = orders.filter(pl.col("user_id") == "u4")["item_id"].to_list()
        folded = model.score(model.fold_in([[history]]))[0]
        np.testing.assert_allclose(folded, model.score("u4"), atol=1e-6)
        known, new = model.explain("u4", "i1"), model.explain(history, "i1")
        np.testing.assert_allclose(new["contribution"], known["contribution"], atol=1e-6)


class TestExplain:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_against_the_formula_and_the_score(self, options):
        model = small(exclude_seen=False, **options).fit(likes())
        confidence = naive_confidences(model)
        items = model.item_factors_.astype(float)
        for name, target in (("u3", "i20"), ("u8", "i2")):
            user = int(model.vocabulary.source_codes([name])[0])
            code = int(model.vocabulary.item_codes([target])[0])
            _, left = naive_user(confidence[user], items, model.l2)
            table = model.explain(name, target, n=None)
            assert table.columns == ["item_id", "contribution"]
            assert table["contribution"].is_sorted(descending=True)
            assert len(table) == (confidence[user] > 0).sum()
            for other, value in table.iter_rows():
                j = int(model.vocabulary.item_codes([other])[0])
                naive = confidence[user, j] * items[code] @ np.linalg.solve(left, items[j])
                assert value == pytest.approx(naive, abs=1e-4)
            score = model.score(name, items=[target])[0]
            assert table["contribution"].sum() == pytest.approx(score, abs=1e-4)

    def test_the_largest_and_a_history(self):
        model = small().fit(likes())
        whole = model.explain("u0", "i1", n=None)
        assert model.explain("u0", "i1", n=2).equals(whole.head(2))
        table = model.explain(["i3", "i4", "i3"], "i20", n=5)
        assert sorted(table["item_id"].to_list()) == ["i3", "i4"]
        score = model.score([["i3", "i4", "i3"]], items=["i20"])[0, 0]
        assert table["contribution"].sum() == pytest.approx(score, abs=1e-4)

    def test_bad_input(self):
        model = small().fit(likes())
        with pytest.raises(DataError, match="Item 'zzz' is unknown"):
            model.explain("u0", "zzz")
        with pytest.raises(DataError, match="User 'zzz' is unknown"):
            model.explain("zzz", "i1")
        with pytest.raises(DataError, match="Nothing is known"):
            model.explain(["zzz"], "i1")
        with pytest.raises(ParameterError, match="n must be an integer"):
            model.explain("u0", "i1", n=0)
        with pytest.raises(NotFittedError):
            small().explain("u0", "i1")


class TestContract:
    def test_the_same_for_any_number_of_threads_and_seeded(self):
        one, two = small(threads=1).fit(likes()), small(threads=2).fit(likes())
        np.testing.assert_array_equal(one.user_factors_, two.user_factors_)
        np.testing.assert_array_equal(one.item_factors_, two.item_factors_)
        other = small(seed=1).fit(likes())
        assert not np.array_equal(one.item_factors_, other.item_factors_)

    def test_fitting_again_starts_from_the_beginning(self):
        model = small().fit(likes())
        first = model.item_factors_.copy()
        model.fit(likes(seed=1))
        np.testing.assert_array_equal(model.fit(likes()).item_factors_, first)

    def test_blas_threads_are_left_as_they_were(self):
        with threadpoolctl.threadpool_limits(2, "blas"):
            before = [p["num_threads"] for p in threadpoolctl.threadpool_info()]
            small().fit(likes()).score(["u0"])
            assert [p["num_threads"] for p in threadpoolctl.threadpool_info()] == before

    def test_items_and_users_without_rows(self):
        train = Interactions.from_frame(likes())
        gone = likes().filter(pl.col("item_id") == "i3")["user_id"].unique().to_list()
        model = small().fit(train.without(gone))
        code = int(model.vocabulary.item_codes(["i3"])[0])
        assert model.n_items == train.n_items
        assert (model.item_factors_[code] == 0).all()
        kept = next(u for u in train.vocabulary.sources if u not in gone)
        assert "i3" not in model.recommend(kept, k=model.n_items)[0]
        assert len(model.recommend(gone[0], k=5)[0]) == 0

    def test_no_rows_at_all(self):
        train = Interactions.from_frame(likes())
        model = small().fit(train.keep_rows(np.zeros(train.n_rows, dtype=bool)))
        assert len(model.recommend("u0", k=3)[0]) == 0

    @pytest.mark.parametrize("options", OPTIONS)
    def test_save_and_load_are_exact(self, options, tmp_path):
        model = small(**options).fit(likes())
        again = ALS.load(model.save(tmp_path / "model"))
        assert again.params == model.params
        users = model.vocabulary.sources.to_list()
        np.testing.assert_array_equal(again.score(users), model.score(users))
        histories = [["i1"], ["i5", "i20"]]
        np.testing.assert_array_equal(again.score(histories), model.score(histories))
        assert again.explain("u0", "i1").equals(model.explain("u0", "i1"))

    def test_what_it_is(self):
        assert ALS.floor == -np.inf
        assert ALS.asks == "users"
        assert {"score", "refit", "structured"} <= ALS.levels

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"factors": 0}, "factors must be an integer of at least 1"),
            ({"iterations": 0}, "iterations must be an integer"),
            ({"l2": 0}, "l2 must be a number above 0"),
            ({"alpha": 0.0}, "alpha must be a number above 0"),
            ({"alpha": -2.0}, "alpha must be a number"),
            ({"seed": -1}, "seed must be an integer"),
            ({"threads": 0}, "threads must be an integer"),
            ({"use_ratings": 1}, "use_ratings must be True or False"),
            ({"exclude_seen": "no"}, "exclude_seen must be True or False"),
        ],
    )
    def test_bad_parameters(self, options, words):
        with pytest.raises(ParameterError, match=words):
            small(**options).fit(likes())

    def test_bad_ratings(self):
        with pytest.raises(ColumnError, match="needs a rating column"):
            small(use_ratings=True).fit(likes().drop("rating"))
        for bad, words in ((0.0, "the rating 0.0"), (-1.0, "-1.0"), (None, "None")):
            table = likes().with_columns(rating=pl.lit(bad, pl.Float64))
            with pytest.raises(DataError, match=words):
                small(use_ratings=True).fit(table)
        with pytest.raises(DataError, match="type String"):
            small(use_ratings=True).fit(likes().with_columns(rating=pl.lit("five")))

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_factors_that_overflow(self):
        with pytest.raises(DataError, match="raise l2, or lower alpha"):
            small(alpha=1e38, l2=1e-30).fit(likes())

    def test_implicit_is_not_installed(self, monkeypatch):
        model = small().fit(likes())
        for name in ("implicit", "implicit.recommender_base", "implicit.cpu.als"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UnsupportedError, match="pip install"):
            small().fit(likes())
        with pytest.raises(UnsupportedError, match="pip install"):
            model.score([["i1"]])
        with pytest.raises(NotFittedError):
            small().recommend("u0")
