"""Every registered model forgets, or says why it cannot."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("implicit")

import torch
from oracles import random_baskets, random_sessions

import whence
from whence.errors import UnsupportedError
from whence.models._registered import MODELS
from whence.models.adapters import TorchModel

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")

SMALL = {
    "epochs": 1, "iterations": 2, "embedding_dim": 4, "hidden_dim": 4, "factors": 4, "layers": (4,),
    "num_layers": 1, "num_heads": 1, "max_length": 5, "gmf_dim": 2, "mlp_dim": 2, "l2": 2.0,
}  # fmt: skip


def small(model_class):
    known = model_class.parameter_types()
    return model_class(**{name: value for name, value in SMALL.items() if name in known})


def table(model_class):
    rng = np.random.default_rng(0)
    if model_class is whence.TIFUKNN:
        return random_baskets(rng, 12, 12)
    rows = random_sessions(rng, 25, 12).rename({"session_id": "user_id"})
    return rows.with_columns(rating=rng.integers(1, 6, len(rows)))


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model(name):
    model = small(MODELS[name]).fit(table(MODELS[name]))
    train = model.train_
    ids = train.source_ids.to_list()
    before = model.score(model.user_queries(ids))
    forgotten = whence.forget(model, users=ids[3:4], epochs=int("epochs" in model.params))
    np.testing.assert_array_equal(model.score(model.user_queries(ids)), before)
    left = forgotten.model
    assert left.train_.fingerprint == train.without(ids[3:4]).fingerprint
    assert left.params == model.params
    lists, _ = left.recommend(left.user_queries(ids), k=3)
    assert any(len(one) for one in lists)
    scores = left.score(left.user_queries(ids))
    assert not np.isnan(scores).any()
    with pytest.raises(whence.errors.DataError, match="no rows left"):
        whence.forget(left, users=ids[3:4])


class Pairs(torch.nn.Module):
    def __init__(self, n_users, n_items):
        super().__init__()
        self.users = torch.nn.Embedding(n_users, 3)
        self.items = torch.nn.Embedding(n_items, 3)

    def forward(self, users, items):
        return (self.users(users) * self.items(items)).sum(-1)


def test_a_module_of_ones_own():
    made = TorchModel(
        lambda train: Pairs(train.n_sources, train.n_items), takes="pairs", epochs=2
    ).fit(table(TorchModel))
    forgotten = whence.forget(made, users=made.train_.source_ids[:1])
    assert not torch.equal(forgotten.model.module_.items.weight, made.module_.items.weight)


def test_a_module_that_was_trained_elsewhere():
    """Nobody knows where it began, so that a user who goes becomes like the others."""
    torch.manual_seed(0)
    train = whence.Interactions.from_frame(table(TorchModel))
    module = Pairs(train.n_sources, train.n_items)
    model = TorchModel(module, takes="pairs", trained=True).fit(train)
    changed = whence.forget(model, users=train.source_ids[:1]).model
    torch.testing.assert_close(
        changed.module_.users.weight[0], model.module_.users.weight[1:].mean(0)
    )
    assert changed.module is changed.module_
    assert model.module is module


def test_a_loss_that_is_not_known():
    model = TorchModel(
        lambda train: Pairs(train.n_sources, train.n_items), takes="pairs", epochs=1,
        loss=lambda scores, wanted: ((scores - wanted) ** 4).mean(1),
    ).fit(table(TorchModel))  # fmt: skip
    with pytest.raises(UnsupportedError, match="epochs=1"):
        whence.forget(model, users=model.train_.source_ids[:1])
    assert whence.forget(model, users=model.train_.source_ids[:1], epochs=1).n_sources == 1
