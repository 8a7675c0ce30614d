"""Derivatives of training against finite differences of training, and what is refused."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from training_cases import MODELS, OPTIMIZERS, SMALL

import whence
from whence.engines import Run
from whence.engines import checkpoints as keeping
from whence.errors import DataWarning, UnsupportedError
from whence.influence.queries import query_examples
from whence.influence.reliability import reliability
from whence.influence.replay.adjoint import Trajectory
from whence.influence.replay.training import TrainingMap, replaying
from whence.models import TorchModel


def differences(model, data, examples, step=1e-5):
    """Values of examples by weighted retraining in double precision, central differences."""
    training = TrainingMap(model, model.epochs, model.seed, torch.float64)
    asked = query_examples(model, data)
    batch = asked.batch(np.arange(len(asked)))
    found = []
    for example in examples:
        outcomes = []
        for sign in (1.0, -1.0):
            weights = torch.ones(training.n, dtype=torch.float64)
            weights[example] += sign * step
            parameters = training.train(weights)
            with replaying(training.model), torch.no_grad():
                outcomes.append(float(training.losses(parameters, batch).mean()))
        found.append(-(outcomes[0] - outcomes[1]) / (2 * step))
    return np.array(found)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["neumf", "gru"])
def test_values_are_derivatives_of_training_for_every_optimizer(likes, name, optimizer):
    train, later = likes
    model = MODELS[name](**OPTIMIZERS[optimizer]).fit(train)
    values = whence.Replay(precision="float64").attribute(model, later).scores
    examples = [0, 1, len(values) // 2, len(values) - 1]
    expected = differences(model, later, examples)
    # Adagrad's root is not smooth at 0, where the step below is not small.
    np.testing.assert_allclose(values[examples], expected, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad", "averaged"])
def test_replayed_parameters_are_the_trained_ones(likes, name, optimizer):
    train, _ = likes
    settings = {**OPTIMIZERS[optimizer], "eps_root": 0.0}
    if name == "sasrec" and optimizer != "sgd":
        # The gradient of the keys' biases is rounding alone, which these optimisers make as large
        # as any.
        settings = OPTIMIZERS["adam"]
    model = MODELS[name](**settings).fit(train)
    training = TrainingMap(model, model.epochs, model.seed, torch.float32)
    trained = training.vector(dict(model.module_.named_parameters()))
    way = float((trained - training.initial).norm())
    assert float((training.train() - trained).norm()) < 1e-3 * way


def test_queries_differentiated_together_are_those_one_by_one(likes):
    train, later = likes
    model = MODELS["gru"](**OPTIMIZERS["adam"]).fit(train)
    method = whence.Replay(precision="float64")
    matrix = method.matrix(model, later)
    values = method.attribute(model, later)
    assert matrix.shape == (len(values), values.metadata["n_queries"])
    np.testing.assert_allclose(matrix.mean(axis=1), values.scores, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(values.scores_for(2), matrix[:, 2], rtol=1e-9, atol=1e-15)
    strongest = values.proponents(2, n=1)
    assert strongest["example"][0] == int(matrix[:, 2].argmax())


def test_sums_predict_retraining_without(likes):
    train, later = likes
    make = partial(MODELS["neumf"], eps_root=1e-4, learning_rate=0.01)
    model = make().fit(train)
    values = whence.Replay().attribute(model, later).scores
    asked = query_examples(model, later)

    def loss(fitted):
        with torch.no_grad():
            return float(fitted.example_loss(asked.batch(np.arange(len(asked)))).mean())

    rng = np.random.default_rng(0)
    gone = [rng.choice(len(values), 3, replace=False) for _ in range(12)]
    actual = [loss(make().fit(train, without=some)) for some in gone]
    predicted = [values[some].sum() for some in gone]
    assert spearmanr(predicted, actual)[0] > 0.9


def test_several_runs_are_those_of_their_seeds(likes):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    ours = whence.Replay(runs=3, by="user").attribute(model, later)
    single = []
    for seed in range(3):
        other = MODELS["bpr"](**OPTIMIZERS["adam"], seed=model.seed + seed).fit(train)
        # The queries have negatives by the model's seed; these are of the model itself.
        asked = query_examples(model, later)
        single.append(whence.Replay(by="user").attribute(other, asked).scores)
    np.testing.assert_allclose(ours.scores, np.mean(single, axis=0), rtol=1e-3, atol=1e-7)
    errors = np.std(single, axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(ours.std_errors, errors, rtol=1e-2, atol=1e-7)
    assert ours.metadata["about"] == "the expected run"
    assert -1 <= ours.metadata["reliability"] <= 1


def test_reliability_is_that_of_spearman_and_brown():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    by_run = truth + rng.normal(size=(6, 4000))
    # The mean of six runs has 6 parts of truth to 1 of noise.
    assert reliability(by_run) == pytest.approx(6 / 7, abs=0.01)
    assert reliability(by_run[:1]) is None


def test_early_stopping_is_replayed_up_to_the_best_epoch(likes, tmp_path):
    train, later = likes
    model = MODELS["gru"](**OPTIMIZERS["adam"] | {"epochs": 8})
    model.fit(train, validation=later, metric="mrr@3", patience=2)
    values = whence.Replay().attribute(model, later)
    assert values.metadata["epochs"] == model.best_["epoch"] < len(model.history_)
    assert values.metadata["difference"] < 1e-3
    loaded = whence.load_model(model.save(tmp_path / "model.whence"))
    assert (loaded.best_, loaded.history_) == (model.best_, model.history_)
    assert np.array_equal(whence.Replay().attribute(loaded, later).scores, values.scores)


def test_memory_is_that_of_the_root_of_the_steps(likes):
    train, _ = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"], batch_size=1).fit(train)
    training = TrainingMap(model, 3, model.seed, torch.float32)
    trajectory = Trajectory.of(training, lambda *_: None)
    assert training.n_steps == 3 * len(train)
    assert len(trajectory.kept) <= 2 * int(training.n_steps**0.5) + 2


def test_work_that_was_broken_off_goes_on(likes, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "_LONGEST_SHARE", float("inf"))
    train, later = likes
    model = MODELS["gru"](**OPTIMIZERS["adam"] | {"batch_size": 2}).fit(train)
    method = whence.Replay(runs=2)
    whole = method.attribute(model, later).scores
    for after in (5, 27, 33, 58):
        calls = []

        def stop(done, total, message, calls=calls, after=after):
            calls.append(done)
            if len(calls) > after:
                raise KeyboardInterrupt

        folder = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            method.attribute(model, later, run=Run(folder=folder, progress=stop))
        again = method.attribute(model, later, run=Run(folder=folder, resume=True))
        assert np.array_equal(again.scores, whole)


def test_what_is_not_smooth_is_warned_of(likes):
    train, later = likes
    rough = whence.NeuMF(gmf_dim=2, mlp_dim=2, layers=(2,), **SMALL).fit(train)
    with pytest.warns(DataWarning, match=r"not smooth .*rectified.*whence\.smooth"):
        whence.Replay().attribute(rough, later)
    smooth = whence.smooth(whence.NeuMF(gmf_dim=2, mlp_dim=2, layers=(2,), **SMALL)).fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whence.Replay().attribute(smooth, later)
    assert whence.smooth(whence.BPRMF(optimizer="sgd")).eps_root == 0


def test_a_model_that_was_moved_is_refused(likes):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    with torch.no_grad():
        next(model.module_.parameters()).mul_(1.3)
    with pytest.raises(UnsupportedError, match="as fit"):
        whence.Replay().attribute(model, later)
    partly = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train, without=[0, 1, 2, 3, 4, 5])
    with pytest.raises(UnsupportedError, match="on all its data"):
        whence.Replay().attribute(partly, later)


def test_what_cannot_be_replayed_is_refused(likes, monkeypatch):
    train, later = likes
    with pytest.raises(UnsupportedError, match="cannot be replayed"):
        whence.Replay().attribute(whence.ItemKNN().fit(train), later)
    assert TorchModel is not None
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    model.module_.norm = torch.nn.BatchNorm1d(2)
    with pytest.raises(UnsupportedError, match="statistics of batches"):
        whence.Replay().attribute(model, later)
    del model.module_.norm
    monkeypatch.setattr("whence.influence.replay.replayed.available_memory", lambda: 100.0)
    with pytest.raises(whence.errors.DataError, match="GiB of memory are free"):
        whence.Replay().attribute(model, later)
