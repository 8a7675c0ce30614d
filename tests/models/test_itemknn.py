"""ItemKNN: against a naive implementation, answers by hand, ties, both kinds of data."""

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions
from whence.errors import NotFittedError, ParameterError
from whence.evaluation import make_queries
from whence.models.base import Recommender
from whence.models.knn.itemknn import ItemKNN

CLICKS = pl.DataFrame(
    {
        "session_id": [1, 1, 1, 2, 2, 3, 3, 4, 4],
        "item_id": ["a", "b", "a", "b", "c", "a", "b", "c", "d"],
        "timestamp": range(9),
    }
)
ORDERS = pl.DataFrame(
    {
        "user_id": ["u", "u", "u", "v", "v", "w"],
        "basket_id": [1, 1, 2, 1, 2, 1],
        "item_id": [10, 20, 20, 30, 20, 10],
    }
)
SIMILARITIES = ["cosine", "jaccard", "cooccurrence"]


def table_of(sessions):
    rows = [(s, i) for s, items in enumerate(sessions) for i in items]
    return pl.DataFrame(rows, schema=["session_id", "item_id"], orient="row")


def naive_similarities(train, similarity, shrinkage, k):
    """{item: {similar item: similarity}} by number, straight from the definition."""
    offsets, items = train.sequences.offsets, train.sequences.items
    having = {}
    for s in range(train.n_sources):
        for item in items[offsets[s] : offsets[s + 1]]:
            having.setdefault(int(item), set()).add(s)
    kept = {}
    for i, mine in having.items():
        row = {}
        for j, theirs in having.items():
            both = len(mine & theirs)
            if i == j or not both:
                continue
            if similarity == "cosine":
                sim = both / math.sqrt(len(mine) * len(theirs))
            elif similarity == "jaccard":
                sim = both / len(mine | theirs)
            else:
                sim = float(both)
            row[j] = sim * both / (both + shrinkage) if shrinkage else sim
        best = sorted(row, key=lambda j: (-row[j], j))[:k]
        kept[i] = {j: row[j] for j in best}
    return kept


def naive_scores(kept, history, n_items, excluded):
    scores = np.zeros(n_items)
    for i in sorted(set(history)):
        for j, sim in kept.get(i, {}).items():
            scores[j] += sim
    if excluded is not None:
        scores[excluded] = 0.0
    return scores


class TestByHand:
    def test_cosine(self):
        model = ItemKNN().fit(CLICKS)
        items, scores = model.recommend(["b"], k=4)
        # b is in 3 sessions, a in 2 (both with b), c in 2 (one with b).
        assert items.tolist() == ["a", "c"]
        assert scores.tolist() == pytest.approx([2 / math.sqrt(6), 1 / math.sqrt(6)])

    def test_jaccard(self):
        _, scores = ItemKNN(similarity="jaccard").fit(CLICKS).recommend(["b"], k=4)
        assert scores.tolist() == [float(Fraction(2, 3)), 0.25]

    def test_cooccurrence_and_shrinkage(self):
        model = ItemKNN(similarity="cooccurrence", shrinkage=2.0).fit(CLICKS)
        _, scores = model.recommend(["b"], k=4)
        assert scores.tolist() == pytest.approx([2 * 2 / 4, 1 * 1 / 3])

    def test_sum_over_distinct_items_of_the_history(self):
        model = ItemKNN(similarity="cooccurrence").fit(CLICKS)
        items, scores = model.recommend(["a", "a", "d", "b"], k=4)
        # c: 1 from b and 1 from d; a: 2 from b; b is the last item.
        assert items.tolist() == ["a", "c"]
        assert scores.tolist() == [2.0, 2.0]

    def test_the_last_item_is_never_recommended_but_earlier_ones_are(self):
        model = ItemKNN().fit(CLICKS)
        assert model.recommend(["a", "b"], k=4)[0].tolist() == ["a", "c"]
        assert model.recommend(["b", "a"], k=4)[0].tolist() == ["b", "c"]

    def test_k_similar_items_with_ties_by_number(self):
        sessions = table_of([["x", "p"], ["x", "q"], ["x", "r"]])
        model = ItemKNN(k=2).fit(sessions)
        assert model.recommend(["x"], k=4)[0].tolist() == ["p", "q"]
        assert model.similarities_[[0]].indices.tolist() == [1, 2]

    def test_baskets_recommend_what_was_bought_before(self):
        model = ItemKNN(similarity="cooccurrence").fit(ORDERS)
        assert model.recommend("u", k=3)[0].tolist() == [10, 20, 30]
        assert model.recommend("w", k=3)[0].tolist() == [20]
        lists, _ = model.recommend(model.fold_in([[[10], [30]], [[99]]]), k=3)
        assert [row.tolist() for row in lists] == [[20], []]

    def test_nothing_known_nothing_recommended(self):
        model = ItemKNN().fit(CLICKS)
        assert [len(row) for row in model.recommend([["zzz"], [], ["a"]], k=2)[0]] == [0, 0, 1]

    def test_removed_sessions_keep_the_numbering(self):
        train = Interactions.from_frame(CLICKS).without([4])
        model = ItemKNN().fit(train)
        assert model.n_items == 4
        assert model.recommend(["c", "d"], k=4)[0].tolist() == ["b"]


