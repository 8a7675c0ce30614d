"""Values of users, where validation holds later items of the users of training."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.errors import MetricError


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "user_id": rng.integers(0, 8, 60),
            "item_id": rng.integers(0, 9, 60),
            "timestamp": rng.permutation(60),
        }
    )
    return whence.split_last(whence.Interactions.from_frame(table))


@pytest.mark.parametrize("metric", ["mrr@5", "ndcg@5", "recall@3"])
def test_values_agree_with_refitting(split, metric):
    train, valid = split
    model = whence.VMISKNN(k=3, m=5).fit(train)
    exact = whence.LeaveOneOut(metric).attribute(model, valid)
    refitted = whence.RetrainingLeaveOneOut(metric).attribute(model, valid)
    np.testing.assert_allclose(exact.scores, refitted.scores, atol=1e-12)
    shared = whence.Shapley(metric, max_permutations=20).attribute(model, valid)
    value = whence.evaluate(model, valid, metric)[metric]
    assert shared.metadata["value_all"] == pytest.approx(value, abs=1e-12)
    assert shared.scores.sum() == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("metric", ["auc", "rmse", "coverage@5"])
def test_what_is_no_mean_of_lists_cannot_be_shared_out(split, metric):
    train, valid = split
    model = whence.VMISKNN(k=3, m=5).fit(train)
    with pytest.raises(MetricError, match=r"cannot be shared out|is shared out by refitting"):
        whence.LeaveOneOut(metric).attribute(model, valid)


@pytest.mark.parametrize("model_class", [whence.ItemKNN, whence.Popularity])
def test_seen_items_are_left_out_for_users_only(split, model_class):
    train, valid = split
    model = model_class().fit(train)
    queries = whence.make_queries(model, valid)
    lists, _ = model.recommend_codes(queries, model.n_items)
    scores = model.score_codes(queries)
    for q, row in enumerate(lists):
        history = queries.history_items[queries.history_start[q] : queries.history_end[q]]
        assert not set(row[row >= 0].tolist()) & set(history.tolist())
        assert (scores[q, history] == 0).all()
    kept = model_class(exclude_seen=False).fit(train)
    lists, _ = kept.recommend_codes(queries, model.n_items)
    assert any(
        set(row.tolist()) & set(queries.history_items[a:b].tolist())
        for row, a, b in zip(lists, queries.history_start, queries.history_end)
    )
