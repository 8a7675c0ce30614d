"""Small data and models at their optimum, for the tests of influence functions."""

from __future__ import annotations

import numpy as np
import polars as pl

from whence.models.matrix.bpr import BPRMF
from whence.models.matrix.mf import BiasedMF

FIT = {"weight_decay": 0.02, "epochs": 30, "learning_rate": 0.05}
MODELS = {
    "squared": lambda: BiasedMF(embedding_dim=2, **FIT),
    "logistic": lambda: BiasedMF(embedding_dim=2, loss="logistic", n_negatives=2, **FIT),
    "bpr": lambda: BPRMF(embedding_dim=2, n_negatives=2, **FIT),
}


def ratings(n_users=12, n_items=9, share=0.6, seed=0):
    """Ratings of two tastes, for training and for validation."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    noise = rng.normal(size=len(users)) / 3
    values = np.clip(np.round(3 + (taste[users] * kind[items]).sum(1) + noise), 1, 5)
    table = pl.DataFrame(
        {"user": users, "item": items + 100, "rating": values, "time": np.arange(len(users))}
    )
    asked = rng.random(len(users)) < 0.25
    asked[:3] = False
    return table.filter(~asked), table.filter(asked)
