from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from whence.data import Interactions, read_interactions
from whence.errors import DataWarning, ParameterError, UnsupportedError


def noise(n_users=60, tied=10, seed=0, ids=int):
    """20 items of each user in random order, `tied` of them at a time; rows by user and item."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, ids(item), 1000 * user + place // tied)
        for user in range(n_users)
        for place, item in enumerate(rng.permutation(200)[:20])
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return frame.sort("user_id", "item_id", maintain_order=True)


def test_ties_are_counted():
    frame = pl.DataFrame(
        {"user": [1, 1, 1, 2, 2, 3], "item": [5, 4, 6, 5, 4, 4], "time": [1, 1, 2, 1, 2, 1]}
    )
    data = Interactions.from_frame(frame)
    assert data.n_ties == 2
    assert data.describe()["tied_rows"] == 2
    assert Interactions.from_frame(frame.drop("time")).n_ties == 0
    assert "tied_rows" not in Interactions.from_frame(frame.drop("time")).describe()
    baskets = pl.DataFrame(
        {"user": [1] * 5, "basket": [1, 1, 2, 3, 3], "item": [*range(5)], "time": [7, 7, 7, 8, 8]}
    )
    assert Interactions.from_frame(baskets).n_ties == 3


@pytest.mark.parametrize("ids", [int, str, "i{}".format])
@pytest.mark.parametrize("descending", [False, True])
def test_ties_in_the_order_of_the_items_are_warned_of(ids, descending):
    frame = noise(ids=ids)
    frame = frame.reverse() if descending else frame
    with pytest.warns(DataWarning, match="1,200 of 1,200 rows have the same time .*ties='random'"):
        Interactions.from_frame(frame)


def test_without_a_time_the_order_of_the_items_is_warned_of():
    with pytest.warns(DataWarning, match="no time column.* ascending order of item_id"):
        Interactions.from_frame(noise().drop("timestamp"))


@pytest.mark.parametrize(
    "frame",
    [
        noise().sample(fraction=1, shuffle=True, seed=1),
        noise(tied=1),
        noise(n_users=2, tied=2).head(12),  # too few to know
        pl.concat([noise(tied=1), noise(tied=20).tail(5)]),  # a few tied rows of many
    ],
)
@pytest.mark.filterwarnings("error::whence.errors.DataWarning")
def test_other_ties_are_not(frame):
    Interactions.from_frame(frame)


@pytest.mark.filterwarnings("error::whence.errors.DataWarning")
def test_ties_at_random(tmp_path):
    frame = noise()
    data = Interactions.from_frame(frame, ties="random", seed=1)
    again = Interactions.from_frame(frame, ties="random", seed=1)
    other = Interactions.from_frame(frame, ties="random", seed=2)
    assert data.fingerprint == again.fingerprint != other.fingerprint
    times = frame["timestamp"].gather(data.rows)
    assert times.is_sorted()
    assert sorted(data.rows.tolist()) == list(range(frame.height))
    assert data.frame.equals(frame)
    rises = np.diff(frame["item_id"].gather(data.rows).to_numpy())[np.diff(times.to_numpy()) == 0]
    assert 0.4 < (rises > 0).mean() < 0.6
    frame.write_csv(tmp_path / "x.csv")
    read = read_interactions(tmp_path / "x.csv", ties="random", seed=1)
    assert read.fingerprint == data.fingerprint
    halves = data.keep_rows(data.frame["user_id"].to_numpy() < 30).rebuild()
    kept = [row for row in data.rows.tolist() if frame["user_id"][row] < 30]
    assert frame["item_id"].gather(kept).to_list() == [
        halves.vocabulary.items[int(code)] for code in halves.item_codes
    ]


@pytest.mark.filterwarnings("error::whence.errors.DataWarning")
def test_rows_without_time_at_random():
    frame = noise().drop("timestamp")
    data = Interactions.from_frame(frame, ties="random")
    assert data.sequences.rows[:20].tolist() != list(range(20))
    assert sorted(data.sequences.rows[:20].tolist()) != list(range(20))  # users are in any order


def test_what_cannot_be_at_random():
    frame = pl.DataFrame({"user": [1], "basket": [1], "item": [1]})
    with pytest.raises(UnsupportedError, match="ties='random' is for items in order"):
        Interactions.from_frame(frame, ties="random")
    for wrong in ({"ties": "shuffle"}, {"ties": "random", "seed": -1}, {"seed": 1.5}):
        with pytest.raises(ParameterError):
            Interactions.from_frame(frame, **wrong)
