from __future__ import annotations

import json
import math

import polars as pl
import pytest
import yaml
from _commands import SESSIONS, scores, whence_, write_ratings, write_sessions

import whence
from whence.config import MODELS, load_config, read_parts

torch = pytest.importorskip("torch")

from whence.models.training import logs, loop  # noqa: E402 (needs torch)

GRU = (
    "--model", "GRU4Rec", "--set", "model.embedding_dim=8", "--set", "model.hidden_dim=8",
    "--set", "training.batch_size=32",
)  # fmt: skip
TRAIN = ("train", *SESSIONS, *GRU, "--metric", "mrr@10")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    return tmp_path


def interrupt_after(monkeypatch, epochs):
    """Let training be broken off when so many epochs are written."""
    whole = logs.Log.epoch

    def epoch(self, entry):
        whole(self, entry)
        if entry["epoch"] == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(logs.Log, "epoch", epoch)


def test_a_run_leaves_everything_behind(folder):
    result = whence_(*TRAIN, "--epochs", 2, "--set", "training.checkpoints=1", "-o", "run")
    for word in ("GRU4Rec(", "mrr@10", "validation", "test", "Best of 2 epochs", "recommend run"):
        assert word in result.stdout
    run = folder / "run"
    names = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()}
    curves = {name for name in names if name.startswith("tensorboard/")}
    assert len(curves) <= 1
    assert names - curves == {
        "config.yaml", "run.json", "metrics.json", "log.jsonl", "model.whence",
        "validation-queries.parquet", "test-queries.parquet", "checkpoints/last.pt",
        "checkpoints/best.pt", "checkpoints/epoch-00001.pt", "checkpoints/epoch-00002.pt",
    }  # fmt: skip
    assert len((run / "log.jsonl").read_text().splitlines()) == 2
    about = json.loads((run / "run.json").read_text())
    train = whence.read_interactions("train.csv")
    assert about["data"]["train"] == {"fingerprint": train.fingerprint, "rows": train.n_rows}
    assert {"whence", "torch", "numpy"} <= about["versions"].keys()
    queries = pl.read_parquet(run / "test-queries.parquet")
    assert queries["mrr@10"].mean() == pytest.approx(scores(run)["test"]["mrr@10"])
    model = whence.load_model(run / "model.whence")
    test = whence.evaluate(model, whence.read_interactions("test.csv"), "mrr@10")
    assert test.scores == scores(run)["test"]


def test_curves_are_written_where_tensorboard_is(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whence_(*TRAIN, "--epochs", 3, "-o", "run")
    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("train/loss")] == [1, 2, 3]
    assert len(events.Scalars("validation/mrr@10")) == 3
    whence_(*TRAIN, "--epochs", 1, "--set", "training.tensorboard=false", "-o", "plain")
    assert not (folder / "plain" / "tensorboard").exists()


def test_the_configuration_of_a_run_is_complete_and_repeats_it(folder):
    whence_(*TRAIN, "--epochs", 2, "-o", "run")
    keys = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert keys["data"]["train"] == str(folder / "train.csv")
    assert keys["model"]["name"] == "gru4rec"
    assert (keys["model"]["hidden_dim"], keys["model"]["dropout"]) == (8, 0.3)
    assert keys["training"]["learning_rate"] == 0.001
    again = whence_("train", "run", "-o", "again")
    assert "The metrics are the same as in run." in again.stdout
    assert scores(folder / "again") == scores(folder / "run")
    assert (folder / "again/config.yaml").read_text() == (folder / "run/config.yaml").read_text()
    by_file = whence_("train", "run/config.yaml", "--seed", 7)
    assert "The metrics are not those of run." in by_file.stdout
    (other,) = (folder / "runs").iterdir()
    assert other.name.startswith("GRU4Rec-2")
    assert scores(other) != scores(folder / "run")


def test_a_run_on_other_data_says_so(folder):
    whence_(*TRAIN, "--epochs", 1, "-o", "run")
    pl.read_csv("train.csv").tail(-20).write_csv("train.csv")
    assert "the data are not those of run" in whence_("train", "run", "-o", "again").stderr


