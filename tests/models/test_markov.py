"""MarkovChain: against counting in loops, back-off, ties, what is closed, both ways to lists."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions
from whence.errors import DataError, NotFittedError, ParameterError
from whence.evaluation import make_queries
from whence.models.base import Recommender
from whence.models.markov import MarkovChain

CLICKS = pl.DataFrame(
    {
        "session_id": [1, 1, 1, 2, 2, 3, 3, 3],
        "item_id": ["a", "b", "a", "b", "c", "a", "b", "d"],
        "timestamp": range(8),
    }
)


def table_of(sessions):
    rows = [(s, i) for s, items in enumerate(sessions) for i in items]
    return pl.DataFrame(rows, schema=["session_id", "item_id"], orient="row")


def naive_scores(train, history, smoothing, exclude_seen):
    """P(j | last item) by counting pairs of neighbours."""
    scores = np.zeros(train.n_items)
    if not history:
        return scores
    follows, popularity = np.zeros(train.n_items), np.zeros(train.n_items)
    for source in range(train.n_sources):
        items = [int(i) for s, i in zip(train.source_codes, train.item_codes) if s == source]
        for first, second in pairwise(items):
            if first == history[-1]:
                follows[second] += 1
        for item in items:
            popularity[item] += 1 / train.n_rows
    total = follows.sum() + smoothing
    for j in range(train.n_items):
        if total > 0 and not (exclude_seen and j in history):
            scores[j] = (follows[j] + smoothing * popularity[j]) / total
    return scores


class TestByHand:
    def test_shares_of_what_followed(self):
        items, scores = MarkovChain().fit(CLICKS).recommend(["b"], k=4)
        # After b came a, c and d, once each: by item number a, c, d.
        assert items.tolist() == ["a", "c", "d"]
        assert scores.tolist() == [1 / 3] * 3

    def test_only_the_last_item_counts(self):
        model = MarkovChain(exclude_seen=False).fit(CLICKS)
        assert model.recommend(["c", "d", "a"], k=4)[0].tolist() == ["b"]
        assert model.recommend(["a"], k=4)[1].tolist() == [1.0]

    def test_seen_items_are_left_out_and_do_not_change_the_others(self):
        model = MarkovChain(exclude_seen=True).fit(CLICKS)
        items, scores = model.recommend(["a", "c", "b"], k=4)
        assert items.tolist() == ["d"]
        assert scores.tolist() == [1 / 3]

    def test_repetitions_count_unless_seen_items_are_left_out(self):
        table = table_of([[1, 1, 1, 2]])
        items, scores = MarkovChain(exclude_seen=False).fit(table).recommend([1], k=2)
        assert items.tolist() == [1, 2]
        assert scores.tolist() == [2 / 3, 1 / 3]
        closed = MarkovChain(exclude_seen=True).fit(table)
        assert closed.recommend([1], k=2)[0].tolist() == [2]

    def test_nothing_has_followed(self):
        assert MarkovChain().fit(CLICKS).recommend(["d"], k=3)[0].tolist() == []
        items, scores = MarkovChain(smoothing=0.5).fit(CLICKS).recommend(["d"], k=3)
        assert items.tolist() == ["a", "b", "c"]
        assert scores.tolist() == [3 / 8, 3 / 8, 1 / 8]

    def test_popularity_fills_up_after_what_has_followed(self):
        table = table_of([["x", "y"], ["p", "p"], ["p", "q"], ["p", "y"]])
        model = MarkovChain(smoothing=1.0, exclude_seen=True).fit(table)
        items, scores = model.recommend(["x"], k=4)
        assert items.tolist() == ["y", "p", "q"]
        np.testing.assert_allclose(scores, [(1 + 2 / 8) / 2, 4 / 8 / 2, 1 / 8 / 2])
        # Much of it overrules the one transition there is.
        assert MarkovChain(smoothing=100.0).fit(table).recommend(["x"], k=1)[0].tolist() == ["p"]

    def test_no_transition_across_sessions(self):
        model = MarkovChain(exclude_seen=False).fit(table_of([["a"], ["b"], ["c"]]))
        assert model.transitions_.nnz == 0
        assert model.recommend([["a"], ["zzz"], []], k=2)[0][0].tolist() == []

    def test_users(self):
        likes = CLICKS.rename({"session_id": "user_id"})
        model = MarkovChain(exclude_seen=False).fit(likes)
        lists, _ = model.recommend(model.user_queries([1, 2]), k=3)
        assert [row.tolist() for row in lists] == [["b"], []]


sessions = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=7), min_size=1, max_size=8)
asked = st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=1, max_size=5)


class TestAgainstNaive:
    @settings(max_examples=80, deadline=None)
    @given(
        sessions=sessions,
        asked=asked,
        smoothing=st.sampled_from([0.0, 0.3, 1.0, 40.0]),
        exclude_seen=st.booleans(),
        k=st.integers(1, 9),
    )
    def test_scores_and_lists(self, sessions, asked, smoothing, exclude_seen, k):
        train = Interactions.from_frame(table_of(sessions))
        model = MarkovChain(smoothing=smoothing, exclude_seen=exclude_seen).fit(train)
        queries = model.fold_in(asked)
        scores = model.score_codes(queries)
        for q, (start, end) in enumerate(zip(queries.history_start, queries.history_end)):
            history = queries.history_items[start:end].tolist()
            expected = naive_scores(train, history, smoothing, exclude_seen)
            np.testing.assert_allclose(scores[q], expected, rtol=1e-12, atol=0)
            if smoothing and history and not exclude_seen:
                assert scores[q].sum() == pytest.approx(1.0)
        # The general way, from all scores, is the oracle of the lists.
        lists, values = model.recommend_codes(queries, k)
        dense, dense_values = Recommender.recommend_codes(model, queries, k)
        np.testing.assert_array_equal(lists, dense)
        np.testing.assert_array_equal(values, dense_values)

    @pytest.mark.parametrize("smoothing", [0.0, 2.0])
    def test_more_queries_than_a_block(self, smoothing):
        rng = np.random.default_rng(1)
        table = table_of((rng.zipf(1.3, (900, 4)) % 300).tolist())
        model = MarkovChain(smoothing=smoothing).fit(table)
        queries = make_queries(model, table)
        assert len(queries) > 2 * 1024
        lists, values = model.recommend_codes(queries, 7)
        dense, dense_values = Recommender.recommend_codes(model, queries, 7)
        np.testing.assert_array_equal(lists, dense)
        np.testing.assert_array_equal(values, dense_values)


class TestContract:
    def test_no_rows_at_all(self):
        train = Interactions.from_frame(CLICKS)
        none = train.keep_rows(np.zeros(train.n_rows, dtype=bool))
        model = MarkovChain(smoothing=1.0).fit(none)
        assert len(model.recommend(["a"], k=3)[0]) == 0

    def test_removed_sessions_keep_the_numbering(self):
        model = MarkovChain(smoothing=1.0).fit(Interactions.from_frame(CLICKS).without([3]))
        assert model.n_items == 4
        assert model.recommend(["a"], k=4)[0].tolist() == ["b", "a", "c"]

    def test_save_and_load(self, tmp_path):
        model = MarkovChain(smoothing=2.5, exclude_seen=False).fit(CLICKS)
        again = MarkovChain.load(model.save(tmp_path / "model"))
        assert again.params == {"smoothing": 2.5, "exclude_seen": False}
        np.testing.assert_array_equal(again.score([["a"], ["d"]]), model.score([["a"], ["d"]]))

    def test_bad_input(self):
        with pytest.raises(ParameterError, match="smoothing must be a number of at least 0"):
            MarkovChain(smoothing=-1).fit(CLICKS)
        with pytest.raises(ParameterError, match="exclude_seen must be True or False"):
            MarkovChain(exclude_seen=2).fit(CLICKS)
        baskets = pl.DataFrame({"user_id": [1, 1], "basket_id": [1, 2], "item_id": [1, 2]})
        with pytest.raises(DataError, match="MarkovChain learns from sessions"):
            MarkovChain().fit(Interactions.from_frame(baskets))
        queries = MarkovChain().fit(CLICKS).fold_in([["a"]])
        with pytest.raises(NotFittedError):
            MarkovChain().recommend_codes(queries, 2)
