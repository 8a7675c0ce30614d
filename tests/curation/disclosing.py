"""Small ratings, violations and a model at its optimum, for the tests of disclosure."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from whence.data import Interactions
from whence.influence.functions import to_optimum
from whence.models.matrix.mf import BiasedMF


def parts(n_users=30, n_items=20, seed=0):
    """Ratings for training (with a column of violations), validation and test."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.7)
    noise = 0.5 * rng.normal(size=len(users))
    values = np.clip(np.round(3 + (taste[users] * kind[items]).sum(1) + noise), 1, 5)
    table = pl.DataFrame(
        {
            "user": users,
            "item": items + 100,
            "rating": values,
            "time": np.arange(len(users)),
            "no": rng.choice([0.0, 0.2, 0.9], len(users)),
        }
    )
    part = rng.choice(3, len(users), p=(0.6, 0.2, 0.2))
    return [table.filter(part == k) for k in range(3)]


def fitted(train, **params):
    """A factorisation at its optimum, and its training data as interactions."""
    params = {"embedding_dim": 2, "weight_decay": 0.05, "epochs": 20, **params}
    model = BiasedMF(**params).fit(Interactions.from_frame(train, user="user"))
    return to_optimum(model)
