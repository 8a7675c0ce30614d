"""``whence experiment fidelity``: what it prints and writes, and bad input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from whence.cli import app

FEW = [
    "--keep", 0.5, "--masks", 3, "--removals", 3, "--queries", 3, "--pairs", 1,
    "--method", "replay", "--method", "random",
]  # fmt: skip
SMALL = ["--set", "model.gmf_dim=2", "--set", "model.mlp_dim=2", "--set", "training.epochs=2"]


def run(*arguments):
    """Exit code, output and errors of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((12, 12)) < 0.5)
    path = tmp_path_factory.mktemp("data") / "ratings.csv"
    stars = rng.integers(1, 6, len(users))
    pl.DataFrame({"user_id": users, "item_id": items, "rating": stars}).write_csv(path)
    return path


def test_further_methods_go_on_from_what_was_retrained(ratings, tmp_path):
    asked = ["experiment", "fidelity", ratings, "-o", tmp_path, *FEW, *SMALL]
    code, out, err = run(*asked)
    assert code == 0, err
    assert "| this run | total, keep 0.5 | total, single | single, keep 0.5 |" in out
    names = {"table.md", "scores.csv", "costs.csv", "proponents.csv", "changes.parquet"}
    assert {p.name for p in tmp_path.iterdir()} >= names | {"single.png", "total.png", "own.png"}
    before = pl.read_csv(tmp_path / "scores.csv")
    assert set(before["method"]) == {"replay", "random"}
    code, _, err = run(*asked)
    assert code == 2
    assert "exists already" in err
    code, _, err = run(*asked, "--method", "tracin", "--starts", 1, "--runs", 2, "--resume")
    assert code == 0, err
    after = pl.read_csv(tmp_path / "scores.csv")
    assert set(after["method"]) > {"replay", "random", "tracin"}
    same = after.filter(pl.col("about") == "this run", pl.col("method").is_in(["replay", "random"]))
    assert same["score"].to_list() == before["score"].to_list()
    code, _, err = run(*asked, "--n-sources", 5, "--resume")
    assert code == 2
    assert "of another experiment.n_sources" in err


def test_neighbours_with_validation_data_of_their_own(tmp_path):
    import whence

    data = whence.make_sessions(n_sessions=60, n_validation=20, seed=2)
    for name in ("train", "validation"):
        whence.write_interactions(getattr(data, name), tmp_path / f"{name}.csv")
    code, out, err = run(
        "experiment", "fidelity", tmp_path / "train.csv", "--valid", tmp_path / "validation.csv",
        "--model", "vmis", "--method", "shapley", "--keep", 0.5, "--masks", 3, "--queries", 3,
        "-o", tmp_path / "found",
    )  # fmt: skip
    assert code == 0, err
    assert "VMISKNN: 60 sources" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "tracim"], "Did you mean 'tracin'"),
        (["--method", "influence-function:solver=cgg"], "Did you mean 'cg'"),
        (["--masks", -1], "masks must be"),
        (["--keep", 2.0], "keep must be"),
        (["--runs", 4], "give --starts"),
        (["--model", "ease", "--by", "example"], "not trained by gradients"),
        (["--set", "training.epoch=3"], "epochs"),
        (["--rating", "stars"], "stars"),
    ],
)
def test_bad_input(ratings, tmp_path, options, words):
    code, _, err = run("experiment", "fidelity", ratings, *FEW[:8], *options, "-o", tmp_path)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
