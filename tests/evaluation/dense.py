"""A model of any scores, and naive second implementations of what is computed from scores."""

from __future__ import annotations

import numpy as np
import polars as pl

from whence import Interactions


class Dense:
    """Scores from a table: one row per user, one column per item."""

    def __init__(self, train, table, floor=-np.inf, exclude_seen=True):
        self.train_, self.table, self.floor = train, np.asarray(table), floor
        self.exclude_seen = exclude_seen
        self.asked = []

    @property
    def vocabulary(self):
        return self.train_.vocabulary

    def score_codes(self, queries, *, threads=None):
        self.asked.append(len(queries))
        scores = self.table[queries.users].copy()
        for row, start, end in zip(scores, queries.history_start, queries.history_end):
            if self.exclude_seen:
                row[queries.history_items[start:end]] = self.floor
            if start == end:
                row[:] = self.floor
        return scores

    def recommend_codes(self, queries, k, *, threads=None):
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        scores = self.score_codes(queries)
        for line, row in zip(lists, scores):
            best = [i for i in np.lexsort((np.arange(len(row)), -row)) if row[i] > self.floor][:k]
            line[: len(best)] = best
        return lists, np.zeros(lists.shape)


def table_of(users, **columns):
    """Rows of a table (user, item), in order; `users` maps a user to the list of items."""
    rows = [(user, item) for user, items in users.items() for item in items]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    return frame.with_columns(timestamp=pl.int_range(pl.len()), **columns)


def by_user(users, **columns):
    return Interactions.from_frame(table_of(users, **columns))


def random_users(seed, n_users=12, n_items=15, strangers=True):
    """Training and validation rows of users, some of either alone, without repeated pairs."""
    rng = np.random.default_rng(seed)
    train, test = {}, {}
    for user in range(n_users):
        items = rng.permutation(n_items + 2 * strangers)
        known = [f"i{i}" for i in items if i < n_items]
        cut = int(rng.integers(1, 6))
        train[user] = known[:cut]
        rest = [f"i{i}" for i in items if f"i{i}" not in train[user]]
        test[user] = rest[: int(rng.integers(0, 5))]
    train["all" if n_users == 0 else n_users] = [f"i{i}" for i in range(n_items)]
    test[n_users + 1] = ["i0", "i1"]  # never seen in training
    return by_user(train), by_user({user: items for user, items in test.items() if items})


def naive_list(row, targets, floor, k):
    """Items above the floor by (score descending, no target before target, number)."""
    order = sorted(
        (i for i in range(len(row)) if row[i] > floor), key=lambda i: (-row[i], i in targets, i)
    )
    return order[:k]


def naive_auc(row, targets, others):
    """Share of pairs won; ties count half. Targets are scores, those that cannot win -inf."""
    pairs = [(t > o) + 0.5 * (t == o > -np.inf) for t in targets for o in others]
    return sum(pairs) / len(pairs) if pairs else 0.0
