"""VMIS-kNN and TIFU-kNN against naive implementations, on data with many ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import naive_tifu, naive_vmis, random_baskets, random_sessions

from whence import TIFUKNN, VMISKNN, Interactions

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 6),
    more=st.integers(0, 6),
    n_items=st.integers(2, 8),
    length=st.integers(1, 14),
)
def test_vmis_is_the_definition(seed, k, more, n_items, length):
    rng = np.random.default_rng(seed)
    train = Interactions.from_frame(random_sessions(rng, 12, n_items, n_times=4))
    model = VMISKNN(k=k, m=k + more).fit(train)
    history = [int(i) for i in rng.integers(n_items + 1, size=length)]
    items, scores = model.recommend(history, k=train.n_items)
    want = naive_vmis(train, history, k, k + more, train.n_items)
    assert items.tolist() == [item for item, _ in want]
    np.testing.assert_allclose(scores, [score for _, score in want], rtol=1e-12)
    np.testing.assert_allclose(
        model.score([history], items=[item for item, _ in want])[0],
        [score for _, score in want],
        rtol=1e-12,
    )


@pytest.mark.parametrize("seed", range(3))
def test_similarities_to_long_histories_are_ranked_as_those_to_short_ones(seed):
    rng = np.random.default_rng(seed)
    train = Interactions.from_frame(random_sessions(rng, 40, 8, n_times=4))
    history = [int(i) for i in rng.integers(8, size=3000)]
    items, scores = VMISKNN(k=7, m=30).fit(train).recommend(history, k=train.n_items)
    want = naive_vmis(train, history, 7, 30, train.n_items)
    assert items.tolist() == [item for item, _ in want]
    np.testing.assert_allclose(scores, [score for _, score in want], rtol=1e-12)


@QUIET
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 6),
    m=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    similarity=st.sampled_from(["jaccard", "euclidean"]),
    grouping=st.sampled_from(["single", "paper"]),
)
def test_tifu_is_the_definition(seed, k, m, alpha, similarity, grouping):
    rng = np.random.default_rng(seed)
    train = Interactions.from_frame(random_baskets(rng, 8, 7, most_baskets=7))
    options = {"similarity": similarity, "grouping": grouping}
    model = TIFUKNN(k=k, m=m, r_b=0.9, r_g=0.7, alpha=alpha, **options).fit(train)
    for user in train.vocabulary.sources.to_list():
        items, scores = model.recommend(user, k=train.n_items)
        want = naive_tifu(train, user, model, train.n_items)
        np.testing.assert_allclose(scores, [score for _, score in want], atol=1e-10)
        # Equal sums may differ in their last bits: lists agree but for the order of such ties.
        by_item = dict(want)
        for item, score in zip(items.tolist(), scores):
            assert abs(by_item[item] - score) < 1e-10


def test_recent_sessions_win_ties_of_similarity():
    rows = {"session_id": [1, 1, 2, 2], "item_id": ["a", "b", "a", "c"], "timestamp": [1, 5, 2, 5]}
    import polars as pl

    model = VMISKNN(k=1, m=2).fit(pl.DataFrame(rows))
    # Both end at 5; session 2 comes later in the table sorted by time.
    assert model.recommend(["a"], k=2)[0].tolist() == ["c"]


def test_the_place_of_the_shared_item_weighs():
    import polars as pl

    rows = {"session_id": [1, 1], "item_id": ["a", "b"], "timestamp": [1, 2]}
    model = VMISKNN(k=1, m=1).fit(pl.DataFrame(rows))
    # "a" is the third from the end of ten events, two of them known: (1 - 0.3) * (2 - 2) ...
    items, scores = model.recommend(["a", "x"], k=2)
    assert items.tolist() == ["b"]  # "x" is unknown and is taken out before anything is computed
    assert scores[0] == pytest.approx(0.9)
    assert model.recommend(["a"] + ["b"] * 9, k=2)[0].tolist() == ["a"]


def test_groups_of_baskets():
    import polars as pl

    model = TIFUKNN(k=1, m=2, r_b=0.5, r_g=0.1, alpha=1.0)
    table = pl.DataFrame({"user_id": [1, 1, 1], "basket_id": [1, 2, 3], "item_id": ["a", "b", "c"]})
    items, scores = model.fit(table).recommend(1, k=3)
    # Groups {a} and {b, c}: c = 1/2 * 1/2, b = 1/2 * 1/2 * 0.5, a = 1/2 * 0.1.
    assert items.tolist() == ["c", "b", "a"]
    np.testing.assert_allclose(scores, [0.25, 0.125, 0.05], atol=1e-11)
    few = TIFUKNN(k=1, m=4, r_b=0.5, r_g=0.1, alpha=1.0).fit(table)
    # Fewer baskets than groups: one group, the first of four.
    np.testing.assert_allclose(
        few.recommend(1, k=3)[1], np.array([1, 0.5, 0.25]) / 3 * 0.1**3 / 4, atol=1e-11
    )


def test_folded_in_users_are_scored_like_seen_ones():
    rng = np.random.default_rng(0)
    table = random_baskets(rng, 6, 6)
    model = TIFUKNN(k=3, m=2, alpha=1.0).fit(table)
    user = table["user_id"][0]
    own = table.filter(table["user_id"] == user)
    baskets = [own.filter(own["basket_id"] == b)["item_id"].to_list()
               for b in sorted(own["basket_id"].unique())]  # fmt: skip
    folded = model.score(model.fold_in([baskets]))
    np.testing.assert_allclose(folded[0], model.score(user), atol=1e-12)
