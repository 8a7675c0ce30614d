"""TracIn over every step: against explicit sums, and the differences that single steps make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_cases import MODELS, OPTIMIZERS

import whence
from whence.engines import Run
from whence.engines import checkpoints as keeping
from whence.errors import ParameterError, UnsupportedError
from whence.influence import query_examples
from whence.influence.replay.training import TrainingMap, replaying

SINGLE = {"epochs": 3, "batch_size": 1000, "optimizer": "sgd", "learning_rate": 0.5}


def gradients(model, batch):
    """Gradients of the losses of examples by all parameters, float64 [n, P]."""
    parameters = list(model.module_.parameters())
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
        for loss in model.example_loss(batch)
    ]
    return torch.stack(rows).double().numpy()


def test_one_step_each_epoch_is_the_explicit_sum(likes):
    train, later = likes
    model = MODELS["neumf"](**SINGLE).fit(train, checkpoints=1)
    asked = query_examples(model, later)
    start = TrainingMap(model, 3, model.seed, torch.float32)
    states = [start.named(start.initial), *(one.module for one in model.checkpoints_[:-1])]
    expected, n = 0.0, len(model.examples_)
    for epoch, state in enumerate(states):
        other = MODELS["neumf"](**SINGLE, seed=model.seed).fit(train)
        other.module_.load_state_dict(dict(state))
        own = gradients(other, model.examples_.batch(np.arange(n), epoch))
        wanted = gradients(other, asked.batch(np.arange(len(asked))))
        expected = expected + 0.5 / n * own @ wanted.T
    method = whence.TracIn(every_step=True, precision="float64")
    np.testing.assert_allclose(method.matrix(model, asked), expected, rtol=1e-3, atol=1e-7)
    values = method.attribute(model, asked)
    np.testing.assert_allclose(values.scores, expected.sum(axis=1), rtol=1e-3, atol=1e-7)
    assert values.metadata["weighting"] == "sgd"


def steps_of(model):
    """Training in double precision: number of each step, state before and after."""
    training = TrainingMap(model, model.epochs, model.seed, torch.float64)
    state, found = training.start(), []
    with replaying(training.model):
        for number in range(1, training.n_steps + 1):
            after = training.advance(state, number)
            found.append((number, state, after))
            state = after
    return training, found


@pytest.mark.parametrize("name", ["neumf", "gru"])
def test_it_is_what_single_steps_change(likes, name):
    """By how much the loss falls along what a step changes by because of an example."""
    train, later = likes
    model = MODELS[name](**OPTIMIZERS["sgd"]).fit(train)
    asked = query_examples(model, later)
    batch = asked.batch(np.arange(len(asked)))
    training, steps = steps_of(model)
    examples, small = [0, 1, training.n - 1], 1e-4
    expected = np.zeros(len(examples))
    with replaying(training.model), torch.no_grad():
        for number, state, _ in steps:
            for place, example in enumerate(examples):
                ends = []
                for sign in (1.0, -1.0):
                    weights = torch.ones(training.n, dtype=torch.float64)
                    weights[example] += sign
                    ends.append(training.advance(state, number, weights)[0])
                way = small * (ends[0] - ends[1]) / 2
                losses = [training.losses(state[0] + s * way, batch).sum() for s in (1.0, -1.0)]
                expected[place] -= float(losses[0] - losses[1]) / (2 * small)
    values = whence.TracIn(every_step=True, precision="float64").attribute(model, asked)
    np.testing.assert_allclose(values.scores[examples], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_are_weighted_and_clipped_as_the_optimizer_does(likes, optimizer):
    train, later = likes
    model = MODELS["gru"](**OPTIMIZERS[optimizer]).fit(train)
    asked = query_examples(model, later)
    batch = asked.batch(np.arange(len(asked)))
    training, steps = steps_of(model)
    expected = np.zeros(training.n)
    settings = OPTIMIZERS[optimizer]
    with replaying(training.model):
        for number, state, after in steps:
            parameters = state[0].clone().requires_grad_()
            (slope,) = torch.autograd.grad(training.losses(parameters, batch).sum(), parameters)
            if settings["optimizer"].startswith("adam"):
                root = (after[2] / (1 - 0.999**number) + settings["eps_root"]).sqrt() + 1e-8
                slope = slope / root
            elif optimizer == "adagrad":
                slope = torch.where(after[1] > 0, slope / (after[1].sqrt() + 1e-10), 0.0)
            small = 1e-4 / float(slope.abs().max())
            found = training.losses_of_step(parameters, number)
            mean = found.losses.sum() / found.divisor
            (gradient,) = torch.autograd.grad(mean, parameters)
            factor = training.rate(number)
            if "gradient_clip" in settings:
                factor *= min(1.0, settings["gradient_clip"] / (float(gradient.norm()) + 1e-6))
            ends = [
                training.losses_of_step(state[0] + s * small * slope, number).losses
                for s in (1.0, -1.0)
            ]
            change = (ends[0] - ends[1]).detach().numpy() / (2 * small)
            np.add.at(expected, found.numbers, factor / found.divisor * change)
    values = whence.TracIn(every_step=True, precision="float64").attribute(model, asked)
    np.testing.assert_allclose(values.scores, expected, rtol=1e-4, atol=1e-7)


def test_lists_pairs_and_sums_agree(likes, tmp_path):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    method = whence.TracIn(every_step=True, precision="float64")
    pairs = method.matrix(model, later)
    values = method.per_query(model, later, 3)
    np.testing.assert_allclose(values.scores, pairs.sum(axis=1), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(method.attribute(model, later).scores, values.scores, rtol=1e-8)
    assert values.proponents(1, 3)["example"].to_list() == np.argsort(-pairs[:, 1])[:3].tolist()
    np.testing.assert_allclose(values.scores_for(2), pairs[:, 2], rtol=1e-9, atol=1e-15)
    written = method.matrix(model, later, tmp_path / "pairs.npy")
    assert np.array_equal(written, pairs)
    some = whence.TracIn(every_step=True, layers="embedding", by="user").attribute(model, later)
    assert len(some) == 9
    assert some.metadata["params"]["every_step"]


def test_training_after_the_best_epoch_counts_on_request(likes):
    train, later = likes
    model = MODELS["gru"](**OPTIMIZERS["adam"] | {"epochs": 8})
    model.fit(train, validation=later, metric="mrr@3", patience=2)
    best, last = (
        whence.TracIn(every_step=True, until=until).attribute(model, later)
        for until in ("best", "last")
    )
    assert best.metadata["epochs"] == model.best_["epoch"] < last.metadata["epochs"]
    assert last.metadata["epochs"] == len(model.history_)
    assert not np.array_equal(best.scores, last.scores)


def test_work_that_was_broken_off_goes_on(likes, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "_LONGEST_SHARE", float("inf"))
    monkeypatch.setattr("whence.influence.replay.every_step._TOGETHER", 500)
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    method = whence.TracIn(every_step=True)
    whole = method.matrix(model, later)
    calls = []

    def stop(done, total, message):
        calls.append(done)
        if len(calls) > 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method.matrix(model, later, run=Run(folder=tmp_path, progress=stop))
    again = method.matrix(model, later, run=Run(folder=tmp_path, resume=True))
    assert np.array_equal(again, whole)


def test_what_has_no_meaning_is_refused(likes):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["sgd"]).fit(train)
    for setting in ({"checkpoints": "final"}, {"learning_rate": 0.1}, {"normalise": "cosine"}):
        with pytest.raises(ParameterError, match="no meaning with every_step"):
            whence.TracIn(every_step=True, **setting).attribute(model, later)
    with pytest.raises(UnsupportedError, match="it is 'sgd'"):
        whence.TracIn(every_step=True, weighting="adam").attribute(model, later)
    with pytest.raises(ParameterError, match="computed at checkpoints"):
        whence.TracIn(every_step=True).self_influence(model)
    with pytest.raises(UnsupportedError, match="cannot be replayed"):
        whence.TracIn(every_step=True).check_model(whence.ItemKNN())