sessions = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), min_size=1, max_size=8)
asked = st.lists(st.lists(st.integers(0, 8), max_size=5), min_size=1, max_size=5)


class TestAgainstNaive:
    @settings(max_examples=60, deadline=None)
    @given(
        sessions=sessions,
        asked=asked,
        similarity=st.sampled_from(SIMILARITIES),
        shrinkage=st.sampled_from([0.0, 3.0]),
        k=st.integers(1, 9),
    )
    def test_scores_and_lists(self, sessions, asked, similarity, shrinkage, k):
        train = Interactions.from_frame(table_of(sessions))
        model = ItemKNN(k=k, similarity=similarity, shrinkage=shrinkage).fit(train)
        queries = model.fold_in(asked)
        kept = naive_similarities(train, similarity, shrinkage, k)
        expected = np.zeros((len(queries), train.n_items))
        for q, (start, end) in enumerate(zip(queries.history_start, queries.history_end)):
            known = queries.history_items[start:end].tolist()
            if known:
                expected[q] = naive_scores(kept, known, train.n_items, known[-1])
        scores = model.score_codes(queries)
        np.testing.assert_allclose(scores, expected, rtol=1e-13, atol=0)
        lists, values = model.recommend_codes(queries, 5)
        # The general way, from the dense scores, is the oracle of the sparse one.
        dense, dense_values = Recommender.recommend_codes(model, queries, 5)
        assert np.array_equal(lists, dense)
        assert np.array_equal(values, dense_values)

    @pytest.mark.parametrize("similarity", SIMILARITIES)
    def test_more_items_and_queries_than_a_block(self, similarity):
        rng = np.random.default_rng(1)
        items = rng.zipf(1.3, size=6000) % 1500
        table = pl.DataFrame({"session_id": np.repeat(np.arange(1500), 4), "item_id": items})
        model = ItemKNN(k=15, similarity=similarity).fit(table)
        queries = make_queries(model, table)
        assert len(queries) > 4 * 1024
        kept = naive_similarities(model.train_, similarity, 0.0, 15)
        for item in (0, 3, model.n_items - 1):
            row = model.similarities_[[item]]
            assert dict(zip(row.indices.tolist(), row.data.tolist())) == kept[item]
        lists, scores = model.recommend_codes(queries, 7)
        dense, dense_scores = Recommender.recommend_codes(model, queries, 7)
        assert np.array_equal(lists, dense)
        assert np.array_equal(scores, dense_scores)


class TestContract:
    def test_relabelling_ids_changes_nothing(self):
        names = {"a": 900, "b": 5, "c": 77, "d": 1}
        model = ItemKNN().fit(CLICKS)
        other = ItemKNN().fit(
            CLICKS.with_columns(pl.col("item_id").replace_strict(names, return_dtype=pl.Int64))
        )
        items, scores = model.recommend(["a", "b"], k=4)
        relabelled, same = other.recommend([900, 5], k=4)
        assert relabelled.tolist() == [names[item] for item in items]
        assert np.array_equal(scores, same)

    def test_row_order_does_not_matter_where_timestamps_differ(self):
        model, shuffled = (
            ItemKNN().fit(CLICKS),
            ItemKNN().fit(CLICKS.sample(fraction=1.0, shuffle=True, seed=1)),
        )
        assert (model.similarities_ != shuffled.similarities_).nnz == 0

    def test_save_and_load(self, tmp_path):
        model = ItemKNN(k=3, similarity="jaccard", shrinkage=1.5).fit(CLICKS)
        again = ItemKNN.load(model.save(tmp_path / "model.parquet"))
        assert again.params == {
            "k": 3,
            "similarity": "jaccard",
            "shrinkage": 1.5,
            "exclude_seen": None,
        }
        assert (again.similarities_ != model.similarities_).nnz == 0

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"k": 0}, "k must be an integer of at least 1"),
            ({"similarity": "cosin"}, "Did you mean 'cosine'"),
            ({"shrinkage": -1.0}, "shrinkage must be a number of at least 0"),
        ],
    )
    def test_bad_parameters(self, options, words):
        with pytest.raises(ParameterError, match=words):
            ItemKNN(**options).fit(CLICKS)

    def test_not_fitted(self):
        queries = ItemKNN().fit(CLICKS).fold_in([["a"]])
        with pytest.raises(NotFittedError):
            ItemKNN().recommend_codes(queries, 3)
