"""Python functions as metrics: the same values as the metric they spell out."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import random_baskets, random_sessions

from whence import (
    TIFUKNN,
    VMISKNN,
    Banzhaf,
    BetaShapley,
    Interactions,
    LeaveOneOut,
    Metric,
    Shapley,
)
from whence.errors import MetricError, UnsupportedError


def of_the_next(recommended, targets):
    return 1 / (1 + recommended.index(targets[0])) if targets[0] in recommended else 0.0


def of_any(recommended, targets):
    ranks = [rank for rank, item in enumerate(recommended, start=1) if item in targets]
    return 1 / ranks[0] if ranks else 0.0


def sessions(k, m, idf=False):
    rng = np.random.default_rng(1)
    train = Interactions.from_frame(random_sessions(rng, 9, 6))
    valid = random_sessions(rng, 6, 7, first_id=100)
    return VMISKNN(k=k, m=m, idf=idf).fit(train), valid, Metric.custom(of_the_next, 3)


def baskets(**params):
    rng = np.random.default_rng(2)
    train = Interactions.from_frame(random_baskets(rng, 7, 8))
    valid = random_baskets(rng, 9, 9, most_baskets=1, first_basket=100)
    return TIFUKNN(m=3, **params).fit(train), valid, Metric.custom(of_any, 3)


EXAMPLES = {
    "sessions compete": lambda: sessions(2, 4),
    "all sessions fit": lambda: sessions(9, 9, idf=True),
    "only the pool": lambda: sessions(3, 3),
    "users compete": lambda: baskets(k=3, alpha=0.3),
    "all users fit": lambda: baskets(k=20),
    "euclidean": lambda: baskets(k=2, similarity="euclidean"),
}


@pytest.fixture(scope="module", params=EXAMPLES, ids=list(EXAMPLES))
def example(request):
    return EXAMPLES[request.param]()


@pytest.mark.parametrize("candidates", ["fixed", "all"])
@pytest.mark.parametrize(
    "make", [Shapley, Banzhaf, lambda metric, **a: BetaShapley(metric, alpha=4, **a)],
    ids=["shapley", "banzhaf", "beta"],
)  # fmt: skip
def test_enumerated_values_are_those_of_the_metric(example, make, candidates):
    model, valid, function = example
    for own in ("given", "player"):
        arguments = {"candidates": candidates, "own": own, "exact": 12}
        fast = make("mrr@3", **arguments).attribute(model, valid)
        slow = make(function, **arguments).attribute(model, valid)
        columns = [c for c in fast.frame.columns if c.endswith("score")]
        for column in columns:
            np.testing.assert_allclose(slow.frame[column], fast.frame[column], atol=1e-12)
        for fact in ("value_all", "value_nothing"):
            assert slow.metadata[fact] == pytest.approx(fast.metadata[fact], abs=1e-12)


def test_leave_one_out_values_are_those_of_the_metric(example):
    model, valid, function = example
    fast = LeaveOneOut("mrr@3").attribute(model, valid)
    slow = LeaveOneOut(function).attribute(model, valid)
    np.testing.assert_allclose(slow.scores, fast.scores, atol=1e-12)
    np.testing.assert_allclose(slow.totals, fast.totals, atol=1e-12)


@pytest.mark.parametrize("make", [Shapley, Banzhaf])
def test_sampling_agrees_with_enumeration(make):
    for model, valid, function in (sessions(2, 4), baskets(k=3, alpha=0.3)):
        exact = make(function).attribute(model, valid)
        drawn = make(function, exact=0, tolerance=0, max_permutations=300).attribute(model, valid)
        errors = drawn.std_errors
        assert errors.max() > 0
        assert (np.abs(drawn.scores - exact.scores) <= 5 * errors + 1e-9).all()
        # Each query again, from the same replicates.
        total = dict.fromkeys(drawn.ids.to_list(), 0.0)
        for query in range(drawn.metadata["n_queries"]):
            part = drawn.for_query(query)
            for source, score in zip(part.ids.to_list(), part.scores):
                total[source] += score / drawn.metadata["n_queries"]
        np.testing.assert_allclose(list(total.values()), drawn.scores, atol=1e-12)


def test_the_number_of_threads_does_not_matter():
    model, valid, function = sessions(2, 4)
    frames = [
        Shapley(function, exact=0, max_permutations=20, threads=threads)
        .attribute(model, valid)
        .frame
        for threads in (1, 2)
    ]
    assert frames[0].equals(frames[1])


def test_groups_are_players():
    import polars as pl

    model, valid, function = sessions(2, 4)
    table = model.train_.frame.with_columns(origin=pl.col("session_id").str.slice(1).cast(int) % 3)
    model = VMISKNN(k=2, m=4).fit(table)
    for method in (Shapley, LeaveOneOut):
        fast = method("mrr@3", by="origin").attribute(model, valid)
        slow = method(function, by="origin").attribute(model, valid)
        np.testing.assert_allclose(slow.scores, fast.scores, atol=1e-12)


def test_an_empty_list_is_worth_what_the_function_says():
    model, valid, _ = sessions(2, 4)
    missing = Metric.custom(lambda recommended, targets: 3 - len(recommended), 3)
    values = Shapley(missing).attribute(model, valid)
    assert values.metadata["value_nothing"] == 3
    gain = values.metadata["value_all"] - values.metadata["value_nothing"]
    assert values.scores.sum() == pytest.approx(gain)


def test_the_function_must_return_numbers():
    model, valid, _ = sessions(2, 4)
    with pytest.raises(MetricError, match="returned None for query 0"):
        Shapley(Metric.custom(lambda recommended, targets: None, 3)).attribute(model, valid)


def test_rows_and_items_take_named_metrics():
    model, valid, function = sessions(2, 4)
    for by in ("item", "interaction"):
        with pytest.raises(UnsupportedError, match="RetrainingLeaveOneOut"):
            LeaveOneOut(function, by=by).attribute(model, valid)
