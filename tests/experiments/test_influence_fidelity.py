"""The fidelity experiment from data to table, resumption, and bad input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after
from sklearn.base import clone

pytest.importorskip("torch")

import whence
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.experiments import FidelityExperiment


@pytest.fixture(scope="module")
def data():
    return tastes()


def tastes():
    """Ratings of two tastes."""
    rng = np.random.default_rng(0)
    taste, kind = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    users, items = np.nonzero(rng.random((30, 20)) < 0.6)
    noise = rng.normal(size=len(users)) / 3
    ratings = np.clip(np.round(3 + (taste[users] * kind[items]).sum(1) + noise), 1, 5)
    return whence.Interactions.from_frame(
        pl.DataFrame(
            {
                "user_id": users,
                "item_id": items,
                "rating": ratings,
                "timestamp": rng.permutation(len(users)),
            }
        )
    )


def make(seed):
    return whence.BiasedMF(
        embedding_dim=2, weight_decay=0.1, epochs=10, learning_rate=0.05, seed=seed
    )


SMALL = {"model": make, "removals": 12, "groups": 2, "keep": (0.9, 0.5)}


@pytest.fixture(scope="module")
def result(data):
    return FidelityExperiment(**SMALL).run(data)


def test_influence_predicts_removals_and_nothing_does_not(result):
    for outcome in ("own user", "total"):
        row = result.table.filter(solver="cg", outcome=outcome, kind="single").row(0, named=True)
        assert row["n"] == 12
        assert row["spearman"] > 0.9
        assert 0.7 < row["slope"] < 1.3
        none = result.table.filter(solver="no change", outcome=outcome, kind="single")
        assert none["error"].to_list() == [1.0]
    assert 0.0 < result.metadata["rmse"] < 2.0
    assert result.metadata["gradient"] <= 1e-6


def test_table_and_picture(result):
    assert result.to_frame() is result.table
    text = result.to_markdown().splitlines()
    assert text[0].startswith("| outcome | removed | solver |")
    assert sum(line.startswith("| total | keep 0.9 |") for line in text) == 5
    assert text[-1].startswith("Noise floor: own user ")
    axes = result.plot("own user", solver="block")
    assert axes.get_xlabel() == "predicted change of the outcome (own user)"
    labels = [entry.get_text() for entry in axes.get_legend().get_texts()]
    assert labels == ["equal", "random", "largest"]
    with pytest.raises(ParameterError, match=r"Did you mean 'keep 0\.9'"):
        result.plot(kind="keep 0.8")


def test_it_goes_on_where_it_stopped(data, result, tmp_path):
    def stop(done, total, message):
        assert total == 12 + 4 + 3
        if done == 7:
            raise KeyboardInterrupt

    experiment = FidelityExperiment(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    run = whence.Run(folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match=r"of other .*parameters"):
        clone(experiment).set_params(removals=14).run(data, run=run)
    again = experiment.run(data, run=run)
    assert again.table.equals(result.table)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(data, result, tmp_path):
    script = """
import whence
from test_influence_fidelity import SMALL, tastes
from whence.experiments import FidelityExperiment

FidelityExperiment(**SMALL).run(tastes(), run=whence.Run(folder=folder))
"""
    kill_after(11, script, tmp_path)
    again = FidelityExperiment(**SMALL).run(data, run=whence.Run(folder=tmp_path, resume=True))
    assert again.changes.equals(result.changes)
    assert again.noise == result.noise


def test_the_model_of_the_experiment_suits_the_data(data):
    found = FidelityExperiment(removals=4, groups=0, repeats=1, solvers=("block",)).run(data)
    assert found.metadata["model"] == "BiasedMF"
    params, n_rows = found.metadata["model_params"], found.metadata["n_rows"]
    assert params["weight_decay"] == pytest.approx(20 / n_rows)
    assert set(found.table["kind"]) == {"single", "random", "largest"}


def test_models_of_sequences_are_asked_for_the_last_item(data):
    def gru(seed):
        return whence.GRU4Rec(
            embedding_dim=2, hidden_dim=2, epochs=2, weight_decay=0.3, max_length=3, seed=seed
        )

    few = data.frame.filter(pl.col("user_id") < 6)
    experiment = FidelityExperiment(
        model=gru, solvers=("cg",), removals=2, groups=0, repeats=1, tolerance=1e-4
    )
    found = experiment.run(few)
    assert found.metadata["rmse"] is None
    assert found.metadata["n_queries"] == 6
    assert len(found.changes.filter(solver="cg", outcome="total")) == 2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"solvers": ()}, "solvers is empty"),
        ({"solvers": ("cgg",)}, "Did you mean 'cg'"),
        ({"removals": 1}, "removals must be"),
        ({"groups": -1}, "groups must be"),
        ({"keep": (1.5,)}, "keep"),
    ],
)
def test_arguments_out_of_range(data, options, match):
    with pytest.raises(ParameterError, match=match):
        FidelityExperiment(**{**SMALL, **options}).run(data)


def test_what_cannot_be_asked(data):
    sessions = whence.make_sessions(n_sessions=20, seed=0).train
    with pytest.raises(DataError, match="user column"):
        FidelityExperiment().run(sessions)
    with pytest.raises(UnsupportedError, match="loss with a gradient"):
        FidelityExperiment(model=lambda seed: whence.EASE()).run(data)
