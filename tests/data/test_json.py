from __future__ import annotations

import json

import polars as pl
import pytest

from whence.data import read_interactions
from whence.errors import ColumnError, DataError, FileFormatError, ParameterError

ROWS = [
    {"user": "a", "item": 1, "timestamp": 2, "tags": ["x"]},
    {"user": "b", "item": 2, "timestamp": 1, "tags": []},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def put(folder, name, content):
    (folder / name).write_text(content)
    return folder / name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", LINES),
        ("x.ndjson", "\n" + LINES.replace("\n", "\r\n\r\n")),
        ("x.json", LINES),
        ("x.json", json.dumps(ROWS)),
        ("x.json", json.dumps(ROWS, indent=2)),
    ],
)
def test_rows_as_objects(tmp_path, name, content):
    data = read_interactions(put(tmp_path, name, content))
    assert data.frame.rows(named=True) == ROWS
    assert data.vocabulary.sources.to_list() == ["b", "a"]
    assert data.columns.extras == ("tags",)


def test_ids_keep_their_types(tmp_path):
    rows = [{"user": "007", "item": "1"}, {"user": "7", "item": "2"}]
    data = read_interactions(put(tmp_path, "x.json", json.dumps(rows)))
    assert data.frame.rows() == [("007", "1"), ("7", "2")]
    big = [{"user": 2**63 - 1, "item": 1}, {"user": 2**63 - 2, "item": 1}]
    lines = "\n".join(map(json.dumps, big))
    assert read_interactions(put(tmp_path, "y.jsonl", lines)).n_sources == 2


def test_a_single_row_is_told_from_the_baskets_of_a_user(tmp_path):
    data = read_interactions(put(tmp_path, "x.json", '{"user_id": 1, "item_id": 2}'))
    assert data.frame.rows() == [(1, 2)]
    baskets = '{"user": [["a"], ["b", "c"]],\n "8": [["a"]]}'
    assert read_interactions(put(tmp_path, "b.json", baskets)).kind == "baskets"
    many = '{"1": [[1, 2]]}\n'
    assert read_interactions(put(tmp_path, "c.json", many)).kind == "baskets"


def test_written_times(tmp_path):
    rows = [
        {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1370000000},
        {"reviewerID": "A1", "asin": "B2", "overall": 4, "unixReviewTime": 1360000000},
    ]
    data = read_interactions(put(tmp_path, "reviews.json", "\n".join(map(json.dumps, rows))))
    assert data.columns.rating == "overall"
    assert data.vocabulary.items.to_list() == ["B2", "B1"]
    rows = [{"user": 1, "item": 2, "date": "2019-10-01 00:00:04 UTC"}]
    data = read_interactions(put(tmp_path, "x.jsonl", json.dumps(rows[0])))
    assert data.frame.schema["date"] == pl.Datetime("us", "UTC")


def test_arrays_have_no_names(tmp_path):
    for name, content in (("x.json", "[[1, 2], [1, 3]]"), ("x.jsonl", "[1, 2]\n[1, 3]\n")):
        path = put(tmp_path, name, content)
        assert read_interactions(path, columns="user item").frame.rows() == [(1, 2), (1, 3)]
        with pytest.raises(ParameterError, match="columns have no names"):
            read_interactions(path)
    with pytest.raises(ParameterError, match="columns is for what has no names"):
        read_interactions(put(tmp_path, "y.jsonl", LINES), columns="user item x y")


def test_one_row_per_session(tmp_path):
    lines = '{"session_id": 7, "items": [3, 4], "times": [2, 1]}\n{"session_id": 8, "items": []}\n'
    data = read_interactions(put(tmp_path, "x.jsonl", lines))
    assert data.frame.select("session_id", "items", "times").rows() == [(7, 3, 2), (7, 4, 1)]
    assert data.vocabulary.items.to_list() == [4, 3]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("x.jsonl", LINES + '{"user": 1,\n', FileFormatError, r"not valid JSON \(line 3\)"),
        ("x.jsonl", "5\n6\n", FileFormatError, "is JSON, but no rows"),
        ("x.json", "[1, 2]", FileFormatError, "is JSON, but no rows"),
        ("x.json", "[" * 100_000, FileFormatError, "not valid JSON"),
        ("x.json", '[{"user": 1}, {"user": "a"}]', DataError, "mixed or unknown types"),
        ("x.json", '[{"a": 1, "b": 2}]', ColumnError, "No session or user column"),
        ("x.json", "[]", DataError, "no rows"),
        ("x.jsonl", '{"user": 1, "item": null}', DataError, "1 null value"),
        ("x.jsonl", '{"user": {"a": 1}, "item": 2}', DataError, "cannot be ids"),
        ("x.csv", LINES, FileFormatError, "looks like JSON.* say format='json'"),
    ],
)
def test_bad_json(tmp_path, name, content, error, message):
    with pytest.raises(error, match=message):
        read_interactions(put(tmp_path, name, content))
