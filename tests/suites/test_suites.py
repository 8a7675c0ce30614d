"""Every implementation passes the suite of its protocol; new ones are found by registration."""

from __future__ import annotations

import pytest

import whence
from whence.attribution import METHODS
from whence.curation.disclosure.strategies import SIZED, STRATEGIES
from whence.models.base import MODELS
from whence.testing import (
    check_attributor,
    check_disclosure,
    check_explainer,
    check_recommender,
)

# Parameters that suit the small examples of the suites, where a model or method has them.
SMALL = {"epochs": 1, "batch_size": 16, "embedding_dim": 4, "hidden_dim": 4, "k": 3, "m": 6}
FEW = {"metric": "mrr@3"}
FEWER = {
    "retraining-shapley": {"max_permutations": 2},
    "influence-function": {"max_iterations": 20},
}
OF_TRAINING = [name for name in METHODS if METHODS[name].of_training]


SLOW_MODELS = {"als"}
SLOW_METHODS = {"retraining-shapley", "influence-function", "tracin-projection"}
SLOW_STRATEGIES = {"mirror", "budget", "threshold", "none", "all"}
SLOW = SLOW_MODELS | SLOW_METHODS | SLOW_STRATEGIES


def some(names):
    """Names as parameters; those of a suite that takes long are slow."""
    marks = {True: pytest.mark.slow, False: ()}
    return [pytest.param(name, marks=marks[name in SLOW]) for name in names]


def small(kind, given):
    return {name: value for name, value in given.items() if name in kind.parameter_types()}


@pytest.mark.parametrize("name", some(MODELS))
def test_recommenders(name):
    kind = MODELS[name]
    given = SMALL if name != "tifu" else {**SMALL, "m": 3}
    check_recommender(kind(**small(kind, given)))


@pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")
@pytest.mark.parametrize("name", some(OF_TRAINING))
def test_attributors(name):
    kind = METHODS[name]
    check_attributor(kind(**{**small(kind, FEW), **FEWER.get(name, {})}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")
@pytest.mark.parametrize("solver", ["ggn", "ekfac"])
def test_solvers_of_influence_functions(solver):
    check_attributor(whence.InfluenceFunction(solver=solver, max_iterations=5))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_TRAINING])
def test_explainers(name):
    check_explainer(METHODS[name](k=3))


@pytest.mark.parametrize("strategy", some(STRATEGIES))
def test_disclosures(strategy):
    size = {"n": 40} if strategy in SIZED else {}
    check_disclosure(whence.Disclosure(strategy=strategy, calibrate=False, **size))


def test_everything_is_found():
    assert {"vmis", "tifu", "itemknn", "popularity", "sasrec", "neumf"} <= set(MODELS)
    assert {"shapley", "leave-one-out", "banzhaf", "beta-shapley"} <= set(METHODS)
    assert {"tracin", "trak", "influence-function"} <= set(METHODS)
