from __future__ import annotations

import gzip

import polars as pl
import pytest

from whence.config import load_config, read_parts
from whence.data import read_splits
from whence.errors import ConfigError, DataError, DataWarning, FileFormatError, ParameterError

HEAD = "user_id:token\titem_id:token\ttimestamp:float\n"
ROWS = {"train": "a\t1\t1\na\t2\t2\nb\t1\t1\n", "valid": "a\t3\t3\n", "test": "a\t4\t4\nb\tx\t5\n"}


@pytest.fixture
def recbole(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, rows in ROWS.items():
        (folder / f"shop.{name}.inter").write_text(HEAD + rows)
    (folder / "shop.item").write_text("item_id:token\ttitle:token\n1\tTea\n4\tCup\n")
    return folder


def rows(part):
    return part.frame.rows()


def test_recbole(recbole):
    train, validation, test = read_splits(recbole)
    # the test data have an item that is text, so items are text in all parts
    assert rows(train) == [("a", "1", 1.0), ("a", "2", 2.0), ("b", "1", 1.0)]
    assert rows(validation) == [("a", "3", 3.0)]
    assert rows(test) == [("a", "4", 4.0), ("b", "x", 5.0)]
    assert train.vocabulary.items.to_list() == ["1", "2"]
    assert train.item_titles.to_list() == ["Tea", None]
    assert test.item_titles.to_list() == ["Cup", None]
    named = read_splits(recbole, ["train", "test"])
    assert named[1] is None
    assert rows(named[2]) == rows(test)
    (recbole / "shop.part1.inter.gz").write_bytes(gzip.compress((HEAD + ROWS["train"]).encode()))
    train, validation, test = read_splits(recbole, ["part1", "valid", "test"])
    assert (train.n_rows, validation.n_rows, test.n_rows) == (3, 1, 2)
    with pytest.raises(FileFormatError, match="has no files of 'part1' and 'part2' and 'part3'"):
        read_splits(recbole, ["part1", "part2", "part3"])


def test_a_whole_file_beside_them_is_not_split_again(recbole):
    (recbole / "shop.inter").write_text(HEAD + "".join(ROWS.values()))
    parts = read_parts(load_config(overrides={"data.path": str(recbole), "model.name": "itemknn"}))
    assert parts.split == "given"
    assert (parts.train.n_rows, parts.validation.n_rows, parts.test.n_rows) == (3, 1, 2)
    asked = {"data.path": str(recbole), "model.name": "itemknn", "split.method": "rows"}
    assert read_parts(load_config(overrides=asked)).split == "rows"
    files = {"data.path": str(recbole), "split.files": ["train", "test", "valid"]}
    parts = read_parts(load_config(overrides=files))
    assert (parts.validation.n_rows, parts.test.n_rows) == (2, 1)


def test_rechorus(tmp_path):
    (tmp_path / "train.csv").write_text("user_id\titem_id\ttime\n1\t10\t1\n2\t20\t2\n")
    (tmp_path / "dev.csv").write_text("user_id\titem_id\ttime\tneg_items\n1\t20\t3\t[10, 30]\n")
    (tmp_path / "test.csv").write_text("user_id\titem_id\ttime\tneg_items\n2\t10\t4\t[30, 40]\n")
    train, validation, test = read_splits(tmp_path)
    assert train.columns.negatives is None
    assert train.frame.columns == ["user_id", "item_id", "time"]
    assert validation.columns.negatives == "neg_items"
    assert test.frame["neg_items"].to_list() == [[30, 40]]
    assert train.frame.schema["item_id"] == pl.Int64


def test_lightgcn(tmp_path):
    (tmp_path / "train.txt").write_text("0 3 4\n1 5\n2 3 4 5\n")
    (tmp_path / "test.txt").write_text("0 5\n1 \n2 9 7\n")
    with pytest.warns(DataWarning, match="1 of 3 lines .* a user and no item"):
        train, validation, test = read_splits(tmp_path)
    assert validation is None
    assert rows(train) == [(0, 3), (0, 4), (1, 5), (2, 3), (2, 4), (2, 5)]
    assert rows(test) == [(0, 5), (2, 9), (2, 7)]
    assert train.by_user
    (tmp_path / "test.txt").write_text("0 5\n1 5\n")
    (tmp_path / "train.txt").write_text("0 5\n0 6\n1 5\n")
    with pytest.raises(FileFormatError, match="columns='user item'"):
        read_splits(tmp_path)
    train, _, test = read_splits(tmp_path, columns="user item")
    assert (train.n_rows, test.n_rows) == (3, 2)


def test_parts_in_any_format(tmp_path):
    frame = pl.DataFrame({"session": [1, 1], "item": [5, 6]})
    frame.write_parquet(tmp_path / "train.parquet")
    frame.write_parquet(tmp_path / "validation.parquet")
    frame.head(0).write_parquet(tmp_path / "test.parquet")
    train, validation, test = read_splits(tmp_path)
    assert (train.n_rows, validation.n_rows, test) == (2, 2, None)
    frame.cast(pl.String).write_parquet(tmp_path / "validation.parquet")
    with pytest.raises(FileFormatError, match=r"'session' is Int64 in .* and String in"):
        read_splits(tmp_path)
    frame.write_parquet(tmp_path / "val.parquet")
    with pytest.raises(FileFormatError, match="of which only one can be meant"):
        read_splits(tmp_path)


def test_what_are_no_parts(tmp_path):
    with pytest.raises(FileFormatError, match="has no files of train and test"):
        read_splits(tmp_path)
    for wrong in (["a"], ["a", "b", "c", "d"], [1, 2]):
        with pytest.raises(ParameterError, match="names must be two or three"):
            read_splits(tmp_path, wrong)
    (tmp_path / "train.csv").write_text("user,item\n")
    (tmp_path / "test.csv").write_text("user,item\n1,2\n")
    with pytest.raises(DataError, match="no rows"):
        read_splits(tmp_path)
    for wrong in ({"split.method": "given", "data.train": "x"}, {"split.files": ["a", "b"]}):
        with pytest.raises(ConfigError):
            read_parts(load_config(overrides={"data.train": "x.csv", **wrong}))
    both = {"data.path": str(tmp_path), "split.files": ["a", "b"], "split.method": "rows"}
    with pytest.raises(ConfigError, match="leave one of them out"):
        read_parts(load_config(overrides=both))
