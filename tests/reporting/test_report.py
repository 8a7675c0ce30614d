"""Reports as files: what is in them, what is refused, and the figures beside plain ones."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

import whence
from whence.errors import ConfigError, FileFormatError, OutputExistsError, UnsupportedError
from whence.evaluation.result import clustered_error
from whence.reporting import charts, page
from whence.reporting.blocks import Chart, Part, Section, Table, Text
from whence.reporting.folders import read_folders
from whence.reporting.groups import binned, grouped
from whence.reporting.reports import contents
from whence.reporting.values import value_parts


class Headings(HTMLParser):
    """Headings of a page, in order, and whether it is well formed."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self):
        super().__init__()
        self.found, self.open, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag in ("h1", "h2", "h3"):
            self.found.append([tag, ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.found[-1][1] += data


def headings(path):
    parser = Headings()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    return [text for _, text in parser.found]


def test_all_that_the_folders_hold(folders, tmp_path):
    path = whence.report(folders, output=tmp_path / "all.html", title="All of it")
    found = headings(path)
    assert found[0] == "All of it"
    for wanted in (
        "Overview", "Models and metrics", "Values: values", "Why: why", "Forgetting: forgot",
        "Responsibility for single answers", "Distribution", "Both ends", "Audit", "Certificate",
        "run: mrr@5 on test data, for whom",
    ):  # fmt: skip
        assert wanted in found
    assert sum(text.startswith("Data of") for text in found) == 3  # forgot has fewer rows


def test_the_same_folders_give_the_same_bytes(folders, tmp_path):
    one, other = (
        whence.report(folders / "values", output=tmp_path / name).read_bytes()
        for name in ("a.html", "b.html")
    )
    assert one == other


def test_every_figure_is_one_of_plotly(folders):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    found = contents(read_folders([folders]))
    drawn = [
        block
        for section in found["sections"]
        for part in section.parts
        for block in part.blocks
        if isinstance(block, Chart)
    ]
    assert len(drawn) > 15
    for chart in drawn:
        text = re.sub(r'"@[a-z0-9]+(/\d+)?"', '"#123456"', json.dumps(chart.figure))
        graph_objects.Figure(json.loads(text))  # which checks each property
        assert chart.about
        assert chart.table is not None


def test_metrics_by_group_are_means_with_clustered_errors():
    rng = np.random.default_rng(1)
    values, clusters = rng.random(60), np.repeat(np.arange(20), 3)
    groups = pl.Series(["a", "b", None] * 20)
    found = grouped(values, groups, clusters)
    assert sorted(found["group"]) == ["a", "b"]
    for row in found.iter_rows(named=True):
        own = (groups == row["group"]).fill_null(False).to_numpy()
        error = clustered_error(values[own], np.unique(clusters[own], return_inverse=True)[1])
        assert row["mean"] == pytest.approx(values[own].mean())
        assert row["high"] - row["mean"] == pytest.approx(1.959964 * error)
        assert (row["queries"], row["sources"]) == (20, 20)


def test_groups_of_equal_size_cover_all():
    found = binned(np.arange(1, 101))
    assert found.value_counts()["count"].to_list() == [25] * 4
    assert set(binned([5, 5, 5])) == {"5"}
    assert binned([np.nan, 1.0, 2.0]).null_count() == 1


def test_metrics_of_groups_add_up_to_the_metric(folders):
    """Each query is in one group of activity, so that their weighted mean is the metric."""
    found = contents(read_folders([folders / "run"]), 0)
    metrics = json.loads((folders / "run" / "metrics.json").read_text())
    part = next(
        part
        for section in found["sections"]
        for part in section.parts
        if part.title.endswith("for whom")
    )
    for chart in part.blocks:
        frame = chart.table.frame
        mean = (frame["mean"] * frame["queries"]).sum() / frame["queries"].sum()
        assert mean == pytest.approx(metrics["test"]["scores"]["mrr@5"])


def test_responsibility_is_that_of_the_values(folders):
    from whence.reporting.values import Responsibility

    (folder,) = read_folders([folders / "values"])
    found = Responsibility.of(folder)
    number = found.chosen(1)[0]
    values = found.method.attribute(found.model, found.asked)
    wanted = values.for_query(number)
    shown = found.blocks(number)[1].table.frame
    own = dict(zip(wanted.ids, wanted.totals))
    for source, score in shown.select("session_id", "score").iter_rows():
        assert own[source] == pytest.approx(score, abs=1e-12)


def test_many_sources_are_drawn_as_aggregates(tmp_path):
    rng = np.random.default_rng(0)
    n = 300_000
    table = pl.DataFrame(
        {"session_id": np.arange(n), "score": rng.normal(size=n), "std_error": np.full(n, 0.1)}
    )
    values = whence.Attribution(table, source="session_id", metadata={"metric": "mrr@20"})
    parts = value_parts(values, None)
    text = page.fragment([block for part in parts for block in part.blocks], "x")
    assert len(text) < 400_000
    assert "of 300,000" in text
    counts = parts[1].blocks[0].figure["data"][0]["y"]
    assert sum(counts) == n


def test_hostile_texts_are_escaped():
    text = "</script><script>x</script>\u2028&<b>"
    frame = pl.DataFrame({text: [text], "n": [1.0]})
    blocks = [
        Text(text),
        Table(text, frame),
        charts.shares(text, [text], [1.0], None, text),
        charts.curves(text, frame.with_columns(s=pl.lit(text)), "n", "n", "s"),
    ]
    made = page.render(text, [Section(text, [Part(text, blocks)], text)], notes=[text], about=text)
    plain = page.render("", [])
    # Its own scripts and one of each chart, and none of the texts.
    assert made.count("<script") == plain.count("<script") + 2
    assert made.count("</script") == plain.count("</script") + 2
    assert "<b>" not in made
    for one in re.findall(r'<script type="application/json">(.*?)</script>', made, re.S):
        assert "<" not in one
        json.loads(one)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ("nothing", ConfigError, "holds no results"),
        ("unfinished", FileFormatError, "unfinished"),
        ("damaged", FileFormatError, "damaged"),
        ("table", FileFormatError, "damaged"),
    ],
)
def test_folders_that_cannot_be_read(wrong, error, said, folders, tmp_path):
    folder = tmp_path / wrong
    folder.mkdir()
    if wrong != "nothing":
        text = "{" if wrong == "damaged" else json.dumps({"command": "train", "data": {}})
        (folder / "run.json").write_text(text)
    if wrong == "table":
        (folder / "run.json").write_text(json.dumps({"command": "explain"}))
        (folder / "summary.json").write_text("{}")
        (folder / "explanations.parquet").write_bytes(b"no parquet")
    with pytest.raises(error, match=said) as caught:
        whence.report(folder, output=tmp_path / "out.html")
    assert str(caught.value).count(". ") == 0
    assert not (tmp_path / "out.html").exists()


