"""Strategies retrained and compared."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from disclosing import fitted, parts
from matplotlib.figure import Figure

from whence import Run
from whence.curation.disclosure import Disclosure, plot_frontier
from whence.curation.disclosure.comparison import half_width
from whence.curation.disclosure.strategies import CONTROLS
from whence.errors import ColumnError, ParameterError


@pytest.fixture(scope="module")
def asked():
    train, validation, test = parts()
    return Disclosure(lam=0.01, calibrate=False).pose(
        fitted(train), validation, willingness="no"
    ), test


def test_a_comparison_retrains_everything(asked):
    disclosure, test = asked
    found = disclosure.compare(
        ("social", "all", "none"), test=test, seeds=(0, 1), metrics=("ndcg@5",)
    )
    runs = found.runs
    assert len(runs) == 2 * (3 + 2 * 5)
    np.testing.assert_allclose(runs["reward"], runs["quality"] - 0.01 * runs["wv"])
    first = runs.filter(strategy="social", seed=0).row(0, named=True)
    for control in CONTROLS:
        same = runs.filter(strategy=control, matched="number", seed=0).row(0, named=True)
        assert same["n"] == first["n"]
        less = runs.filter(strategy=control, matched="violation", seed=0).row(0, named=True)
        assert less["wv"] <= first["wv"] + 1e-9
        assert less["wv"] > first["wv"] - 1.0
    than = found.differences("ndcg@5").filter(strategy="social")["than"]
    assert set(than) == {"all", *CONTROLS}  # and not "none", which recommends nothing
    nothing = runs.filter(strategy="none", seed=0).row(0, named=True)
    assert nothing["wv"] == 0
    assert nothing["ndcg@5"] is None
    errors = test.group_by("user").agg(((pl.col("rating") - 3.0) ** 2).mean())
    assert nothing["quality"] == pytest.approx(-errors["rating"].mean())
    everything = runs.filter(strategy="all", seed=0).row(0, named=True)
    assert everything["share"] == 1.0
    assert everything["quality"] > nothing["quality"]
    model = disclosure.measured.recipe.train(disclosure.train, 1000)  # another start than 0's
    frame = test.with_columns(p=model.module_.known_part(*codes(model, test)).detach().numpy())
    by_user = frame.group_by("user").agg(((pl.col("rating") - pl.col("p")) ** 2).mean())
    assert everything["quality"] == pytest.approx(-by_user["rating"].mean(), rel=1e-6)
    quality = disclosure.quality(model, test)
    assert quality.shape == (len(by_user),)
    assert quality.mean() == pytest.approx(everything["quality"])


def codes(model, table):
    import torch

    users = model.vocabulary.source_codes(table["user"])
    items = model.vocabulary.item_codes(table["item"])
    return torch.from_numpy(users.astype(np.int64)), torch.from_numpy(items.astype(np.int64))


def test_each_strategy_has_controls_of_its_own_size(asked):
    disclosure, test = asked
    told = []
    run = Run(progress=lambda *what: told.append(what))
    runs = (
        disclosure.settings.pose(
            disclosure.model, disclosure.validation, willingness=disclosure.beta, run=run
        )
        .compare(("social", "selfish"), test=test, seeds=(0,), controls=("threshold",), metrics=())
        .runs
    )
    for name in ("social", "selfish"):
        own = runs.filter(strategy=name, matched="").row(0, named=True)
        same = runs.filter(to=name, matched="number").row(0, named=True)
        assert same["n"] == own["n"]
    assert [done for done, total, _ in told] == [0, 1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in told} == {6}


def test_tables_of_a_comparison(asked, tmp_path):
    disclosure, test = asked
    found = disclosure.compare(("social",), test=test, seeds=(0, 1), metrics=())
    table = found.table()
    row = table.filter(strategy="social").row(0, named=True)
    values = found.runs.filter(strategy="social")["reward"].to_numpy()
    assert row["reward"] == pytest.approx(values.mean())
    assert row["reward ±"] == pytest.approx(half_width(values))
    gaps = found.differences()
    assert set(gaps["than"]) == set(CONTROLS)
    assert set(gaps["better"]) <= {"yes", "no", "unclear"}
    assert found.save(tmp_path / "runs.parquet").exists()
    assert "Comparison at lam=0.01" in repr(found)


def test_another_lambda_shares_what_was_measured(asked):
    disclosure, _ = asked
    other = disclosure.at(0.5)
    assert other.lam == 0.5
    assert disclosure.lam == 0.01
    assert other.measured is disclosure.measured
    assert other.reseeded(1).measured is disclosure.reseeded(1).measured
    assert other.reseeded(1).lam == 0.5
    with pytest.raises(ParameterError, match="lam"):
        disclosure.at(-1.0)


def test_intervals_by_hand():
    assert half_width(np.array([1.0, 3.0])) == pytest.approx(
        12.706 * np.sqrt(2) / np.sqrt(2), rel=1e-3
    )
    assert half_width(np.array([1.0])) is None


def test_a_frontier_over_lambda(asked):
    disclosure, test = asked
    lams = [0.0, 0.01, 0.1, 1.0]
    table = disclosure.frontier(lams, strategies=("social", "all"), test=test)
    social = table.filter(strategy="social")
    assert (np.diff(social["n"].to_numpy()) <= 0).all()
    assert (np.diff(social["wv"].to_numpy()) <= 0).all()
    np.testing.assert_allclose(table["reward"], table["quality"] - table["lam"] * table["wv"])
    predicted = table["predicted_quality"] - table["lam"] * table["wv"]
    np.testing.assert_allclose(table["predicted_reward"], predicted)
    everything = table.filter(strategy="all")
    assert everything["predicted_quality"].n_unique() == 1
    assert (social["predicted_reward"] >= everything["predicted_reward"] - 1e-12).all()
    with pytest.raises(ParameterError, match="strategies must be one of"):
        disclosure.frontier([1.0], strategies=("random",))


def test_a_frontier_with_controls_as_a_picture(asked):
    disclosure, _ = asked
    table = disclosure.frontier([0.005, 0.02], strategies=("social",), controls=("threshold",))
    for lam in (0.005, 0.02):
        social, control = table.filter(lam=lam)["wv"]
        assert control <= social + 1e-9
    axes = plot_frontier(table, Figure().subplots())
    assert [line.get_label() for line in axes.lines] == ["social", "threshold"]
    assert axes.get_ylabel() == "predicted quality"
    with pytest.raises(ColumnError, match="no column 'wv'"):
        plot_frontier(table.drop("wv"))


def test_what_a_comparison_refuses(asked):
    disclosure, test = asked
    with pytest.raises(ParameterError, match="strategies must be one of"):
        disclosure.compare(("random",), test=test)
    with pytest.raises(ParameterError, match="controls must be one of"):
        disclosure.compare(test=test, controls=("social",))
    with pytest.raises(ParameterError, match="at least one strategy"):
        disclosure.compare((), test=test)
