"""The example on MovieLens: all of its steps, on data of its own and on a part of the real."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

import whence

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "explain_movielens.py"
PICTURES = ("exact", "long", "maskings", "recency", "beeswarm")


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


def check(found, folder, n_users, lengths):
    """Shares add up, the report covers all places, and everything is written."""
    for name, length in zip(("short", "long"), lengths):
        explanation = found[name]
        assert len(explanation) == length
        gap = explanation.value_all - explanation.value_nothing
        assert explanation.scores.sum() == pytest.approx(gap, abs=1e-6)
        assert "title" in explanation.items.columns
    assert found["short"].metadata["method"] == "exact"
    assert found["long"].metadata["method"] == "permutation"
    table = found["maskings"]
    np.testing.assert_allclose(table["remove"], found["short"].scores)
    assert (table["pad"] - table["remove"]).abs().max() > 0
    assert len(found["many"]) == n_users
    assert pl.read_csv(folder / "explanation-recency.csv").height == lengths[0]
    for name in PICTURES:
        assert (folder / f"explanation-{name}.png").stat().st_size > 5_000


def test_on_small_data(example, tmp_path, capsys):
    rng = np.random.default_rng(4)
    steps = np.arange(14)
    items = (rng.integers(0, 30, 30)[:, None] + steps) % 30 + 1
    frame = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(1, 31), 14),
            "item_id": items.ravel(),
            "timestamp": np.tile(steps, 30),
        }
    )
    titles = pl.DataFrame({"item_id": range(1, 31), "title": [f"Film {n}" for n in range(1, 31)]})
    data = whence.Interactions.from_frame(frame).with_tables(items=titles)
    found = example["run"](data, tmp_path, epochs=1, user="2", n_users=12, lengths=(6, 10))
    check(found, tmp_path, 12, (6, 10))
    said = capsys.readouterr().out
    for words in ("recall@10 on the last film", "masking pad:", "12 users explained", "Film "):
        assert words in said


@pytest.mark.slow
def test_on_a_part_of_movielens_1m(example, tmp_path, data_dir):
    data = whence.read_interactions(data_dir / "ml-1m")
    some = data.keep_rows((data.frame["user_id"] <= 400).to_numpy())
    found = example["run"](some, tmp_path, epochs=1, n_users=40)
    check(found, tmp_path, 40, (20, 50))
    assert "Hercules (1997)" in found["short"].labels
