"""Reports of results in memory, and of files of single results."""

from __future__ import annotations

import polars as pl
import pytest

import whence
from whence.errors import ConfigError
from whence.reporting.blocks import Chart, Table
from whence.reporting.reports import contents
from whence.reporting.results import read_results


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(n_sessions=80, n_validation=30, n_items=100, seed=1)


@pytest.fixture(scope="module")
def model(data):
    return whence.ItemKNN(k=20).fit(data.train)


@pytest.fixture(scope="module")
def values(data, model):
    table = data.train.source_ids.to_frame().with_columns(
        score=pl.Series(range(80), dtype=pl.Float64) - 10
    )
    about = {"metric": "mrr@10", "fingerprint": {"train": data.train.fingerprint}}
    return whence.Attribution(table, source=data.train.columns.source, metadata=about)


@pytest.fixture(scope="module")
def why(data, model):
    return whence.explain(model, data.train.item_ids.head(4).to_list(), k=3)


def sections(*results):
    return contents([], held=read_results(results))["sections"]


def blocks(section, kind):
    return [one for part in section.parts for one in part.blocks if isinstance(one, kind)]


def test_values_and_an_explanation(values, why, tmp_path):
    path = whence.report(values, why, output=tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    for wanted in ("values, explanation", "Values: values", "Why: explanation", "of 2 results"):
        assert wanted in text
    assert "are among these" not in text  # what folders lack
    again = whence.report(values, why, output=tmp_path / "again.html")
    assert again.read_bytes() == path.read_bytes()


def test_values_say_what_sources_consist_of_where_the_data_are_given(values, data):
    alone, beside = sections(values)[1], sections(values, data.train)[1]
    for section, there in ((alone, False), (beside, True)):
        tables = [one for one in blocks(section, Table) if one.caption.startswith("Most valuable")]
        assert ("items" in tables[0].frame.columns) is there
    other = whence.Interactions.from_frame(data.train.frame.head(100))
    tables = blocks(sections(values, other)[1], Table)
    assert all("items" not in one.frame.columns for one in tables)


def test_every_kind_of_result_has_a_section(values, why, data, model):
    many = whence.explain_many(model, [data.train.item_ids.head(3).to_list()], k=2)
    scores = whence.evaluate(model, data.validation, ["mrr@10", "recall@10"])
    other = whence.evaluate(whence.Popularity().fit(data.train), data.validation, "mrr@10")
    gone = whence.forget(model, sessions=data.train.source_ids.head(1).to_list())
    removal = whence.RemovalExperiment(
        model=lambda seed: whence.ItemKNN(k=20), methods=("length", "random"), steps=1, seeds=(0, 1)
    ).run(data.train, data.validation)
    found = sections(
        values, values, why, many, data.train, scores, whence.compare(scores, other, "mrr@10"),
        gone, gone.audit(), removal,
    )  # fmt: skip
    assert [one.title for one in found] == [
        "Overview", "Values: values", "Values: values 2", "Why: explanation", "Why: explanations",
        "Data: data", "Models and metrics: metrics", "Comparison", "Forgetting: forgotten",
        "Forgetting: audit", "Experiment: removal",
    ]  # fmt: skip
    by_title = {one.title: one for one in found}
    drawn = blocks(by_title["Models and metrics: metrics"], Chart)[0].table.frame
    assert drawn["value"].to_list() == [scores["mrr@10"], scores["recall@10"]]
    half = 1.959964 * scores.std_error("mrr@10")
    assert drawn["high"][0] == pytest.approx(scores["mrr@10"] + half)
    charts = blocks(by_title["Experiment: removal"], Chart)
    assert charts[0].title == "mrr@20 on test data as training data are removed"
    assert (
        charts[0].table.frame["value"].to_list() == removal.curves(data="test")["value"].to_list()
    )
    shown = blocks(by_title["Why: explanation"], Chart)[0].table.frame
    assert sorted(shown["score"]) == sorted(why.scores.tolist())


def test_files_of_single_results(values, why, data, model, tmp_path):
    many = whence.explain_many(model, [data.train.item_ids.head(3).to_list()], k=2)
    values.save(tmp_path / "worth.parquet")
    why.save(tmp_path / "why.csv")
    many.save(tmp_path / "many.parquet")
    found = sections(tmp_path / "worth.parquet", tmp_path / "why.csv", tmp_path / "many.parquet")
    assert [one.title for one in found[1:]] == ["Values: worth", "Why: why", "Why: many"]
    path = whence.report(
        str(tmp_path / "worth.parquet"), tmp_path / "why.csv", output=tmp_path / "report.html"
    )
    assert "worth, why" in path.read_text(encoding="utf-8")


def test_what_is_no_result_is_said(data, model, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "table.parquet")
    for wrong in (5, None, model, data.train.frame, tmp_path / "notes.txt", tmp_path / "none",
                  tmp_path / "table.parquet"):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            whence.report(wrong, output=tmp_path / "out.html")
        assert str(caught.value).count(". ") == 0
    assert not (tmp_path / "out.html").exists()
