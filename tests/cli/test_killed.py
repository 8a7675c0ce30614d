"""Long commands that are killed in the middle, and gone on with: the same results, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from _commands import write_ratings, write_sessions

# A process of its own, in which everything that is done is kept at once.
START = """
import sys
from whence.engines import checkpoints
checkpoints._SECONDS = checkpoints._LONGEST_SHARE = -1.0
sys.argv[0] = "whence"
from whence.cli import main
main()
"""
TIMES = (
    "seconds", "seconds_single", "seconds_of_retraining", "elapsed_seconds", "took", "folder",
)  # fmt: skip


def process(*arguments, start=START):
    return subprocess.Popen(
        [sys.executable, "-c", start, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(*arguments):
    running = process(*arguments)
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, out + err
    return out


def results(folder):
    """What a folder of results says, without how long it took."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix in (".parquet", ".csv") and path.name != "previous.parquet":
            read = pl.read_parquet if path.suffix == ".parquet" else pl.read_csv
            frame = read(path)
            if "measure" in frame.columns:
                frame = frame.filter(~pl.col("measure").is_in(TIMES))
            found[name] = frame.drop([c for c in frame.columns if c in TIMES]).to_dicts()
        elif path.suffix == ".json" and path.name != "run.json":
            found[name] = timeless(json.loads(path.read_text()))
    return found


def timeless(part):
    if isinstance(part, dict):
        return {name: timeless(value) for name, value in part.items() if name not in TIMES}
    return [timeless(one) for one in part] if isinstance(part, list) else part


def begun(folder):
    return (folder / "run.json").is_file()


def killed_and_resumed(command, tmp_path, seed):
    """Kill a command at random moments, go on, and compare with one that was left alone."""
    rng = random.Random(seed)
    began = time.monotonic()
    finished(*command, "-o", tmp_path / "whole")
    took = time.monotonic() - began
    broken = tmp_path / "broken"
    kills = 0
    for _ in range(3):
        running = process(*command, "-o", broken, "--resume")
        try:
            if not kills:  # the first time when there is something to lose
                while not begun(broken) and running.poll() is None:
                    time.sleep(0.01)
                running.wait(rng.random() * 0.2 * took)
            else:
                running.wait(rng.random() * took)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
        running.communicate()
        kills += running.returncode == -signal.SIGKILL
    finished(*command, "-o", broken, "--resume")
    assert kills, "it was never killed"
    assert results(broken) == results(tmp_path / "whole")
    assert not (broken / "unfinished").exists()
    assert not [path for path in broken.rglob("*") if path.name.startswith(".")]


VALUE = (
    "value", "--train", "train.csv", "--valid", "validation.csv", "--neighbours", 20, "--m", 50,
)  # fmt: skip
NET = (
    "--model", "GRU4Rec", "--set", "model.embedding_dim=8", "--set", "model.hidden_dim=8",
    "--set", "training.checkpoints=2", "--epochs", 6,
)  # fmt: skip
SEARCH = """
data: {path: ratings.csv}
model: {name: EASE}
tune:
  space: {model.l2: {low: 1e-1, high: 1e3, log: true}, model.exclude_seen: [true, false]}
  trials: 12
  metric: ndcg@10
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([p for p in sys.path if p]))
    write_sessions(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    (tmp_path / "search.yaml").write_text(SEARCH)
    return tmp_path


def test_values(folder):
    killed_and_resumed((*VALUE, "--tolerance", 0.02), folder, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["loo", "banzhaf", "retraining-loo", "retraining-shapley"])
def test_values_by_other_methods(folder, method):
    more = ("--max-permutations", 3) if method == "retraining-shapley" else ()
    killed_and_resumed((*VALUE, "--method", method, *more), folder, seed=2)


@pytest.mark.slow
def test_values_of_a_network(folder):
    pytest.importorskip("torch")
    command = ("value", "--data", "ratings.csv", *NET[:-2], "--set", "training.epochs=4")
    killed_and_resumed((*command, "--method", "tracin"), folder, seed=3)


@pytest.mark.slow
def test_training(folder):
    pytest.importorskip("torch")
    command = ("train", "--data", "ratings.csv", *NET)
    killed_and_resumed(command, folder, seed=4)


@pytest.mark.slow
def test_a_search(folder):
    pytest.importorskip("optuna")
    killed_and_resumed(("tune", "search.yaml"), folder, seed=5)


@pytest.mark.slow
def test_tracing(folder):
    pytest.importorskip("torch")
    finished("train", "--data", "ratings.csv", *NET, "-o", "run")
    killed_and_resumed(("trace", "run"), folder, seed=6)


@pytest.mark.slow
def test_disclosure(folder):
    pytest.importorskip("torch")
    command = (
        "disclose", "--data", "ratings.csv", "--simulate", 0.5, "--seeds", 1, "--no-calibrate",
        "--set", "training.epochs=2",
    )  # fmt: skip
    killed_and_resumed(command, folder, seed=7)


@pytest.mark.slow
def test_explanations(folder):
    finished("train", "--data", "ratings.csv", "--model", "itemknn", "-o", "run")
    killed_and_resumed(("explain", "run", "--all", "-k", 3), folder, seed=8)


EXPERIMENTS = {
    "corruption": ("--set", "training.epochs=2", "--seeds", 2, "--attack", "bandwagon"),
    "fidelity": (
        "--keep", 0.5, "--masks", 4, "--queries", 3, "--pairs", 1, "--method", "replay",
        "--method", "tracin", "--set", "training.epochs=2",
    ),
    "disclosure": ("--share", 1, "--strategy", "social", "--seeds", 1, "--control", "random"),
    "opponents": ("-n", 20, "--epochs", 2, "--seeds", 2),
    "explanation-fidelity": ("--epochs", 1, "--n-users", 5, "--n-events", 4, "-k", 2),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments(folder, name):
    pytest.importorskip("torch")
    command = ("experiment", name, "ratings.csv", *EXPERIMENTS[name])
    killed_and_resumed(command, folder, seed=9)


def test_an_interruption_keeps_what_is_done_and_says_how_to_go_on(folder):
    # Longer than anybody would wait for, so that it is at work when it is interrupted.
    command = (*VALUE, "--tolerance", 0, "--set", "attribution.max_permutations=50000000")
    running = process(*command, "-o", "values")
    while not (folder / "values" / "unfinished").is_dir() and running.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    second = process(*command, "-o", "values", "--resume")
    _, refused = second.communicate(timeout=300)
    assert second.returncode == 2
    assert "in use by another process" in refused
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert "go on with: whence value --train train.csv" in said
    assert said.rstrip().endswith("--resume")
    assert not (folder / "values" / "summary.json").exists()
    third = process(*command, "-o", "values")
    assert "holds unfinished work" in third.communicate(timeout=300)[1]


@pytest.mark.parametrize("after", [0.0, 0.1, 0.4])
def test_an_interruption_while_modules_are_imported(folder, after):
    start = "from whence.cli import main; print(flush=True); main()"
    running = process(*VALUE, "-o", "values", start=start)
    running.stdout.readline()
    time.sleep(0.02 + after)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert Path("values").exists() is ("what is done" in said)
