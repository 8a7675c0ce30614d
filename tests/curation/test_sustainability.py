"""How sustainable recommendations are: shares that the metric and counting give."""

from __future__ import annotations

import polars as pl
import pytest

import whence
from whence.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def fitted():
    made = whence.make_sessions(n_sessions=200, n_validation=50, n_items=100, seed=1)
    return made, whence.VMISKNN(k=20, m=50).fit(made.train)


def test_shares_are_those_of_counting_and_of_the_metric(fitted):
    made, model = fitted
    green = made.train.item_ids[:20]
    found = whence.sustainability(model, made.validation, green, k=10)
    share = dict(zip(found.shares["of"], found.shares["share"]))
    assert share["catalogue"] == pytest.approx(20 / made.train.n_items)
    in_rows = made.train.frame["item_id"].is_in(green.implode())
    assert share["training rows"] == pytest.approx(in_rows.mean())
    st = whence.evaluate(model, made.validation, "st@10", sustainable_items=green)
    row = found.shares.row(-1, named=True)
    assert row["share"] == pytest.approx(float(st))
    assert row["high"] - row["share"] == pytest.approx(1.959963984540054 * st.std_error())
    later = made.validation.frame.sort("session_id", "timestamp", maintain_order=True)
    wanted = later.filter(pl.col("session_id").cum_count().over("session_id") > 1)["item_id"]
    assert share["targets"] == pytest.approx(wanted.is_in(green.implode()).mean(), abs=1e-9)
    items = found.items
    assert items["n_rows"].sum() == made.train.n_rows
    assert items["sustainable"][:20].all()
    assert items["more_often"][:20].is_sorted()


def test_bad_input(fitted):
    made, model = fitted
    with pytest.raises(DataError, match="None of the sustainable items"):
        whence.sustainability(model, made.validation, [-1])
    with pytest.raises(ParameterError, match="k must be"):
        whence.sustainability(model, made.validation, made.train.item_ids[:5], k=0)
