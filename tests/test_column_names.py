"""Columns of the data that are called as columns of results are: ids stay ids."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.attribution import OWN_COLUMNS, Attribution
from whence.curation import find_corrupted
from whence.curation.disclosure.plan import made_plan
from whence.data import Interactions
from whence.data.columns import Columns
from whence.errors import ParameterError
from whence.evaluation import make_queries
from whence.valuation import LeaveOneOut, LengthValue, RandomValue, Shapley

ROWS = [(s, i, t) for s in range(8) for t, i in enumerate([s % 3, 3 + s % 4, (s + 1) % 3, 7])]


def clicks(session="session_id", item="item_id", offset=0):
    """Sessions of text ids, with their columns called as is said."""
    frame = pl.DataFrame(ROWS, schema=["s", "i", "timestamp"], orient="row")
    return frame.select(
        pl.format("s{}", pl.col("s") + offset).alias(session),
        pl.format("i{}", "i").alias(item),
        "timestamp",
    )


def sessions(session, item="item_id", offset=0):
    return Interactions.from_frame(clicks(session, item, offset), session=session, item=item)


@pytest.mark.parametrize(
    ("name", "found"),
    [("score", "session"), ("visit", "visit"), ("rank", "session"), ("session", "session")],
)
def test_a_column_keeps_its_name_or_takes_its_role(name, found):
    assert Columns(name, "item_id").beside(name, ("score", "rank")) == found


def test_a_role_that_is_taken_is_told_apart():
    columns = Columns("score", "item_id", extras=("session", "session_id"))
    assert columns.beside("score", ("score", "session_2")) == "session_3"
    assert Columns("s", "item_id", extras=("score",)).beside("score", ("score",)) == "group"


@pytest.mark.parametrize("name", OWN_COLUMNS)
def test_values_are_the_same_whatever_the_sessions_are_called(name):
    usual, other = sessions("session_id"), sessions(name)
    first = LeaveOneOut("mrr@3").attribute(whence.VMISKNN(k=3, m=5).fit(usual), usual)
    second = LeaveOneOut("mrr@3").attribute(whence.VMISKNN(k=3, m=5).fit(other), other)
    assert second.source == "session"
    assert second.column == name
    assert second.ids.to_list() == first.ids.to_list()
    np.testing.assert_array_equal(second.scores, first.scores)
    kept, expected = second.prune(clicks(name), n=3), first.prune(clicks(), n=3)
    assert kept[name].to_list() == expected["session_id"].to_list()
    assert second.prune(other, n=3).frame[name].to_list() == kept[name].to_list()


@pytest.mark.parametrize("method", [Shapley("mrr@3"), RandomValue(), LengthValue()])
@pytest.mark.parametrize("by", ["session", "item", "interaction", "score"])
def test_every_kind_of_source_keeps_its_ids(method, by, tmp_path):
    if by in ("item", "interaction") and isinstance(method, Shapley):
        method = LeaveOneOut("mrr@3")
    frame = clicks("std_error", "rank").with_columns(score=pl.col("std_error").str.tail(1))
    train = Interactions.from_frame(frame, session="std_error", item="rank")
    model = whence.VMISKNN(k=3, m=5).fit(train)
    values = type(method)(**{**method.params, "by": by}).attribute(model, train)
    known = {"session": "std_error", "item": "rank", "score": "score"}
    if by == "interaction":
        assert values.frame["session"].to_list() == train.frame["std_error"].to_list()
        assert values.frame["item"].to_list() == train.frame["rank"].to_list()
    else:
        assert set(values.ids) == set(train.frame[known[by]])
    assert values.prune(frame, n=2).height < frame.height
    loaded = Attribution.load(values.save(tmp_path / "values.parquet"))
    assert loaded.prune(frame, n=2).equals(values.prune(frame, n=2))


def test_those_that_are_probably_corrupted_are_named():
    train = sessions("rank")
    values = LengthValue().attribute(train, None)
    found = find_corrupted(values, n=3, truth=["s0"])
    assert found["session"].to_list() == ["s0", "s1", "s2"]
    assert found["rank"].to_list() == [1, 2, 3]


def test_ids_of_queries_are_kept():
    train = sessions("position")
    queries = make_queries(train, train)
    assert set(queries.ids["session"]) == set(train.frame["position"])
    assert queries.ids["position"].max() == 3


def test_an_attribution_of_values_in_place_of_ids_is_refused():
    with pytest.raises(ParameterError, match="names a column of values"):
        Attribution(pl.DataFrame({"score": [0.1]}), source="score", metadata={})


def test_influence_names_examples_sessions_and_items():
    pytest.importorskip("torch")
    from whence.influence import TracIn

    model = whence.GRU4Rec(embedding_dim=4, epochs=1, batch_size=8)
    train = sessions("score", "rank")
    model.fit(train, checkpoints=1)
    found = TracIn(by="example").attribute(model, train)
    assert set(found.frame["session"]) == set(train.frame["score"])
    assert set(found.frame["item"]) <= set(train.frame["rank"])
    strongest = found.proponents(0, 3)
    assert set(strongest["session"]) <= set(train.frame["score"])
    assert strongest["rank"].to_list() == [1, 2, 3]
    for by, name, column in (("session", "session", "score"), ("item", "item", "rank")):
        values = TracIn(by=by).attribute(model, train)
        assert set(values.frame[name]) == set(train.frame[column])
        assert values.prune(train.frame, n=1).height < train.n_rows
    named = TracIn().attribute(model.fit(sessions("target"), checkpoints=1), sessions("target"))
    assert set(named.queries()["session"]) == set(sessions("target").frame["target"])


def test_a_plan_of_disclosure_checks_the_ids_it_was_made_for():
    ratings = clicks("beta", "V").with_columns(rating=1.0)
    train = Interactions.from_frame(ratings, user="beta", item="V", rating="rating")
    model = whence.ItemKNN(k=3).fit(train)
    n = train.n_rows
    mask = np.arange(n) % 2 == 0
    plan = made_plan(model, mask, np.zeros(n), np.zeros(n), seed=0, size={})
    assert plan.frame["user"].to_list() == ratings["beta"].to_list()
    assert plan.apply(ratings)["V"].to_list() == ratings["V"].gather_every(2).to_list()
