"""Rows, items and whole refits as sources: each against refitting by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracles import random_baskets, random_sessions

from whence import (
    TIFUKNN,
    VMISKNN,
    Interactions,
    LeaveOneOut,
    Popularity,
    RetrainingLeaveOneOut,
    RetrainingShapley,
    Shapley,
    evaluate,
    make_queries,
)
from whence.errors import UnsupportedError


def sessions(seed, **params):
    rng = np.random.default_rng(seed)
    table = random_sessions(rng, 9, 6, n_times=5)
    table = pl.concat([table, table[:3]])  # some rows twice
    return VMISKNN(**params).fit(Interactions.from_frame(table)), random_sessions(
        rng, 7, 7, longest=4, first_id=50
    )


def baskets(seed, **params):
    rng = np.random.default_rng(seed)
    model = TIFUKNN(**params).fit(Interactions.from_frame(random_baskets(rng, 8, 9)))
    return model, random_baskets(rng, 9, 10, most_baskets=1, first_basket=300)


CASES = {
    "competition": lambda: sessions(1, k=2, m=3),
    "all fit": lambda: sessions(2, k=20, m=20),
    "one neighbour": lambda: sessions(3, k=1, m=4),
    "baskets": lambda: baskets(4, k=3, m=2, alpha=0.4),
    "baskets, euclidean": lambda: baskets(5, k=2, m=3, alpha=0.2, similarity="euclidean"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("by", ["interaction", "item"])
def test_leaving_out_rows_is_what_refitting_gives(case, by):
    model, valid = CASES[case]()
    train = model.train_
    queries = make_queries(model, valid)
    sustainable = train.vocabulary.items.to_list()[:3]
    for metric in ("mrr@3", "ndcg@3", "st@3"):
        values = LeaveOneOut(metric, by=by, sustainable_items=sustainable).attribute(model, queries)
        full = float(evaluate(model, queries, metric, sustainable_items=sustainable))
        assert len(values) == (train.n_rows if by == "interaction" else train.n_items)
        for source, total in zip(values.ids.to_list(), values.totals):
            if by == "interaction":
                keep = np.arange(train.n_rows) != source
            else:
                keep = (train.frame["item_id"] != source).to_numpy()
            refitted = type(model)(**model.params).fit(train.keep_rows(keep))
            change = full - float(
                evaluate(refitted, queries, metric, sustainable_items=sustainable)
            )
            assert total == pytest.approx(change, abs=1e-12), (metric, source)


def test_the_slow_general_way_agrees_with_the_exact_one():
    model, valid = sessions(6, k=3, m=5)
    exact = LeaveOneOut("mrr@3").attribute(model, valid)
    refitted = RetrainingLeaveOneOut("mrr@3").attribute(model, valid)
    np.testing.assert_allclose(refitted.totals, exact.totals, atol=1e-12)
    whole = Shapley("mrr@3", candidates="all", exact=16).attribute(model, valid)
    drawn = RetrainingShapley("mrr@3", max_permutations=60, tolerance=0).attribute(model, valid)
    assert (np.abs(drawn.scores - whole.scores) <= 5 * drawn.std_errors + 1e-9).all()
    gain = drawn.metadata["value_all"] - drawn.metadata["value_nothing"]
    assert drawn.scores.sum() == pytest.approx(gain, abs=1e-9)


def test_any_recommender_can_be_refitted():
    rng = np.random.default_rng(8)
    model = Popularity().fit(random_sessions(rng, 6, 5))
    valid = random_sessions(rng, 5, 5, first_id=60)
    values = RetrainingLeaveOneOut("mrr@3").attribute(model, valid)
    queries = make_queries(model, valid)
    first = values.ids[0]
    rest = Popularity().fit(model.train_.without([first]))
    change = float(evaluate(model, queries, "mrr@3")) - float(evaluate(rest, queries, "mrr@3"))
    assert values.scores[0] == pytest.approx(change, abs=1e-12)


@pytest.mark.parametrize("case", ["competition", "baskets"])
def test_a_metric_of_ones_own_gives_the_same_values(case):
    model, valid = CASES[case]()

    def my_hits(recommended, targets):
        return len(set(recommended[:3]) & set(targets)) / 3

    from whence.evaluation import Metric

    own = Metric.custom(my_hits, k=3)
    for method in (Shapley, LeaveOneOut):
        options = {"exact": 20} if method is Shapley else {}
        mine = method(own, **options).attribute(model, valid)
        built_in = method("precision@3", **options).attribute(model, valid)
        np.testing.assert_allclose(mine.totals, built_in.totals, atol=1e-12)


def test_semivalues_of_rows_say_what_to_use():
    model, valid = sessions(6, k=3, m=5)
    for by in ("item", "interaction"):
        with pytest.raises(UnsupportedError, match="LeaveOneOut"):
            Shapley("mrr@3", by=by).attribute(model, valid)
