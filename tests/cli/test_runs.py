"""What is done with runs: evaluate and compare them, recommend from them, tune."""

from __future__ import annotations

import json

import polars as pl
import pytest
import yaml
from _commands import SESSIONS, scores, whence_, write_ratings, write_sessions

import whence
from whence.config import load_config, read_parts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with data and two runs on the same split of ratings."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_sessions(folder)
        write_ratings(folder / "ratings.csv")
        titles = ("--set", "data.item_table=titles.csv")
        whence_("train", "--data", "ratings.csv", "--model", "EASE", *titles, "-o", "ease")
        whence_("train", "--data", "ratings.csv", "--model", "Popularity", "-o", "popularity")
        whence_("train", *SESSIONS, "--model", "vmis", "-o", "vmis")
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_a_run_is_evaluated_on_its_own_data(folder):
    result = whence_("evaluate", "ease", "--metric", "recall@5", "--metric", "coverage@5")
    model = whence.load_model("ease/model.whence")
    parts = read_parts(load_config("ease/config.yaml"))
    wanted = whence.evaluate(model, parts.test, "recall@5", history=parts.validation)
    row = next(line for line in result.stdout.splitlines() if line.startswith("recall@5"))
    assert f"{wanted['recall@5']:.4f}" in row
    assert "coverage@5" in result.stdout


def test_the_file_of_a_model_is_evaluated_on_data_given(folder):
    pl.read_csv("test.csv").rename({"session_id": "SessionId"}).write_csv("other.csv")
    for name in ("test.csv", "other.csv"):
        result = whence_("evaluate", "vmis/model.whence", "--test", name, "--metric", "mrr@10")
        assert f"{scores(folder / 'vmis')['test']['mrr@10']:.4f}" in result.stdout


def test_two_runs_are_compared_in_pairs(folder):
    result = whence_("evaluate", "ease", "popularity", "-o", "difference", "--overwrite")
    for word in ("1: ease: EASE(", "2: popularity: Popularity(", "95% interval", "p-value"):
        assert word in result.stdout
    table = pl.read_csv("difference/differences.csv")
    row = table.row(
        by_predicate=(pl.col("set") == "test") & (pl.col("metric") == "ndcg@10"), named=True
    )
    one, two = (scores(folder / name)["test"]["ndcg@10"] for name in ("popularity", "ease"))
    assert row["difference"] == pytest.approx(one - two)
    assert row["low"] <= row["difference"] <= row["high"]
    parts = read_parts(load_config("ease/config.yaml"))
    models = [whence.load_model(f"{name}/model.whence") for name in ("popularity", "ease")]
    direct = whence.compare(
        *(whence.evaluate(m, parts.test, "ndcg@10", history=parts.validation) for m in models)
    )
    assert row["p_value"] == direct.p_value
    assert pl.read_parquet("difference/2-test-queries.parquet").height == 60


def test_runs_on_other_splits_are_not_compared(folder):
    whence_(
        "train", "--data", "ratings.csv", "--model", "EASE", "--split", "rows", "-o", "rows",
        "--overwrite",
    )  # fmt: skip
    result = whence_("evaluate", "ease", "rows", code=2)
    assert "may have learned" in result.stderr
    whence_("evaluate", "ease", "rows", "--test", "ratings.csv", "--metric", "mrr@5")


def test_data_that_changed_is_noticed(folder):
    pl.read_csv("ratings.csv").write_csv("changing.csv")
    whence_("train", "--data", "changing.csv", "--model", "vmis", "-o", "old", "--overwrite")
    pl.read_csv("changing.csv").tail(-30).write_csv("changing.csv")
    assert "have changed since" in whence_("evaluate", "old", code=2).stderr


def test_recommendations_are_printed_with_titles(folder):
    result = whence_("recommend", "ease", "--user", 3, "--user", 8, "-k", 4)
    model = whence.load_model("ease/model.whence")
    (items, more), _ = model.recommend(model.user_queries([3, 8]), k=4)
    lines = result.stdout.splitlines()
    assert lines[0] == "user_id 3"
    assert [line.split()[1] for line in lines[2:6]] == [str(item) for item in items]
    assert lines[2].split()[2:4] == ["Film", str(items[0])]
    assert f"Film {more[3]}" in lines[-1]


