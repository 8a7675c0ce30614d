"""Predicted removals against retraining, and the report about them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from small_ratings import ratings

from whence.errors import ParameterError
from whence.influence.functions import agreement, fidelity, to_optimum
from whence.models.matrix.mf import BiasedMF


@pytest.fixture(scope="module")
def found():
    train, valid = ratings(n_users=25, n_items=15)
    model = BiasedMF(embedding_dim=2, weight_decay=0.15, epochs=30, learning_rate=0.05)
    model = to_optimum(model.fit(train), tolerance=1e-8)
    return fidelity(model, valid, removals=20, groups=3, tolerance=1e-8)


def row(found, **wanted):
    return found.table.filter(**wanted).row(0, named=True)


def test_influence_predicts_single_removals(found):
    for outcome in ("own user", "total"):
        exact = row(found, solver="cg", outcome=outcome, kind="single")
        assert exact["n"] == 20
        assert exact["spearman"] > 0.95
        assert 0.8 < exact["slope"] < 1.25
        assert row(found, solver="no change", outcome=outcome, kind="single")["error"] == 1.0
        assert found.noise[outcome] < 1e-6
    assert row(found, solver="block", outcome="own user", kind="single")["spearman"] > 0.8
    assert row(found, solver="random", outcome="total", kind="single")["spearman"] < 0.6


def test_influence_predicts_groups_better_than_no_change(found):
    group = row(found, solver="cg", outcome="own user", kind="keep 0.9")
    assert group["error"] < 0.8
    changes = found.changes.filter(solver="cg", kind="keep 0.5", outcome="total")
    assert len(changes) == 3
    assert "Fidelity of 29 removals" in repr(found)
    assert set(found.seconds) == {"retraining", "cg", "block", "dot"}


def test_agreement_by_hand():
    same = agreement(np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 8.0]))
    assert same == pytest.approx({"pearson": 1.0, "spearman": 1.0, "slope": 2.0, "error": 0.5})
    nothing = agreement(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert nothing == {"pearson": None, "spearman": None, "slope": None, "error": 1.0}


def test_arguments_of_fidelity():
    train, valid = ratings()
    model = to_optimum(BiasedMF(embedding_dim=1, weight_decay=0.05).fit(train))
    with pytest.raises(ParameterError, match=r"only \d+ training examples"):
        fidelity(model, valid.filter(pl.col("user") == 3), removals=100)
    with pytest.raises(ParameterError, match="solvers is empty"):
        fidelity(model, valid, solvers=())
    with pytest.raises(ParameterError, match="keep"):
        fidelity(model, valid, keep=(1.5,))
