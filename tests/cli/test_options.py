"""One word for one thing: options mean the same everywhere, and older spellings are understood."""

from __future__ import annotations

import pytest
from _commands import whence_, write_ratings, write_sessions

from whence.cli._app import _Main
from whence.cli._commands import _built
from whence.cli.experiment import _Experiments

COMMANDS = {
    name: (group, name)
    for group in (_Main, _Experiments)
    for name in group.homes
    if name != "experiment"
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sessions(tmp_path)
    write_ratings(tmp_path / "ratings.csv")
    return tmp_path


def options_of(name):
    group, _ = COMMANDS[name]
    module, _, function = group.homes[name].partition(":")
    target = getattr(__import__(module, fromlist=[function]), function)
    made = _built(target, name, [])
    return {option: one for one in made.params for option in one.opts if option.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described_and_means_the_same(name):
    pytest.importorskip("torch")
    known = options_of(name)
    for option, one in known.items():
        assert one.help, option
    assert {"--quiet", "--verbose"} <= set(known)
    if "--user" in known:
        assert "Id of" in known["--user"].help
    for role in ("user", "item"):
        if f"--{role}-column" in known:
            assert "Column" in known[f"--{role}-column"].help
    assert not {"--k", "--n", "--session"} & set(known)
    long = {"train", "tune", "value", "disclose", "trace", "explain", *_Experiments.homes}
    if name in long:
        assert {"--resume", "--output", "--overwrite", "--threads"} <= set(known)
    if name in ("train", "tune", "evaluate", "value", "disclose"):
        assert {"--data", "--split", "--train", "--valid", "--set", "--seed"} <= set(known)


def test_older_spellings_are_understood(folder):
    files = ("--train", "train.csv", "--validation", "validation.csv")
    columns = ("--session", "session_id", "--item=item_id", "--time", "timestamp")
    assert "mrr@20" in whence_("evaluate", *files, *columns).stdout
    whence_("value", *files, "--method", "length", "-o", "values")
    whence_("prune", "values", "train.csv", "--n", 3, "-o", "a.csv")
    whence_("prune", "values", "train.csv", "--n=3", "-o", "b.csv")
    assert (folder / "a.csv").read_text() == (folder / "b.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "--train", "train.csv", "--user", "user_id"), "--user-column"),
        (("value", "--train", "train.csv", "--k", 5), "--neighbours"),
        (("value", "--train", "train.csv", "--tolerence", 5), "No such option: --tolerence"),
        (("value", "--method", "loo", "--tolerance", 5), "No such option: --tolerance"),
        (("value", "--train", "train.csv", "--tolerance", "few"), "--tolerance"),
        (("value", "--train", "train.csv", "--seed", 2**64), "--seed must"),
        (("value", "--train", "train.csv", "--threads", 0), "--threads must be"),
        (("demo", "--seed", -1), "--seed must"),
        (("recommend", "x", "--user", 1, "-k", 0), "-k must be"),
        (("prune", "x"), "Missing"),
        (("valeu",), "No such command"),
        (("train", "--data", "ratings.csv", "--model", "BPRMF", "--metric", "rmse"), "ratings"),
        (
            ("train", "--data", "ratings.csv", "--model", "BPRMF", "--metric", "st@5"),
            "sustainable",
        ),
        (
            ("train", "--data", "ratings.csv", "--model", "ease", "--set",
             "evaluation.negatives=-5"),
            "evaluation.negatives",
        ),
        (("value", "--data", "ratings.csv", "--method", "tracin", "--model", "ease"), "gradients"),
        (("value", "--data", "ratings.csv", "--method", "shapley", "--model", "ease"), "EASE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence_before_anything_is_done(folder, arguments, words):
    before = sorted(folder.iterdir())
    result = whence_(*arguments, code=2)
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert words in errors[0]
    assert sorted(folder.iterdir()) == before


def test_one_file_is_enough_for_values(folder):
    command = ("value", "--data", "ratings.csv", "--split", "leave-one-out", "--model", "itemknn")
    result = whence_(*command, "-o", "values")
    assert "fitted again without each source" in result.stderr
    assert "Most valuable" in result.stdout
    steps = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("  whence")]
    for step in steps:
        whence_(*step)


def test_parameters_of_a_method_are_its_options(folder):
    shown = whence_("value", "--method", "beta-shapley", "--help").stdout
    assert "--method-alpha" in shown  # --alpha is that of TIFU
    assert "--beta" in shown
    assert "--beta" not in whence_("value", "--help").stdout
    (folder / "config.yaml").write_text("attribution: {method: retraining-shapley}")
    assert "--truncation" in whence_("value", "config.yaml", "--help").stdout
