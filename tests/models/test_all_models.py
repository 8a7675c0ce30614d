"""What holds for every registered model: scikit-learn's tools, repr, seeds, errors."""

from __future__ import annotations

import copy

import pytest
from oracles import random_baskets, random_sessions

import whence
from whence.errors import ArgumentError, ParameterError
from whence.models._registered import MODELS

pytest.importorskip("torch")
pytest.importorskip("implicit")

import numpy as np


@pytest.fixture(params=MODELS.names())
def model_class(request):
    return MODELS[request.param]


# Another value than the default for parameters of every kind.
OTHERS = {
    "exclude_seen": False,
    "k": 7,
    "m": 9,
    "seed": 3,
    "layers": (5,),
    "l2": 0.5,
    "similarity": None,
    "epochs": 2,
    "learning_rate": 0.25,
    "user_features": ["age"],
}


def other(model_class):
    kinds = model_class.parameter_types()
    return {key: value for key, value in OTHERS.items() if key in kinds and value is not None}


def test_names(model_class):
    assert MODELS[model_class.__name__] is model_class
    assert MODELS[model_class.__name__.upper()] is model_class
    assert MODELS[MODELS.name_of(model_class)] is model_class


def test_clone_of_scikit_learn(model_class):
    base = pytest.importorskip("sklearn.base")
    model = model_class(**other(model_class))
    twin = base.clone(model)
    assert type(twin) is model_class
    assert twin is not model
    assert twin.get_params() == model.get_params() == {**model_class().params, **other(model_class)}


def test_a_search_over_parameters(model_class):
    selection = pytest.importorskip("sklearn.model_selection")
    base = pytest.importorskip("sklearn.base")
    grid = {key: [model_class().params[key], value] for key, value in other(model_class).items()}
    seen = []
    for params in selection.ParameterGrid(grid):
        model = base.clone(model_class()).set_params(**params)
        seen.append({key: model.get_params()[key] for key in grid})
    assert seen == list(selection.ParameterGrid(grid))


def test_repr_is_how_it_was_made(model_class):
    for params in ({}, other(model_class)):
        model = model_class(**params)
        again = eval(repr(model), {model_class.__name__: model_class})
        assert again.params == model.params
    assert repr(model_class()) == f"{model_class.__name__}()"


def test_copies_are_independent(model_class):
    model = model_class()
    twin = copy.deepcopy(model)
    name, value = next(iter(other(model_class).items()))
    twin.set_params(**{name: value})
    assert model.params == model_class().params


def test_wrong_words(model_class):
    name = next(iter(model_class.parameter_types()))
    with pytest.raises(ArgumentError, match=f"^{model_class.__name__} has no .*mean '{name}'"):
        model_class(**{f"{name}x": 1})
    with pytest.raises(ArgumentError, match=f"^{model_class.__name__} takes its parameters by"):
        model_class(3)
    with pytest.raises(ParameterError, match="run must be a whence.Run"):
        model_class().fit(table(model_class), run=3)
    with pytest.raises(ParameterError, match=r"write fit\(train, run=whence.Run\(folder="):
        model_class().fit(table(model_class), folder="here")
    with pytest.raises(ParameterError, match="Did you mean 'session'"):
        model_class().fit(table(model_class), sesion="session_id")


def table(model_class):
    rng = np.random.default_rng(0)
    return random_baskets(rng, 12, 12) if model_class is whence.TIFUKNN else rated(rng)


def rated(rng):
    sessions = random_sessions(rng, 25, 12).rename({"session_id": "user_id"})
    return sessions.with_columns(rating=rng.integers(1, 6, len(sessions)))


def test_the_seed_of_a_run_is_that_of_the_model(model_class):
    if "seed" not in model_class.parameter_types():
        pytest.skip("nothing is drawn")
    small = {"epochs": 1, "iterations": 2, "embedding_dim": 4, "factors": 4}
    small = {key: value for key, value in small.items() if key in model_class.parameter_types()}
    train = table(model_class)
    model = model_class(**small, seed=1).fit(train, run=whence.Run(seed=5))
    assert model.params["seed"] == 5
    same, others = (model_class(**small, seed=seed).fit(train) for seed in (5, 1))
    asked = model.user_queries(model.vocabulary.sources.to_list())
    np.testing.assert_array_equal(same.score_codes(asked), model.score_codes(asked))
    assert not np.array_equal(others.score_codes(asked), model.score_codes(asked))


def test_validation_and_run_are_taken_by_every_model(model_class):
    small = {"epochs": 1} if "epochs" in model_class.parameter_types() else {}
    train = table(model_class)
    model = model_class(**small)
    run = whence.Run(threads=1)
    assert model.fit(train, validation=train, run=run) is model
