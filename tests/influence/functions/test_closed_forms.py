"""EASE and ALS: formulas against fitting again."""

from __future__ import annotations

import numpy as np
import pytest
from small_ratings import ratings

from whence import ALS, EASE
from whence.errors import DataError
from whence.evaluation import make_queries
from whence.influence.functions import InfluenceFunction


def ease_loss(model, queries):
    """Mean over the queries of the mean (1 - score)² of targets outside the history."""
    scores = model.score_codes(queries)
    losses = []
    for q in range(len(queries)):
        items = queries.target_items[queries.target_start[q] : queries.target_end[q]]
        history = queries.history_items[queries.history_start[q] : queries.history_end[q]]
        items = items[(items >= 0) & ~np.isin(items, history)]
        if len(items) and len(history):
            losses.append(np.mean((1.0 - scores[q, items]) ** 2))
    return np.mean(losses)


def test_ease_without_a_user_is_ease_fitted_without_them():
    train, valid = ratings()
    model = EASE(l2=2.0, exclude_seen=False).fit(train)
    values = InfluenceFunction().attribute(model, valid)
    queries = make_queries(model, valid)
    before = ease_loss(model, queries)
    assert values.metadata["value_all"] == pytest.approx(-before)
    for place, user in enumerate(values.ids.to_list()):
        left = EASE(l2=2.0, exclude_seen=False).fit(model.train_.without([user]))
        left._learned[:] = True
        assert values.scores[place] == pytest.approx(ease_loss(left, queries) - before, abs=1e-12)
    with pytest.raises(DataError, match="shares no item"):
        InfluenceFunction().attribute(model, valid.with_columns(item=-valid["item"]))
    with pytest.raises(DataError, match="history"):  # what they have had already is not judged by
        InfluenceFunction().attribute(model, train)


@pytest.mark.parametrize("use_ratings", [False, True])
def test_als_without_a_row_is_the_user_solved_again(use_ratings):
    pytest.importorskip("implicit")
    train, _ = ratings()
    model = ALS(factors=3, l2=0.5, alpha=2.0, use_ratings=use_ratings).fit(train)
    explained = InfluenceFunction().explain_prediction(model, 4, 103)
    code, item = model.vocabulary.source_codes([4])[0], model.vocabulary.item_codes([103])[0]
    assert explained.metadata["prediction"] == pytest.approx(
        float(model.user_factors_[code] @ model.item_factors_[item]), abs=1e-4
    )
    for row, score in zip(explained.frame["row"], explained.scores):
        keep = np.ones(len(train), dtype=bool)
        keep[row] = False
        left = ALS(**model.params)
        left.train_ = model.train_.keep_rows(keep)
        left._prepare(left.train_)
        solver = left._solver(model.item_factors_, 1)
        again = solver.recalculate_user(np.array([code]), left._confidences[[code]])[0]
        change = explained.metadata["prediction"] - float(again @ model.item_factors_[item])
        assert score == pytest.approx(change, abs=1e-4)
