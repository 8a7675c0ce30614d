"""Values that look at no metric."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from whence import (
    VMISKNN,
    Interactions,
    LeaveOneOut,
    LengthValue,
    PopularityValue,
    RandomValue,
    Shapley,
)
from whence.errors import NotFittedError, ParameterError, UnsupportedError


@pytest.fixture
def train():
    rows = [
        ("a", 1, 3, "x"),
        ("a", 2, 4, "x"),
        ("b", 2, 1, "y"),
        ("c", 2, 2, "x"),
        ("c", 2, 9, "x"),
    ]
    table = pl.DataFrame(
        rows, schema=["session_id", "item_id", "timestamp", "origin"], orient="row"
    )
    return Interactions.from_frame(table)


def as_dict(values):
    return dict(zip(values.ids.to_list(), values.scores.tolist()))


def test_length_is_the_number_of_rows(train):
    assert as_dict(LengthValue().attribute(train)) == {"a": 2, "b": 1, "c": 2}
    assert as_dict(LengthValue(by="origin").attribute(train)) == {"x": 4, "y": 1}
    assert as_dict(LengthValue(by="item").attribute(train)) == {1: 1, 2: 4}
    assert LengthValue(by="interaction").attribute(train).scores.tolist() == [1] * 5


def test_popularity_is_the_mean_count_of_the_items(train):
    assert as_dict(PopularityValue().attribute(train)) == {"a": 2.5, "b": 4, "c": 4}
    assert as_dict(PopularityValue(by="origin").attribute(train)) == {"x": 13 / 4, "y": 4}
    assert as_dict(PopularityValue(by="item").attribute(train)) == {1: 1, 2: 4}
    rows = PopularityValue(by="interaction").attribute(train)
    assert rows.frame.rows() == [(0, "a", 1, 1), (1, "a", 2, 4), (2, "b", 2, 4), (3, "c", 2, 4),
                                 (4, "c", 2, 4)]  # fmt: skip


def test_random_values_follow_the_seed(train):
    model = VMISKNN(k=1, m=1).fit(train)
    one, again = RandomValue(seed=1).attribute(model), RandomValue(seed=1).attribute(model, "any")
    assert np.array_equal(one.scores, again.scores)
    assert not np.array_equal(one.scores, RandomValue(seed=2).attribute(model).scores)
    assert ((one.scores >= 0) & (one.scores < 1)).all()
    assert one.metadata["seed"] == 1
    assert one.metadata["method"] == "random"
    with pytest.raises(ParameterError, match="seed"):
        RandomValue(seed=-1).attribute(model)


def test_a_source_without_rows_is_worth_nothing(train):
    rest = train.without(["b"])
    assert as_dict(LengthValue().attribute(rest)) == {"a": 2, "b": 0, "c": 2}
    assert as_dict(PopularityValue().attribute(rest))["b"] == 0


def test_training_data_is_needed():
    with pytest.raises(NotFittedError, match="fit"):
        LengthValue().attribute(VMISKNN())


def test_games_are_among_whole_sources(train):
    model = VMISKNN(k=1, m=1).fit(train)
    for by in ("item", "interaction"):
        with pytest.raises(UnsupportedError, match=f"LeaveOneOut\\(by='{by}'\\)"):
            Shapley("mrr@1", by=by).attribute(model, train)
        assert len(LeaveOneOut("mrr@1", by=by).attribute(model, train)) == (
            2 if by == "item" else 5
        )
