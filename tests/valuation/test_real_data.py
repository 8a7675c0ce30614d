"""Leave-one-out values of the real samples against refitting."""

from __future__ import annotations

import numpy as np
import pytest

from whence import TIFUKNN, VMISKNN, LeaveOneOut, Shapley, evaluate, make_queries, read_interactions


@pytest.fixture(scope="module")
def rsc15(data_dir):
    folder = data_dir / "rsc15-100k"
    train = read_interactions(folder / "train.csv")
    return VMISKNN(k=100, m=500).fit(train), read_interactions(folder / "valid.csv")


@pytest.fixture(scope="module")
def tafeng(data_dir):
    folder = data_dir / "tafeng-1k"
    return TIFUKNN().fit(read_interactions(folder / "train.csv")), read_interactions(
        folder / "valid.csv"
    )


def check_against_refitting(model, validation, metric, n=200):
    queries = make_queries(model, validation)
    values = LeaveOneOut(metric).attribute(model, queries)
    full = float(evaluate(model, queries, metric))
    assert values.metadata["value_all"] == pytest.approx(full, abs=1e-12)
    rng = np.random.default_rng(0)
    # Half of them among those that matter most, half anywhere.
    strong = np.argsort(-np.abs(values.totals))[: 4 * n]
    picked = np.concatenate(
        [rng.choice(strong, n // 2, replace=False), rng.choice(len(values), n // 2, replace=False)]
    )
    for source in picked:
        rest = model.train_.without([values.ids[int(source)]])
        refitted = type(model)(**model.params).fit(rest)
        change = full - float(evaluate(refitted, queries, metric))
        assert values.totals[source] == pytest.approx(change, abs=1e-12)


@pytest.mark.slow
def test_rsc15_leave_one_out_is_what_refitting_gives(rsc15):
    check_against_refitting(*rsc15, "mrr@20")


@pytest.mark.slow
def test_tafeng_leave_one_out_is_what_refitting_gives(tafeng):
    check_against_refitting(*tafeng, "ndcg@20")


def test_a_few_sessions_and_users(rsc15, tafeng):
    check_against_refitting(*rsc15, "ndcg@20", n=6)
    check_against_refitting(*tafeng, "ndcg@20", n=10)


def test_shapley_values_of_the_samples_add_up(rsc15, tafeng):
    for (model, validation), metric in ((rsc15, "mrr@20"), (tafeng, "ndcg@20")):
        values = Shapley(metric, tolerance=0, max_permutations=8).attribute(model, validation)
        facts = values.metadata
        assert values.scores.sum() == pytest.approx(
            facts["value_all"] - facts["value_nothing"], abs=1e-9
        )
        assert facts["value_all"] == pytest.approx(float(evaluate(model, validation, metric)))