def test_recommendations_for_many_go_to_a_file(folder):
    for name, content in (("ids.txt", "3\n8\n\n"), ("ids.csv", "age,user_id\n9,3\n7,8\n")):
        (folder / name).write_text(content)
        whence_("recommend", "ease", "--users", name, "-k", 5, "-o", "out.csv", "--overwrite")
        table = pl.read_csv("out.csv")
        assert table.columns == ["user_id", "rank", "item_id", "title", "score"]
        assert table["user_id"].to_list() == [3] * 5 + [8] * 5
        assert table["rank"].to_list() == [1, 2, 3, 4, 5] * 2
    assert (
        "--overwrite" in whence_("recommend", "ease", "--user", 3, "-o", "out.csv", code=2).stderr
    )


def test_recommendations_after_a_history(folder):
    item = pl.read_csv("train.csv")["item_id"][0]
    result = whence_("recommend", "vmis", "--history", f"{item}, {item}", "-k", 3)
    items, _ = whence.load_model("vmis/model.whence").recommend([item, item], k=3)
    assert [line.split()[1] for line in result.stdout.splitlines()[2:]] == list(map(str, items))


def test_a_model_of_users_has_nothing_for_strangers(folder):
    pytest.importorskip("torch")
    keys = ("--model", "BPRMF", "--epochs", 1, "-o", "bpr", "--overwrite")
    whence_("train", "--data", "ratings.csv", *keys)
    result = whence_("recommend", "bpr", "--history", "100,102", "--user", 3, "-k", 2)
    assert "Nothing: the model may know only users" in result.stdout
    assert len(result.stdout.splitlines()) == 6


def test_recommendations_of_baskets(folder):
    rows = [(u, b, i) for u in range(5) for b in range(4) for i in ("tea", "milk", f"x{b}")]
    frame = pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")
    frame.write_csv("baskets.csv")
    whence_("train", "--data", "baskets.csv", "--model", "tifu", "-o", "baskets")
    for asked in (("--user", 2), ("--history", "tea,milk;x0")):
        result = whence_("recommend", "baskets", *asked, "-k", 2)
        assert {"tea", "milk"} <= set(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recommend", "ease"), "Say for whom"),
        (("recommend", "ease", "--user", "999"), "'999' is unknown"),
        (("recommend", "ease", "--user", "bob"), "'bob' is unknown"),
        (("recommend", "ease", "--history", "1,2"), "unknown to the model"),
        (("recommend", "ease", "--history", ","), "has no items"),
        (("recommend", "ease", "--user", "3", "-k", "0"), "k must be"),
        (("recommend", "ease", "--users", "none.txt"), "none.txt"),
        (("recommend", "ratings.csv", "--user", "3"), "neither a run nor a saved model"),
        (("recommend", ".", "--user", "3"), "not of a run"),
        (("evaluate", "ease", "ratings.csv"), "neither a run nor a saved model"),
        (("evaluate", "vmis/model.whence"), "--test"),
        (("evaluate", "ease", "--k", "3"), "--k"),
        (("evaluate", "ease", "--metric", "mrr"), "@K"),
        (("evaluate", "ease", "vmis"), "other validation data"),
    ],
)
def test_bad_input_is_one_sentence(folder, arguments, words):
    before = sorted(folder.iterdir())
    result = whence_(*arguments, code=2)
    assert words in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_a_damaged_run_is_refused(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{")
    (run / "config.yaml").write_text((folder / "ease" / "config.yaml").read_text())
    (run / "model.whence").write_bytes((folder / "ease" / "model.whence").read_bytes())
    assert "damaged" in whence_("evaluate", run, code=2).stderr
    (run / "run.json").write_text(json.dumps({"data": {}}))
    (run / "model.whence").write_bytes(b"PK")
    assert "not a model saved by Whence" in whence_("evaluate", run, code=2).stderr


def test_two_networks_are_built_alike_whatever_the_threads(folder):
    pytest.importorskip("torch")
    keys = ("--model", "LSTMRec", "--epochs", 1, "--set", "model.hidden_dim=8", "--overwrite")
    whence_("train", *SESSIONS, *keys, "--threads", 1, "-o", "one")
    whence_("train", *SESSIONS, *keys, "--threads", 1, "-o", "two")
    assert scores(folder / "one") == scores(folder / "two")


def test_a_run_names_what_it_was(folder):
    keys = yaml.safe_load((folder / "ease" / "config.yaml").read_text())
    assert keys["data"]["item_table"] == str(folder / "titles.csv")
    assert keys["split"] == {
        "method": "leave-one-out", "fractions": [0.8, 0.1, 0.1], "n": 1,
        "seed": 42,
    }  # fmt: skip
