"""``whence experiment explanation-fidelity``, and how ``whence explain`` prints numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import whence
from whence.cli import app


def run(*arguments):
    """Exit code, output and errors of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """Users who walk along a ring of items."""
    rng = np.random.default_rng(0)
    items = (rng.integers(0, 20, 30)[:, None] + np.arange(14)) % 20
    path = tmp_path_factory.mktemp("data") / "ratings.csv"
    pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(30), 14),
            "item_id": items.ravel(),
            "timestamp": np.tile(np.arange(14), 30),
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="module")
def neighbours(ratings, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "itemknn.whence"
    whence.ItemKNN(k=10).fit(whence.read_interactions(ratings)).save(path)
    return path


def test_fidelity_of_a_model_that_is_trained_here(ratings, tmp_path):
    asked = ["experiment", "explanation-fidelity", ratings, "--epochs", 1, "--n-users", 4]
    asked += ["--n-events", 4, "-k", 2, "--budget", 20, "--masking", "pad"]
    asked += ["--method", "exact", "--method", "occlusion", "-o", tmp_path / "out"]
    code, out, err = run(*asked)
    assert code == 0, err
    assert "recall@10 on the last item of each user" in out
    assert "Masking pad, 4 histories: means" in out
    assert "differences from recency (95%)" in out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"table.md", "table.csv", "rows.csv", "deletion_auc.png"}
    assert pl.read_csv(tmp_path / "out" / "rows.csv").height == 4 * 5


def test_fidelity_of_a_saved_model(ratings, neighbours, tmp_path):
    code, out, err = run(
        "experiment", "explanation-fidelity", ratings, "--model", neighbours, "--n-users", 3,
        "--events", 4, "--masking", "remove", "--method", "exact", "-k", 2, "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "recall@10" not in out
    assert not (tmp_path / "out" / "model.whence").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--masking", "padding"], "masking"),
        (["--method", "shap"], "--method"),
        (["--n-users", 1], "--n-users"),
        (["--events", 99], "have 99 items"),
        (["--model", "NEIGHBOURS", "--masking", "pad", "--n-users", 2], "it has no padding"),
        (["--model", "DATA"], "neither a run nor a saved model"),
        (["--model", "NEIGHBOURS", "--epochs", 2], "leave it out"),
    ],
)
def test_bad_input(ratings, neighbours, tmp_path, options, words):
    names = {"NEIGHBOURS": neighbours, "DATA": ratings}
    given = [names.get(part, part) for part in options]
    code, _, err = run(
        "experiment", "explanation-fidelity", ratings, "-o", tmp_path / "out", *given
    )
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_an_item_in_the_place_of_events(ratings, neighbours, tmp_path):
    asked = ["explain", neighbours, "--history", "1,2", "-k", 2]
    code, out, err = run(*asked, "--masking", "item=7")
    assert code == 0, err
    assert "masking item=7" in out
    code, _, err = run(*asked, "--masking", "item=")
    assert code == 2
    assert "--masking item=ID" in err
    code, out, err = run(
        "experiment", "explanation-fidelity", ratings, "--model", neighbours, "--n-users", 2,
        "--events", 4, "-k", 2, "--method", "exact", "--masking", "item=7", "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "Masking item=7, 2 histories" in out


def test_the_last_events_are_at_least_one(neighbours):
    code, _, err = run("explain", neighbours, "--history", "1,2", "--last", 0)
    assert code == 2
    assert "--last" in err


def test_numbers_of_events_stand_below_each_other(neighbours):
    history = ",".join(str(item) for item in range(12))
    code, out, err = run("explain", neighbours, "--history", history, "-k", 2)
    assert code == 0, err
    lines = out[out.index("Because of") :].splitlines()[2:14]
    assert [line[:5] for line in lines] == [f"{place:>5}" for place in range(12)]


def test_why_this_and_not_that_on_the_command_line(neighbours, tmp_path):
    asked = ["explain", neighbours, "--history", "1,2,3", "-k", 2]
    code, out, err = run(*asked, "--target", "versus=4,9", "--because", "--why-not", 12)
    assert code == 0, err
    assert "score of item 4 less that of item 9" in out
    assert "Because of what" in out
    assert "item 12 is in place" in out
    picture = tmp_path / "both.png"
    code, out, err = run(*asked, "--masking", "remove", "--masking", "item=7", "-o", picture)
    assert code == 0, err
    assert "Under each masking" in out
    assert "item=7" in out
    assert picture.exists()
    code, out, err = run(*asked, "--target", "rank=9", "--masking", "marginal=3")
    assert code == 0, err
    assert "rank of item 9, counted negative" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "versus=4"], "--target versus=ID,OTHER"),
        (["--target", "item="], "--target item=ID"),
        (["--target", "rank"], "--target rank=ID"),
        (["--masking", "marginal=x"], "--masking marginal=16"),
        (["--history", "2,3", "--why-not", 4], "--why-not is for one history"),
        (["--history", "2,3", "--masking", "pad", "--masking", "remove"], "is for one history"),
        (["--why-not", 1], "in the history"),
        (["--why-not", 77], "unknown"),
    ],
)
def test_questions_that_make_no_sense(neighbours, options, words):
    code, _, err = run("explain", neighbours, "--history", "1,2", "-k", 2, *options)
    assert code == 2
    assert words in err


