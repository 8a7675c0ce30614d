"""Commands run in the tests' own process, and the data that they run on."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
from typer.testing import CliRunner

from whence.cli import app
from whence.data import write_interactions
from whence.data.synthetic import make_sessions

SESSIONS = ("--train", "train.csv", "--valid", "validation.csv", "--test", "test.csv")


def whence_(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def write_sessions(folder):
    data = make_sessions(
        n_sessions=150, n_validation=40, n_test=30, n_items=60, n_clusters=10, seed=3
    )
    for name in ("train", "validation", "test"):
        write_interactions(getattr(data, name), folder / f"{name}.csv")


def write_ratings(path, *, n_users=60, n_items=40, time=True):
    """Ratings of users with a taste for items of their own parity, and titles beside them."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(n_users):
        liked = rng.permutation(n_items // 2)[:8] * 2 + user % 2
        other = rng.permutation(n_items // 2)[:2] * 2 + (1 - user % 2)
        for item in rng.permutation(np.concatenate([liked, other])):
            rating = int(4 + rng.integers(2)) if item % 2 == user % 2 else int(1 + rng.integers(2))
            rows.append((user, 100 + int(item), rating, len(rows)))
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")
    (frame if time else frame.drop("timestamp")).write_csv(path)
    items = frame["item_id"].unique().sort()
    titles = pl.DataFrame({"item_id": items, "title": [f"Film {item}" for item in items]})
    titles.write_csv(path.parent / "titles.csv")


def scores(run):
    """Metrics of a run, by set."""
    found = json.loads((run / "metrics.json").read_text())
    return {name: found[name]["scores"] for name in ("validation", "test") if name in found}
