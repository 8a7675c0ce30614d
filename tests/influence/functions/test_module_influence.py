"""Any differentiable model: products and influence against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from small_ratings import MODELS, ratings

from whence import GRU4Rec, LSTMRec, NeuMF, SASRec
from whence.errors import DataWarning, UnsupportedError
from whence.influence.functions import (
    InfluenceFunction,
    ask,
    descend,
    objective_of,
    relative_gradient,
    to_optimum,
)
from whence.influence.functions.modules import ModuleObjective

NEURAL = {
    "lstm": lambda: LSTMRec(
        embedding_dim=3, hidden_dim=3, positions="last", epochs=3, weight_decay=0.02
    ),
    "gru": lambda: GRU4Rec(embedding_dim=3, hidden_dim=3, epochs=3, weight_decay=0.02),
    "neumf": lambda: NeuMF(gmf_dim=2, mlp_dim=2, layers=(3,), epochs=3, weight_decay=0.02),
    "sasrec": lambda: SASRec(embedding_dim=4, epochs=3, weight_decay=0.02),
}


@pytest.mark.parametrize("name", NEURAL)
def test_products_are_finite_differences(name):
    fitted = objective_of(NEURAL[name]().fit(ratings()[0]))
    rng = np.random.default_rng(0)
    here = fitted.at(fitted.theta + 0.3 * rng.normal(size=len(fitted.theta)))
    way, h = rng.normal(size=(2, len(here.theta))), 1e-5
    for row, product in zip(way, here.hessian(0.1).apply(way)):
        ahead, behind = here.at(here.theta + h * row), here.at(here.theta - h * row)
        slope = (ahead.value() - behind.value()) / (2 * h)
        # Rectifiers have kinks, which a difference may stride over.
        assert here.gradient() @ row == pytest.approx(slope, rel=1e-3)
        bent = (ahead.gradient() - behind.gradient()) / (2 * h) + 0.1 * row
        np.testing.assert_allclose(product, bent, atol=1e-3 * np.abs(product).max())
    each = here.example_gradients(np.arange(here.n_examples))
    np.testing.assert_allclose(here.slopes(way), way @ each.T, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_factor_models_are_the_same_by_automatic_differentiation(name):
    train, valid = ratings()
    model = to_optimum(MODELS[name]().fit(train), tolerance=1e-9)
    ours = objective_of(model)
    theirs = ModuleObjective.of(model, epoch=0, layers="all")
    assert theirs.value() == pytest.approx(ours.value(), rel=1e-12)
    assert relative_gradient(theirs) < 1e-8
    method = InfluenceFunction(solver="cg", tolerance=1e-10)
    question = ask(model, valid)
    scores = [
        method.work_on(model, None, objective=objective, question=question).mean()
        for objective in (ours, theirs)
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-8)


@pytest.mark.parametrize("layers", ["all", "last"])
def test_influence_on_a_sequence_model_is_the_slope_of_retraining(layers):
    train, valid = ratings(n_users=5, n_items=7)
    model = NEURAL["lstm"]().fit(train)
    objective, how = descend(objective_of(model, layers=layers), tolerance=1e-8)
    assert how.converged
    question = ask(model, valid)
    method = InfluenceFunction(solver="cg", by="user", tolerance=1e-10, layers=layers)
    work = method.work_on(model, None, objective=objective, question=question)
    scores = work.mean()
    for s in (0, 5):
        values = []
        for sign in (1, -1):
            weights = np.ones(objective.n_examples)
            weights[s] += sign * 1e-3
            moved, _ = descend(objective.weighted(weights), tolerance=1e-8, warm=True)
            values.append(question.values(moved).mean())
        assert scores[s] == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-2, abs=1e-7)


def test_blocks_by_automatic_differentiation_are_those_of_the_formula():
    """With one rating asked of each user, the block of the outcome is that of the prediction."""
    train, valid = ratings()
    one = valid.unique("user", maintain_order=True)
    model = to_optimum(MODELS["squared"]().fit(train), tolerance=1e-9)
    theirs = ModuleObjective.of(model, epoch=0, layers="all")
    method = InfluenceFunction(solver="block", tolerance=1e-12)
    question = ask(model, one)
    ours = method.work_on(model, None, objective=objective_of(model), question=question)
    other = method.work_on(model, None, objective=theirs, question=question)
    np.testing.assert_allclose(other.mean(), ours.mean(), atol=1e-9)
    np.testing.assert_allclose(other.own(), ours.own(), atol=1e-9)


def test_blocks_of_a_network_are_the_part_of_its_hessian():
    train, _ = ratings()
    model = NeuMF(gmf_dim=2, mlp_dim=2, layers=(3,), epochs=10, weight_decay=0.05).fit(train)
    objective = objective_of(model)
    method = InfluenceFunction(solver="block", damping=0.3, tolerance=1e-12)
    with pytest.warns(DataWarning, match="optimum"):
        scores = method.explain_prediction(model, 4, 103, own=False)
    user = int(model.vocabulary.source_codes([4])[0])
    item = int(model.vocabulary.item_codes([103])[0])
    weights = np.zeros(model.n_items)
    weights[item] = 1.0
    gradient = objective.score_gradient(user, weights)
    sizes = (model.train_.n_sources, model.n_items)
    tables = np.concatenate([
        np.full(part.numel(), part.dim() == 2 and len(part) in sizes)
        for part in objective.split(gradient)
    ])  # fmt: skip
    block = np.flatnonzero(tables & (gradient != 0))
    hessian = objective.hessian(0.3).matrix()[np.ix_(block, block)]
    solved = np.linalg.solve(hessian, gradient[block])
    each = objective.example_gradients(np.arange(objective.n_examples))[:, block] @ solved
    expected = -each / objective.n_terms
    np.testing.assert_allclose(scores.scores[model.train_.rows], expected, atol=1e-8)


@pytest.mark.parametrize("outcome", ["loss", "mrr"])
def test_solvers_agree_about_a_network(outcome):
    train, valid = ratings(n_users=6, n_items=6)
    model = NEURAL["neumf"]().fit(train)
    # The network is at no minimum: the series converges if damping makes up for that.
    options = {"damping": 3.0, "outcome": outcome, "tolerance": 1e-10}
    with pytest.warns(DataWarning, match="optimum"):
        exact, cg, series = (
            InfluenceFunction(solver=solver, **options).attribute(model, valid).scores
            for solver in ("exact", "cg", "lissa")
        )
    assert np.abs(exact).max() > 0
    np.testing.assert_allclose(cg, exact, atol=1e-9)
    np.testing.assert_allclose(series, exact, atol=1e-8)


def test_the_last_layer_alone_is_a_part_of_all_parameters():
    train, valid = ratings(n_users=6, n_items=6)
    model = NEURAL["gru"]().fit(train)
    options = {"damping": 0.5, "layers": "last", "by": "user"}
    with pytest.warns(DataWarning, match="optimum"):
        exact, cg = (
            InfluenceFunction(solver=solver, tolerance=1e-10, **options).attribute(model, valid)
            for solver in ("exact", "cg")
        )
    assert exact.source == "user"
    assert exact.metadata["n_parameters"] < objective_of(model).theta.size
    np.testing.assert_allclose(cg.scores, exact.scores, atol=1e-9)


def test_what_sequence_models_cannot_be_asked():
    train, valid = ratings()
    model = NEURAL["gru"]().fit(train)
    with pytest.raises(UnsupportedError, match="outcome='loss'"):
        InfluenceFunction(outcome="ndcg").attribute(model, valid)
    with (
        pytest.warns(DataWarning, match="optimum"),
        pytest.raises(UnsupportedError, match="model of users and items"),
    ):
        InfluenceFunction(solver="block").attribute(model, valid)
    with pytest.raises(UnsupportedError, match="single predictions"):
        InfluenceFunction().explain_prediction(model, 4, 103)
