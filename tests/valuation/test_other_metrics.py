"""Values of metrics that are not of what was wanted: coverage, the Gini index, popularity."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import random_baskets, random_sessions, semivalue, shapley_weight

from whence import (
    TIFUKNN,
    VMISKNN,
    LeaveOneOut,
    RetrainingLeaveOneOut,
    RetrainingShapley,
    Shapley,
    evaluate,
    make_queries,
)
from whence.errors import MetricError, UnsupportedError

N = 6


@pytest.fixture(scope="module")
def sessions():
    rng = np.random.default_rng(3)
    return random_sessions(rng, N, 6), random_sessions(rng, 5, 7, first_id=100)


def refitted(model, table, valid, metric):
    """The metric of the model fitted again on the sessions of each coalition."""
    train = model.train_
    names = np.array(train.vocabulary.sources.to_list())
    queries = make_queries(model, valid)
    items = train.vocabulary.items.to_list()

    def worth(members):
        if not members:
            return 0.0
        rest = train.keep_rows(table["session_id"].is_in(names[list(members)].tolist()).to_numpy())
        lists = VMISKNN(k=2, m=4).fit(rest).recommend_codes(queries, 3)[0]
        return metric([[items[code] for code in row if code >= 0] for row in lists], train)

    return worth


def coverage(named, train):
    return len({item for row in named for item in row}) / train.n_items


def gini(named, train):
    items = train.vocabulary.items.to_list()
    times = np.sort([sum(row.count(item) for row in named) for item in items])
    if not times.sum():
        return 0.0
    n = len(times)
    differences = np.abs(times[:, None] - times[None]).sum()
    return differences / (2 * n * times.sum())


def popularity(named, train):
    counts = dict(zip(*np.unique(train.frame["item_id"].to_numpy(), return_counts=True)))
    return np.mean([np.mean([counts[i] for i in row]) if row else 0.0 for row in named])


METRICS = {"coverage@3": coverage, "gini@3": gini, "averagepopularity@3": popularity}


@pytest.mark.parametrize("name", METRICS)
def test_values_by_refitting_are_those_of_every_coalition(sessions, name):
    train, valid = sessions
    model = VMISKNN(k=2, m=4).fit(train)
    found = RetrainingShapley(name).attribute(model, valid)
    assert found.metadata["stopped"] == "exact"
    assert found.metadata["metric"] == name
    whole = float(evaluate(model, valid, [name])[name])
    assert found.metadata["value_all"] == pytest.approx(whole)
    assert found.scores.sum() == pytest.approx(whole)

    left = RetrainingLeaveOneOut(name).attribute(model, valid)
    assert np.abs(left.scores).max() > 0
    worth = refitted(model, train, valid, METRICS[name])
    everyone = frozenset(range(N))
    assert found.ids.to_list() == model.train_.vocabulary.sources.to_list()
    want = semivalue(lambda s: worth(frozenset(s)), list(range(N)), shapley_weight)
    np.testing.assert_allclose(found.scores, [want[p] for p in range(N)], atol=1e-12)
    alone = [worth(everyone) - worth(everyone - {p}) for p in range(N)]
    np.testing.assert_allclose(left.scores, alone, atol=1e-12)


@pytest.mark.parametrize("kind", ["sessions", "baskets"])
def test_popularity_of_lists_is_shared_out_without_refitting(sessions, kind):
    if kind == "sessions":
        train, valid = sessions
        model = VMISKNN(k=2, m=4).fit(train)
    else:
        rng = np.random.default_rng(4)
        model = TIFUKNN(k=2, m=3, alpha=0.4).fit(random_baskets(rng, N, 8))
        valid = random_baskets(rng, N + 1, 9, most_baskets=1, first_basket=100)
    name = "averagepopularity@3"
    fast = LeaveOneOut(name).attribute(model, valid)
    slow = RetrainingLeaveOneOut(name).attribute(model, valid)
    np.testing.assert_allclose(fast.totals, slow.scores, atol=1e-12)
    assert fast.metadata["metric"] == name
    values = Shapley(name, seed=1).attribute(model, valid)
    gap = values.metadata["value_all"] - values.metadata["value_nothing"]
    assert values.totals.sum() == pytest.approx(gap, abs=1e-9)
    assert values.metadata["value_all"] == pytest.approx(
        float(evaluate(model, valid, [name])[name])
    )


@pytest.mark.parametrize("name", ["coverage@3", "gini@3"])
def test_what_belongs_to_all_lists_is_not_shared_out_query_by_query(sessions, name):
    train, valid = sessions
    model = VMISKNN(k=2, m=4).fit(train)
    for method in (Shapley, LeaveOneOut):
        with pytest.raises(MetricError, match="RetrainingShapley"):
            method(name).attribute(model, valid)
    for method in (Shapley, RetrainingShapley):
        with pytest.raises(MetricError, match="not a mean over the lists"):
            method("auc").attribute(model, valid)
    parts = {"monday": valid, "tuesday": valid}
    with pytest.raises(UnsupportedError, match=f"{name} are not means over queries"):
        RetrainingLeaveOneOut(name).attribute_parts(model, parts)
