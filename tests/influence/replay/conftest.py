"""Small data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest


@pytest.fixture(scope="session")
def likes():
    """Users and items in order of time, and what came later."""
    rng = np.random.default_rng(3)
    rows = [
        (u, int(i), 10 * t + u) for u in range(9) for t, i in enumerate(rng.permutation(12)[:6])
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return frame.filter(pl.col("timestamp") < 50), frame.filter(pl.col("timestamp") >= 50)
