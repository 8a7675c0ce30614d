"""Small data, and models fitted on them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence


@pytest.fixture(scope="session")
def tables():
    """Interactions of users, with ratings, for training and validation."""
    rng = np.random.default_rng(7)
    frames = []
    for start, length in ((0, 5), (1000, 2)):
        users = np.repeat([f"u{number}" for number in range(6)], length)
        n = len(users)
        frames.append(
            pl.DataFrame(
                {
                    "user_id": users,
                    "item_id": rng.integers(0, 11, n),
                    "timestamp": start + rng.permutation(n),
                    "rating": rng.integers(1, 6, n).astype(float),
                }
            )
        )
    return tuple(frames)


@pytest.fixture(scope="session")
def sessions():
    """Sessions with titles of the items: training and validation."""
    rng = np.random.default_rng(3)
    frames = []
    for start, n_sessions in ((0, 14), (500, 4)):
        lengths = rng.integers(2, 9, n_sessions)
        session = np.repeat(np.arange(n_sessions) + start, lengths)
        items = rng.integers(0, 12, lengths.sum())
        frames.append(
            pl.DataFrame(
                {
                    "session_id": session,
                    "item_id": items,
                    "timestamp": start + np.arange(len(items)),
                }
            )
        )
    titles = pl.DataFrame({"item_id": range(12), "title": [f"Film {n}" for n in range(12)]})
    train = whence.Interactions.from_frame(frames[0]).with_tables(items=titles)
    return train, frames[1]


@pytest.fixture(scope="session")
def lstm(sessions):
    """An LSTM with two checkpoints."""
    model = whence.LSTMRec(
        embedding_dim=4, hidden_dim=3, max_length=5, epochs=2, batch_size=8, learning_rate=0.05
    )
    return model.fit(sessions[0], checkpoints=1)
