"""What commands say about what was asked, and what they refuse before any work."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from _commands import SESSIONS, whence_, write_ratings, write_sessions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    return tmp_path


def test_the_line_about_queries_says_what_was_asked(folder):
    lines = whence_("evaluate", *SESSIONS, "--model", "markov").stdout
    assert "queries (beginnings of sessions)" in lines
    assert "targets were seen before." in lines
    lines = whence_(
        "evaluate", *SESSIONS, "--model", "markov", "--set", "model.exclude_seen=true"
    ).stdout
    assert "targets were seen before and cannot be found." in lines


def test_sources_may_count_alike(folder):
    whence_("evaluate", *SESSIONS, "--model", "vmis", "--per", "session", "-o", "alike")
    whence_("evaluate", *SESSIONS, "--model", "vmis", "-o", "usual")
    alike, usual = (
        json.loads((folder / name / "summary.json").read_text())["results"]["validation"]
        for name in ("alike", "usual")
    )
    table = pl.read_parquet(folder / "usual" / "validation-queries.parquet")
    by_session = table.group_by("session_id").agg(pl.col("mrr@20").mean())["mrr@20"]
    assert alike["scores"]["mrr@20"] == pytest.approx(by_session.mean())
    assert alike["std_errors"]["mrr@20"] == pytest.approx(by_session.std() / np.sqrt(40))
    assert (alike["per"], usual["per"]) == ("source", "query")
    assert usual["protocol"] == "prefixes"
    assert usual["n_targets"] == usual["n_queries"] == len(table)


def test_few_beginnings_and_few_items(folder):
    pl.read_csv("train.csv")["item_id"].unique().sort()[:5].to_frame().write_csv("stock.csv")
    lines = whence_(
        "evaluate", *SESSIONS, "--model", "vmis", "--max-prefixes", 1, "--items", "stock.csv",
        "--metric", "mrr@3",
    ).stdout  # fmt: skip
    assert "validation: 40 queries" in lines
    assert "5 items may be recommended" in lines


def test_items_that_are_unknown_are_refused_before_the_work(folder):
    (folder / "stock.csv").write_text("item_id\n-5\n")
    ask = ("train", *SESSIONS, "--model", "vmis", "--items", "stock.csv", "-o", "run")
    assert "None of the 1 items is in the training data" in whence_(*ask, code=2).stderr
    assert not (folder / "run").exists()


def test_gains_by_rating(folder):
    ask = ("evaluate", "--data", "ratings.csv", "--model", "itemknn", "--metric", "dcg@5",
           "--split", "rows", "-o")  # fmt: skip
    whence_(*ask, "graded", "--gain", "rating")
    whence_(*ask, "plain")
    graded, plain = (
        json.loads((folder / name / "summary.json").read_text())["results"]["test"]["scores"]
        for name in ("graded", "plain")
    )
    assert graded["dcg@5"] > plain["dcg@5"] > 0


@pytest.mark.parametrize("command", ["train", "evaluate", "value"])
def test_data_that_shares_nothing_are_refused_before_the_work(folder, command):
    frame = pl.read_csv("validation.csv")
    frame.with_columns(pl.col("item_id") + 10_000).write_csv("validation.csv")
    result = whence_(
        command, "--train", "train.csv", "--valid", "validation.csv", "--model", "vmis",
        "-o", "out", code=2,
    )  # fmt: skip
    assert "None of the" in result.stderr
    assert "the training data knows none of the items" in result.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("per", "source"), ("gain", "rating"), ("items", "[1, 2]"), ("negatives", "9")],
)
def test_values_refuse_what_they_do_not_honour(folder, key, value):
    result = whence_(
        "value", *SESSIONS[:4], "--model", "vmis", "--set", f"evaluation.{key}={value}",
        "-o", "out", code=2,
    )  # fmt: skip
    assert f"evaluation.{key} has no meaning for values" in result.stderr


def test_values_take_few_beginnings(folder):
    whence_(
        "value", *SESSIONS[:4], "--model", "vmis", "--method", "loo",
        "--set", "evaluation.max_prefixes=1", "-o", "out",
    )  # fmt: skip
    assert json.loads((folder / "out" / "summary.json").read_text())["n_queries"] == 40


def test_looking_ahead_is_said(folder):
    # Users one after the other: all but the last have their rows before those of the others.
    text = whence_("train", "--data", "ratings.csv", "--model", "EASE", "-o", "run").stdout
    assert "The training data looks ahead" in text
    assert "in the future of other users" in text
    text = whence_(
        "train", "--data", "ratings.csv", "--model", "markov", "--split", "time", "-o", "by-time"
    ).stdout
    assert "looks ahead" not in text


def test_splitting_at_random_for_want_of_times_is_said(folder):
    write_ratings(folder / "untimed.csv", time=False)
    ask = ("evaluate", "--data", "untimed.csv", "--model", "itemknn")
    assert "rows are split at random" in whence_(*ask).stdout
    assert "at random" not in whence_(*ask, "--split", "rows").stdout


def test_repeated_rows_can_be_dropped(folder):
    rows = pl.read_csv("ratings.csv")
    pl.concat([rows, rows[:50]]).write_csv("ratings.csv")
    ask = ("evaluate", "--data", "ratings.csv", "--model", "itemknn", "--split", "rows")
    assert "50 of the 650 rows repeat an item of their user_id" in whence_(*ask).stderr
    result = whence_(*ask, "--set", "data.duplicates=first")
    assert "repeat" not in result.stderr
    assert "The first of repeated rows: Dropped 50 of 650 rows" in result.stdout


def test_the_file_of_a_folder_is_named(folder):
    (folder / "ratings").mkdir()
    (folder / "ratings.csv").rename(folder / "ratings" / "ratings.csv")
    result = whence_(
        "evaluate", "--train", "ratings", "--valid", "ratings/ratings.csv", "--model", "itemknn"
    )
    assert "ratings is a folder, of which ratings.csv is read" in result.stderr


def test_recommending_among_some_items(folder):
    whence_("train", "--data", "ratings.csv", "--model", "EASE", "-o", "run")
    listed = pl.DataFrame({"item_id": [100, 101, 102, 103, 99_999]})
    listed.write_csv("stock.csv")
    whence_("recommend", "run", "--user", 3, "--history", "104,106", "-k", 30, "--items",
            "stock.csv", "-o", "found.csv")  # fmt: skip
    found = pl.read_csv("found.csv")["item_id"].to_list()
    assert found
    assert set(found) <= set(listed["item_id"].to_list())
