"""Files in parts, and compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from whence.data import _compression, read_interactions, read_table
from whence.errors import FileFormatError, UnsupportedError

TEXT = b"user,item,time\n1,7,2\n1,8,1\n"
ROWS = [(1, 7, 2), (1, 8, 1)]


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return content.getvalue()


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv.gz", gzip.compress(TEXT, mtime=0)),
        ("x.csv.bz2", bz2.compress(TEXT)),
        ("x.csv.xz", lzma.compress(TEXT)),
        ("x.csv.zst", zstd(TEXT)),
        ("x.csv.zip", zipped("x.csv")),
        ("x.zip", zipped("folder/", "folder/clicks.csv", "__MACOSX/._clicks.csv")),
    ],
)
def test_compressed_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_interactions(tmp_path / name).frame.rows() == ROWS
    assert read_table(tmp_path / name).rows() == ROWS
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="is truncated or damaged and cannot be"):
        read_interactions(tmp_path / name)
    (tmp_path / name).write_bytes(TEXT)
    with pytest.raises(FileFormatError, match="-compressed although its name ends in"):
        read_interactions(tmp_path / name)
    (tmp_path / "y.csv").write_bytes(content)
    with pytest.raises(FileFormatError, match=f"rename it to end in {Path(name).suffix}"):
        read_interactions(tmp_path / "y.csv")


def test_archives_of_several_files_are_not_guessed(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped("a.csv", "b.csv"))
    with pytest.raises(FileFormatError, match=r"is an archive of 2 files: a\.csv, b\.csv; unpack"):
        read_interactions(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(zipped())
    with pytest.raises(FileFormatError, match=r"is not zip-compressed|archive of 0 files"):
        read_interactions(tmp_path / "x.zip")


def test_zstandard_without_a_library(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(_compression.importlib, "import_module", missing)
    (tmp_path / "x.csv.zst").write_bytes(zstd(TEXT))
    with pytest.raises(UnsupportedError, match=r"Python 3\.14 or the library pyarrow; pip install"):
        read_interactions(tmp_path / "x.csv.zst")


def frames():
    whole = pl.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"], "time": [3, 1, 2]})
    return whole, [whole.head(2), whole.tail(1)]


def test_folders_of_parts(tmp_path):
    whole, parts = frames()
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-0.parquet.crc").touch()
    for number, part in enumerate(parts):
        part.write_parquet(tmp_path / f"part-{number:05}-3f2a.snappy.parquet")
    data = read_interactions(tmp_path)
    assert data.frame.equals(whole)
    days = tmp_path / "days"
    for number, part in enumerate(parts):
        folder = days / f"day=2019-10-0{number + 1}"
        folder.mkdir(parents=True)
        part.drop("time").write_csv(folder / "data_0.csv")
    found = read_interactions(days).frame
    assert found.rows() == [
        (1, "a", "2019-10-01"), (1, "b", "2019-10-01"), (2, "a", "2019-10-02"),
    ]  # fmt: skip


def test_patterns_and_lists_of_parts(tmp_path, monkeypatch):
    whole, parts = frames()
    paths = [tmp_path / f"2019-{month}.csv" for month in ("Nov", "Oct")]
    for path, part in zip(paths, parts):
        part.write_csv(path)
    assert read_interactions(tmp_path / "2019-*.csv").frame.equals(whole)
    assert read_interactions(str(tmp_path / "*-[NO]*.csv")).frame.equals(whole)
    assert read_interactions(paths).frame.equals(whole)
    assert read_table(tmp_path / "*.csv").equals(whole)
    assert read_interactions(tmp_path / "*Nov.csv").n_rows == 2
    with pytest.raises(FileFormatError, match="No file matches"):
        read_interactions(tmp_path / "2020-*.csv")
    with pytest.raises(FileFormatError, match=r"with 2019-Nov\.csv, 2019-Oct\.csv"):
        read_interactions(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_interactions("~/2019-Oct.csv").n_rows == 1


def test_ids_of_parts_have_one_type(tmp_path):
    (tmp_path / "a1.csv").write_text("user,item\n1,7\n")
    (tmp_path / "a2.csv").write_text("user,item\n1,007\n")
    data = read_interactions(tmp_path / "a*.csv")
    assert data.frame["item"].to_list() == ["7", "007"]
    for name, items in (("b1", [1]), ("b2", ["x"])):
        pl.DataFrame({"user": [1], "item": items}).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(FileFormatError, match=r"'item' is Int64 in .* write the parts alike"):
        read_interactions(tmp_path / "b*.parquet")
    (tmp_path / "a3.csv").write_text("user,thing\n1,7\n")
    with pytest.raises(FileFormatError, match=r"a3\.csv has no column 'item'"):
        read_interactions(tmp_path / "a*.csv")
    for name, item in (("c1", "7"), ("c2", "x")):
        (tmp_path / f"{name}.inter").write_text(f"user_id:token\titem_id:token\n1\t{item}\n")
    assert read_interactions(tmp_path / "c*.inter").frame["item_id"].to_list() == ["7", "x"]


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="there is no /dev/stdin")
@pytest.mark.parametrize(
    ("content", "more"),
    [
        (TEXT, ""),
        (gzip.compress(TEXT, mtime=0), ""),
        (TEXT.partition(b"\n")[2], ", columns='user item time'"),
        (b'{"user": 1, "item": 7, "time": 2}\n{"user": 1, "item": 8, "time": 1}\n', ""),
    ],
)
def test_standard_input(content, more):
    code = f"import whence; print(whence.read_interactions('/dev/stdin'{more}).frame.rows())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == str(ROWS)


@pytest.mark.parametrize("library", ["parquet", "ipc"])
def test_other_tables_on_standard_input(library):
    target = io.BytesIO()
    getattr(frames()[0], f"write_{library}")(target)
    code = "import whence; print(whence.read_interactions('/dev/stdin').n_rows)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=target.getvalue(), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"3"