def test_data_that_are_gone_are_said(folders, tmp_path):
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(folders / "run", moved)
    config = (moved / "config.yaml").read_text().replace("train.csv", "elsewhere.csv")
    (moved / "config.yaml").write_text(config)
    path = whence.report(moved, output=tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert "The data of moved cannot be read" in text
    assert "Data" not in headings(path)
    changed = tmp_path / "changed"
    shutil.copytree(folders / "run", changed)
    run = json.loads((changed / "run.json").read_text())
    run["data"]["train"]["fingerprint"] = "0" * 16
    (changed / "run.json").write_text(json.dumps(run))
    path = whence.report(changed, output=tmp_path / "changed.html")
    assert "are not those that its results were computed from" in path.read_text(encoding="utf-8")


def test_a_report_without_values_says_how_to_get_some(folders, tmp_path):
    path = whence.report(folders / "run", output=tmp_path / "report.html")
    assert "No values of the training data are among these" in path.read_text(encoding="utf-8")


def test_a_file_that_is_there_is_kept(folders, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        whence.report(folders / "run", output=path)
    assert path.read_text() == "mine"
    whence.report(folders / "run", output=path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_package_that_is_missing_is_named(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'whence\[report\]'"):
        whence.report(folders / "run", output=tmp_path / "report.html")


def test_no_folder_and_no_such_query(folders, tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        whence.report(output=tmp_path / "report.html")
    with pytest.raises(whence.WhenceError, match="There is no query 100000"):
        whence.report(folders / "values", output=tmp_path / "report.html", queries=[100_000])
    assert not list(tmp_path.iterdir())
