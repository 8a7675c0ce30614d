"""What is not disclosed must not reach anything: losses, histories, derived numbers."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from disclosing import fitted, parts

from whence import GRU4Rec, LSTMRec, make_queries
from whence.curation.disclosure import Disclosure, DisclosurePlan
from whence.data import Interactions
from whence.errors import DataWarning, UnsupportedError
from whence.influence.functions import InfluenceFunction


def secret(train, rng):
    """A mask, and the same data with everything changed that the mask withholds."""
    mask = rng.random(len(train)) < 0.5
    hidden = ~mask
    items, ratings = train["item"].to_numpy().copy(), train["rating"].to_numpy().copy()
    items[hidden] = rng.permutation(np.unique(items))[: hidden.sum() % 7 + 1][0]
    ratings[hidden] = 1.0
    changed = train.with_columns(item=pl.Series(items), rating=pl.Series(ratings))
    original = Interactions.from_frame(train, user="user")
    other = Interactions.from_frame(changed, user="user", vocabulary=original.vocabulary)
    return mask, original, other


def plan_of(mask, train):
    table = pl.DataFrame(
        {
            "row": np.arange(len(mask)),
            "disclosed": mask,
            "V": np.zeros(len(mask)),
            "beta": np.zeros(len(mask)),
        }
    )
    return DisclosurePlan(table, metadata={"strategy": "given"})


def test_withheld_ratings_do_not_reach_a_retrained_factorisation():
    train, validation, _ = parts()
    mask, original, other = secret(train, np.random.default_rng(0))
    states = []
    for data in (original, other):
        model = fitted(data.frame)
        model.train_ = data
        asked = Disclosure(model, np.zeros(len(mask)), validation, calibrate=False)
        retrained = asked.retrained(plan_of(mask, data), seed=3)
        states.append(retrained.module_.state_dict())
        kept = retrained.train_.frame
        assert float(retrained.module_.mean) == pytest.approx(kept["rating"].mean(), rel=1e-6)
    for name, value in states[0].items():
        np.testing.assert_allclose(value.numpy(), states[1][name].numpy(), atol=1e-12)


def test_withheld_rows_reach_neither_loss_nor_history_of_a_sequence_model():
    train, validation, _ = parts()
    mask, original, other = secret(train, np.random.default_rng(1))
    scores = []
    for data in (original, other):
        model = LSTMRec(embedding_dim=3, hidden_dim=3, positions="last", epochs=2).fit(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            asked = Disclosure(model, np.zeros(len(mask)), validation, calibrate=False)
            retrained = asked.retrained(plan_of(mask, data))
            quality = asked.measured.yardstick.by_user(retrained)
        queries = make_queries(retrained, validation)
        withheld = data.frame.filter(pl.Series(~mask))
        for q in range(len(queries)):
            user = queries.ids["user"][q]
            window = slice(queries.history_start[q], queries.history_end[q])
            known = retrained.vocabulary.items.gather(queries.history_items[window]).to_list()
            gone = withheld.filter(user=user)["item"].to_list()
            kept = retrained.train_.frame.filter(user=user)["item"].to_list()
            assert known == kept
            assert not set(known) & (set(gone) - set(kept))
        scores.append((retrained.score_codes(queries), quality))
    np.testing.assert_array_equal(scores[0][0], scores[1][0])
    np.testing.assert_array_equal(scores[0][1], scores[1][1])


def test_a_sequence_model_is_asked_by_its_targets():
    train, validation, _ = parts(n_users=10)
    data = Interactions.from_frame(train, user="user")
    model = LSTMRec(embedding_dim=3, hidden_dim=3, positions="last", epochs=2).fit(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        quick = InfluenceFunction("cg", max_iterations=20, damping=0.1)
        asked = Disclosure(model, "no", validation, lam=0.0, calibrate=False, influence=quick)
        plan = asked.solve()
    first_rows = data.frame.with_row_index("row").group_by("user").agg(pl.col("row").first())
    values = plan.frame["V"].to_numpy()
    assert (values[first_rows["row"].to_numpy()] == 0).all()
    assert np.count_nonzero(values) > len(values) // 2
    windows = GRU4Rec(embedding_dim=3, hidden_dim=3, positions="all", epochs=1).fit(data)
    with pytest.raises(UnsupportedError, match="positions='last'"):
        Disclosure(windows, "no", validation).solve()
