"""How files are read, as the commands are told."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from _commands import scores, whence_, write_ratings

from whence.data import read_interactions, write_interactions

NAMES = "user item rating time"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    rows = (tmp_path / "ratings.csv").read_text().partition("\n")[2]
    (tmp_path / "bare.csv").write_text(rows)
    return tmp_path


def train(name, *more):
    whence_("train", "--model", "itemknn", "--output", name, "--metric", "mrr@10", *more)
    return scores(Path(name))


def test_a_file_without_a_header_gives_the_same(folder):
    named = train("named", "--data", "ratings.csv")
    assert train("bare", "--data", "bare.csv", "--columns", NAMES) == named
    config = yaml.safe_load((folder / "bare" / "config.yaml").read_text())
    assert config["data"]["columns"] == NAMES
    assert train("again", "bare/config.yaml") == named
    settings = {"data": {"path": "bare.csv", "columns": NAMES.split()}}
    (folder / "c.yaml").write_text(yaml.safe_dump(settings))
    assert train("listed", "c.yaml") == named
    assert (
        whence_("evaluate", "bare").stdout.splitlines()[1:]
        == (whence_("evaluate", "named").stdout.splitlines()[1:])
    )


def test_every_command_that_reads_a_file_is_told_its_columns(folder):
    knn = ("--model", "itemknn", "--columns", NAMES)
    whence_("evaluate", "--data", "bare.csv", *knn, "--metric", "mrr@10")
    whence_("value", "--data", "bare.csv", *knn, "--method", "retraining-loo", "--output", "values")
    assert (folder / "values" / "values.csv").is_file()
    whence_("prune", "values", "values/data/train.csv", "-n", 2, "--output", "pruned.csv")
    # the command that value names next, whose files have header lines
    whence_(
        "evaluate", "values/config.yaml", "--train", "pruned.csv", "--valid",
        "values/data/validation.csv", "--metric", "mrr@10",
    )  # fmt: skip
    bare = "values/data/train.csv"
    (folder / "t.csv").write_text((folder / bare).read_text().partition("\n")[2])
    # what prunes by sources needs the names of the columns as they were
    whence_("prune", "values", "t.csv", "--columns", NAMES, "-n", 2, "--output", "again.csv")
    assert (folder / "again.csv").read_text() == (folder / "pruned.csv").read_text()


def test_what_is_missing_is_said_in_words_of_options(folder):
    said = whence_("evaluate", "--data", "bare.csv", "--model", "itemknn", code=2).output
    assert "--columns 'user item rating _'" in said
    wrong = whence_("evaluate", "--data", "bare.csv", "--columns", "user item", code=2).output
    assert "columns names 2 columns" in wrong
    assert "has 4 fields" in wrong


def test_written_times_and_ties(folder):
    frame = pl.read_csv("ratings.csv").with_columns(
        pl.format("{}.{}.2024", 1 + pl.col("timestamp") % 12, 1 + pl.col("timestamp") % 7)
        .alias("timestamp")
    )  # fmt: skip
    frame.write_csv("written.csv")
    knn = ("--data", "written.csv", "--model", "itemknn", "--metric", "mrr@10")
    said = whence_("evaluate", *knn, code=2).output
    assert "say which is which with --time-format" in said
    frame.with_columns(timestamp=pl.lit("31.1.2024")).write_csv("written.csv")
    given = whence_("evaluate", *knn, "--time-format", "%d.%m.%Y", "--ties", "random").stdout
    again = whence_("evaluate", *knn, "--time-format", "%d.%m.%Y", "--ties", "random").stdout
    other = whence_(
        "evaluate", *knn, "--time-format", "%d.%m.%Y", "--ties", "random",
        "--set", "data.order_seed=7",
    ).stdout  # fmt: skip
    assert given == again
    assert given != other


def test_a_note_on_ties_names_the_option(folder):
    data = read_interactions("ratings.csv")
    frame = data.frame.with_columns(timestamp=pl.col("user_id")).sort("user_id", "item_id")
    write_interactions(frame, "tied.csv")
    said = whence_("evaluate", "--data", "tied.csv", "--model", "markov").output
    assert "Put them in a random order with --ties random." in said
    said = whence_("evaluate", "--data", "tied.csv", "--model", "markov", "--ties", "random")
    assert "Note: 600 of 600 rows" not in said.output


def test_disclosure_and_experiments_of_a_file_without_a_header(folder):
    whence_(
        "disclose", "--data", "bare.csv", "--columns", NAMES, "--output", "out", "--seeds", 1,
        "--set", "training.epochs=2", "--strategy", "threshold", "-n", 20, "--simulate", 0.5,
    )  # fmt: skip
    masked = (folder / "out" / "disclosed" / "bare.csv").read_text().splitlines()
    assert set(masked) <= set((folder / "bare.csv").read_text().splitlines())
    whence_(
        "experiment", "fidelity", "bare.csv", "--columns", NAMES, "--output", "fidelity",
        "--keep", 0.5, "--masks", 3, "--queries", 3, "--pairs", 1, "--method", "random",
    )  # fmt: skip
    assert json.loads((folder / "fidelity" / "summary.json").read_text())


def test_patterns_are_found_from_anywhere(folder, monkeypatch):
    head, *rows = (folder / "ratings.csv").read_text().splitlines(keepends=True)
    (folder / "parts").mkdir()
    for number in range(3):
        part = rows[number * 200 : (number + 1) * 200]
        (folder / "parts" / f"ratings-{number}.csv").write_text(head + "".join(part))
    whole = train("whole", "--data", "ratings.csv")
    assert train("pattern", "--data", "parts/*.csv") == whole
    assert train("parts-of", "--data", "parts") == whole
    monkeypatch.chdir(folder / "parts")
    shown = whence_("evaluate", "../pattern").stdout
    assert shown.splitlines()[1:] == whence_("evaluate", "../whole").stdout.splitlines()[1:]
    refused = whence_("disclose", "--data", "*.csv", "--simulate", 0.5, code=2).output
    assert "consists of 3 files" in refused


def test_given_parts_are_taken(folder):
    data = read_interactions("ratings.csv")
    (folder / "shop").mkdir()
    for name, rows in zip(
        ("train", "valid", "test"), (range(400), range(400, 500), range(500, 600))
    ):
        part = data.frame[list(rows)]
        write_interactions(part, folder / "shop" / f"shop.{name}.inter")
    write_interactions(data, folder / "shop" / "shop.inter")
    given = whence_("evaluate", "--data", "shop", "--model", "itemknn").stdout
    assert "fitted on Interactions: 400 rows" in given
    other = whence_("evaluate", "--data", "shop", "--model", "itemknn", "--split", "rows").stdout
    assert "fitted on Interactions: 480 rows" in other
    told = whence_("evaluate", "--data", "ratings.csv", "--split", "given", code=2).output
    assert "has no files of train and test" in told
