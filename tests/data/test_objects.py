from __future__ import annotations

from collections import namedtuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from whence.data import Interactions, read_interactions
from whence.errors import ColumnError, DataError, ParameterError

EXPECTED = [("a", 7, 5.0), ("b", 8, 3.5), ("a", 9, 4.0)]
NAMES = "user item rating"
Row = namedtuple("Row", "user item rating")


class Stream:
    """What a relation of DuckDB is like: Arrow's C stream, and nothing else that is known."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


FRAME = pl.DataFrame(EXPECTED, schema=["user", "item", "rating"], orient="row")
NAMED = [
    [dict(zip(("user", "item", "rating"), row)) for row in EXPECTED],
    [Row(*row) for row in EXPECTED],
    dict(zip(("user", "item", "rating"), map(list, zip(*EXPECTED)))),
    {"user": np.array(["a", "b", "a"]), "item": (7, 8, 9), "rating": pl.Series([5.0, 3.5, 4.0])},
    np.array(EXPECTED, dtype=[("user", "U1"), ("item", "i8"), ("rating", "f8")]),
    FRAME.lazy(),
    FRAME.to_arrow(),
    FRAME.to_arrow().to_batches()[0],
    Stream(FRAME.to_arrow()),
]
UNNAMED = [
    EXPECTED,
    tuple(map(list, EXPECTED)),
    np.array(EXPECTED, dtype=object),
    pd.DataFrame(EXPECTED),
    pl.DataFrame(EXPECTED, orient="row"),
]


@pytest.mark.parametrize("data", NAMED)
@pytest.mark.parametrize("read", [read_interactions, Interactions.from_frame])
def test_objects_with_names(data, read):
    found = read(data)
    assert found.frame.rows() == EXPECTED
    assert found.by_user


@pytest.mark.parametrize("data", [NAMED[0], *NAMED[2:]])
def test_what_has_names_is_not_named(data):
    with pytest.raises(ParameterError, match="columns is for what has no names"):
        read_interactions(data, columns=NAMES)


@pytest.mark.parametrize("data", UNNAMED)
def test_objects_without_names(data):
    assert read_interactions(data, columns=NAMES).frame.rows() == EXPECTED
    left = read_interactions(data, columns="user item _")
    assert left.frame.rows() == [row[:2] for row in EXPECTED]
    with pytest.raises((ParameterError, ColumnError), match="columns='user item rating"):
        read_interactions(data)
    with pytest.raises(ParameterError, match="names 2 columns, and there are 3"):
        read_interactions(data, columns="user item")


def test_frames_whose_columns_are_numbers_come_back_as_they_were():
    frame = pd.DataFrame(EXPECTED, index=["x", "y", "z"])
    data = read_interactions(frame, user=0, item=1)
    assert data.columns.extras == ("2",)
    pd.testing.assert_frame_equal(data.native(), frame)
    kept = data.keep_rows(np.array([True, False, True])).native()
    pd.testing.assert_frame_equal(kept, frame.iloc[[0, 2]])
    named = read_interactions(frame, columns="_ item user")
    pd.testing.assert_frame_equal(named.native(), frame[[1, 2]])
    assert Interactions.from_frame(FRAME.to_arrow()).native().equals(FRAME.to_arrow())


def test_ratings_of_users():
    data = read_interactions({"a": {7: 5, 9: 4.5}, "b": {8: 3}})
    assert data.frame.rows() == [("a", 7, 5.0), ("a", 9, 4.5), ("b", 8, 3.0)]
    assert data.columns.rating == "rating"


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
def test_sparse_matrices(kind):
    dense = np.array([[0, 5, 0], [2, 0, 1.5]])
    data = read_interactions(getattr(scipy.sparse, kind)(dense))
    assert data.frame.rows() == [(0, 1, 5.0), (1, 0, 2.0), (1, 2, 1.5)]
    assert data.columns.rating == "rating"
    ones = read_interactions(getattr(scipy.sparse, kind)(dense > 0))
    assert ones.frame.columns == ["user", "item"]
    named = read_interactions(getattr(scipy.sparse, kind)(dense), columns="user item weight")
    assert named.columns.extras == ("weight",)
    matrix = scipy.sparse.csr_array(([0.0, 1.0], ([0, 1], [0, 1])), shape=(2, 2))
    assert read_interactions(matrix).frame.rows() == [(1, 1)]  # an entry that is stored as 0


def test_arrays_of_floats_have_whole_ids():
    array = np.array([[1, 7, 5, 1e9], [1, 8, 3.5, 2e9]])
    data = read_interactions(array, columns="user item rating time")
    assert data.frame.rows() == [(1, 7, 5.0, 10**9), (1, 8, 3.5, 2 * 10**9)]
    assert data.frame.schema["user"] == pl.Int64


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_lists_of_items_are_taken_apart(library):
    frame = pl.DataFrame({"session": [5, 6, 7], "items": [[1, 2], [], [3]], "day": [1, 2, 3]})
    given = {"polars": frame, "pandas": frame.to_pandas(), "pyarrow": frame.to_arrow()}[library]
    data = Interactions.from_frame(given)
    assert data.frame.rows() == [(5, 1, 1), (5, 2, 1), (7, 3, 3)]
    assert data.backend == library
    if library == "pandas":
        assert data.native().index.tolist() == [0, 0, 2]
    named = Interactions.from_frame(
        frame.rename({"items": "x"}).with_columns(t=pl.Series([[9, 8], [], [7]])),
        item="x",
        time="t",
    )
    assert named.vocabulary.items.to_list() == [3, 2, 1]
    uneven = frame.with_columns(time=pl.Series([[9], [], [7]]))
    with pytest.raises(DataError, match="Row 1 has 2 items in 'items' and 1 values in 'time'"):
        Interactions.from_frame(uneven)


def test_lists_in_text_and_lists_of_objects(tmp_path):
    text = 'session,items,times\n1,"[7, 8]","[2, 1]"\n2,[9],[5]\n3,[],[]\n'
    (tmp_path / "x.csv").write_text(text)
    data = read_interactions(tmp_path / "x.csv")
    assert data.frame.rows() == [(1, 7, 2), (1, 8, 1), (2, 9, 5)]
    frame = pl.DataFrame({"session": [1, 2], "history": ["[7, 8]", "[9]"]})
    assert Interactions.from_frame(frame, item="history").frame["history"].to_list() == [7, 8, 9]
    otto = (
        '{"session": 12, "events": [{"aid": 5, "ts": 20, "type": "clicks"}, '
        '{"aid": 6, "ts": 10, "type": "carts"}]}\n{"session": 13, "events": []}\n'
    )
    (tmp_path / "otto.jsonl").write_text(otto)
    data = read_interactions(tmp_path / "otto.jsonl")
    assert data.frame.rows() == [(12, 5, 20, "clicks"), (12, 6, 10, "carts")]
    assert data.vocabulary.items.to_list() == [6, 5]
    named = read_interactions(tmp_path / "otto.jsonl", item="type")
    assert named.vocabulary.items.to_list() == ["carts", "clicks"]


def test_negatives_stay_lists():
    frame = pl.DataFrame({"user": [1], "items": [[5]], "neg_items": [[7]]})
    assert Interactions.from_frame(frame).frame["neg_items"].to_list() == [[7]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no rows"),
        ([(1, 2), (1,)], "Row 2 has 1 values, and the first has 2"),
        ([(1, 2), ("a", 3)], "Column 'user' has values of mixed"),
        ([{"user": 1, "item": "x"}, {"user": "a", "item": "y"}], "'user' has values of mixed"),
        ([(1, 2), {"user": 1}], "tuple or a dict for each row, and this one has dict and tuple"),
        ({"user": [1], "item": [1, 2]}, "different lengths, 'user' 1 and 'item' 2"),
        ({"user": "ab", "item": "cd"}, "a list of values for each column"),
        (np.zeros(3), "must have two dimensions"),
        (object(), "object cannot be read as one"),
    ],
)
def test_objects_that_are_no_tables(data, message):
    unnamed = isinstance(data, list) and data and isinstance(data[0], tuple)
    names = "user item" if unnamed else None
    with pytest.raises(DataError, match=message):
        read_interactions(data, columns=names)


def test_iterators_and_tensors():
    torch = pytest.importorskip("torch")
    assert read_interactions(zip("ab", [7, 8]), columns="user item").n_rows == 2
    assert read_interactions(dict(zip(("user", "item"), row)) for row in EXPECTED).n_rows == 3
    tensor = torch.tensor([[1, 2], [1, 3]])
    assert read_interactions(tensor, columns="user item").frame.rows() == [(1, 2), (1, 3)]


def test_interactions_are_as_they_are():
    data = read_interactions(NAMED[0])
    assert read_interactions(data) is data
    mixed = read_interactions(data, ties="random", seed=3)
    assert mixed.frame.equals(data.frame)
    assert mixed.rows.tolist() != data.rows.tolist()
    for wrong in ({"columns": NAMES}, {"time_format": "%Y"}):
        with pytest.raises(ParameterError, match="these are interactions"):
            read_interactions(data, **wrong)


def test_days_of_numpy():
    days = np.array(["2024-01-02", "2024-01-01"], dtype="datetime64[D]")
    data = read_interactions({"user": [1, 1], "item": [5, 6], "day": days}, time="day")
    assert data.vocabulary.items.to_list() == [6, 5]


def test_times_in_objects():
    rows = [("a", 1, "2024-01-02"), ("a", 2, "2024-01-01")]
    assert read_interactions(rows, columns="user item date").vocabulary.items.to_list() == [2, 1]