def test_resuming_gives_what_an_unbroken_run_gives(folder, monkeypatch):
    whence_(*TRAIN, "--epochs", 4, "-o", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        stopped = whence_(*TRAIN, "--epochs", 4, "-o", "run", code=130)
    assert stopped.stderr.splitlines() == [
        "Interrupted after 2 epochs; what is done is in run, go on with: whence train run --resume"
    ]
    assert not (folder / "run" / "metrics.json").exists()
    assert "--resume" in whence_("evaluate", "run", code=2).stderr
    whence_("train", "run", "--resume")
    assert scores(folder / "run") == scores(folder / "whole")
    whole, run = (whence.load_model(folder / name / "model.whence") for name in ("whole", "run"))
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(value, run.module_.state_dict()[name]), name
    # A finished run goes on only where there is more to do.
    whence_("train", "run", "--resume", "--epochs", 6)
    assert len((folder / "run" / "log.jsonl").read_text().splitlines()) == 6


def test_a_run_that_cannot_be_gone_on_with_stays_as_it_is(folder, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        whence_(*TRAIN, "--epochs", 3, "-o", "run", code=130)
    before = (folder / "run" / "config.yaml").read_text()
    changed = whence_("train", "run", "--resume", "--set", "model.hidden_dim=9", code=2)
    assert "hidden_dim" in changed.stderr
    assert (folder / "run" / "config.yaml").read_text() == before
    whence_("train", "run", "--resume")
    assert (folder / "run" / "metrics.json").is_file()


def test_an_interruption_before_the_first_epoch_leaves_nothing(folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Training, "_epoch", stop)
    before = sorted(folder.iterdir())
    result = whence_(*TRAIN, code=130)
    assert "nothing was written" in result.stderr
    assert sorted(folder.iterdir()) == before


def test_a_diverging_loss_names_the_last_good_checkpoint(folder, monkeypatch):
    whole = loop.Training._epoch

    def epoch(self, log):
        if self.epoch == 2:
            self._give_up(math.nan, 1, 9)
        return whole(self, log)

    monkeypatch.setattr(loop.Training, "_epoch", epoch)
    result = whence_(*TRAIN, "--epochs", 4, "-o", "run", code=2)
    assert result.stderr.startswith("Error: Training diverged")
    assert "run/checkpoints/last.pt" in result.stderr
    assert (folder / "run" / "checkpoints" / "last.pt").is_file()
    at_once = whence_(
        *TRAIN, "--set", "training.optimizer=sgd", "--set", "training.learning_rate=1e30",
        "-o", "none", code=2,
    )  # fmt: skip
    assert "last good checkpoint" not in at_once.stderr
    assert not (folder / "none").exists()


def test_an_existing_folder_is_kept_unless_told_otherwise(folder):
    whence_(*TRAIN, "--epochs", 1, "-o", "run")
    before = (folder / "run" / "metrics.json").read_text()
    assert "--overwrite" in whence_(*TRAIN, "-o", "run", code=2).stderr
    failing = (*TRAIN, "-o", "run", "--overwrite", "--set", "training.learning_rate=-1")
    assert "learning_rate" in whence_(*failing, code=2).stderr
    assert (folder / "run" / "metrics.json").read_text() == before
    whence_(*TRAIN, "--epochs", 2, "-o", "run", "--overwrite")
    assert json.loads((folder / "run/metrics.json").read_text())["training"]["epochs"] == 2
    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("mine")
    assert "did not write" in whence_(*TRAIN, "-o", "mine", "--overwrite", code=2).stderr
    assert [file.name for file in mine.iterdir()] == ["thesis.tex"]
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("model", ["EASE", "itemknn", "Popularity", "MarkovChain"])
def test_models_without_epochs(folder, model):
    result = whence_("train", "--data", "ratings.csv", "--model", model, "-o", "run")
    assert "Split leave-one-out: 480 training, 60 validation, 60 test rows." in result.stdout
    assert not (folder / "run" / "checkpoints").exists()
    assert set(scores(folder / "run")["test"]) == {
        "ndcg@10", "recall@10", "mrr@10", "hitrate@10"
    }  # fmt: skip
    assert "the same as" in whence_("train", "run", "-o", "again").stdout


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_trained_from_the_command_line(folder, model):
    if model == "als":
        pytest.importorskip("implicit")
    if model == "tifu":
        rows = [(u, b, b + u % 3 + i) for u in range(9) for b in range(5) for i in range(3)]
        frame = pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")
        frame.write_csv("ratings.csv")
    more = () if "epochs" not in MODELS[model].parameter_types() else ("--epochs", 1)
    whence_("train", "--data", "ratings.csv", "--model", model, *more, "-o", "run")
    found = scores(folder / "run")["test"]
    assert len(found) in (2, 4)
    assert all(math.isfinite(value) for value in found.values())
    assert "the same as" in whence_("train", "run", "-o", "again").stdout


def test_testing_knows_the_validation_items(folder):
    whence_("train", "--data", "ratings.csv", "--model", "EASE", "-o", "run")
    parts = read_parts(load_config(folder / "run" / "config.yaml"))
    model = whence.load_model(folder / "run" / "model.whence")
    with_history = whence.evaluate(model, parts.test, "mrr@10", history=parts.validation)
    without = whence.evaluate(model, parts.test, "mrr@10")
    assert scores(folder / "run")["test"]["mrr@10"] == with_history["mrr@10"] != without["mrr@10"]


def test_rows_are_filtered_first_and_that_is_told(folder):
    result = whence_(
        "train", "--data", "ratings.csv", "--model", "EASE", "--set", "data.min_rating=4",
        "--set", "data.min_per_item=8", "--split", "rows",
    )  # fmt: skip
    assert "8 per item: Dropped" in result.stdout
    (run,) = (folder / "runs").iterdir()
    parts = read_parts(load_config(run / "config.yaml"))
    rows = pl.concat([part.frame for part in (parts.train, parts.validation, parts.test)])
    assert rows["rating"].min() == 4
    assert rows["item_id"].value_counts()["count"].min() >= 8


def test_training_without_anything_to_test_on(folder):
    result = whence_("train", "--train", "train.csv", "--model", "vmis", "-o", "run")
    assert "nothing was evaluated" in result.stdout
    assert (folder / "run" / "model.whence").is_file()
    assert "--test" in whence_("evaluate", "run", code=2).stderr


def test_validation_asks_as_the_configuration_says(folder):
    whence_(*TRAIN, "--epochs", 1, "--set", "data.target=next", "-o", "run")
    last = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["metrics"] == scores(folder / "run")["validation"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "ratings.csv"), "No model is named"),
        (("--model", "EASE"), "--data"),
        (("--data", "ratings.csv", "--model", "EASSE"), "Did you mean 'ease'"),
        (("--data", "none.csv", "--model", "EASE"), "none.csv"),
        (("--data", "ratings.csv", "--train", "train.csv", "--model", "EASE"), "only one of"),
        (("--data", "ratings.csv", "--model", "EASE", "--split", "rwos"), "Did you mean 'rows'"),
        (("--data", "ratings.csv", "--model", "EASE", "--metric", "mmr@5"), "Did you mean 'mrr'"),
        (("--data", "ratings.csv", "--model", "EASE", "--set", "model.l22=2"), "Did you mean 'l2'"),
        (("--data", "ratings.csv", "--model", "EASE", "--set", "model.l2=x"), "valid number"),
        (("--data", "ratings.csv", "--model", "EASE", "--set", "model.l2=-1"), "model.l2 must be"),
        ((*TRAIN[1:], "--set", "training.batch_size=0"), "batch_size must be"),
        ((*TRAIN[1:], "--set", "training.batchsize=3"), "Did you mean 'batch_size'"),
        ((*TRAIN[1:], "--set", "model.epochs=3"), "write training.epochs"),
        ((*TRAIN[1:], "--set", "training.patience=0"), "patience must be"),
        ((*TRAIN[1:], "--device", "gpuu"), "device"),
        (("--data", "ratings.csv", "--model", "tifu"), "basket"),
        ((".",), "not of a run"),
        (("--resume", "--data", "ratings.csv", "--model", "EASE"), "name its folder"),
        ((*TRAIN[1:], "-o", "train.csv"), "is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(folder, arguments, words):
    before = sorted(folder.iterdir())
    result = whence_("train", *arguments, code=2)
    assert words in result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert sorted(folder.iterdir()) == before


def test_a_setting_without_use_is_told_and_left_out(folder):
    result = whence_("train", "--data", "ratings.csv", "--model", "EASE", "--epochs", 3)
    assert "training.epochs has no use for EASE" in result.stderr


def write_tutorial(folder, **more):
    keys = {
        "nproc": 1, "embedding_size": 64, "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id",
        "load_col": {"inter": ["user_id", "item_id"]}, "epochs": 500, "train_batch_size": 512,
        "eval_batch_size": 512, "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
        "topk": 10, "eval_step": 2, "valid_metric": "MRR@10",
    }  # fmt: skip
    (folder / "tutorial.yaml").write_text(yaml.safe_dump({**keys, **more}))


def test_the_tutorial_of_recbole_runs_unchanged(folder, data_dir):
    write_tutorial(folder)
    result = whence_(
        "train", "tutorial.yaml", "--model", "NeuMF", "--data", data_dir / "ml-100k",
        "--epochs", 2, "-o", "run",
    )  # fmt: skip
    assert "nproc has no influence" in result.stderr
    keys = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert keys["split"]["method"] == "rows"
    found = scores(folder / "run")["test"]
    assert list(found) == ["recall@10", "mrr@10", "ndcg@10", "hitrate@10", "precision@10"]
    assert found["ndcg@10"] > 0.1  # popularity has 0.07


def test_the_tutorial_may_name_model_and_data_set_itself(folder):
    (folder / "dataset" / "made-up").mkdir(parents=True)
    whence.write_interactions(
        whence.read_interactions("ratings.csv"), folder / "dataset/made-up/made-up.inter"
    )
    write_tutorial(folder, model="BPR", dataset="made-up", epochs=2)
    whence_("train", "tutorial.yaml", "-o", "run")
    keys = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert keys["data"]["path"] == str(folder / "dataset" / "made-up")
    assert (keys["model"]["name"], keys["model"]["embedding_dim"]) == ("bpr", 64)
