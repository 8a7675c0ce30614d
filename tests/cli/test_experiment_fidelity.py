"""``whence experiment fidelity``: what it prints and writes, and bad input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from whence.cli import app

FEW = ["--removals", 6, "--groups", 1, "--keep", 0.9, "--solver", "cg"]


def run(*arguments):
    """Exit code, output and errors of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((12, 9)) < 0.7)
    path = tmp_path_factory.mktemp("data") / "ratings.csv"
    stars = rng.integers(1, 6, len(users))
    pl.DataFrame({"user_id": users, "item_id": items, "rating": stars}).write_csv(path)
    return path


def test_it_goes_on_and_writes_tables(ratings, tmp_path):
    asked = ["experiment", "fidelity", ratings, "-o", tmp_path, *FEW]
    model = ["--model", "mf", "--set", "model.embedding_dim=2", "--set", "training.epochs=3"]
    code, out, err = run(*asked, *model, "--set", "training.weight_decay=0.1")
    assert code == 0, err
    assert "| total | single | cg | 6 |" in out
    assert {p.name for p in tmp_path.iterdir()} >= {"table.md", "own-user.png", "total.png"}
    changes = pl.read_csv(tmp_path / "changes.csv")
    assert set(changes["solver"]) == {"cg", "no change", "random"}
    code, again, err = run(*asked, *model, "--set", "training.weight_decay=0.1", "--overwrite")
    assert code == 0, err
    assert again.splitlines()[:12] == out.splitlines()[:12]
    code, _, err = run(*asked)
    assert code == 2
    assert "exists already" in err
    code, _, err = run(*asked, "--damping", 0.5, "--resume")
    assert code == 2
    assert "of another experiment.damping" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--solver", "cgg"], "Did you mean 'cg'"),
        (["--removals", 1], "removals must be"),
        (["--keep", 2.0], "keep must be"),
        (["--model", "ease"], "loss with a gradient"),
        (["--set", "training.epoch=3"], "epochs"),
        (["--rating", "stars"], "stars"),
    ],
)
def test_bad_input(ratings, tmp_path, options, words):
    code, _, err = run("experiment", "fidelity", ratings, *FEW[:4], *options, "-o", tmp_path)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
