"""The example of films: its scores are those of TracIn, credited to what each example taught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import whence

torch = pytest.importorskip("torch")
PATH = Path(__file__).resolve().parents[2] / "examples" / "films.py"


@pytest.fixture(scope="module")
def films():
    spec = importlib.util.spec_from_file_location("films", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["films"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path):
    """Ratings of films by users, and the titles."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(30), 14)
    table = pl.DataFrame(
        {
            "user_id": users,
            "item_id": rng.integers(1, 16, len(users)),
            "timestamp": np.arange(len(users)),
        }
    )
    titles = pl.DataFrame({"item_id": np.arange(1, 16), "title": [f"Film {n}" for n in range(15)]})
    table.write_csv(tmp_path / "ratings.csv")
    titles.write_csv(tmp_path / "movies.csv")
    return tmp_path


def test_scores_by_film(films, files):
    data = whence.read_interactions(files / "ratings.csv").with_tables(items=files / "movies.csv")
    train, test = films.split(data, 3)
    model = films.trained(train, epochs=1)
    queries, films_of = films.questions(model, test, ["Film 3", "Film 5", "None such"], n=2)
    assert set(films_of) == {"Film 3", "Film 5"}
    method = whence.TracIn(weighting="sgd")
    by_target = whence.TracIn(weighting="sgd", by="target")
    table = films.scores_by_film(model, queries, films_of, by_target)
    third = queries.take(np.flatnonzero(films_of == "Film 3"))
    examples = method.attribute(model, third).frame
    titles = dict(zip(train.item_ids.to_list(), train.item_titles.to_list()))
    taught = [titles[item] for item in examples["item_id"].to_list()]
    for film in ("Film 1", "Film 7"):
        want = sum(s for s, t in zip(examples["score"].to_list(), taught) if t == film) / len(third)
        row = table.filter((pl.col("film") == "Film 3") & (pl.col("taught") == film))
        assert row["score"][0] == pytest.approx(want, rel=1e-4, abs=1e-9)
    assert table.filter(pl.col("film") == pl.col("taught")).is_empty()


def test_from_files_to_table(films, files, monkeypatch, capsys):
    monkeypatch.setattr(films, "FILMS", ("Film 3", "Film 5"))
    arguments = [str(files / "ratings.csv"), str(files / "movies.csv"), "--epochs", "1"]
    films.main([*arguments, "--users", "25", "--output", str(files / "out")])
    assert "| Film 3 |" in (files / "out" / "tracin.md").read_text()
    assert "| Film 5 |" in capsys.readouterr().out
    assert pl.read_csv(files / "out" / "cosine.csv").columns[:2] == ["film", "taught"]


@pytest.mark.slow
def test_on_movielens(films, data_dir, tmp_path):
    folder = data_dir / "ml-1m"
    arguments = [str(folder / "ml-1m.inter.gz"), str(folder / "movies.dat"), "--epochs", "1"]
    films.main([*arguments, "--users", "300", "--queries", "5", "--output", str(tmp_path)])
    table = pl.read_csv(tmp_path / "tracin.csv")
    assert "Jaws (1975)" in table["film"].to_list()
    assert table["score"].is_finite().all()
