"""What is wrong with a command line is said before anything is read, fitted or asked."""

from __future__ import annotations

import pytest
from _commands import SESSIONS, whence_, write_ratings, write_sessions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, a run and values."""
    folder = tmp_path_factory.mktemp("early")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_sessions(folder)
        write_ratings(folder / "ratings.csv")
        whence_("train", *SESSIONS, "--model", "vmis", "-o", "run", "-q")
        whence_("value", *SESSIONS[:4], "--method", "length", "-o", "values", "-q")
    return folder


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prune values train.csv -o x.csv", "by exactly one of --fraction ..., -n ... and --below"),
        ("prune values train.csv -n 1 --fraction 0.1 -o x.csv", "not by 2 of them"),
        ("prune values train.csv --fraction 1 -o x.csv", "--fraction 1 would leave nothing"),
        ("prune values train.csv -n 1 -o x.foo", "x.foo cannot be written; choose a name that"),
        ("prune values train.csv --below nan -o x.csv", "--below must be a number, not nan"),
        ("recommend run --user 178 -o x.foo", "x.foo cannot be written; choose a name that ends"),
        ("recommend run --user 178 -k 0", "-k must be an integer of at least 1, not 0"),
        ("explain run --user 178 -o x.foo", "x.foo cannot be written; choose a name that ends in"),
        ("explain run --all --counterfactual 3", "--counterfactual is for one history"),
        ("explain run --user 178 --counterfactual 3", "item_id 3 is unknown to the model"),
        ("trace run -n 0", "-n must be an integer of at least 1, not 0"),
        ("trace run --query -1", "--query must be an integer of at least 0, not -1"),
        ("demo --sessions 0", "--sessions must be an integer of at least 1, not 0"),
        ("demo --seed 99999999999999999999", "--seed must be an integer between 0 and 9223372"),
        ("disclose --data ratings.csv --simulate 0.5 --seeds -1", "--seeds must be an integer of"),
        ("disclose --data ratings.csv --simulate 0.5 --strategy budget", "needs either -n ..., "),
        ("disclose --data ratings.csv --simulate 0.5 -n 0", "-n ... is not for --strategy social"),
        ("train --data ratings.csv --model bprmf --metric st@5", "ids as --sustainable FILE"),
        ("train --data ratings.csv --model bprmf --metric rmse", "which BPRMF does not; choose"),
        ("train --data ratings.csv --model bprmf --set evaluation.negatives=-5", "not -5"),
    ],
)
def test_before_the_work(folder, monkeypatch, line, said):
    if "torch" in line or "bprmf" in line or "disclose" in line:
        pytest.importorskip("torch")
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    result = whence_(*line.split(), code=2)
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert sorted(folder.rglob("*")) == before


def test_a_size_that_does_not_fit_into_memory(folder, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(folder)
    line = "train --data ratings.csv --model bprmf --set model.embedding_dim=99999999999 -o big -q"
    assert "This does not fit into memory" in whence_(*line.split(), code=2).output
    assert not (folder / "big").exists()


def test_a_number_beyond_all_sessions_is_that_of_all(folder, monkeypatch):
    monkeypatch.chdir(folder)
    line = ("value", *SESSIONS[:4], "--m", "9223372036854775807", "--tolerance", "0.9")
    assert "Data Shapley values of 150 sessions" in whence_(*line, "-o", "many", "-q").output
