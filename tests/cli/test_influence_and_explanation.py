"""``whence trace``, ``explain`` and ``experiment``: what they print and write, and bad input."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import whence
from whence.cli import app
from whence.influence import query_examples


def run(*arguments):
    """Exit code, output and errors of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """Users who walk along a ring of items."""
    rng = np.random.default_rng(0)
    items = (rng.integers(0, 20, 30)[:, None] + np.arange(14)) % 20
    path = tmp_path_factory.mktemp("data") / "ratings.csv"
    titles = pl.DataFrame({"item_id": np.arange(20), "title": [f"Film {n}" for n in range(20)]})
    titles.write_csv(path.with_name("titles.csv"))
    pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(30), 14),
            "item_id": items.ravel(),
            "timestamp": np.tile(np.arange(14), 30),
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(ratings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "gru"
    small = ["model.embedding_dim=8", "model.hidden_dim=8", "training.checkpoints=2"]
    small.append(f"data.item_table={ratings.with_name('titles.csv')}")
    options = [part for key in small for part in ("--set", key)]
    code, _, err = run(
        "train", "--data", ratings, "--model", "GRU4Rec", "--epochs", 4, *options, "-o", folder
    )
    assert code == 0, err
    return folder


def test_trace_shows_and_writes(trained, tmp_path):
    code, out, err = run("trace", trained, "--query", 0, "-n", 2, "-o", tmp_path / "values")
    assert code == 0, err
    assert "TracIn influence of" in out
    assert "proponents:" in out
    assert "opponents:" in out
    model = whence.load_model(trained / "model.whence")
    saved = whence.Influence.load(tmp_path / "values" / "influence.parquet")
    assert len(saved) == len(model.train_.sequences.offsets) - 1
    assert (tmp_path / "values" / "influence.png").stat().st_size > 5_000
    assert json.loads((tmp_path / "values" / "summary.json").read_text())["method"] == "tracin"


def test_trace_of_other_data_and_of_oneself(trained, ratings):
    code, out, err = run("trace", trained, "--test", ratings, "--by", "user")
    assert code == 0, err
    assert "of 30 users" in out
    code, out, err = run("trace", trained, "--self")
    assert code == 0, err
    assert "Self-influence" in out


def test_trace_through_every_step_needs_no_checkpoints(ratings, tmp_path):
    folder = tmp_path / "bpr"
    small = ["--set", "model.embedding_dim=4", "--epochs", 2]
    code, _, err = run("train", "--data", ratings, "--model", "bpr", *small, "-o", folder)
    assert code == 0, err
    code, _, err = run("trace", folder)
    assert code == 2
    assert "--every-step" in err
    code, out, err = run("trace", folder, "--every-step", "--by", "user")
    assert code == 0, err
    assert "TracIn influence of 30 users" in out
    code, _, err = run("trace", folder, "--every-step", "--self")
    assert code == 2
    assert "every_step" not in err


def test_trace_by_curvature(trained, ratings, tmp_path):
    (trained / "checkpoints").rename(trained / "elsewhere")  # it needs none
    asked = ["trace", trained, "--method", "influence", "--solver", "ggn", "--test", ratings]
    try:
        code, out, err = run(*asked, "--by", "user", "--query", 29, "-n", 2, "-o", tmp_path / "v")
    finally:
        (trained / "elsewhere").rename(trained / "checkpoints")
    assert code == 0, err
    assert "Influence functions of 30 users for loss" in out
    assert "opponents:" in out
    about = json.loads((tmp_path / "v" / "summary.json").read_text())
    assert (about["method"], about["params"]["solver"]) == ("influence-function", "ggn")
    assert whence.Influence.load(tmp_path / "v" / "influence.parquet").halves.shape == (2, 30)
    written = pl.read_parquet(tmp_path / "v" / "queries.parquet")
    assert written["side"].to_list() == ["proponent"] * 2 + ["opponent"] * 2
    assert written["query"].unique().to_list() == [29]
    code, _, err = run(*asked, "--query", 30)
    assert code == 2
    assert "There are 30" in err or "there are 30" in err


def test_trace_of_items_says_what_taught_them(trained, tmp_path):
    out = tmp_path / "items"
    asked = ["trace", trained, "--item", "Film 5", "--item", 7, "--by", "target", "-n", 2]
    code, said, err = run(*asked, "--output", out)
    assert code == 0, err
    assert "Film 5: TracIn influence on " in said
    assert "without itself" in said
    table = pl.read_csv(out / "items.csv")
    assert table.columns == ["of", "item_id", "title", "score"]
    assert set(table["of"].cast(str)) == {"Film 5", "7"}
    assert "Film 5" not in table.filter(pl.col("of") == "Film 5")["title"].to_list()
    values = whence.Influence.load(out / "influence-1.parquet")
    lines = (out / "items.md").read_text().splitlines()
    best = table.filter(pl.col("of") == "Film 5")["title"][:2].to_list()
    assert lines[2].startswith(f"| Film 5 | {', '.join(best)} | ")
    assert set(json.loads((out / "summary.json").read_text())) == {"Film 5", "7"}
    # It is the credit of the places where the item comes next in the test data.
    model = whence.load_model(trained / "model.whence")
    config = whence.config.load_config(trained / "config.yaml")
    parts = whence.config.read_parts(config)
    queries = query_examples(model, parts.test, history=parts.validation)
    (number,) = np.flatnonzero(model.train_.item_titles == "Film 5")
    queries = queries.take(np.flatnonzero(queries.targets == number))
    method = whence.TracIn(by="target", checkpoints=trained / "checkpoints")
    want = method.attribute(model, queries)
    np.testing.assert_allclose(values.scores, want.scores, rtol=1e-6)
    code, said, err = run(*asked)
    assert code == 0, err
    assert "Opponents:" in said


def test_training_starts_from_another_run(trained, ratings, tmp_path, monkeypatch):
    small = ["--set", "model.embedding_dim=8", "--set", "model.hidden_dim=8", "--epochs", 1]
    monkeypatch.chdir(trained.parent)
    on = ["train", "--data", ratings, "--model", "gru4rec", *small, "-o", tmp_path / "on"]
    code, _, err = run(*on, "--start", trained.name)
    assert code == 0, err
    before, after = (whence.load_model(one / "model.whence") for one in (trained, tmp_path / "on"))
    assert after.start_.fingerprint == whence.GRU4Rec(start=before)._start().fingerprint
    assert f"start: {trained}" in (tmp_path / "on" / "config.yaml").read_text()
    code, _, err = run(*on[:-1], tmp_path / "other", "--start", tmp_path / "nowhere")
    assert code == 2
    assert err.startswith("Error: --start is")
    assert not (tmp_path / "other").exists()


def test_explain_shows_bars_and_draws(trained, tmp_path):
    picture = tmp_path / "user.png"
    code, out, err = run("explain", trained, "--user", 3, "--last", 5, "-k", 3, "-o", picture)
    assert code == 0, err
    assert "Shapley values (exact) of 5 events" in out
    assert "│" in out
    assert picture.stat().st_size > 5_000
    values = tmp_path / "values.parquet"
    code, out, err = run("explain", trained, "--history", "3,4,5", "-k", 2, "-o", values)
    assert code == 0, err
    explanation = whence.Explanation.load(values)
    total = explanation.value_all - explanation.value_nothing
    assert explanation.scores.sum() == pytest.approx(total, abs=1e-6)


def test_experiment_goes_on_and_writes_tables(ratings, tmp_path):
    out = tmp_path / "out"
    asked = ["experiment", "opponents", ratings, "-n", 20, "--epochs", 1, "-o", out]
    code, said, err = run(*asked, "--seeds", 1)
    assert code == 0, err
    assert "self-influence" in said
    code, _, err = run(*asked, "--seeds", 2, "--overwrite")
    assert code == 0, err
    assert pl.read_csv(out / "fits.csv").height == 10
    assert {p.name for p in out.iterdir()} >= {"table.md", "table.csv", "mrr-at-100.png"}


def test_experiment_of_corruption_writes_tables(ratings, tmp_path):
    out = tmp_path / "out"
    asked = ["experiment", "corruption", ratings, "--attack", "bandwagon"]
    asked += ["--method", "loss", "--method", "popularity", "--clean-share", 0.1]
    asked += ["--set", "training.epochs=1", "--set", "model.hidden_dim=8", "-o", out]
    code, said, err = run(*asked, "--seeds", 1)
    assert code == 0, err
    assert "above the best control" in said
    assert pl.read_csv(out / "findings.csv")["method"].to_list()[2:] == ["loss", "popularity"]
    assert {p.name for p in out.iterdir()} >= {"table.md", "table.csv", "detection.png"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["explain", "RUN"], "--user 42"),
        (["explain", "RUN", "--user", 999], "unknown to the model"),
        (["explain", "RUN", "--history", "x"], "unknown to the model"),
        (["explain", "RUN", "--history", "1,2", "--method", "shap"], "method"),
        (["trace", "RUN", "--layers", "lest"], "layers"),
        (["trace", "RUN", "--query", 999_999], "--query"),
        (["trace", "RUN", "--query", -1], "--query must be"),
        (["trace", "RUN", "-n", 0], "-n must be"),
        (["trace", "RUN", "--resume"], "--output"),
        (["trace", "RUN", "--item", "Film 55"], "neither a title nor an id"),
        (["trace", "RUN", "--item", "7", "--query", 0], "leave --query"),
        (["trace", "RUN", "--by", "targets"], "target"),
        (["trace", "RUN", "--method", "influnce"], "Did you mean 'influence'"),
        (["trace", "RUN", "--method", "influence", "--self-influence"], "leave --method out"),
        (["trace", "RUN", "--method", "influence", "--solver", "gnn"], "'ggn'"),
        (["trace", "NOWHERE"], "NOWHERE"),
        (["experiment", "opponents", "DATA", "--protocol", "honst"], "honest"),
        (["experiment", "opponents", "DATA", "--n", 0], "-n must be"),
        (["experiment", "corruption", "DATA", "--attack", "bandwagn"], "Did you mean 'bandwagon'"),
        (["experiment", "corruption", "DATA", "--by", "item"], "has no target"),
        (["experiment", "corruption", "DATA", "--share", 2], "--share must be"),
    ],
)
def test_bad_input(trained, ratings, tmp_path, command, words):
    names = {"RUN": trained, "DATA": ratings, "NOWHERE": tmp_path / "NOWHERE"}
    given = [names.get(part, part) for part in command]
    if command[0] == "experiment":
        given += ["-o", tmp_path / "out"]
    code, _, err = run(*given)
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_a_run_without_checkpoints_says_how_to_keep_them(ratings, tmp_path):
    code, _, err = run(
        "train", "--data", ratings, "--model", "BPRMF", "--epochs", 1, "-o", tmp_path / "bpr"
    )
    assert code == 0, err
    code, _, err = run("trace", tmp_path / "bpr")
    assert code == 2
    assert "training.checkpoints" in err


def test_a_run_without_gradients_is_refused(ratings, tmp_path):
    train = ("train", "--data", ratings, "--model", "itemknn", "-o", tmp_path / "knn")
    code, _, err = run(*train)
    assert code == 0, err
    for how in ((), ("--every-step",), ("--method", "influence")):
        code, _, err = run("trace", tmp_path / "knn", *how)
        assert code == 2
        assert "ItemKNN" in err
        assert "NeuMF" in err
