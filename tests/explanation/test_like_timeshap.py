"""The example that asks what extpersonalization asked: on small data, and of given splits."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

import whence

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "explain_like_timeshap.py"
SMALL = {"embedding_dim": 6, "hidden_dim": 6, "batch_size": 16}


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def clicks():
    rng = np.random.default_rng(0)
    items = (rng.integers(0, 30, 40)[:, None] + np.arange(8)) % 30
    return pl.DataFrame(
        {"user_id": np.repeat(np.arange(40), 8), "item_id": items.ravel(),
         "time": np.tile(np.arange(8), 40)}
    )  # fmt: skip


def test_from_data_to_pictures(example, clicks, tmp_path, capsys):
    clicks.write_csv(tmp_path / "clicks.csv")
    train, test = example["parts"](tmp_path / "clicks.csv")
    model = example["trained"](train, test, 1, **SMALL)
    found = example["run"](model, tmp_path / "out", "3", 4, 10)
    assert "recall@10" in capsys.readouterr().out
    for name, one in found["maskings"].items():
        assert len(one) == 4
        assert one.items.equals(found["maskings"]["remove"].items), name
    assert found["stand_ins"].table.height == 11
    assert len(found["global"].events) == 10
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written >= {
        "maskings.csv", "maskings.png", "stand-ins.csv", "stand-ins.png", "user/report.png",
        "users/report.png", "users/pruning-statistics.parquet",
    }  # fmt: skip


def test_splits_of_rechorus(example, clicks, tmp_path):
    last = pl.col("time") == 7
    for name, part in (("train", clicks.filter(pl.col("time") < 6)),
                       ("dev", clicks.filter(pl.col("time") == 6)),
                       ("test", clicks.filter(last))):  # fmt: skip
        part.write_csv(tmp_path / f"{name}.csv", separator="\t")
    train, test = example["parts"](tmp_path)
    assert train.n_rows == 240
    assert test.n_rows == 40
    assert isinstance(train, whence.Interactions)
