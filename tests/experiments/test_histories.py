"""Splits of histories for experiments, and what is planted in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.curation import Attack
from whence.errors import DataError
from whence.experiments.histories import (
    in_order,
    in_order_of_the_table,
    split_shares,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    counts = [10, 25, 3, 31]
    users = np.repeat(["a", "b", "c", "d"], counts)
    table = pl.DataFrame(
        {
            "user_id": users,
            "item_id": rng.integers(0, 12, sum(counts)),
            "timestamp": rng.permutation(sum(counts)),
        }
    )
    return whence.Interactions.from_frame(table)


def test_every_later_row_is_asked_with_all_before_it(data):
    asked = split_shares(data, validation=0.1, test=0.2)
    sorted_rows = data.frame.sort("timestamp")
    for part, share_before in ((asked.validation, 0.2), (asked.test, 0.0)):
        want = []
        for user in data.source_ids:
            items = sorted_rows.filter(pl.col("user_id") == user)["item_id"].to_list()
            n = len(items)
            n_test, n_validation = int(0.2 * n), int(0.1 * n)
            first = n - n_test - (n_validation if share_before else 0)
            last = n - (n_test if share_before else 0)
            want += [(user, items[:p], items[p]) for p in range(first, last)]
        assert len(part) == len(want)
        known = asked.train.vocabulary.items.to_list()
        for q, (user, history, target) in enumerate(want):
            start, end = part.history_start[q], part.history_end[q]
            got = [known[i] for i in part.history_items[start:end]]
            assert part.ids[data.columns.source][q] == user
            assert got == [item for item in history if item in known]
            code = part.target_items[part.target_start[q]]
            assert (known[code] if code >= 0 else None) == (target if target in known else None)
        assert (part.target_end - part.target_start == 1).all()
    assert asked.train.n_rows == data.n_rows - len(asked.validation) - len(asked.test)
    assert not asked.is_planted.any()


def test_without_a_validation_share(data):
    asked = split_shares(data, validation=0.0, test=0.2)
    assert len(asked.validation) == 0
    assert asked.train.n_rows == data.n_rows - len(asked.test)
    with pytest.raises(DataError, match="test share leaves no row"):
        split_shares(data, validation=0.0, test=0.01)


@pytest.mark.parametrize("kind", ["uniform", "shuffled"])
def test_what_is_planted_is_known_and_never_asked(data, kind):
    plain = split_shares(data)
    assert not plain.is_planted.any()
    asked = split_shares(data, attack=Attack(kind=kind, share=0.5, seed=1))
    want = Attack(kind=kind, share=0.5, seed=1).plant(plain.train)
    assert asked.train.frame.equals(want.data.frame)
    planted = asked.train.source_ids.filter(pl.Series(asked.is_planted))
    assert set(planted) == set(want.corrupted)
    for part, same in ((asked.validation, plain.validation), (asked.test, plain.test)):
        assert part.ids.equals(same.ids)
        items = [asked.train.item_ids.gather(part.history_items).to_list()]
        assert items == [plain.train.item_ids.gather(same.history_items).to_list()]


def test_order_is_measured_and_may_be_that_of_the_table(data):
    share = in_order(data)
    later = total = 0
    for user in "abcd":
        steps = np.diff(data.frame.filter(pl.col("user_id") == user)["timestamp"].to_numpy())
        later, total = later + (steps >= 0).sum(), total + len(steps)
    assert share == pytest.approx(later / total)
    table = in_order_of_the_table(data)
    assert in_order(table) == 1.0
    for source, user in enumerate(table.source_ids):
        a, b = table.sequences.offsets[source : source + 2]
        items = table.item_ids.gather(table.sequences.items[a:b]).to_list()
        assert items == data.frame.filter(pl.col("user_id") == user)["item_id"].to_list()
