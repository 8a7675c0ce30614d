"""The scaling experiment: which data each point has, what is measured, and how it grows."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from killing import kill_after

import whence
from whence.errors import ParameterError, UnsupportedError
from whence.experiments import ScalingExperiment, ScalingResult, scaling
from whence.experiments.scaling import measured

SMALL = {"clicks": (300, 600), "queries": (20, 60), "n_threads": (1, 2), "repeats": 2}


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(n_sessions=200, n_validation=60, n_items=100, seed=1)


def test_one_size_is_varied_at_a_time(data):
    experiment = ScalingExperiment(**SMALL, methods=("loo",))
    found = experiment.run(data.train, data.validation)
    points = found.rows.filter(pl.col("repeat") == 0)
    points = points.filter(pl.col("step") == "fit").select("n_queries", "threads").rows()
    assert points == [(60, 1), (60, 1), (20, 1), (60, 2)]
    assert found.rows["step"].unique(maintain_order=True).to_list() == ["fit", "evaluate", "loo"]
    assert found.rows.height == 2 * 4 * 3
    for row in found.rows.unique("n_clicks").iter_rows(named=True):
        last = data.train.frame.group_by("session_id").agg(pl.col("timestamp").max(), pl.len())
        last = last.sort("timestamp", descending=True).head(row["n_sources"])
        assert last["len"].sum() == row["n_clicks"]
        wanted = min((300, 600), key=lambda one: abs(one - row["n_clicks"]))
        assert (
            wanted
            <= row["n_clicks"]
            < wanted + data.train.frame["session_id"].value_counts()["count"].max()
        )
    table = found.to_frame()
    one = table.filter((pl.col("step") == "loo") & (pl.col("threads") == 2)).row(0, named=True)
    own = found.rows.filter((pl.col("step") == "loo") & (pl.col("threads") == 2))
    assert one["cpu_seconds"] == pytest.approx(own["cpu_seconds"].mean())
    assert "CPU seconds grow as" in found.to_markdown()
    assert found.plot().get_xlabel() == "clicks"
    assert found.plot("n_queries").get_xlabel() == "queries"


def test_generated_data_have_as_many_clicks_as_asked_for():
    found = ScalingExperiment(
        clicks=(500, 1000), queries=(30,), methods=("length",), n_threads=(1,), repeats=1
    ).run()
    assert found.rows["n_clicks"].unique().sort().to_list() == pytest.approx([500, 1000], rel=0.1)
    assert found.rows["n_queries"].unique().to_list() == [30]


def test_killed_and_resumed_no_point_is_measured_twice(data, tmp_path, monkeypatch):
    script = """
import json
import whence
from whence.experiments import scaling
data = whence.make_sessions(n_sessions=200, n_validation=60, n_items=100, seed=1)
run = scaling._Measured.run
def logged(self, shard):
    rows = run(self, shard)
    with open(folder + ".log", "a") as file:
        file.write(json.dumps([shard, rows]) + "\\n")
    return rows
scaling._Measured.run = logged
whence.ScalingExperiment(
    methods=("length",), clicks=(300, 600), queries=(20, 60), n_threads=(1, 2), repeats=2,
).run(data.train, data.validation, run=whence.Run(folder=folder))
"""
    kill_after(3, script, tmp_path / "work")
    lines = [json.loads(line) for line in (tmp_path / "work.log").read_text().splitlines()]
    kept = [(tuple(shard), rows) for shard, rows in lines if shard[-1] >= 0]
    again, run = [], scaling._Measured.run
    monkeypatch.setattr(
        scaling._Measured, "run", lambda self, shard: again.append(shard) or run(self, shard)
    )
    how = whence.Run(folder=tmp_path / "work", resume=True)
    found = ScalingExperiment(**SMALL, methods=("length",)).run(
        data.train, data.validation, run=how
    )
    assert len(kept) == 3
    assert len([one for one in again if one[-1] >= 0]) == 2 * 4 - 3
    assert not {shard for shard, _ in kept} & set(again)
    seconds = [row["cpu_seconds"] for _, rows in kept for row in rows]
    assert found.rows["cpu_seconds"].head(len(seconds)).to_list() == seconds


def test_the_exponent_is_that_of_the_power():
    sizes = np.array([1000, 2000, 8000])
    rows = pl.DataFrame(
        {
            "repeat": 0, "step": "shapley", "n_clicks": sizes, "n_sources": 1, "n_queries": 10,
            "threads": 1, "seconds": 1.0, "cpu_seconds": 1e-6 * sizes**1.5, "memory_mb": None,
        }
    )  # fmt: skip
    found = ScalingResult(rows, {}).exponents()
    assert found.rows() == [("shapley", "n_clicks", pytest.approx(1.5))]


def test_memory_is_the_peak_above_what_there_was():
    # So large that it is new memory for certain, none that an earlier test has given back.
    found = measured(lambda: np.ones(16_000_000).sum())
    if found["memory_mb"] is None:
        pytest.skip("this system does not tell the peak of memory")
    assert 110 < found["memory_mb"] < 180
    assert found["cpu_seconds"] >= 0


def test_bad_input(data):
    with pytest.raises(ParameterError, match="or neither"):
        ScalingExperiment().run(data.train)
    for name in ("clicks", "queries", "n_threads"):
        with pytest.raises(ParameterError, match=f"{name} is empty"):
            ScalingExperiment(**{name: ()}).run()
    with pytest.raises(UnsupportedError, match="RetrainingShapley"):
        ScalingExperiment(model=lambda seed: whence.ItemKNN()).run(data.train, data.validation)
