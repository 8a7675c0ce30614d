"""``whence clean``: what it removes, explains and undoes, and bad input."""

from __future__ import annotations

import polars as pl
import pytest
from _commands import SESSIONS, whence_, write_sessions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    whence_("value", *SESSIONS[:4], "--method", "loo", "-o", "values", "-q")
    return tmp_path


def test_clean_explain_undo(folder):
    line = ("clean", "train.csv", "--values", "values", "--fraction", 0.1, "--duplicates", "--bots")
    assert "value: 15 sources" in whence_(*line, "--dry-run").stdout
    assert not (folder / "cleaned").exists()
    whence_(*line, "-o", "cleaned")
    actions = pl.read_csv("cleaned/actions.csv")
    first = actions["session_id"][0]
    assert f"{first} was removed" in whence_("clean", "cleaned", "--explain", first).stdout
    said = whence_("clean", "cleaned", "--undo", first, "-o", "once").stdout
    assert f"Undone: 1 of {actions.height} actions" in said
    rows = pl.read_csv("once/data.csv").height - pl.read_csv("cleaned/data.csv").height
    assert rows == actions["n_rows"][0]
    whence_("clean", "cleaned", "--undo", "all", "-o", "back")
    assert pl.read_csv("back/data.csv").equals(pl.read_csv("train.csv"))
    whence_(
        "evaluate", "--train", "cleaned/data.csv", "--valid", "validation.csv", "--model", "vmis"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("train.csv", "-o", "out"), "Say what to remove"),
        (("train.csv", "--bots"), "--output"),
        (("train.csv", "--bots", "--level", 0.1, "-o", "out"), "--values"),
        (("train.csv", "--values", "values", "--level", 2, "-o", "out"), "--level must be"),
        (("train.csv", "--remove", "nobody", "-o", "out"), "nobody"),
        (("train.csv", "--explain", "1"), "whence clean wrote"),
        (("values", "--undo", "all", "-o", "out"), "whence clean wrote"),
        (("train.csv", "--undo", "1", "--bots", "-o", "out"), "name only it"),
    ],
)
def test_bad_input_is_one_sentence(folder, line, words):
    result = whence_("clean", *line, code=2)
    assert words in " ".join(result.output.replace("│", " ").split())
    assert not (folder / "out").exists()


def test_sustainability(folder):
    items = pl.read_csv("train.csv")["item_id"].unique().sort()[:15]
    pl.DataFrame({"item_id": items}).write_csv("green.csv")
    said = whence_("sustainability", *SESSIONS, "--sustainable", "green.csv", "-o", "out").stdout
    assert "recommendations" in said
    assert pl.read_csv("out/shares.csv").height == 4
    result = whence_("sustainability", *SESSIONS, code=2)
    assert "--sustainable" in result.output
