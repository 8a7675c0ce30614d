from __future__ import annotations

import math

import polars as pl
import pytest
import yaml
from _commands import scores, whence_, write_ratings, write_sessions

from whence.cli import _search
from whence.errors import TrainingError

pytest.importorskip("optuna")

SPACE = """
data: {path: ratings.csv}
model: {name: EASE}
tune:
  space:
    model.l2: {low: 1e-1, high: 1e3, log: true}
    model.exclude_seen: [true, false]
  trials: 4
  metric: ndcg@10
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    (tmp_path / "config.yaml").write_text(SPACE)
    return tmp_path


def trials(folder, name="search"):
    return pl.read_csv(folder / name / "trials.csv").drop("seconds")


def test_a_search_writes_its_trials_and_the_best_configuration(folder):
    result = whence_("tune", "config.yaml", "-o", "search")
    assert "Best of 4 trials by ndcg@10 on validation" in result.stdout
    assert "whence train search/best.yaml" in result.stdout
    table = trials(folder)
    assert table["trial"].to_list() == list(range(4))
    assert table["model.l2"].is_between(0.1, 1000).all()
    best = table.sort("ndcg@10", descending=True).row(0, named=True)
    keys = yaml.safe_load((folder / "search" / "best.yaml").read_text())
    assert keys["model"]["l2"] == best["model.l2"]
    assert "tune" not in keys
    whence_("train", "search/best.yaml", "-o", "run")
    assert scores(folder / "run")["validation"]["ndcg@10"] == pytest.approx(best["ndcg@10"])


def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not_been(folder, monkeypatch):
    whence_("tune", "config.yaml", "-o", "whole")
    value = _search.Search._value

    def interrupted(self, trial):
        if trial.number == 2:
            raise KeyboardInterrupt
        return value(self, trial)

    with monkeypatch.context() as patch:
        patch.setattr(_search.Search, "_value", interrupted)
        result = whence_("tune", "config.yaml", "-o", "search", code=130)
    assert result.stderr.strip() == (
        "Interrupted after 2 trials; what is done is in search, go on with: whence tune search "
        "--resume"
    )
    assert trials(folder).height == 2
    whence_("tune", "search", "--resume")
    assert trials(folder).equals(trials(folder, "whole"))
    whence_("tune", "search", "--resume", "--trials", 5)
    assert trials(folder).height == 5


def test_a_search_broken_off_at_once_leaves_nothing(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_search.Search, "_value", interrupted)
    assert "nothing was written" in whence_("tune", "config.yaml", code=130).stderr
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.yaml", "ratings.csv", "titles.csv"
    ]  # fmt: skip


def test_errors_are_lowest_first(folder, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(_search.Search, "_value", lambda self, trial: trial.number - 3.0)
    (folder / "config.yaml").write_text(
        "data: {path: ratings.csv}\nmodel: {name: mf}\n"
        "tune: {space: {model.embedding_dim: [2, 4]}, trials: 4, metric: rmse}\n"
    )
    result = whence_("tune", "config.yaml", "-o", "search")
    assert result.stdout.splitlines()[2].split()[:2] == ["0", "-3.0000"]


def test_epochs_of_neural_models_are_watched(folder):
    pytest.importorskip("torch")
    write_sessions(folder)
    (folder / "config.yaml").write_text(
        """
data: {train: train.csv, validation: validation.csv}
model: {name: GRU4Rec, embedding_dim: 8}
training: {epochs: 3, batch_size: 32}
evaluation: {metrics: mrr@10}
tune:
  space:
    training.learning_rate: [1e-2, 1e-9, 1e30]
    model.hidden_dim: {low: 4, high: 8, step: 4}
  trials: 12
  sampler: random
"""
    )
    whence_("tune", "config.yaml", "-o", "search")
    table = trials(folder)
    assert set(table["model.hidden_dim"]) == {4, 8}
    failed = table.filter(pl.col("training.learning_rate") == 1e30)
    assert failed.height > 0
    assert failed["error"].str.contains("Training diverged").all()
    hopeless = table.filter(pl.col("training.learning_rate") == 1e-9)["state"]
    assert "pruned" in hopeless.to_list()
    keys = yaml.safe_load((folder / "search" / "best.yaml").read_text())
    assert keys["training"]["learning_rate"] == 0.01
    whence_("train", "search/best.yaml", "-o", "run")
    best = table.filter(pl.col("state") == "complete")["mrr@10"].max()
    assert math.isclose(scores(folder / "run")["validation"]["mrr@10"], best)


def test_a_search_in_which_nothing_works_says_so(folder, monkeypatch):
    def diverge(*_):
        raise TrainingError("Training diverged.")

    monkeypatch.setattr(_search.Search, "_value", diverge)
    result = whence_("tune", "config.yaml", "-o", "search", code=2)
    assert "None of the 4 trials ended well" in result.stderr
    assert trials(folder)["error"].to_list() == ["Training diverged."] * 4
    assert not (folder / "search" / "best.yaml").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tune:", "tuen:", "Did you mean 'tune'"),
        ("model.l2:", "model.l22:", "Did you mean 'model.l2'"),
        ("model.l2:", "data.path:", "only keys of model and training"),
        ("model.l2:", "training.epohcs:", "Did you mean 'training.epochs'"),
        ("model.l2:", "training.epochs:", "no use for EASE"),
        ("low: 1e-1", "lwo: 1e-1", "low and high"),
        ("low: 1e-1", "low: 1e9", "low above its high"),
        ("low: 1e-1", "low: 0", "low must be above 0"),
        ("low: 1e-1", "low: few", "must be a number"),
        ("log: true", "logg: true", "Did you mean 'log'"),
        ("[true, false]", "[true, maybe]", "model.exclude_seen in tune.space"),
        ("[true, false]", "[]", "list of values"),
        ("metric: ndcg@10", "metric: ndgc@10", "Did you mean 'ndcg'"),
        ("trials: 4", "trials: 0", "tune.trials"),
        ("model: {name: EASE}", "model: {l2: 3}", "There is no model.name"),
        ("path: ratings.csv", "train: ratings.csv", "needs validation data"),
    ],
)
def test_wrong_spaces_are_one_sentence(folder, old, new, words):
    (folder / "config.yaml").write_text(SPACE.replace(old, new))
    before = sorted(folder.iterdir())
    result = whence_("tune", "config.yaml", code=2)
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_a_search_is_kept_and_is_not_continued_by_another(folder):
    whence_("tune", "config.yaml", "--trials", 1, "-o", "search")
    assert "--overwrite" in whence_("tune", "config.yaml", "-o", "search", code=2).stderr
    other = ("--set", "tune.space={model.l2: [1, 2]}", "-o", "search", "--resume")
    assert "of another search" in whence_("tune", "config.yaml", *other, code=2).stderr
    assert "name its folder" in whence_("tune", "config.yaml", "--resume", code=2).stderr
    none = whence_("tune", "config.yaml", "--trials", 1, "-o", "none", "--resume")
    assert "nothing to go on with" in none.stderr
    plain = SPACE.partition("tune:")[0]
    (folder / "plain.yaml").write_text(plain)
    assert "nothing to tune" in whence_("tune", "plain.yaml", code=2).stderr
