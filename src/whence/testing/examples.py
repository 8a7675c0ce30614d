"""Small data for the suites: few items, many ties, distinct moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

Pair = tuple[pl.DataFrame, pl.DataFrame]


def example_sessions(seed: int = 0, *, n_sessions: int = 25, n_items: int = 12) -> Pair:
    """Sessions of clicks to train on and to validate with.

    Returns
    -------
    train, validation : polars.DataFrame
        Columns ``session_id``, ``item_id`` and ``timestamp``; validation has an item that training
        lacks, and sessions of its own.
    """
    rng = np.random.default_rng(seed)
    train = _sessions(rng, n_sessions, n_items, 0)
    train = train.with_columns(timestamp=pl.Series(rng.permutation(len(train)) * 10))
    return train, _sessions(rng, max(n_sessions // 3, 3), n_items + 1, 1000)


def example_ratings(seed: int = 0, *, n_users: int = 25, n_items: int = 12) -> Pair:
    """Rated items of users, who are partly the same in both tables; as `example_sessions`."""
    rng = np.random.default_rng([seed, 1])
    train, validation = example_sessions(seed, n_sessions=n_users, n_items=n_items)
    users = train["session_id"].unique(maintain_order=True)
    named = validation["session_id"].unique(maintain_order=True)
    same = dict(zip(named.to_list()[::2], users.to_list()))
    validation = validation.with_columns(pl.col("session_id").replace(same))
    found = [
        table.rename({"session_id": "user_id"}).with_columns(
            rating=pl.Series(rng.integers(1, 6, len(table)))
        )
        for table in (train, validation)
    ]
    return found[0], found[1]


def example_baskets(seed: int = 0, *, n_users: int = 12, n_items: int = 12) -> Pair:
    """Baskets of users to train on, and the next basket of most of them.

    Returns
    -------
    train, validation : polars.DataFrame
        Columns ``user_id``, ``basket_id`` and ``item_id``.
    """
    rng = np.random.default_rng(seed)
    train = _baskets(rng, n_users, n_items, 4, 0)
    return train, _baskets(rng, n_users + 2, n_items, 1, 500)


def other_frames(table: pl.DataFrame) -> list[Any]:
    """Return a table as the other kinds of data frame that are installed."""
    try:
        return [table.to_pandas(), table.to_arrow()]
    except ImportError:
        return []


def _sessions(rng: np.random.Generator, n: int, n_items: int, first: int) -> pl.DataFrame:
    rows = [
        (f"s{first + session}", int(rng.integers(n_items)), int(rng.integers(12)))
        for session in range(n)
        for _ in range(int(rng.integers(1, 6)))
    ]
    return pl.DataFrame(rows, schema=["session_id", "item_id", "timestamp"], orient="row")


def _baskets(
    rng: np.random.Generator, n_users: int, n_items: int, most: int, first: int
) -> pl.DataFrame:
    rows, basket = [], first
    for user in rng.permutation(n_users):
        for _ in range(int(rng.integers(1, most + 1))):
            items = rng.integers(n_items, size=int(rng.integers(1, 5)))
            rows += [(f"u{user}", basket, int(item)) for item in items]
            basket += 1
    return pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")
