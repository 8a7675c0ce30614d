"""``whence forget``: runs that have lost some of their data."""

from __future__ import annotations

import json

import polars as pl
import pytest
from _commands import SESSIONS, scores, whence_, write_ratings, write_sessions

import whence


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    whence_("train", "--data", "ratings.csv", "--model", "EASE", "--output", "run")
    return tmp_path / "run"


def test_a_run_without_a_user_is_a_run_like_any_other(run, tmp_path):
    said = whence_("forget", "run", "--user", "7", "--audit", "--output", "gone").output
    assert "but for rounding errors" in said
    assert "Beside a model trained on what is left" in said
    gone = tmp_path / "gone"
    model = whence.load_model(gone / "model.whence")
    assert 7 not in model.train_.frame["user_id"]
    for part in ("train", "validation", "test"):
        assert 7 not in pl.read_parquet(gone / "data" / f"{part}.parquet")["user_id"]
    found = json.loads((gone / "forgotten.json").read_text())
    assert found["certificate"] == "rounding"
    assert found["sources"] == 1
    audit = pl.read_csv(gone / "audit.csv")
    near = audit.filter(measure="distance", model="forgotten")["value"].item()
    assert near < 1e-8 < audit.filter(measure="distance", model="original")["value"].item()
    # Served, evaluated, trained again, and asked to forget more.
    assert "Nothing" in whence_("recommend", "gone", "--user", "7").output
    assert "user_id 8" in whence_("recommend", "gone", "--user", "8").output
    whence_("evaluate", "gone", "--test", "gone/data/test.parquet")
    whence_("train", "gone", "--output", "again")
    for part, reached in scores(tmp_path / "again").items():
        assert scores(gone)[part] == pytest.approx(reached)
    whence_("forget", "gone", "--user", "8", "--output", "more")
    both = whence.load_model(tmp_path / "more" / "model.whence")
    assert both.train_.n_rows == model.train_.n_rows - (model.train_.frame["user_id"] == 8).sum()


def test_users_sessions_and_rows_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    whence_("train", *SESSIONS, "--model", "vmis", "--output", "run")
    train = pl.read_csv("train.csv")
    ids = train["session_id"].unique(maintain_order=True)[:3]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    whence_("forget", "run", "--sessions", "ids.txt", "--repeated", "2", "--output", "gone")
    model = whence.load_model(tmp_path / "gone" / "model.whence")
    assert model.train_.n_rows == train.filter(~pl.col("session_id").is_in(ids.implode())).height
    train.head(2).write_csv("rows.csv")
    whence_("forget", "run", "--rows", "rows.csv", "--output", "less")
    assert whence.load_model(tmp_path / "less" / "model.whence").train_.n_rows == train.height - 2
    named = [word for one in ids[:2] for word in ("--user", one)]
    whence_("forget", "run", *named, "--output", "gone", "--overwrite")
    assert json.loads((tmp_path / "gone" / "forgotten.json").read_text())["sources"] == 2


def test_what_is_wrong_is_said_before_work(run, tmp_path):
    refusals = {
        (): "in one way",
        ("--user", "7", "--users", "ids.txt"): "in one way",
        ("--user", "abc"): "unknown",
        ("--user", "999"): "user 999 is not in",
        ("--sessions", "ids.txt"): "no sessions",
        ("--user", "7", "--epochs", "2"): "not trained in epochs",
        ("--user", "7", "--repeated", "99"): "more than",
        ("--user", "7", "--resume"): "--output",
        ("--users", "nowhere.txt"): "nowhere.txt",
    }
    for arguments, words in refusals.items():
        said = whence_("forget", "run", *arguments, code=2).output
        assert words in " ".join(said.split()), arguments
        assert "Traceback" not in said
    assert "no run" in whence_("forget", "ratings.csv", "--user", "7", code=2).output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ratings.csv", "run", "titles.csv"]


def test_an_interrupted_audit_is_gone_on_with(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    small = ("--set", "model.gmf_dim=2", "--set", "model.mlp_dim=2", "--set", "model.layers=[4]")
    whence_(
        "train", "--data", "ratings.csv", "--model", "NeuMF", *small, "--epochs", "3",
        "--output", "run",
    )  # fmt: skip
    arguments = ("forget", "run", "--user", "7", "--audit")
    whence_(*arguments, "--output", "whole")

    from whence.curation.forgetting import audit

    def broken(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_distances", broken)
        said = whence_(*arguments, "--output", "gone", code=130).output
    assert "--resume" in said
    assert not (tmp_path / "gone" / "metrics.json").exists()
    # The model is there, whole, before its audit is.
    assert "user_id 8" in whence_("recommend", "gone", "--user", "8").output
    whence_(*arguments, "--output", "gone", "--resume")
    wanted, found = (
        pl.read_csv(tmp_path / name / "audit.csv").filter(pl.col("measure") != "seconds")
        for name in ("whole", "gone")
    )
    assert wanted.equals(found)
    assert not (tmp_path / "gone" / "audit").exists()
    assert scores(tmp_path / "gone") == scores(tmp_path / "whole")
    assert "finished" in whence_(*arguments, "--output", "gone", "--resume").output
