"""``whence value --update``: values that grow by evaluation sets, and lose them."""

from __future__ import annotations

import json

import polars as pl
import pytest
from _commands import SESSIONS, whence_, write_sessions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    return tmp_path


def values(name):
    return pl.read_parquet(f"{name}/values.parquet")


def test_a_window_on_the_command_line(folder):
    kind = ("--train", "train.csv", "--model", "vmis", "--tolerance", 0.4, "-q")
    whence_("value", *kind, "--valid", "validation.csv", "--part", "monday", "-o", "values")
    said = whence_("value", "values", "--update", "--valid", "test.csv", "-q")
    assert "The values are of monday (" in said.stdout
    assert "), test (" in said.stdout
    both = values("values")
    whence_("value", "values", "--update", "--without", "monday", "-q")
    assert (
        json.loads((folder / "values" / "summary.json").read_text())["parts"][0]["name"] == "test"
    )
    whence_("value", *kind, "--valid", "test.csv", "--part", "test", "-o", "afresh")
    assert values("values").equals(values("afresh"))
    assert pl.read_csv("values/values.csv").height == both.height
    whence_(
        "value", "afresh", "--update", "--valid", "validation.csv", "--part", "b",
        "--without", "test", "-q",
    )  # fmt: skip
    assert not values("afresh").equals(values("values"))
    assert {path.name for path in (folder / "afresh").iterdir()} == {
        path.name for path in (folder / "values").iterdir()
    }


def test_a_file_that_was_split_keeps_its_training_part(folder):
    whence_(
        "value", "--data", "train.csv", "--model", "vmis", "--method", "loo", "-o", "values", "-q"
    )
    before = values("values")
    whence_("value", "values", "--update", "--valid", "validation.csv", "-q")
    whence_("value", "values", "--update", "--without", "validation", "-q")
    assert values("values").equals(before)


def test_what_cannot_be_updated(folder):
    whence_("value", *SESSIONS[:4], "--model", "vmis", "--method", "loo", "-o", "values", "-q")
    before = values("values")
    for arguments, words in (
        (("values", "--update"), "named with --valid"),
        (("values", "--without", "1"), "--without goes with --update"),
        (("--update", "--valid", "test.csv"), "name the folder that whence value wrote"),
        (("values", "--update", "--without", "x"), "There is no part 'x'"),
        (
            ("values", "--update", "--valid", "test.csv", "--part", "1"),
            "There is a part '1' already",
        ),
        (("values", "--update", "--valid", "none.csv"), "none.csv does not exist"),
        (
            (*SESSIONS[:4], "--model", "vmis", "--method", "random", "--part", "x", "-o", "y"),
            "means over queries",
        ),
    ):
        assert words in whence_("value", *arguments, "-q", code=2).stderr
    assert values("values").equals(before)
    assert not (folder / "y").exists()
