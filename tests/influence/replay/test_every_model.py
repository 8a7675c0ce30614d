"""Every model that Whence trains by gradients is replayed, modules of others among them."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.nn import functional
from training_cases import MODELS, OPTIMIZERS, SMALL, WINDOWS

import whence
from whence.errors import DataError, UnsupportedError
from whence.influence.replay.training import TrainingMap, replaying
from whence.models.adapters import TorchModel
from whence.models.base import MODELS as REGISTERED
from whence.models.training import DifferentiableRecommender

SMOOTH = {"optimizer": "adam", "eps_root": 1e-6}


class Mean(nn.Module):
    """Scores by the mean of the embeddings of a window."""

    def __init__(self, n_items):
        super().__init__()
        self.items = nn.Embedding(n_items + 1, 4, padding_idx=n_items)
        self.dense = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.2))

    def forward(self, items, lengths):
        mean = self.items(items).sum(1) / lengths[:, None]
        return self.dense(mean) @ self.items.weight[:-1].T


class Attending(nn.Module):
    """Scores by an encoder of torch over a window."""

    def __init__(self, n_items):
        super().__init__()
        self.items = nn.Embedding(n_items + 1, 4, padding_idx=n_items)
        self.encoder = nn.TransformerEncoderLayer(
            4, 2, dim_feedforward=6, dropout=0.1, activation="gelu", batch_first=True
        )

    def forward(self, items, lengths):
        hidden = self.encoder(self.items(items))
        return hidden[torch.arange(len(items)), lengths - 1] @ self.items.weight[:-1].T


class Products(nn.Module):
    """Scores of pairs."""

    def __init__(self, n_users, n_items):
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, 3), nn.Embedding(n_items, 3)

    def forward(self, users, items):
        return (self.users(users) * self.items(items)).sum(-1)


def last_step(scores, labels):
    return functional.cross_entropy(scores, labels, reduction="none", label_smoothing=0.1)


TORCH = {"max_length": 4, **SMALL, **SMOOTH}
CASES = {
    **{name: lambda name=name: MODELS[name](**SMOOTH) for name in MODELS},
    "mf": lambda: whence.BiasedMF(embedding_dim=3, **SMALL, **SMOOTH),
    "mf-logistic": lambda: whence.BiasedMF(
        embedding_dim=3, loss="logistic", n_negatives=2, **SMALL, **SMOOTH
    ),
    "rbm": lambda: whence.RBM(hidden_units=3, **SMALL, **SMOOTH),
    "gru-last": lambda: whence.GRU4Rec(
        hidden_dim=3, positions="last", loss="bpr_max", n_negatives=3, **WINDOWS, **SMALL, **SMOOTH
    ),
    "lstm-sampled": lambda: whence.LSTMRec(
        hidden_dim=3, loss="sampled_cross_entropy", n_negatives=3, **WINDOWS, **SMALL, **SMOOTH
    ),
    "gru-features": lambda: whence.GRU4Rec(
        hidden_dim=3,
        item_features=["genres"],
        context_features=["rating"],
        dropout=0.3,
        **WINDOWS,
        **SMALL,
        **SMOOTH,
    ),
    "torch": lambda: TorchModel(lambda train: Mean(train.n_items), **TORCH),
    "torch-module": lambda: TorchModel(Mean(12), loss=last_step, **TORCH),
    "torch-attention": lambda: TorchModel(lambda train: Attending(train.n_items), **TORCH),
    "torch-pairs": lambda: TorchModel(
        lambda train: Products(train.n_sources, train.n_items), takes="pairs", **TORCH
    ),
}


@pytest.fixture(scope="module")
def rated(likes):
    """With ratings."""
    rng = np.random.default_rng(0)
    genres = [["a"], ["a", "b"], [], ["c", "b"]] * 3
    items = pl.DataFrame({"item_id": np.arange(12), "genres": genres})
    return tuple(
        whence.Interactions.from_frame(
            part.with_columns(rating=pl.Series(rng.integers(1, 6, len(part)).astype(float)))
        ).with_tables(items=items)
        for part in likes
    )


def test_no_model_is_forgotten():
    trained = {
        REGISTERED[name].__name__
        for name in REGISTERED.names()
        if issubclass(REGISTERED[name], DifferentiableRecommender)
    }
    assert trained == {type(make()).__name__ for make in CASES.values()} - {"TorchModel"}


@pytest.mark.parametrize("name", CASES)
def test_values_are_derivatives_of_training(rated, name):
    train, _ = rated
    torch.manual_seed(2)  # of a module that is given as it is
    model = CASES[name]().fit(train)
    asked = 4 if model.asks == "users" else [1, 2]
    outcome = whence.Prediction(3, asked) - whence.Prediction(7, asked)
    values = whence.Replay(outcome=outcome, precision="float64").attribute(model)
    assert values.metadata["difference"] < 1e-4
    assert values.metadata["about"] == "this run"
    training = TrainingMap(model, model.epochs, model.seed, torch.float64)
    expected, examples, step = [], [0, training.n - 1], 1e-5
    for example in examples:
        ends = []
        for sign in (1.0, -1.0):
            weights = torch.ones(training.n, dtype=torch.float64)
            weights[example] += sign * step
            parameters = training.train(weights)
            with replaying(training.model), torch.no_grad():
                ends.append(float(training.evaluated(parameters, outcome, training.model, {})))
        expected.append((ends[0] - ends[1]) / (2 * step))
    np.testing.assert_allclose(values.scores[examples], expected, rtol=2e-4, atol=1e-8)


def test_a_module_trained_elsewhere_is_refused(likes):
    model = TorchModel(Mean(12), trained=True).fit(likes[0])
    with pytest.raises(UnsupportedError, match="trained elsewhere"):
        whence.Replay().attribute(model, likes[1])
    with pytest.raises(UnsupportedError, match="trained elsewhere"):
        whence.TracIn(every_step=True).attribute(model, likes[1])


def test_a_loss_that_depends_on_the_batch_is_refused(likes):
    def beside_others(scores, labels):
        return last_step(scores - scores.mean(0), labels)

    model = TorchModel(lambda train: Mean(train.n_items), loss=beside_others, **TORCH)
    model.fit(likes[0])
    with pytest.raises(UnsupportedError, match="depends on the batch"):
        whence.Replay().attribute(model, likes[1])


class Foreign(whence.BPRMF):
    """Trained by an optimiser of its own."""

    def _optimizer(self):
        optimizer = torch.optim.RMSprop(self.module_.parameters(), lr=self.learning_rate)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1.0)


def test_a_foreign_optimizer_is_refused(likes):
    model = Foreign(embedding_dim=3, **SMALL).fit(likes[0])
    with pytest.raises(UnsupportedError, match="optimiser of its own"):
        whence.Replay().attribute(model, likes[1])


@pytest.mark.parametrize("checkpoints", [None, 1])
def test_changed_data_is_refused(likes, checkpoints):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train, checkpoints=checkpoints)
    model.train_ = whence.Interactions.from_frame(train[:-1])
    with pytest.raises(DataError, match="changed since the fit"):
        whence.Replay().attribute(model, later)


def test_a_run_without_its_seed_is_refused(likes):
    train, later = likes
    model = MODELS["bpr"](**OPTIMIZERS["adam"]).fit(train)
    other = copy.copy(model).set_params(seed=model.seed + 1)
    with pytest.raises(UnsupportedError, match="seed"):
        whence.Replay().attribute(other, later)
    rng = np.random.default_rng(0)

    def drawn(data):
        module = Mean(data.n_items)
        with torch.no_grad():
            module.dense[0].weight += torch.from_numpy(rng.normal(size=(4, 4))).float()
        return module

    unseeded = TorchModel(drawn, **TORCH).fit(train)
    with pytest.raises(UnsupportedError, match="do not follow from its seed"):
        whence.Replay().attribute(unseeded, later)
