"""Command lines with hostile arguments end in one sentence, and leave nothing half written."""

from __future__ import annotations

import os
import traceback

import numpy as np
import pytest
from _commands import SESSIONS, write_ratings, write_sessions
from mutants import how_many, pick
from typer.testing import CliRunner

from whence.cli import app
from whence.cli._app import _Main

WORDS = [
    "5", "1000", "99999999999", "9223372036854775807", "1e-9", "", "-1", "0", "1", "3",
    "1e400", "nan", "inf", "99999999999999999999", "x", "é", "a=b", "=", "null", "true",
    "[1, 2]", "{a: 1}", "2001-99-99", "../x", "/", ".", "train.csv", "nofile.csv", "run",
    "values", "mrr@20", "mrr@0", "st@5", "rmse", "\x1b[31m", "*", "item=", "item=1", "%s",
    "{}", "-", "--", "🙂", "0.5", "2", "' OR 1", "session_id", "!!int ''", "&a [*a]", "1,2,3",
    ";", "budget", "random", "user", "cell", "exact", "gru4rec", "mf", "vmis", "loo", "tracin",
]  # fmt: skip
SMALL = ("--set", "training.epochs=1", "-q")
BASES = [
    ("train", *SESSIONS, "--model", "vmis"),
    ("train", "--data", "ratings.csv", "--model", "popularity"),
    ("train", *SESSIONS, "--model", "gru4rec", *SMALL),
    ("evaluate", *SESSIONS, "--model", "vmis"),
    ("evaluate", "run"),
    ("value", *SESSIONS[:4], "--method", "loo"),
    ("value", *SESSIONS[:4], "--tolerance", "0.9"),
    ("value", "--data", "ratings.csv", "--model", "itemknn", "--method", "length"),
    ("recommend", "run", "--user", "1"),
    ("recommend", "run", "--all"),
    ("explain", "run", "--user", "1"),
    ("explain", "run", "--history", "1,2"),
    ("trace", "run"),
    ("forget", "run", "--user", "1"),
    ("prune", "values", "train.csv", "--fraction", "0.1", "--output", "pruned.csv"),
    ("sustainability", *SESSIONS, "--sustainable", "train.csv"),
    ("clean", "train.csv", "--values", "values", "--bots", "--output", "cleaned"),
    ("disclose", "--data", "ratings.csv", "--simulate", "0.5", "--seeds", "0"),
    ("tune", "tune.yaml", "--trials", "1"),
    ("experiment", "removal", *SESSIONS),
    ("experiment", "prune", *SESSIONS),
    ("experiment", "scaling"),
    ("experiment", "corruption", "ratings.csv"),
    ("experiment", "fidelity", "ratings.csv"),
    ("experiment", "forgetting", "ratings.csv"),
    ("experiment", "opponents", "ratings.csv"),
    ("generate", "-n", "50", "--output", "made.csv"),
    ("report", "run", "values"),
    ("explore", "run", "--port", "99999"),  # no such port, so that it does not go on serving
    ("demo",),
]  # fmt: skip
LONG = ("disclose", "tune", "demo", "experiment", "explore")
"""Of these only lines with something wrong in the first place are of use; whole they take long."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, a run and values."""
    folder = tmp_path_factory.mktemp("commands")
    before = os.getcwd()
    os.chdir(folder)
    write_sessions(folder)
    write_ratings(folder / "ratings.csv")
    (folder / "tune.yaml").write_text("data: {path: ratings.csv}\nmodel: {name: ItemKNN}\n")
    for line in (
        ("train", *SESSIONS, "--model", "vmis", "-o", "run", "-q"),
        ("value", *SESSIONS[:4], "--method", "loo", "-o", "values", "-q"),
    ):
        assert CliRunner().invoke(app, line).exit_code == 0
    yield folder
    os.chdir(before)


def options_of(command, cache={}):  # noqa: B006 (kept between calls on purpose)
    """All options that a command has."""
    if command not in cache:
        help_ = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "300"}).output
        words = (word.strip(",│") for line in help_.splitlines() for word in line.split()[:4])
        names = {part for word in words for part in word.split("/") if part.startswith("-")}
        cache[command] = sorted(names - {"--help"})
    return cache[command]


def line_of(rng):
    """A command with strange options, and some of its arguments changed."""
    line = list(pick(rng, BASES))
    command = tuple(line[:2]) if line[0] == "experiment" else (line[0],)
    known = options_of(command)
    if line[0] in LONG:
        line.append("--no-such-option")
    for _ in range(int(rng.integers(1, 3))):
        way = int(rng.integers(6))
        if way == 0 and len(line) > 1:
            line[int(rng.integers(1, len(line)))] = pick(rng, WORDS)
        elif way == 1:
            key = pick(rng, ("model.k", "data.path", "training.epochs", "x.y", "output", "model"))
            line += ["--set", f"{key}={pick(rng, WORDS)}"]
        elif known:
            line += [pick(rng, known), pick(rng, WORDS)]
    return line


def test_hostile_arguments(folder):
    wrong = {}
    for number in range(how_many(40, 0.1)):
        line = line_of(np.random.default_rng([21, number]))
        result = CliRunner().invoke(app, line)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            frames = traceback.extract_tb(result.exception.__traceback__)
            ours = [frame for frame in frames if "/whence/" in frame.filename] or frames
            place = f"{ours[-1].filename}:{ours[-1].lineno} {result.exception!r:.200}"
            wrong.setdefault(place, line)
        elif result.exit_code not in (0, 2):
            wrong.setdefault(f"exit code {result.exit_code}: {result.output[-200:]}", line)
        elif "Traceback" in result.output:
            wrong.setdefault(result.output[-300:], line)
    assert wrong == {}
    left = [path for path in folder.rglob(".*") if path.suffix in (".part", ".old")]
    assert left == []


def test_every_command_is_among_them():
    assert {line[0] for line in BASES} == set(_Main.homes)
