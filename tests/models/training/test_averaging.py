"""Averaged parameters against their definition, and what validation and checkpoints see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import random_sessions

torch = pytest.importorskip("torch")

from whence import GRU4Rec  # noqa: E402
from whence.models.training.averaging import mean_weight  # noqa: E402

SMALL = {"embedding_dim": 5, "hidden_dim": 4, "max_length": 4, "epochs": 3, "dropout": 0.0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    return random_sessions(rng, 30, 10), random_sessions(rng, 10, 10)


def parameters(state):
    return {name: value.double() for name, value in state.items()}


def test_weights_of_steps_are_those_of_the_definition():
    epochs, per_epoch, n = 1.5, 4, 9
    weights = np.zeros(n)
    for number in range(1, n + 1):
        share = mean_weight(epochs, per_epoch, number)
        weights *= 1.0 - share
        weights[number - 1] = share
    expected = np.exp(-np.arange(n)[::-1] / (epochs * per_epoch))
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-12)


def test_model_has_the_mean_of_its_steps(data):
    train, _ = data
    # One batch is one epoch, so that checkpoints hold the parameters after every step.
    plain = GRU4Rec(**SMALL, batch_size=1000).fit(train, checkpoints=1)
    averaged = GRU4Rec(**SMALL, batch_size=1000, averaging=2.0).fit(train, checkpoints=1)
    steps = [parameters(one.module) for one in plain.checkpoints_]
    for epoch, one in enumerate(averaged.checkpoints_, 1):
        weights = np.array([math.exp(-(epoch - s) / 2.0) for s in range(1, epoch + 1)])
        weights /= weights.sum()
        for name, value in parameters(one.module).items():
            mean = sum(w * step[name] for w, step in zip(weights, steps))
            np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-7)
    for name, value in averaged.module_.state_dict().items():
        assert torch.equal(value, averaged.checkpoints_[-1].module[name])
    losses = [entry["loss"] for entry in plain.history_]
    assert [entry["loss"] for entry in averaged.history_] == losses


def test_best_epoch_is_that_of_the_means(data):
    train, valid = data
    options = {**SMALL, "batch_size": 8, "learning_rate": 0.05, "averaging": 1.0, "epochs": 5}
    model = GRU4Rec(**options).fit(train, validation=valid, metric="mrr@5", checkpoints=1)
    best = model.checkpoints_[model.best_["epoch"] - 1].module
    assert all(torch.equal(value, best[name]) for name, value in model.module_.state_dict().items())
    assert model.best_["value"] == max(e["metrics"]["mrr@5"] for e in model.history_)
