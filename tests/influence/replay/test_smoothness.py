"""What `whence.smooth` sets, and that its models are trained more smoothly."""

from __future__ import annotations

import pytest
import torch

import whence
from whence.errors import UnsupportedError
from whence.influence.replay.training import TrainingMap


def test_what_is_set():
    rough = whence.SASRec(epochs=8, learning_rate=2e-3)
    smooth = whence.smooth(rough)
    changed = {name: value for name, value in smooth.params.items() if rough.params[name] != value}
    assert changed == {
        "activation": "gelu",
        "averaging": 2.0,
        "eps_root": 1e-6,
        "initial_std": 0.1,
        "learning_rate": 5e-3,
        "norm_eps": 1e-2,
    }
    assert whence.smooth(smooth).params == smooth.params


def test_what_is_smoother_already_stays():
    model = whence.GRU4Rec(eps_root=1e-4, learning_rate=0.3, averaging=50.0, initial_std=0.3)
    assert whence.smooth(model).params == model.params
    descent = whence.smooth(whence.BPRMF(optimizer="sgd", learning_rate=0.2))
    assert (descent.eps_root, descent.learning_rate) == (0.0, 0.2)


def test_models_without_steps_are_refused():
    with pytest.raises(UnsupportedError, match="not trained by steps"):
        whence.smooth(whence.VMISKNN())


@pytest.mark.parametrize("kind", [whence.GRU4Rec, whence.SASRec])
def test_smooth_training_predicts_what_leaving_out_does(kind):
    data = whence.make_sessions(n_sessions=40, seed=1).train
    sizes = {"embedding_dim": 8, "dropout": 0.0, "epochs": 3, "batch_size": 8, "max_length": 6}
    model = kind(**sizes, learning_rate=1e-2)

    def error(model):
        """How far a whole removal is from what its first hundredth tells, relative to it."""
        model.train_ = model._taken(data, {})
        training = TrainingMap(model, model.epochs, model.seed, torch.float64)
        weights = torch.ones(training.n, dtype=torch.float64)
        ends = [training.train(weights)]
        for left in (0.99, 0.0):
            weights[::10] = left
            ends.append(training.train(weights))
        told, change = (ends[1] - ends[0]) / 0.01, ends[2] - ends[0]
        return float((change - told).norm() / change.norm())

    assert error(whence.smooth(model)) < 0.9 * error(model)
