"""The way to the optimum, and what is said where there is none."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from small_ratings import MODELS, ratings

from whence import EASE, VMISKNN, GRU4Rec
from whence.errors import DataError, DataWarning, NotFittedError, ParameterError, UnsupportedError
from whence.influence.functions import InfluenceFunction, descend, objective_of, to_optimum
from whence.models.matrix.mf import BiasedMF


@pytest.fixture(scope="module")
def data():
    return ratings()


@pytest.mark.parametrize("name", MODELS)
def test_the_optimum_is_one_and_the_model_stays(data, name):
    model = MODELS[name]().fit(data[0])
    before = {k: v.clone() for k, v in model.module_.state_dict().items()}
    found = to_optimum(model, tolerance=1e-8)
    assert found.optimum_.converged
    assert found.optimum_.gradient <= 1e-8
    assert found.optimum_.value <= objective_of(model).value()
    assert all((model.module_.state_dict()[k] == v).all() for k, v in before.items())
    assert not hasattr(model, "optimum_")
    assert found.recommend([3], k=2)[0][0].shape == (2,)
    values = np.linalg.eigvalsh(objective_of(found).hessian().matrix())
    assert values.min() > -1e-9


def test_a_penalty_under_which_everything_vanishes(data):
    """The gradients of the examples vanish, too, so that nothing is left to compare with."""
    model = GRU4Rec(embedding_dim=2, hidden_dim=2, epochs=1, max_length=3, weight_decay=2.0)
    found = to_optimum(model.fit(data[0].filter(pl.col("user") < 3)))
    assert found.optimum_.converged
    assert found.optimum_.steps < 20
    assert all(float(p.detach().abs().max()) < 1e-6 for p in found.module_.parameters())


def test_an_optimum_out_of_reach_is_said(data):
    with pytest.warns(DataWarning, match="After 1 steps the gradient is still that of"):
        to_optimum(MODELS["bpr"]().fit(data[0]), tolerance=0.0, max_steps=1)


def test_descending_without_an_example_is_training_without_it(data):
    model = to_optimum(MODELS["squared"]().fit(data[0]), tolerance=1e-9)
    objective = objective_of(model)
    weights = np.ones(objective.n_examples)
    weights[5] = 0.0
    warm, _ = descend(objective.weighted(weights), tolerance=1e-9, warm=True)
    cold, _ = descend(objective.weighted(weights), tolerance=1e-9)
    assert warm.value() == pytest.approx(cold.value(), rel=1e-9)


def test_a_model_that_is_not_at_its_optimum_is_said(data):
    train, valid = data
    model = MODELS["squared"]()
    model.epochs = 2
    with pytest.warns(DataWarning, match="not at an optimum: its gradient is that of"):
        InfluenceFunction(solver="cg", damping=1.0).attribute(model.fit(train), valid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = InfluenceFunction().attribute(to_optimum(model), valid)
    assert found.metadata["gradient"] < 1e-6
    assert found.metadata["smallest_curvature"] > 0


def test_no_penalty_and_a_singular_hessian_is_said(data):
    train, valid = data
    lonely = BiasedMF(embedding_dim=8, weight_decay=0.0, epochs=3).fit(train)
    for solver in ("exact", "cg"):
        with pytest.raises(DataError, match="weight_decay above 0, or give damping"):
            InfluenceFunction(solver=solver).attribute(lonely, valid)


def test_a_user_with_fewer_ratings_than_parameters_makes_the_hessian_singular():
    """Whatever rounding errors make of the inverse of a singular block."""
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(6), [30, 30, 30, 30, 30, 2])
    items = np.concatenate([np.arange(30)] * 5 + [np.array([3, 4])])
    train = pl.DataFrame({"user": users, "item": items, "rating": rng.normal(3, 1, len(users))})
    model = BiasedMF(embedding_dim=3, weight_decay=0.0, epochs=5).fit(train)
    for solver in ("exact", "cg"):
        with pytest.raises(DataError, match="The Hessian is singular"):
            InfluenceFunction(solver=solver).attribute(model, train)


def test_an_indefinite_hessian_is_said(data):
    train, valid = data
    model = MODELS["squared"]()
    model.epochs, model.weight_decay = 1, 1e-6
    with pytest.warns(DataWarning, match="indefinite"):
        InfluenceFunction(solver="exact").attribute(model.fit(train), valid)


def test_too_few_steps_are_said(data):
    train, valid = data
    model = to_optimum(MODELS["squared"]().fit(train))
    with pytest.warns(DataWarning, match="stopped after 1 steps with a residual"):
        InfluenceFunction(solver="cg", max_iterations=1).attribute(model, valid)
    with pytest.raises(DataError, match="diverges; give a larger scale"):
        InfluenceFunction(solver="lissa", scale=1e-4).attribute(model, valid)


def test_samples_for_each_term_of_the_series_come_near(data):
    train, valid = data
    model = to_optimum(MODELS["squared"]().fit(train))
    exact = InfluenceFunction(solver="exact", damping=0.5).attribute(model, valid)
    with pytest.warns(DataWarning, match="residual"):
        drawn = InfluenceFunction(
            solver="lissa", damping=0.5, batch_size=40, scale=3.0, max_iterations=200
        ).attribute(model, valid)
    assert np.corrcoef(exact.scores, drawn.scores)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"solver": "cgg"}, "Did you mean 'cg'"),
        ({"outcome": "hits"}, "outcome must be one of"),
        ({"by": "rows"}, "by must be one of"),
        ({"damping": -1.0}, "damping must be a number of at least 0"),
        ({"temperature": 0.0}, "temperature must be a number above 0"),
        ({"scale": 0.0}, "scale must be a number above 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
    ],
)
def test_arguments_out_of_range(data, options, match):
    train, valid = data
    model = MODELS["squared"]().fit(train)
    with pytest.raises(ParameterError, match=match):
        InfluenceFunction(**options).attribute(model, valid)


def test_models_without_a_loss_are_refused(data):
    train, valid = data
    with pytest.raises(UnsupportedError, match="loss with a gradient"):
        InfluenceFunction().attribute(VMISKNN().fit(train), valid)
    with pytest.raises(NotFittedError, match="fit"):
        InfluenceFunction().attribute(MODELS["bpr"](), valid)
    with pytest.raises(UnsupportedError, match="known exactly by user"):
        InfluenceFunction(by="item").attribute(EASE().fit(train), valid)


def test_a_large_matrix_is_not_factorised(data, monkeypatch):
    from whence.influence.functions import solvers

    monkeypatch.setattr(solvers, "_LARGEST", 10)
    with pytest.raises(ParameterError, match="choose solver='cg'"):
        InfluenceFunction(solver="exact").attribute(
            to_optimum(MODELS["bpr"]().fit(data[0])), data[1]
        )
