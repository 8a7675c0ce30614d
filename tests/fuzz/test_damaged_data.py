"""Files of interactions that are damaged, in every format, are read or refused in one sentence."""

from __future__ import annotations

import gzip
import io

import numpy as np
import polars as pl
import pytest
from mutants import how_many, mutated_bytes, mutated_table, pick, untyped

import whence

ROWS = pl.DataFrame(
    {
        "user_id": [1, 1, 2, 2, 2, 3],
        "item_id": [10, 11, 10, 12, 13, 11],
        "rating": [4.0, 3.5, 5.0, 1.0, 2.0, 3.0],
        "timestamp": [100, 101, 50, 60, 70, 200],
    }
)
ATOMIC = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t4.0\t100\n2\té\t1\t7\n"
)
FILES = {
    "ratings.csv": ROWS.write_csv().encode(),
    "dates.csv": (
        b"session;item;time\n1;a;2020-01-01T10:00:00Z\n1;b;2020-01-02 11:30\n2;a;2021-03-04\n"
    ),
    "quoted.tsv": b'session_id\titem_id\n"a b"\t"x""y"\n"a b"\tz\nc\tx\n',
    "clicks.txt": b"1 2 3\n4 5\n6 1 2 7\n",
    "u.data": b"1\t10\t4\t881250949\n2\t11\t3\t891717742\n",
    "ratings.dat": b"1::1193::5::978300760\n1::661::3::978302109\n2::1357::5::978298709\n",
    "x.inter": ATOMIC.encode(),
    "train.csv": (
        b"user_id\titem_id\ttime\tneg_items\n1\t10\t100\t[11, 12]\n2\t11\t101\t[10, 13]\n"
        b"2\t12\t102\t[10, 9223372036854775807]\n"
    ),
    "baskets.json": b'{"1": [[1, 2], [3]], "2": [["4"], [5, 6]]}',
    "zipped.csv.gz": gzip.compress(ROWS.write_csv().encode(), mtime=0),
    "likes.csv": "kunde,artikel\nä,ö\nß,€\n".encode("utf-16"),
}
OPTIONS = (
    {}, {}, {}, {"format": "csv"}, {"format": "session-lines"}, {"format": "user-lines"},
    {"format": "basket-json"}, {"format": "atomic"}, {"format": "rechorus"}, {"separator": ","},
    {"user": "user_id", "item": "item_id"}, {"item": "rating"}, {"time": "timestamp"},
    {"kind": "baskets"}, {"basket": "timestamp"},
)  # fmt: skip


def use(path, **options):
    data = whence.read_interactions(path, **options)
    repr(data), data.describe(), data.sequences
    model = whence.Popularity().fit(data)
    model.recommend(model.user_queries(data.source_ids.head(1).to_list()), 1)


@pytest.mark.parametrize("name", FILES)
def test_text(tmp_path, name):
    path, found = tmp_path / name, {}
    for number in range(how_many(40, 0.07)):
        rng = np.random.default_rng([11, number])
        path.write_bytes(mutated_bytes(rng, FILES[name]))
        wrong = untyped(use, path, **pick(rng, OPTIONS))
        if wrong is not None:
            found.setdefault(wrong, (number, path.read_bytes()))
    assert found == {}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
def test_binary(tmp_path, name):
    path, found = tmp_path / name, {}
    for number in range(how_many(40, 0.07)):
        rng = np.random.default_rng([12, number])
        buffer = io.BytesIO()
        table = mutated_table(rng, mutated_table(rng, ROWS))
        table.write_parquet(buffer) if name.endswith("parquet") else table.write_ipc(buffer)
        content = buffer.getvalue()
        path.write_bytes(mutated_bytes(rng, content) if rng.random() < 0.3 else content)
        wrong = untyped(use, path, **pick(rng, OPTIONS))
        if wrong is not None:
            found.setdefault(wrong, number)
    assert found == {}


def test_tables(tmp_path):
    found = {}
    for number in range(how_many(100, 0.1)):
        rng = np.random.default_rng([13, number])
        table = ROWS
        for _ in range(int(rng.integers(1, 4))):
            table = mutated_table(rng, table)
        wrong = untyped(use, table)
        if wrong is not None:
            found.setdefault(wrong, number)
    assert found == {}


@pytest.mark.parametrize("name", ["titles.csv", "titles.parquet"])
def test_side_tables(tmp_path, name):
    titles = pl.DataFrame(
        {"item_id": [10, 11, 12], "title": ["a", "b", "c"], "genres": ["x|y"] * 3}
    )
    data, found, path = whence.Interactions.from_frame(ROWS), {}, tmp_path / name

    def describe(path):
        data.with_tables(items=path).item_titles

    for number in range(how_many(40, 0.05)):
        rng = np.random.default_rng([14, number])
        table = mutated_table(rng, titles)
        if name.endswith("csv"):
            try:
                content = table.write_csv().encode()
            except pl.exceptions.PolarsError:
                content = titles.write_csv().encode()
            path.write_bytes(mutated_bytes(rng, content))
        else:
            table.write_parquet(path)
        wrong = untyped(describe, path)
        if wrong is not None:
            found.setdefault(wrong, number)
    assert found == {}