def test_recommended_because_of(neighbours, tmp_path):
    code, out, err = run("recommend", neighbours, "--user", 3, "--history", "1,2", "-k", 2,
                         "--because")  # fmt: skip
    assert code == 0, err
    assert "because" in out
    assert "share" in out
    path = tmp_path / "lists.csv"
    code, _, err = run("recommend", neighbours, "--user", 3, "-k", 2, "--because", "-o", path)
    assert code == 0, err
    table = pl.read_csv(path)
    assert table.columns == ["user_id", "rank", "item_id", "score", "because", "share"]
    model = whence.load_model(neighbours)
    codes = model.train_.sequences.items[slice(*model.train_.sequences.offsets[3:5])]
    history = model.vocabulary.items.gather(codes).to_list()
    for row in table.iter_rows(named=True):
        target = ("item", row["item_id"])
        exact = whence.explain(model, history, k=2, target=target, method="exact")
        shares = dict(zip(exact.frame["item"], exact.scores))
        assert shares[row["because"]] == pytest.approx(max(exact.scores), rel=0.2)


def test_pruning_and_stand_ins_on_the_command_line(neighbours, tmp_path):
    picture = tmp_path / "sweep.svg"
    code, out, err = run(
        "explain", neighbours, "--history", "1,2,3,4", "-k", 2, "--tolerances", 0.05,
        "--tolerances", 0.3, "--stand-ins", 3, "--prune", 0.3, "--dark", "-o", picture,
    )  # fmt: skip
    assert code == 0, err
    assert "What pruning leaves" in out
    assert "Under one stand-in after another" in out
    assert "#16191d" in picture.read_text()  # dark paper
    folder = tmp_path / "many"
    code, out, err = run(
        "explain", neighbours, "--all", "--last", 4, "-k", 2, "--tolerances", 0.1, "-o", folder
    )
    assert code == 0, err
    assert pl.read_csv(folder / "pruning.csv")["n"].to_list() == [30, 30]
    assert {"pruning.png", "pruning.parquet"} <= {path.name for path in folder.iterdir()}
    code, _, err = run("explain", neighbours, "--all", "--tolerances", 3, "-o", tmp_path / "no")
    assert code == 2
    assert "from 0 to 1" in err
    assert not (tmp_path / "no").exists()


def test_because_of_rows_where_models_know_users(ratings, tmp_path):
    path = tmp_path / "bpr.whence"
    model = whence.BPRMF(embedding_dim=4, epochs=2, learning_rate=0.05)
    model.fit(whence.read_interactions(ratings)).save(path)
    code, out, err = run("recommend", path, "--user", 3, "-k", 2, "--because")
    assert code == 0, err
    assert "because" in out


def test_what_another_model_relies_on(ratings, neighbours, tmp_path):
    other = tmp_path / "markov.whence"
    whence.MarkovChain().fit(whence.read_interactions(ratings)).save(other)
    folder = tmp_path / "both"
    code, out, err = run(
        "explain", neighbours, "--all", "--last", 4, "-k", 2, "--against", other, "-o", folder
    )
    assert code == 0, err
    assert "this model, the other, the difference" in out
    found = pl.read_csv(folder / "against-recency.csv")
    assert found["second"][0] == pytest.approx(1.0)  # it looks at the last event alone
    assert (folder / "against-item.png").exists()
    code, _, err = run("explain", neighbours, "--user", 3, "--against", other)
    assert code == 2
    assert "--against compares over several" in err
