"""``whence disclose`` and ``whence experiment disclosure``: what they write, and bad input."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import whence
from whence.cli import app
from whence.curation.disclosure.strategies import CONTROLS


def run(*arguments):
    """Exit code, output and errors of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


QUICK = ("--no-calibrate", "--seeds", 0, "--set", "training.epochs=2")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((30, 24)) < 0.6)
    taste, kind = rng.normal(size=30), rng.normal(size=24)
    rating = np.clip(np.round(3 + taste[users] * kind[items]), 1, 5).astype(int)
    order = rng.permutation(len(users))
    table = {
        "user_id": users, "item_id": items + 100, "rating": rating,
        "timestamp": np.arange(len(users)), "private": rng.choice([0.0, 0.3, 1.0], len(users)),
    }  # fmt: skip
    return pl.DataFrame(table)[order]


@pytest.fixture(scope="module")
def ratings(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "ratings.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def made(ratings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "disclosed"
    code, out, err = run(
        "disclose", "--data", ratings, "--willingness", "private", "--seeds", 2, "--no-calibrate",
        "--set", "training.epochs=3", "--set", "training.weight_decay=0.05", "-o", folder,
    )  # fmt: skip
    assert code == 0, err
    return folder, out


def test_everything_is_written(made):
    folder, out = made
    assert "Disclosed by social at lam =" in out
    assert "Retrained on what is left, measured on test data (2 seeds)" in out
    assert "How much larger the reward of social is" in out
    plan = whence.DisclosurePlan.load(folder / "plan.parquet")
    assert json.loads((folder / "summary.json").read_text())["strategy"] == "social"
    assert pl.read_csv(folder / "comparison.csv")["strategy"][0] == "social"
    first = pl.read_csv(folder / "differences.csv").filter(strategy="social")
    assert set(first["than"]) == {"all", "none", *CONTROLS}
    assert pl.read_csv(folder / "frontier.csv").height == 5 * (1 + len(CONTROLS))
    assert (folder / "frontier.png").stat().st_size > 5_000
    assert 0 < plan.n_disclosed < len(plan)
    assert not list(folder.parent.glob(".*"))


def test_the_masked_file_has_the_disclosed_lines(made, frame):
    folder, _ = made
    plan = pl.read_csv(folder / "plan.csv")
    assert plan.columns == ["row", "user_id", "item_id", "disclosed", "V", "beta"]
    assert plan["user_id"].equals(frame["user_id"].gather(plan["row"]))
    assert plan["beta"].equals(frame["private"].gather(plan["row"]))
    kept = pl.read_csv(folder / "disclosed" / "ratings.csv")
    assert kept.equals(frame[plan.filter("disclosed")["row"].sort()])
    others = [pl.read_csv(folder / name / "ratings.csv") for name in ("validation", "test")]
    parts = [frame[plan["row"].sort()], *others]
    assert sum(part.height for part in parts) == frame.height
    assert pl.concat(parts).sort("timestamp").equals(frame.sort("timestamp"))


def write_inter(frame, path):
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tprivate:float\n"
    path.write_text(head + frame.write_csv(separator="\t", include_header=False))


def write_dat(frame, path):
    lines = ["::".join(map(str, row[:4])) for row in frame.iter_rows()]
    path.write_text("\n".join(lines))


FORMATS = {
    "ratings.inter": write_inter,
    "u.data": lambda frame, path: frame[:, :4].write_csv(
        path, separator="\t", include_header=False
    ),
    "ratings.dat": write_dat,
    "ratings.tsv.gz": lambda frame, path: path.write_bytes(
        gzip.compress(frame.write_csv(separator="\t").encode())
    ),
    "ratings.parquet": lambda frame, path: frame.write_parquet(path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_masked_data_keep_their_format(name, frame, tmp_path):
    source = tmp_path / name
    FORMATS[name](frame, source)
    way = ("--willingness", "private") if "private" in text_of(source) else ("--simulate", 0.5)
    code, _, err = run("disclose", "--data", source, *way, *QUICK, "-o", tmp_path / "out")
    assert code == 0, err
    whole, kept = (whence.read_interactions(p) for p in (source, tmp_path / "out/disclosed" / name))
    plan = pl.read_csv(tmp_path / "out" / "plan.csv").filter("disclosed")
    assert kept.frame.equals(whole.frame[plan["row"].sort()])
    if name.endswith((".inter", ".data", ".dat")):
        lines = source.read_text().splitlines()
        assert set((tmp_path / "out/disclosed" / name).read_text().splitlines()) < set(lines)


def text_of(path):
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return content.decode("latin-1")


def test_three_files_by_category(frame, tmp_path):
    parts = {"train": frame[:250], "valid": frame[250:340], "test": frame[340:]}
    for name, part in parts.items():
        part.write_csv(tmp_path / f"{name}.csv")
    kinds = {"item_id": range(100, 124), "genre": ["Drama", "Horror"] * 12}
    pl.DataFrame(kinds).write_csv(tmp_path / "items.csv")
    files = [x for name in parts for x in (f"--{name}", tmp_path / f"{name}.csv")]
    code, _, err = run(
        "disclose", *files, "--set", f"data.item_table={tmp_path / 'items.csv'}", *QUICK,
        "--category", "genre", "--rule", "Horror=0.7", "--strategy", "threshold", "--wv", 0,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    kept = pl.read_csv(tmp_path / "out" / "disclosed" / "train.csv")
    assert kept.equals(parts["train"].filter(pl.col("item_id") % 2 == 0))
    plan = pl.read_csv(tmp_path / "out" / "plan.csv")
    assert set(plan["beta"]) == {0.0, 0.7}
    assert plan["row"].to_list() == list(range(250))


WAY = ("--willingness", "private")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((), "Say how unwilling users are, in one way"),
        ((*WAY, "--simulate", 0.5), "Say how unwilling users are, in one way"),
        (("--category", "genre"), "Say how unwilling users are, in one way"),
        (("--willingness", "privat"), "Did you mean 'private'"),
        (("--willingness", "timestamp"), "The willingness violation of row"),
        (("--simulate", 2), "--simulate must be a number between"),
        (("--category", "genre", "--rule", "Horror"), "as in Horror=1, not 'Horror'"),
        ((*WAY, "--lam", -1), "--lam must be a number of at least 0"),
        ((*WAY, "--strategy", "socal"), "Did you mean 'social'"),
        ((*WAY, "--strategy", "budget"), "needs either -n ..., the number of interactions"),
        ((*WAY, "--model", "vmis"), "Disclosure needs a model"),
        ((*WAY, "--splitt", "temporal"), "No such option"),
        ((*WAY, "--split", "temporal"), "splits one file by rows"),
        ((*WAY, "--set", "split.method=temporal"), "splits one file by rows"),
        ((*WAY, "--set", "data.min_rating=3"), "filter the file first"),
        ((*WAY, "--valid", "other.csv"), "too; give only|split into all parts"),
    ],
)
def test_bad_input_is_told_in_a_sentence(options, match, ratings, tmp_path):
    import re

    folder = tmp_path / "out"
    code, _, err = run("disclose", "--data", ratings, *options, *QUICK, "-o", folder)
    assert code == 2
    assert re.search(match, " ".join(err.split())), err
    assert not folder.exists()


def test_results_are_not_replaced_and_lines_must_be_rows(ratings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("notes")
    code, _, err = run("disclose", "--data", ratings, *WAY, "-o", tmp_path / "mine")
    assert code == 2
    assert "files that Whence did not write" in err
    code, _, err = run("disclose", "--train", ratings, *WAY, "-o", tmp_path / "out")
    assert code == 2
    assert "three with --train, --valid and --test" in err
    code, _, err = run("disclose", "--data", "ml-100k", "--simulate", 0.5)
    assert code == 2
    assert "the name of a public data set" in " ".join(err.split())
    baskets = tmp_path / "users.txt"
    baskets.write_text("\n".join("1 2 3" for _ in range(9)))
    code, _, err = run(
        "disclose", "--data", baskets, "--simulate", 0.5, "--set", "data.format=user-lines",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "not a file of one row per line" in err


def test_experiment_writes_tables_and_goes_on(ratings, tmp_path):
    folder = tmp_path / "out"
    command = [
        "experiment", "disclosure", ratings, *WAY, "--share", 1, "--strategy", "social",
        "--seeds", 2, "--set", "training.epochs=2", "--set", "training.weight_decay=0.05",
        "-o", folder,
    ]  # fmt: skip
    code, out, err = run(*command)
    assert code == 0, err
    assert "| reward above | threshold | random | influence_only |" in out
    for name in ("table.md", "table.csv", "runs.csv", "frontier.png", "summary.json"):
        assert (folder / name).stat().st_size > 0
    code, _, err = run(*command)
    assert code == 2
    assert "exists already" in err
    code, again, err = run(*command, "--overwrite", "--quiet")
    assert code == 0, err
    assert again == out


def test_a_network(ratings, tmp_path):
    few = [f"--set=training.{name}" for name in ("epochs=2", "learning_rate=0.02")]
    code, out, err = run(
        "disclose", "--data", ratings, "--willingness", "private", "--model", "neumf", "--seeds", 0,
        "--set", "model.layers=[2]", "--runs", 2, *few, "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "Reliability of influence:" in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["within"] == "item"
    assert "cross-entropy" in summary["quality"]
    assert set(summary["reliability"]) == {"item", "user", "rest"}
    code, _, err = run(
        "disclose", "--data", ratings, "--willingness", "private", "--strategy", "selfish",
        "--within", "item", "-o", tmp_path / "other",
    )  # fmt: skip
    assert code == 2
    assert "is not for" in err


def test_an_experiment_on_a_network(ratings, tmp_path):
    code, _, err = run(
        "experiment", "disclosure", ratings, "--model", "neumf", "--willingness", "private",
        "--seeds", 1, "--share", 1, "--strategy", "social", "--control", "random within item",
        "--start", "other", "--start", "same", "--runs", 2, "--metric", "ndcg@5",
        "--set", "model.layers=[2]", "--set", "training.epochs=2", "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    rows = pl.read_csv(tmp_path / "out" / "runs.csv")
    assert rows["start"].to_list() == ["other", "same"] * 3
    assert "ndcg@5 less withheld" in rows.columns
    code, _, err = run(
        "experiment", "disclosure", ratings, "--start", "here", "-o", tmp_path / "other"
    )
    assert code == 2
    assert "must be one of" in err
