from __future__ import annotations

import polars as pl
import pytest
from killing import kill_after

import whence
from whence.curation import best_fraction, prune, prune_curve
from whence.errors import ColumnError, ParameterError


@pytest.fixture(scope="module")
def fitted():
    data = whence.make_sessions(n_sessions=300, n_validation=100, n_test=60, n_items=100, seed=2)
    model = whence.VMISKNN(k=20, m=50).fit(data.train)
    return data, model, whence.LeaveOneOut("mrr@20").attribute(model, data.validation)


def test_curve_is_what_refitting_by_hand_gives(fitted):
    data, model, values = fitted
    parts = {"validation": data.validation, "test": data.test}
    curve = prune_curve(model, values, parts, metric="mrr@10", fractions=(0.0, 0.1))
    assert curve.columns == ["fraction", "n_removed", "data", "value"]
    assert curve["n_removed"].to_list() == [0, 0, 30, 30]
    left = data.train.without(values.bottom(30)["session_id"])
    queries = whence.make_queries(model, data.test)
    expected = float(whence.evaluate(whence.VMISKNN(k=20, m=50).fit(left), queries, "mrr@10"))
    got = curve.filter((pl.col("data") == "test") & (pl.col("fraction") == 0.1))["value"][0]
    assert got == expected
    assert curve["value"][0] == float(whence.evaluate(model, data.validation, "mrr@10"))
    assert model.train_ is data.train


def test_curve_for_baskets():
    data = whence.make_baskets(n_users=60, seed=1)
    model = whence.TIFUKNN(k=10, m=3).fit(data.train)
    values = whence.LeaveOneOut("ndcg@10").attribute(model, data.validation)
    curve = prune_curve(
        model, values, {"validation": data.validation}, metric="ndcg@10", fractions=(0.0, 0.05)
    )
    assert curve["n_removed"].to_list() == [0, 3]


def test_sustainability_options_reach_the_metric(fitted):
    data, model, values = fitted
    curve = prune_curve(
        model, values, {"test": data.test}, metric="st@5", fractions=(0.0,),
        sustainable_items=data.train.item_ids[:20],
    )  # fmt: skip
    assert 0 < curve["value"][0] < 1


def test_nothing_left_is_an_error(fitted):
    data, model, values = fitted
    with pytest.raises(ParameterError, match="no training data"):
        prune_curve(model, values, {"test": data.test}, fractions=(1.0,))
    with pytest.raises(ParameterError):
        prune_curve(model, values, {"test": data.test}, fractions=(1.5,))


def test_best_fraction_is_the_smallest_of_the_best_on_the_data_named():
    curve = pl.DataFrame(
        {
            "fraction": [0.0, 0.1, 0.2, 0.0, 0.1, 0.2],
            "value": [0.1, 0.3, 0.3, 0.9, 0.1, 0.1],
            "data": ["validation"] * 3 + ["test"] * 3,
        }
    )
    assert best_fraction(curve) == 0.1
    assert best_fraction(curve, "test") == 0.0
    with pytest.raises(ColumnError, match="Did you mean 'test'"):
        best_fraction(curve, "tset")


def test_prune_is_the_verb_of_the_attribution(fitted):
    data, _, values = fitted
    assert prune(values, data.train, n=5).frame.equals(values.prune(data.train, n=5).frame)


def test_killed_and_resumed_a_curve_ends_with_the_same_bits(fitted, tmp_path):
    data, model, values = fitted
    script = """
from killing import kill_after

import whence
from whence.curation import prune_curve

data = whence.make_sessions(n_sessions=300, n_validation=100, n_test=60, n_items=100, seed=2)
model = whence.VMISKNN(k=20, m=50).fit(data.train)
values = whence.LeaveOneOut("mrr@20").attribute(model, data.validation)
prune_curve(model, values, {"test": data.test}, fractions=(0.0, 0.1, 0.2, 0.3),
            run=whence.Run(folder=folder))
"""
    kill_after(2, script, tmp_path)
    run = whence.Run(folder=tmp_path, resume=True)
    arguments = model, values, {"test": data.test}
    fractions = (0.0, 0.1, 0.2, 0.3)
    with pytest.raises(ParameterError, match="is of other fractions"):
        prune_curve(*arguments, fractions=(0.0, 0.5), run=run)
    found = prune_curve(*arguments, fractions=fractions, run=run)
    assert found.equals(prune_curve(*arguments, fractions=fractions))
