"""Forgetting by gradients: at the optimum for what is left, or a step towards it."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

import torch

import whence
from whence.curation.forgetting import gradients
from whence.errors import UnsupportedError
from whence.influence.functions import to_optimum
from whence.influence.functions.optimum import descend, relative_gradient
from whence.influence.functions.reading import objective_of

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


def ratings(n_users=14, n_items=11, seed=0):
    rng = np.random.default_rng(seed)
    size = 6 * n_users
    pairs = rng.choice(n_users * n_items, size, replace=False)
    return pl.DataFrame(
        {
            "user": pairs // n_items,
            "item": pairs % n_items,
            "rating": rng.integers(1, 6, size),
            "timestamp": rng.permutation(size),
        }
    )


FACTORS = {
    "mf": lambda: whence.BiasedMF(embedding_dim=2, weight_decay=0.05, epochs=5),
    "mf-logistic": lambda: whence.BiasedMF(
        embedding_dim=2, loss="logistic", n_negatives=1, weight_decay=0.02, epochs=5
    ),
    "bpr": lambda: whence.BPRMF(embedding_dim=2, weight_decay=0.05, epochs=5),
}
NETWORKS = {
    "neumf": lambda **more: whence.NeuMF(
        gmf_dim=2, mlp_dim=2, layers=(4,), n_negatives=1, epochs=3, batch_size=16, **more
    ),
    "bpr": lambda **more: whence.BPRMF(embedding_dim=2, epochs=3, **more),
    "gru4rec": lambda **more: whence.GRU4Rec(
        embedding_dim=4, hidden_dim=4, max_length=5, epochs=3, **more
    ),
    "sasrec": lambda **more: whence.SASRec(
        embedding_dim=4, num_layers=1, num_heads=1, max_length=5, epochs=3, **more
    ),
    "lstm": lambda **more: whence.LSTMRec(
        embedding_dim=4, hidden_dim=4, max_length=5, epochs=3, **more
    ),
}


def parameters(model):
    return {name: value.clone() for name, value in model.module_.state_dict().items()}


def assert_untouched(model, before):
    for name, value in model.module_.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", FACTORS)
def test_a_model_at_its_optimum_stays_at_one(name):
    model = to_optimum(FACTORS[name]().fit(ratings()), tolerance=1e-8)
    before = parameters(model)
    forgotten = whence.forget(model, users=[3])
    assert_untouched(model, before)
    there = forgotten.model
    figures = forgotten.certificate.figures
    assert forgotten.certificate.kind == "optimum"
    assert figures["gradient"] <= 0.01
    np.testing.assert_allclose(
        relative_gradient(objective_of(there)), figures["gradient"], rtol=1e-6
    )
    # The optimum, as it is found from the start.
    afresh = to_optimum(FACTORS[name]().fit(model.train_.without([3])), tolerance=1e-10)
    users = np.setdiff1d(np.arange(14), [model.vocabulary.source_codes([3])[0]])
    found, wanted, old = (objective_of(m).item_scores(users) for m in (there, afresh, model))
    off = np.sqrt(((found - wanted) ** 2).mean())
    assert off <= 0.02 * np.sqrt(((old - wanted) ** 2).mean())


@pytest.mark.parametrize("name", FACTORS)
def test_the_bound_holds(name, monkeypatch):
    model = to_optimum(FACTORS[name]().fit(ratings()), tolerance=1e-8)
    for tolerance in (0.3, 1e-2):
        monkeypatch.setattr(gradients, "_TOLERANCE", tolerance)
        forgotten = whence.forget(model, users=[3, 5])
        here = objective_of(forgotten.model)
        best, _ = descend(here, tolerance=1e-12, warm=True)
        way = best.theta - here.theta
        gauge = here.gauge()
        way -= gauge.T @ (gauge @ way)  # turned factors are the same model
        away = np.linalg.norm(way) / np.linalg.norm(here.theta)
        assert away <= forgotten.certificate.figures["distance"] + 1e-9


def test_what_is_left_of_a_user_is_nothing():
    model = whence.BiasedMF(embedding_dim=2, weight_decay=0.0, epochs=5).fit(ratings())
    changed = whence.forget(model, users=[3]).model
    code = int(model.vocabulary.source_codes([3])[0])
    initial = copy.copy(model)
    initial._prepare(model.train_)
    assert torch.equal(changed.module_.users.weight[code], initial.module_.users.weight[code])
    assert not torch.equal(changed.module_.users.weight[code], model.module_.users.weight[code])
    assert changed.checkpoints_ == changed.history_ == []
    assert changed.best_ == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_steps(name):
    train = whence.make_sessions(
        n_sessions=40, n_validation=10, n_test=10, n_items=100, seed=1
    ).train
    model = NETWORKS[name]().fit(train, checkpoints=1)
    before = parameters(model)
    one = train.source_ids[2:3].to_list()
    forgotten = whence.forget(model, sessions=one)
    assert_untouched(model, before)
    assert model.checkpoints_
    assert forgotten.certificate.kind == "audit"
    assert 0 < forgotten.certificate.figures["length"] < np.inf
    assert forgotten.model.train_.fingerprint == train.without(one).fingerprint
    again = whence.forget(model, sessions=one)
    for left, right in zip(parameters(forgotten.model).values(), parameters(again.model).values()):
        assert torch.equal(left, right)
    trained = whence.forget(model, sessions=one, epochs=1)
    assert_untouched(model, before)
    assert trained.model.epochs == 3
    lists = forgotten.model.recommend(
        [train.item_ids[:1].to_list()]
        if model.asks == "histories"
        else train.source_ids[:1].to_list(),
        k=5,
    )[0]
    assert len(lists[0])


def test_the_step_is_the_gauss_newton_step(monkeypatch):
    """Against the explicit matrix, of all examples."""
    monkeypatch.setattr(gradients, "_SHARE", 1.0)
    monkeypatch.setattr(gradients, "_STEPS", 500)
    monkeypatch.setattr(gradients, "_HARM", np.inf)
    model = NETWORKS["neumf"](activation="gelu").fit(ratings())
    forgotten = whence.forget(model, users=[3])
    objective = objective_of(model, precision="float64")
    lost = (
        model.examples_.sources(np.arange(len(model.examples_)))
        == (model.vocabulary.source_codes([3])[0])
    )
    left = objective.weighted(1.0 - lost)
    scale = (~lost).sum() / len(lost)  # the loss is a mean over what is left
    slope = objective.weighted(lost * 1.0).gradient() - objective.ridge * objective.theta
    matrix = left.gauss_newton(0.0).matrix() - objective.ridge * np.eye(len(slope))
    matrix = matrix / scale + (objective.ridge + 1e-4) * np.eye(len(slope))
    own = np.concatenate([
        np.repeat(np.arange(14) == model.vocabulary.source_codes([3])[0], 2).ravel()
        if name.endswith("users.weight") else np.zeros(part.numel(), dtype=bool)
        for name, part in zip(objective.names, objective.split(objective.theta))
    ])  # fmt: skip
    wanted = np.linalg.solve(matrix, np.where(own, 0.0, slope / scale))
    found = objective_of(forgotten.model, precision="float64").theta - objective.theta
    np.testing.assert_allclose(
        found[~own], wanted[~own], rtol=0.02, atol=0.05 * np.abs(wanted).max()
    )


def test_less_of_a_harmful_step(monkeypatch):
    model = NETWORKS["neumf"]().fit(ratings())
    monkeypatch.setattr(gradients, "_HARM", np.inf)
    whole = whence.forget(model, users=[3]).certificate.figures
    monkeypatch.setattr(gradients, "_HARM", -1.0)  # nothing is good enough
    less = whence.forget(model, users=[3]).certificate.figures
    assert less["step"] == whole["step"] / 2**5
    assert less["length"] == pytest.approx(whole["length"] / 2**5)


def test_a_loss_without_curvature_needs_epochs():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = torch.nn.Embedding(14, 2), torch.nn.Embedding(11, 2)

        def forward(self, users, items):
            return (self.users(users) * self.items(items)).sum(-1)

    model = whence.BPRMF(embedding_dim=2, epochs=1).fit(ratings())
    model.example_loss = lambda batch: model.module_.users(batch["user"]).pow(4).sum(1)
    with pytest.raises(UnsupportedError, match="epochs=1"):
        whence.forget(model, users=[3])
