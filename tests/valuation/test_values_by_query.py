"""Values of single queries in files: those of `for_query`, and gone on with."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.errors import OutputExistsError, ParameterError, UnsupportedError


@pytest.fixture(scope="module")
def values():
    data = whence.make_sessions(150, n_items=80, n_clusters=6, n_validation=12, n_test=2, seed=4)
    model = whence.VMISKNN(k=20, m=40).fit(data.train)
    method = whence.Shapley("mrr@10", tolerance=0.3, exact=4)
    return method.attribute(model, data.validation)


def test_files_hold_the_shares_of_every_query_which_add_up(values, tmp_path):
    folder = values.save_queries(tmp_path / "queries", shard=10)
    n_queries = values.metadata["n_queries"]
    assert len(list(folder.glob("part-*.parquet"))) == -(-n_queries // 10)
    table = pl.read_parquet(folder / "*.parquet")
    for query in (0, 7, n_queries - 1):
        alone = values.for_query(query).frame
        assert table.filter(pl.col("query") == query).drop("query").equals(alone)
    total = table.group_by("session_id").agg(pl.col("score").sum() / n_queries)
    both = values.frame.join(total, on="session_id", how="left").fill_null(0.0)
    assert np.abs((both["score"] - both["score_right"]).to_numpy()).max() < 1e-12


def test_what_is_written_is_not_made_again(values, tmp_path, monkeypatch):
    whole = values.save_queries(tmp_path / "whole", shard=10)
    for_query, asked = type(values).for_query, []

    def broken_off(self, query):
        asked.append(query)
        if len(asked) == 15:
            raise KeyboardInterrupt
        return for_query(self, query)

    monkeypatch.setattr(type(values), "for_query", broken_off)
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        values.save_queries(folder, shard=10)
    with pytest.raises(OutputExistsError):
        values.save_queries(folder, shard=10)
    run = whence.Run(folder=folder, resume=True)
    values.save_queries(folder, shard=10, run=run)
    assert asked[15:] == list(range(10, values.metadata["n_queries"]))
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    with pytest.raises(ParameterError, match="other work"):
        values.save_queries(folder, shard=5, run=run)


def test_values_from_a_file_have_no_queries(values, tmp_path):
    values.save(tmp_path / "values.parquet")
    loaded = whence.Attribution.load(tmp_path / "values.parquet")
    with pytest.raises(UnsupportedError, match="single queries"):
        loaded.save_queries(tmp_path / "queries")
    assert not (tmp_path / "queries").exists()
