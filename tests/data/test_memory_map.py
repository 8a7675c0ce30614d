"""Files that are mapped into memory give the same interactions, values and lists."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

import whence
from whence.data import read_interactions
from whence.data.vocabulary import number_by_first_appearance
from whence.errors import FileFormatError, ParameterError, UnsupportedError

pytest.importorskip("pyarrow")

ARRAYS = ("rows", "source_codes", "item_codes", "moments")


@pytest.fixture(scope="module")
def clicks():
    frame = whence.generate("rsc15", 3000, n_items=200, seed=1).frame
    return frame.with_columns(
        country=pl.lit("NL"), rating=pl.Series(np.arange(frame.height) % 5 + 0.5)
    )


def same(one, other):
    """Whether two have the same rows, numbers and order."""
    assert one.fingerprint == other.fingerprint
    assert one.frame.select(other.frame.columns).equals(other.frame)
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.tsv", "a.arrow"])
def test_the_same_interactions_without_the_columns_of_no_use(name, clicks, tmp_path):
    path = whence.write_interactions(clicks, tmp_path / name)
    plain = read_interactions(path)
    mapped = read_interactions(path, memory_map=tmp_path / "map")
    assert set(mapped.frame.columns) == set(clicks.columns) - {"country"}
    same(plain, mapped)
    assert not mapped.item_codes.flags.writeable
    assert not [one for one in (tmp_path / "map").iterdir() if one.name.startswith(".")]
    named = read_interactions(
        path, memory_map=tmp_path / "map", user="country", session="session_id"
    )
    assert named.columns.user == "country"
    same(plain, mapped)  # whose files were replaced meanwhile


def test_values_and_lists_are_the_same(clicks, tmp_path):
    path = whence.write_interactions(clicks, tmp_path / "clicks.parquet")
    asked = whence.generate("rsc15", 300, n_items=200, seed=1)
    found = []
    for folder in (None, tmp_path / "map"):
        model = whence.VMISKNN(k=20, m=50).fit(read_interactions(path, memory_map=folder))
        values = whence.LeaveOneOut("mrr@10").attribute(model, asked)
        found.append((values.frame, whence.evaluate(model, asked, "mrr@10")["mrr@10"]))
    assert found[0][0].equals(found[1][0])
    assert found[0][1] == found[1][1]


def test_rows_in_disorder_text_and_dates(tmp_path):
    frame = pl.DataFrame(
        {
            "session_id": ["b", "a", "b", "a"],
            "item_id": ["007", "8", "9", "007"],
            "timestamp": [datetime.datetime(2024, 1, day) for day in (4, 2, 3, 1)],
        }
    )
    for name in ("a.parquet", "a.csv"):
        path = whence.write_interactions(frame, tmp_path / name)
        plain, mapped = (
            read_interactions(path, memory_map=folder) for folder in (None, tmp_path / name[2:])
        )
        same(plain, mapped)
        assert mapped.item_ids.to_list() == ["007", "8", "9"]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "2", "3"], pl.Int64),
        (["1", "02", "3"], pl.String),
        (["1.5", "2", "3"], pl.String),
        (["99999999999999999999", "2", "3"], pl.String),
        (["-4", "0", "7"], pl.Int64),
    ],
)
def test_ids_in_text_lose_nothing(values, dtype, tmp_path):
    frame = pl.DataFrame({"session": values, "item": [1, 2, 3], "time": ["1.5", "2", "3.25"]})
    frame.write_csv(tmp_path / "a.csv")
    plain = read_interactions(tmp_path / "a.csv")
    mapped = read_interactions(tmp_path / "a.csv", memory_map=tmp_path / "map")
    assert mapped.frame.schema["session"] == dtype == plain.frame.schema["session"]
    same(plain, mapped)


def test_parts_of_a_table(clicks, tmp_path):
    for number, part in enumerate(clicks.iter_slices(1000)):
        part.write_parquet(tmp_path / f"part-{number}.parquet")
    pattern = str(tmp_path / "part-*.parquet")
    same(read_interactions(pattern), read_interactions(pattern, memory_map=tmp_path / "map"))


def test_users_with_ratings_and_any_order(tmp_path):
    ratings = whence.generate("ml-1m", 2000, n_items=100, seed=2).frame.sample(
        fraction=1.0, shuffle=True, seed=1
    )
    path = whence.write_interactions(ratings, tmp_path / "ratings.parquet")
    plain, mapped = (
        read_interactions(path, memory_map=folder) for folder in (None, tmp_path / "map")
    )
    same(plain, mapped)
    few = mapped.keep_rows(np.arange(mapped.n_rows) % 2 == 0)
    same(plain.keep_rows(np.arange(plain.n_rows) % 2 == 0), few)


def test_what_cannot_be_mapped(clicks, tmp_path, monkeypatch):
    whence.write_interactions(clicks, tmp_path / "a.csv.gz")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    path = whence.write_interactions(clicks, tmp_path / "a.csv")
    folder = tmp_path / "map"
    for source, more, error, words in (
        ("a.csv.gz", {}, UnsupportedError, "not compressed"),
        ("x.csv", {}, FileFormatError, "does not exist"),
        ("bad.parquet", {}, FileFormatError, "cannot be read"),
        ("a.csv", {"format": "csv"}, ParameterError, "leave format"),
        ("a.csv", {"memory_map": 3}, ParameterError, "memory_map"),
        (clicks, {}, ParameterError, "a table was given"),
    ):
        source = tmp_path / source if isinstance(source, str) else source
        with pytest.raises(error, match=words):
            read_interactions(source, **{"memory_map": folder, **more})
    assert not folder.exists() or not list(folder.iterdir())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="needs pyarrow"):
        read_interactions(path, memory_map=folder)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.Int16, pl.Int64, pl.UInt32])
def test_numbers_by_first_appearance_are_the_same_in_narrow_integers(dtype, monkeypatch):
    monkeypatch.setattr("whence.data._numbering.ROWS_AT_A_TIME", 7)
    low, high = (0, 200) if dtype in (pl.UInt8, pl.UInt32) else (-120, 120)
    values = np.random.default_rng(1).integers(low, high, 400)
    distinct, numbers = number_by_first_appearance(pl.Series("id", values, dtype=dtype))
    order = list(dict.fromkeys(values.tolist()))
    assert distinct.to_list() == order
    assert distinct.dtype == dtype
    assert numbers.tolist() == [order.index(value) for value in values]
    assert numbers.dtype == np.int64


def test_a_configuration_maps_the_training_file(clicks, tmp_path):
    from whence.config import load_config, read_parts
    from whence.errors import ConfigError

    train = whence.write_interactions(clicks, tmp_path / "train.parquet")
    config = tmp_path / "config.yaml"
    config.write_text(
        "data: {train: train.parquet, validation: train.parquet, memory_map: mapped}\n"
    )
    parts = read_parts(load_config(config))
    same(read_interactions(train), parts.train)
    assert np.array_equal(np.load(tmp_path / "mapped" / "rows.npy"), parts.train.rows)
    same(parts.train, parts.validation)
    config.write_text("data: {path: ml-100k, memory_map: mapped}\nmodel: {name: popularity}\n")
    with pytest.raises(ConfigError, match="public data set, which fits in memory"):
        read_parts(load_config(config))
