"""Ids in what commands print and write, whatever their columns are called."""

from __future__ import annotations

import polars as pl
from _commands import whence_

ROWS = [(s, i, t) for s in range(8) for t, i in enumerate([s % 3, 3 + s % 4, (s + 1) % 3, 7])]


def test_commands_keep_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame(ROWS, schema=["score", "title", "timestamp"], orient="row")
    texts = {"score": pl.format("s{}", "score"), "title": pl.format("i{}", "title")}
    frame.with_columns(**texts).write_csv("train.csv")
    columns = ("--session-column", "score", "--item-column", "title")
    data = ("--train", "train.csv", "--valid", "train.csv", *columns)
    whence_("value", *data, "--method", "loo", "--metric", "mrr@3", "-o", "values", "-q")
    values = pl.read_csv("values/values.csv")
    assert set(values["session"]) == {f"s{n}" for n in range(8)}
    said = whence_("prune", "values", "train.csv", "-n", "2", "-o", "pruned.csv")
    assert "Removed 2 of 8 sessions" in said.output
    assert pl.read_csv("pruned.csv")["score"].n_unique() == 6
    whence_("train", *data, "--model", "itemknn", "--metric", "mrr@3", "-o", "run", "-q")
    whence_("recommend", "run", "--user", "s1", "-k", "2", "-o", "lists.csv")
    lists = pl.read_csv("lists.csv")
    assert lists.columns[:3] == ["session", "rank", "item"]
    assert lists["session"].to_list() == ["s1", "s1"]
    assert lists["item"].str.starts_with("i").all()
    assert "session s1" in whence_("recommend", "run", "--user", "s1", "-k", "2").output
