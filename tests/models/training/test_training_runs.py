"""How training is run: folders that are taken, kills, callbacks, progress, logging."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from oracles import random_sessions

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import GRU4Rec, LSTMRec, Run  # noqa: E402
from whence.errors import OutputExistsError  # noqa: E402

SMALL = {"embedding_dim": 6, "hidden_dim": 5, "batch_size": 8, "max_length": 4}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    return random_sessions(rng, 40, 12), random_sessions(rng, 10, 12)


def same(a, b):
    one, other = a.module_.state_dict(), b.module_.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Trains until it is killed: between two epochs it waits as long as its parent asks it to.
PROGRAM = """
import json, sys, time
import whence

folder, options, stop = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
data = whence.make_sessions(n_sessions=120, seed=1)


def tell(record):
    if record["epoch"] == stop:
        print("reached", flush=True)
        time.sleep(600)


run = whence.Run(folder=folder, callbacks=[tell])
whence.GRU4Rec(**options).fit(
    data.train, validation=data.validation, metric="mrr@5", checkpoints=2, checkpoint_every=3,
    run=run,
)
"""


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def test_killed_training_goes_on_as_if_it_had_not_been(tmp_path, optimizer):
    options = {**SMALL, "epochs": 5, "dropout": 0.3, "optimizer": optimizer, "decay": 0.9}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps(options), "3"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "reached\n"
        data = whence.make_sessions(n_sessions=120, seed=1)
        settings = {"validation": data.validation, "metric": "mrr@5", "checkpoints": 2}
        # As long as it runs, the folder is its own.
        with pytest.raises(OutputExistsError, match="in use by another process") as caught:
            GRU4Rec(**options).fit(data.train, run=Run(folder=tmp_path, resume=True), **settings)
        assert "\n" not in str(caught.value)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    resumed = GRU4Rec(**options)
    resumed.fit(data.train, run=Run(folder=tmp_path, resume=True), **settings)
    whole = GRU4Rec(**options).fit(data.train, **settings)
    assert same(resumed, whole)
    assert resumed.best_ == whole.best_
    assert [c.epoch for c in resumed.checkpoints_] == [2, 4, 5]
    losses = [entry["loss"] for entry in whole.history_]
    assert [entry["loss"] for entry in resumed.history_] == losses
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == losses
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """Also in the middle of an epoch, or of writing."""
    options = {**SMALL, "epochs": 6, "dropout": 0.3}
    data = whence.make_sessions(n_sessions=120, seed=1)
    settings = {"validation": data.validation, "metric": "mrr@5", "checkpoints": 2}
    whole = GRU4Rec(**options).fit(data.train, **settings)
    rng = np.random.default_rng(7)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(options), "6"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not (folder / "checkpoints" / "last.pt").exists() and child.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.2))
        child.kill()
        child.wait()
        resumed = GRU4Rec(**options)
        resumed.fit(data.train, run=Run(folder=folder, resume=True), **settings)
        assert same(resumed, whole)
        assert resumed.best_ == whole.best_


def test_a_folder_is_let_go_of(data, tmp_path):
    train, _ = data
    LSTMRec(**SMALL, epochs=1).fit(train, run=Run(folder=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "log.jsonl"]


def test_callbacks_get_the_record_of_each_epoch(data):
    train, valid = data
    first, second = [], []
    run = Run(callbacks=[first.append, second.append])
    model = LSTMRec(**SMALL, epochs=4)
    model.fit(train, validation=valid, metric="mrr@5", eval_every=2, run=run)
    assert first == second == model.history_
    assert [record["epoch"] for record in first] == [1, 2, 3, 4]
    assert ["metrics" in record for record in first] == [False, True, False, True]
    assert first[1]["metrics"].keys() == {"mrr@5"}
    assert first[0].keys() == {"epoch", "step", "loss", "learning_rate", "seconds"}


def test_progress_counts_epochs(data):
    told = []
    model = LSTMRec(**{**SMALL, "batch_size": 1}, epochs=2)
    model.fit(data[0], run=Run(progress=lambda *numbers: told.append(numbers)))
    done = [numbers[0] for numbers in told]
    assert done == sorted(done)
    assert [one for one in done if one == int(one)] == [1, 2]
    assert len(done) > 4
    assert {numbers[1] for numbers in told} == {2}
    assert told[-1][2] == f"loss {model.history_[-1]['loss']:.4f}"


def test_one_line_of_log_per_epoch(data, caplog):
    with caplog.at_level(logging.INFO, logger="whence"):
        model = LSTMRec(**SMALL, epochs=3).fit(data[0])
    lines = [record.getMessage() for record in caplog.records if record.name == "whence"]
    assert len(lines) == 3
    assert lines[2].startswith(f"LSTMRec, epoch 3 of 3: loss {model.history_[2]['loss']:.4f} (")
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_threads_of_torch_are_those_of_the_model(data):
    seen = []

    class Watched(LSTMRec):
        def example_loss(self, batch):
            seen.append(torch.get_num_threads())
            return super().example_loss(batch)

    before = torch.get_num_threads()
    Watched(**SMALL, epochs=1).fit(data[0], run=Run(threads=3))
    assert set(seen) == {1}
    seen.clear()
    Watched(**SMALL, epochs=1, torch_threads=2).fit(data[0])
    assert set(seen) == {2}
    assert torch.get_num_threads() == before


def test_nothing_of_a_run_stays_with_the_model(data):
    """A fit again, without the run, is one of its own."""
    train, valid = data
    model = LSTMRec(**SMALL, epochs=2)
    before = set(vars(model))
    model.fit(train, validation=valid, run=Run(callbacks=[lambda record: None]))
    assert {name for name in set(vars(model)) - before if not name.endswith("_")} == set()
    model.fit(train)
    assert model.best_ == {}
