from __future__ import annotations

import json

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import whence
from whence.attribution import Attribution
from whence.cli import app
from whence.data import write_interactions
from whence.data.synthetic import make_sessions

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def data():
    return make_sessions(n_sessions=200, n_validation=60, n_test=40, n_items=120, seed=3)


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "validation", "test"):
        write_interactions(getattr(data, name), f"{name}.csv")
    return tmp_path


def whence_(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


FILES = ("--train", "train.csv", "--valid", "validation.csv", "--neighbours", 20, "--m", 50)


def test_version_and_help():
    assert whence_("--version").stdout.startswith("whence 0.")
    for command in ("demo", "evaluate", "value", "prune"):
        assert "--output" in whence_(command, "--help").output


def test_evaluate_prints_every_metric_on_every_set(folder):
    result = whence_(
        "evaluate", *FILES, "--test", "test.csv", "--metric", "mrr@20", "--metric", "recall@10",
        "--output", "out",
    )  # fmt: skip
    for word in ("mrr@20", "recall@10", "validation", "test", "VMISKNN(k=20, m=50"):
        assert word in result.stdout
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert set(summary["results"]["test"]["scores"]) == {"mrr@20", "recall@10"}
    assert pl.read_parquet(folder / "out" / "test-queries.parquet").height > 0
    again = whence_("evaluate", "out/config.yaml")
    assert again.stdout.splitlines()[:4] == result.stdout.splitlines()[:4]


@pytest.mark.parametrize("model", ["popularity", "itemknn"])
def test_evaluate_knows_the_baselines(folder, model):
    assert "mrr@20" in whence_("evaluate", *FILES[:4], "--model", model).stdout


def test_value_writes_everything_and_prune_uses_it(folder, data):
    result = whence_("value", *FILES, "--tolerance", 0.5, "--seed", 1, "--output", "values")
    for word in ("Most valuable sessions", "Least valuable sessions", "std_error", "whence prune"):
        assert word in result.stdout
    out = folder / "values"
    assert {file.name for file in out.iterdir()} == {
        "values.parquet", "values.csv", "run.json", "summary.json", "config.yaml",
        "distribution.png", "ranked.png",
    }  # fmt: skip
    assert (out / "ranked.png").read_bytes().startswith(PNG)
    values = Attribution.load(out / "values.parquet")
    assert len(values) == data.train.n_sources
    assert values.metadata["seed"] == 1
    assert json.loads((out / "summary.json").read_text()) == values.metadata
    assert pl.read_csv(out / "values.csv").equals(values.frame)
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["data"]["train"] == str(folder / "train.csv")

    pruned = whence_("prune", "values", "train.csv", "--fraction", 0.1, "--output", "pruned.tsv")
    assert "Removed 20 of 200 sessions" in pruned.stdout
    kept = pl.read_csv(folder / "pruned.tsv", separator="\t")
    assert kept.equals(values.prune(pl.read_csv(folder / "train.csv"), fraction=0.1))
    whence_("evaluate", "values/config.yaml", "--train", "pruned.tsv")


@pytest.mark.parametrize("method", ["loo", "random", "length", "popularity"])
def test_value_by_other_methods(folder, method):
    result = whence_("value", *FILES, "--method", method)
    assert "Most valuable sessions" in result.stdout
    assert (folder / "whence-values" / "values.parquet").exists()


def test_resume_continues_where_it_stopped(folder):
    keys = ("value", *FILES, "--set", "attribution.tolerance=0", "--set")
    whence_(*keys, "attribution.max_permutations=4", "-o", "short")
    short = Attribution.load(folder / "short" / "values.parquet")
    whence_(*keys, "attribution.max_permutations=40", "-o", "short", "--resume")
    longer = Attribution.load(folder / "short" / "values.parquet")
    assert longer.std_errors.mean() < short.std_errors.mean()
    other = whence_(*keys, "attribution.seed=9", "-o", "short", "--resume", code=2)
    assert "of another attribution.seed" in other.stderr
    loo = whence_("value", *FILES, "--method", "loo", "-o", "short", "--resume", code=2)
    assert "of another attribution.method" in loo.stderr
    again = whence_(*keys, "attribution.max_permutations=40", "-o", "short", "--resume")
    assert again.stdout == "The values in short are finished.\n"
    assert Attribution.load(folder / "short" / "values.parquet").frame.equals(longer.frame)


def test_an_interruption_before_the_first_result_writes_nothing(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(whence.LeaveOneOut, "attribute", interrupted)
    result = whence_("value", *FILES, "--method", "loo", code=130)
    assert result.stderr == "Interrupted; nothing was written.\n"
    assert not (folder / "whence-values").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate",), "--train"),
        (("evaluate", "--train", "train.csv"), "--valid"),
        (("evaluate", "--train", "trian.csv", "--valid", "test.csv"), "trian.csv"),
        (("evaluate", "none.yaml"), "none.yaml"),
        (("evaluate", *FILES, "--metric", "mmr@20"), "Did you mean 'mrr'"),
        (("evaluate", *FILES, "--metric", "mrr"), "@K"),
        (("evaluate", *FILES, "--metric", "st@20"), "sustainable"),
        (("evaluate", *FILES, "--session-column", "sesion_id"), "Did you mean 'session_id'"),
        (("evaluate", *FILES, "--model", "vmiss"), "Did you mean 'vmis'"),
        (("evaluate", *FILES, "--neighbours", 0), "--neighbours must be"),
        (("evaluate", *FILES, "--threads", 0), "threads"),
        (("evaluate", *FILES, "--set", "attribution.sed=3"), "Did you mean 'seed'"),
        (
            ("evaluate", "--train", "train.csv", "--valid", "validation.csv", "--model", "tifu"),
            "basket",
        ),
        (("value", *FILES, "--method", "shaply"), "Did you mean 'shapley'"),
        (("value", *FILES, "--by", "shop"), "--by shop"),
        (("prune", "none.parquet", "train.csv", "-n", 3, "-o", "x.csv"), "none.parquet"),
        (("prune", "train.csv", "train.csv", "-n", 3, "-o", "x.csv"), "train.json"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(folder, arguments, words):
    before = sorted(file.name for file in folder.iterdir())
    result = whence_(*arguments, code=2)
    assert words in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output
    assert sorted(file.name for file in folder.iterdir()) == before


def test_output_that_exists_is_kept_unless_told_otherwise(folder):
    whence_("value", *FILES, "--method", "loo", "--output", "out")
    before = (folder / "out" / "values.parquet").stat().st_mtime_ns
    assert "--overwrite" in whence_("value", *FILES, "--output", "out", code=2).stderr
    assert (folder / "out" / "values.parquet").stat().st_mtime_ns == before
    whence_("value", *FILES, "--method", "loo", "--output", "out", "--overwrite")
    assert (folder / "out" / "values.parquet").stat().st_mtime_ns > before
    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("mine")
    refused = whence_("value", *FILES, "--output", "mine", "--overwrite", code=2)
    assert "did not write" in refused.stderr
    assert [file.name for file in mine.iterdir()] == ["thesis.tex"]
    (folder / "empty").mkdir()
    whence_("evaluate", *FILES, "--output", "empty")
    whence_("prune", "out", "train.csv", "--below", 0, "-o", "x.csv")
    assert (
        "--overwrite" in whence_("prune", "out", "train.csv", "-n", 1, "-o", "x.csv", code=2).stderr
    )
    whence_("prune", "out", "train.csv", "-n", 1, "-o", "x.csv", "--overwrite")
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_told(folder):
    (folder / "file").write_text("")
    result = whence_("evaluate", *FILES, "--output", "file/out", code=2)
    assert "file" in result.stderr


def test_notes_about_the_data_go_to_standard_error(folder):
    frame = pl.read_csv(folder / "train.csv").rename({"timestamp": "timestmp"})
    frame.write_csv(folder / "odd.csv")
    result = whence_("evaluate", "--train", "odd.csv", *FILES[2:])
    assert "Note: " in result.stderr


def test_illoominate_config_runs(folder):
    for name, file in (("train", "train"), ("valid", "validation")):
        frame = pl.read_csv(folder / f"{file}.csv")
        (folder / "data").mkdir(exist_ok=True)
        frame.write_csv(folder / "data" / f"{name}.csv", separator="\t")
    text = '[model]\nname = "vmis"\n\n[hpo]\nk = 20\nm = 50\n\n[metric]\nname="MRR"\nlength=20\n'
    (folder / "data" / "config.toml").write_text(text)
    assert "mrr@20" in whence_("evaluate", "data/config.toml").stdout
    whence_("value", "data/config.toml", "--method", "loo")


def test_demo_tells_the_whole_story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = whence_("demo", "--sessions", 400, "--seed", 1)
    for word in ("Shapley", "leave-one-out", "longest first", "random", "precision", "on test"):
        assert word in result.stdout
    out = tmp_path / "whence-demo"
    assert {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()} == {
        "config.yaml", "run.json", "summary.json", "summary.md", "values.parquet", "values.csv",
        "detection.csv", "removal.csv", "distribution.png", "detection.png", "removal.png",
        "data/train.csv", "data/validation.csv", "data/choice.csv", "data/test.csv",
        "data/corrupted.csv",
    }  # fmt: skip
    report = pl.read_csv(out / "detection.csv")
    by_name = {row["ranking"]: row for row in report.to_dicts()}
    assert by_name["Shapley"]["auc"] > max(by_name["random"]["auc"], 0.8)
    assert by_name["Shapley"]["precision"] > by_name["random"]["precision"]
    assert "Finding corrupted sessions" in (out / "summary.md").read_text()
    assert result.output.startswith("In short:")
    for word in ("evaluation query", "mrr@20", "standard error", "of the mean |value|"):
        assert word in result.output.partition("1. Data")[0]
    last = result.output.partition("Then change something")[2].splitlines()[1:]
    assert [line.split()[0] for line in last] == ["whence"] * 3
    named = {word for line in last for word in line.split() if word.startswith("whence-demo")}
    assert all((tmp_path / name).exists() for name in named - {"whence-demo/pruned.csv"})
    assert "exists already" in whence_("demo", code=2).stderr
    whence_(*last[1].replace("-n 100", "-n 10").split()[1:])

    rerun = whence_("value", "whence-demo/config.yaml")
    assert "Most valuable" in rerun.stdout
    again = Attribution.load(out / "values" / "values.parquet").frame
    assert again.equals(Attribution.load(out / "values.parquet").frame)


def test_demo_refuses_too_few_sessions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "sessions" in whence_("demo", "--sessions", 3, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_variables_of_illoominate_name_the_configuration(folder, monkeypatch):
    test_illoominate_config_runs(folder)
    monkeypatch.setenv("DATA_LOCATION", "data")
    result = whence_("evaluate")
    assert "as DATA_LOCATION says" in result.stderr
    assert "mrr@20" in result.stdout
    assert "mrr@20" in whence_("evaluate", *FILES).stdout
    monkeypatch.setenv("CONFIG_FILENAME", "none.toml")
    assert "none.toml" in whence_("evaluate", code=2).stderr
    whence_("evaluate", *FILES)
