"""The forgetting experiment, and its command."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import whence
from whence.cli import app
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.experiments import ForgettingExperiment

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((40, 15)) < np.linspace(0.3, 0.8, 40)[:, None])
    return pl.DataFrame({"user": users, "item": items, "rating": rng.integers(1, 6, len(users))})


SMALL = {"singles": 2, "shares": (0.05,), "stream": 3, "seeds": (0, 1)}


def test_an_exact_model_is_the_retrained_one_every_time(ratings, tmp_path):
    experiment = ForgettingExperiment(model=lambda seed: whence.ItemKNN(k=5), **SMALL)
    found = experiment.run(ratings)
    frame = found.to_frame()
    requests = ["any user", "core user", "edge user", "5% of all", "stream of 3"]
    assert frame["request"].unique(maintain_order=True).to_list() == requests
    left = frame.filter(measure="distance", model="forgotten")
    assert left["mean"].to_list() == [0.0] * 5
    assert left["n"].to_list() == [4, 4, 4, 2, 2]
    rows = dict(zip(left["request"], left["n_rows"]))
    assert rows["edge user"] < rows["any user"] < rows["core user"] < rows["stream of 3"]
    assert (frame.filter(measure="distance", model="original")["mean"] > 0).all()
    assert "| any user |" in found.to_markdown()
    # Means and intervals of the single requests.
    some = found.rows.filter(request="core user", measure="ndcg@10", model="retrained")["value"]
    row = frame.filter(request="core user", measure="ndcg@10", model="retrained")
    assert row["mean"].item() == pytest.approx(some.mean())
    half = 3.182446 * some.std() / 2
    assert row["high"].item() - row["mean"].item() == pytest.approx(half, rel=1e-5)
    # The same, gone on with.
    again = experiment.run(ratings, run=whence.Run(folder=tmp_path))
    alike = pl.col("measure") != "seconds"
    assert again.rows.filter(alike).equals(found.rows.filter(alike))


def test_a_network_with_and_without_epochs(ratings):
    pytest.importorskip("torch")
    experiment = ForgettingExperiment(
        model=lambda seed: whence.NeuMF(gmf_dim=2, mlp_dim=2, layers=(4,), epochs=2, seed=seed),
        singles=1, shares=(), stream=0, seeds=(0,), epochs=(0, 1),
    )  # fmt: skip
    found = experiment.run(ratings)
    assert found.rows["epochs"].unique().sort().to_list() == [0, 1]
    assert "another start" in found.rows["model"].to_list()
    for request in ("any user", "core user"):
        losses = found.rows.filter(
            request=request, measure="loss, forgotten rows", model="retrained"
        )["value"]
        assert losses.n_unique() == 1  # trained afresh once


def test_factor_models_go_to_their_optimum(ratings):
    pytest.importorskip("torch")
    experiment = ForgettingExperiment(
        model=lambda seed: whence.BiasedMF(embedding_dim=2, weight_decay=0.05, seed=seed, epochs=3),
        optimum=True, singles=1, shares=(), stream=0, seeds=(0,),
    )  # fmt: skip
    frame = experiment.run(ratings).to_frame().filter(measure="distance")
    for request in ("any user", "core user", "edge user"):
        by_model = dict(frame.filter(request=request).select("model", "mean").rows())
        assert by_model["forgotten"] < 0.05 * by_model["original"]


def test_what_cannot_be_run(ratings):
    with pytest.raises(ParameterError, match="at least one of seeds"):
        ForgettingExperiment(seeds=()).run(ratings)
    with pytest.raises(DataError, match="shorter stream"):
        ForgettingExperiment(stream=30).run(ratings)
    with pytest.raises(ParameterError, match="not trained in epochs"):
        ForgettingExperiment(epochs=(1,)).run(ratings)
    with pytest.raises(UnsupportedError, match="cannot forget"):
        ForgettingExperiment(model=lambda seed: whence.Wrapped(whence.Popularity())).run(ratings)


def test_the_command_writes_tables(ratings, tmp_path):
    ratings.write_csv(tmp_path / "ratings.csv")
    few = ("--singles", "1", "--share", "0.05", "--stream", "2", "--seeds", "2")
    asked = ("experiment", "forgetting", tmp_path / "ratings.csv", "-o", tmp_path / "out", *few)
    result = CliRunner().invoke(app, [str(one) for one in asked])
    assert result.exit_code == 0, result.output
    assert "| stream of 2 |" in result.stdout
    table = pl.read_csv(tmp_path / "out" / "table.csv")
    assert (table.filter(measure="distance", model="forgotten")["mean"] < 1e-8).all()
    assert (tmp_path / "out" / "requests.csv").is_file()
    result = CliRunner().invoke(app, [str(one) for one in (*asked, "--model", "random")])
    assert result.exit_code == 2
