"""Influence in factor models against what retraining does, and solvers against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_ratings import MODELS, ratings

from whence.influence.functions import InfluenceFunction, to_optimum
from whence.influence.functions.optimum import descend, relative_gradient
from whence.influence.functions.outcomes import ask
from whence.influence.functions.reading import objective_of


@pytest.fixture(scope="module")
def fitted():
    train, valid = ratings()
    return {
        name: to_optimum(make().fit(train), tolerance=1e-10) for name, make in MODELS.items()
    }, valid


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_are_those_of_the_module(fitted, name):
    model = fitted[0][name]
    objective = objective_of(model)
    batch = model.examples_.batch(np.arange(len(model.examples_)))
    parameters = list(model.module_.parameters())
    assert parameters[0].dtype == torch.float64
    penalty = 0.5 * model.weight_decay * sum((p**2).sum() for p in parameters)
    value = model.example_loss(batch).sum() / len(batch["user"]) + penalty
    assert objective.value() == pytest.approx(float(value.detach()), rel=1e-12)
    assert objective.n_terms == len(batch["user"])


@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_products_are_finite_differences(fitted, name):
    objective = objective_of(fitted[0][name])
    rng = np.random.default_rng(1)
    here = objective.at(objective.theta + 0.3 * rng.normal(size=len(objective.theta)))
    way = rng.normal(size=(2, len(here.theta)))
    h = 1e-5
    for row, product in zip(way, here.hessian().apply(way)):
        ahead, behind = here.at(here.theta + h * row), here.at(here.theta - h * row)
        assert here.gradient() @ row == pytest.approx(
            (ahead.value() - behind.value()) / (2 * h), rel=1e-6
        )
        np.testing.assert_allclose(
            product, (ahead.gradient() - behind.gradient()) / (2 * h), atol=1e-7
        )
    slopes = here.slopes(way)
    np.testing.assert_allclose(
        slopes, way @ here.example_gradients(np.arange(here.n_examples)).T, atol=1e-12
    )
    norms = np.linalg.norm(here.example_gradients(np.arange(here.n_examples)), axis=1)
    if name != "bpr" and name != "logistic":
        assert here.gradient_scale() == pytest.approx(norms.mean() / here.n_terms)


@pytest.mark.parametrize("name", MODELS)
def test_influence_is_the_slope_of_retraining(fitted, name):
    models, valid = fitted
    model = models[name]
    objective, question = objective_of(model), ask(model, valid)
    assert relative_gradient(objective) < 1e-9
    V = InfluenceFunction(solver="exact", by="example").matrix(model, valid)
    h = 1e-3
    for s in range(0, objective.n_examples, 7):
        values = []
        for sign in (1, -1):
            weights = np.ones(objective.n_examples)
            weights[s] += sign * h
            moved, how = descend(objective.weighted(weights), tolerance=1e-10, warm=True)
            assert how.gradient < 1e-8
            values.append(question.values(moved))
        np.testing.assert_allclose(V[:, s], (values[0] - values[1]) / (2 * h), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_solvers_agree(fitted, name):
    models, valid = fitted
    exact = InfluenceFunction(solver="exact").attribute(models[name], valid)
    cg = InfluenceFunction(solver="cg", tolerance=1e-10).attribute(models[name], valid)
    series = InfluenceFunction(solver="lissa", tolerance=1e-9, max_iterations=200_000).attribute(
        models[name], valid
    )
    np.testing.assert_allclose(cg.scores, exact.scores, atol=1e-9)
    np.testing.assert_allclose(series.scores, exact.scores, atol=1e-7)
    assert cg.metadata["residual"] < 1e-9
    assert exact.metadata["smallest_curvature"] > 0
