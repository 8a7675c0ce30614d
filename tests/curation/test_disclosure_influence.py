"""What disclosure takes for V, against retraining with other weights, and when it is doubtful."""

from __future__ import annotations

import numpy as np
import pytest
from disclosing import fitted, parts

from whence import BPRMF, RBM
from whence.curation.disclosure import Disclosure
from whence.data import Interactions
from whence.errors import DataError, DataWarning, ParameterError, UnsupportedError
from whence.influence.functions import InfluenceFunction, descend, objective_of, to_optimum
from whence.models.matrix.mf import BiasedMF

STEP = 1e-3


SMALL = {"embedding_dim": 2, "epochs": 10}
MODELS = {
    "squared": lambda: BiasedMF(weight_decay=0.05, **SMALL),
    "logistic": lambda: BiasedMF(loss="logistic", n_negatives=2, weight_decay=0.05, **SMALL),
    "bpr": lambda: BPRMF(weight_decay=0.02, **SMALL),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_are_slopes_of_the_retrained_quality(name):
    train, validation, _ = parts(n_users=12, n_items=9)
    model = to_optimum(MODELS[name]().fit(Interactions.from_frame(train, user="user")))
    exact = InfluenceFunction(solver="exact")
    asked = Disclosure(calibrate=False, influence=exact, own_influence=exact).pose(
        model, validation, willingness="no"
    )
    objective = objective_of(model)
    owner = model.examples_.sources(np.arange(objective.n_examples))
    row_of = asked.measured.example_rows[0]
    question = asked.measured.yardstick.question
    for example in np.random.default_rng(0).choice(objective.n_examples, 6, replace=False):
        ends = []
        for sign in (1, -1):
            weights = np.ones(objective.n_examples)
            weights[example] += sign * STEP
            there, _ = descend(objective.weighted(weights), tolerance=1e-9, warm=True)
            ends.append(question.values(there))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        row = row_of[example]
        assert asked.influences[row] == pytest.approx(slope.sum(), rel=1e-3, abs=1e-6)
        mine = slope[question.sources == owner[example]].sum()
        assert asked.own_values[row] == pytest.approx(mine, rel=1e-3, abs=1e-6)


def test_plans_say_how_far_their_values_can_be_trusted():
    train, validation, _ = parts()
    asked = Disclosure(lam=0.01).pose(fitted(train), validation, willingness="no")
    for strategy in ("social", "selfish"):
        facts = asked.solve(strategy).metadata
        assert facts["residual"] < 1e-5
        assert facts["gradient"] < 1e-4
        assert facts["smallest_curvature"] > 0


def test_a_model_beside_its_optimum_is_said_once():
    train, validation, _ = parts()
    data = Interactions.from_frame(train, user="user")
    model = BiasedMF(embedding_dim=2, weight_decay=0.05, epochs=1).fit(data)
    asked = Disclosure(lam=0.0).pose(model, validation, willingness="no")
    with pytest.warns(DataWarning, match="not at an optimum") as caught:
        assert asked.values.shape == (len(train),)
    assert sum("not at an optimum" in str(w.message) for w in caught) == 1


def test_a_singular_hessian_is_refused():
    train, validation, _ = parts()
    data = Interactions.from_frame(train, user="user")
    # More parameters than a user has ratings: nothing holds them all in place.
    model = BiasedMF(embedding_dim=16, weight_decay=0.0, epochs=5).fit(data)
    for solver in ("cg", "exact"):
        asked = Disclosure(calibrate=False, influence=InfluenceFunction(solver=solver)).pose(
            model, validation, willingness="no"
        )
        with pytest.raises(DataError, match="The Hessian is singular"):
            asked.solve()


def test_models_without_interactions_as_examples_are_refused():
    train, validation, _ = parts()
    data = Interactions.from_frame(train, user="user")
    model = RBM(hidden_units=3, epochs=1).fit(data)
    with pytest.raises(UnsupportedError, match="RBM learns from whole histories"):
        Disclosure().pose(model, validation, willingness="no")


def test_lambda_below_zero_is_refused_everywhere():
    train, validation, _ = parts()
    model = fitted(train)
    asked = Disclosure(calibrate=False).pose(model, validation, willingness="no")
    for call in (
        lambda: Disclosure(lam=-1.0).pose(model, validation, willingness="no"),
        lambda: asked.solve(lam=-1.0),
        lambda: asked.at(-1.0),
        lambda: asked.frontier([1.0, -1.0], strategies=("social",)),
    ):
        with pytest.raises(ParameterError, match="lam must be a number of at least 0"):
            call()
