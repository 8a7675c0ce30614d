"""Explanations in shards: as by themselves, and gone on with where they were broken off."""

from __future__ import annotations

import polars as pl
import pytest

import whence
from whence.attribution.parts import part_seed
from whence.errors import FileFormatError, OutputExistsError, ParameterError
from whence.explanation import explain_files, shards


@pytest.fixture(scope="module")
def model():
    data = whence.make_sessions(200, n_items=100, n_clusters=6, n_validation=2, n_test=2, seed=1)
    return whence.VMISKNN(k=30, m=60).fit(data.train)


@pytest.fixture(scope="module")
def histories(model):
    items = (
        model.item_ids.to_list() if hasattr(model, "item_ids") else model.train_.item_ids.to_list()
    )
    return [items[n : n + 4 + n % 3] for n in range(23)]


def read(folder):
    return pl.read_parquet(folder / "*.parquet")


def test_a_shard_is_explained_as_by_itself(model, histories, tmp_path):
    settings = {"k": 3, "method": "permutation", "budget": 60}
    folder = explain_files(model, iter(histories), tmp_path / "why", shard=10, **settings)
    assert sorted(path.name for path in folder.iterdir()) == [
        "part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "shards.json",
    ]  # fmt: skip
    part = dict(enumerate(histories[10:20], start=10))
    run = whence.Run(seed=part_seed(42, "shard 1"))
    alone = whence.explain_many(model, part, run=run, **settings)
    assert pl.read_parquet(folder / "part-00001.parquet").equals(alone.to_frame())
    assert read(folder)["history"].unique().sort().to_list() == list(range(23))


def test_what_is_written_is_not_explained_again(model, histories, tmp_path, monkeypatch):
    whole = explain_files(model, histories, tmp_path / "whole", shard=8, k=3)
    attribute, done = shards.Explainer.attribute, []

    def broken_off(self, *arguments, **more):
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        return attribute(self, *arguments, **more)

    monkeypatch.setattr(shards.Explainer, "attribute", broken_off)
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        explain_files(model, histories, folder, shard=8, k=3)
    assert len(list(folder.glob("*.parquet"))) == 1
    with pytest.raises(OutputExistsError, match="not empty"):
        explain_files(model, histories, folder, shard=8, k=3)
    told = []
    run = whence.Run(folder=folder, resume=True, progress=lambda *now: told.append(now[:2]))
    explain_files(model, histories, folder, shard=8, k=3, run=run)
    assert len(done) == 4  # of three shards, one was broken off and none made twice
    assert told == [(8, 23), (16, 23), (23, 23)]
    assert read(folder).equals(read(whole))
    for path in whole.glob("*.parquet"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_what_is_of_other_work_is_refused(model, histories, tmp_path):
    folder = explain_files(model, {"a": histories[0], "b": histories[1]}, tmp_path / "why", k=3)
    again = whence.Run(folder=folder, resume=True)
    for asked, place, more, words in (
        (histories[:2], folder, {"k": 4, "run": again}, "of other work"),
        (histories[:2], folder, {"run": again}, "of other histories"),
        ([], tmp_path / "none", {}, "no history"),
        (3, tmp_path / "other", {}, "an iterable"),
        (histories, tmp_path / "x", {"shard": 0}, "shard"),
        (histories, tmp_path / "x", {"way": 0}, "way"),
    ):
        with pytest.raises(ParameterError, match=words):
            explain_files(model, asked, place, **{"k": 3, **more})
    assert not (tmp_path / "none").exists()
    (folder / "shards.json").write_text("{")
    with pytest.raises(FileFormatError, match="damaged"):
        explain_files(model, histories, folder, k=3, run=again)
