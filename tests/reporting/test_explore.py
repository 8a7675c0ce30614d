"""A served report: its answers beside refitting, its refusals, and the page in a browser."""

from __future__ import annotations

import json
import socket
import threading
from types import SimpleNamespace

import pytest
from _commands import whence_, write_ratings
from hostile_titles import HOSTILE

import whence
from whence.curation.forgetting.certificate import Certificate
from whence.errors import ConfigError
from whence.reporting import explore
from whence.reporting.blocks import Chart, Facts, Table, Text
from whence.reporting.explorer import Explorer
from whence.reporting.server import application, read_one

TOKEN = "word"


@pytest.fixture(scope="module")
def films(folders):
    return Explorer(read_one(folders / "films"))


@pytest.fixture(scope="module")
def sessions(folders):
    return Explorer(read_one(folders / "values"))


def of_kind(blocks, kind):
    return next(block for block in blocks if isinstance(block, kind))


def test_removal_is_what_refitting_gives(sessions):
    ids = sessions.examples
    blocks = sessions.ask("remove", sources=", ".join(ids))
    assert of_kind(blocks, Text).text.startswith("Exact.")
    train = sessions.model.train_
    refitted = type(sessions.model)(**sessions.model.params).fit(
        train.without([int(one) for one in ids])
    )
    found = dict(of_kind(blocks, Facts).rows)
    wanted = whence.evaluate(refitted, sessions.asked, sessions.metric)
    before = whence.evaluate(sessions.model, sessions.asked, sessions.metric)
    assert found["without them"] == float(wanted)
    assert found["with them"] == float(before)
    compared = whence.compare(wanted, before)
    drawn = of_kind(blocks, Chart).figure["data"][0]
    assert drawn["x"][0] == pytest.approx(compared.difference)
    assert drawn["error_x"]["array"][0] == pytest.approx(compared.high - compared.difference)


def test_the_metric_is_that_of_the_run(folders, films):
    metrics = json.loads((folders / "films" / "metrics.json").read_text())["test"]["scores"]
    found = whence.evaluate(films.model, films.asked, films.metric)
    assert float(found) == pytest.approx(metrics[films.metric.name], abs=1e-12)


def test_those_that_are_removed_are_not_asked(films):
    blocks = films.ask("remove", sources="1 2;3")
    measured = dict(of_kind(blocks, Facts).rows)["measured on"]
    assert measured.startswith(f"{len(films.asked) - 3} queries")


def test_why_is_what_explain_says(films):
    blocks = films.ask("why", who="4")
    train = films.model.train_
    items = train.frame.filter(user_id=4).sort("timestamp")["item_id"].to_list()
    wanted = whence.explain(films.model, items, k=5)
    table = of_kind(blocks, Chart).table.frame
    assert table["score"].to_list() == pytest.approx(wanted.scores.tolist())
    assert of_kind(blocks, Table).frame["item"].to_list() == wanted.items["item"].to_list()


def test_why_not_by_id_and_by_title(films):
    train = films.model.train_
    listed = set(of_kind(films.ask("why", who="4"), Table).frame["item"])
    known = set(train.frame.filter(user_id=4)["item_id"]) | listed
    item = next(one for one in train.item_ids if one not in known)
    title = train.item_titles[train.item_ids.to_list().index(item)]
    by_id, by_title = (films.ask("why-not", who="4", item=text) for text in (str(item), title))
    assert "is in place" in by_id[0].text
    assert by_id[0].text == by_title[0].text


def test_forgetting_shows_lists_before_and_after(films):
    blocks = films.ask("forget", who="5")
    both = of_kind(blocks, Table).frame
    assert both.columns == ["rank", "before", "after"]
    codes = whence.forget(films.model, users=[5]).model.recommend_codes(
        films.model.user_queries([5]), 10
    )[0][0]
    assert both["after"].to_list() == films.model.train_.item_titles.gather(codes).to_list()


def test_what_is_predicted_is_marked_as_such(films):
    said = films._certainty(SimpleNamespace(certificate=Certificate("audit")))
    assert said.kind == "note"
    assert said.text.startswith("Predicted by influence, not retrained")


@pytest.mark.parametrize(
    ("question", "given", "said"),
    [
        ("remove", {"sources": ""}, "Say which users"),
        ("remove", {"sources": "nobody"}, "'nobody' is unknown to the model"),
        ("remove", {"sources": " ".join(map(str, range(60)))}, "Nothing would be left"),
        ("why", {"who": ""}, "Say whose recommendations"),
        ("why", {"who": "no,such"}, "is unknown to the model"),
        ("why-not", {"who": "4", "item": ""}, "Say which item"),
        ("forget", {"who": HOSTILE[0]}, "is unknown to the model"),
    ],
)
def test_what_cannot_be_answered_is_said(films, question, given, said):
    (block,) = films.ask(question, **given)
    assert block.kind == "note"
    assert said.lower() in block.text.lower() or "left" in block.text


def test_folders_without_a_model(folders, tmp_path):
    with pytest.raises(ConfigError, match="has no model to be asked"):
        explore(folders / "why")
    with pytest.raises(ConfigError, match="give one of them"):
        explore(folders)
    with pytest.raises(ConfigError, match="holds no results"):
        explore(tmp_path)


def test_a_port_in_use(folders):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot be served at") as caught:
            explore(folders / "films", port=taken.getsockname()[1])
    assert str(caught.value).count(". ") == 0


@pytest.fixture(scope="module")
def client(folders):
    testing = pytest.importorskip("starlette.testclient")
    return testing.TestClient(
        application(read_one(folders / "films"), TOKEN), base_url="http://127.0.0.1"
    )


def test_only_who_has_the_word_is_served(client):
    assert client.get(f"/{TOKEN}/").status_code == 200
    for address in ("/", "/other/", f"/{TOKEN}x/", f"/{TOKEN}/report.html"):
        assert client.get(address).status_code in (404, 405)
    assert client.post("/other/why", json={"who": "1"}).status_code == 404
    assert client.post(f"/{TOKEN}/other", json={}).status_code == 404
    assert client.get(f"/{TOKEN}/", headers={"Host": "elsewhere.org"}).status_code == 400


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b'"x"', b"{}", b"x" * 200_000, b"\xff"])
def test_bodies_that_are_no_questions(client, body):
    answer = client.post(f"/{TOKEN}/why", content=body)
    assert answer.status_code == 200
    assert "Say whose recommendations" in answer.text


def test_answers_are_text(client):
    answer = client.post(f"/{TOKEN}/forget", json={"who": HOSTILE[1]})
    assert "<img" not in answer.text
    assert "no-store" in answer.headers["cache-control"]


@pytest.fixture
def served():
    """``served(folder)`` serves a folder, and gives its address."""

    def served(folder):
        told, address = threading.Event(), []

        def ready(text):
            address.append(text)
            told.set()

        how = {"ready": ready, "token": TOKEN}
        threading.Thread(target=explore, args=(folder,), kwargs=how, daemon=True).start()
        assert told.wait(60)
        assert address[0].startswith("http://127.0.0.1:")
        return address[0]

    return served


def asked(page, question, **given):
    """Fill in a form, send it, and wait for the answer, whose charts are drawn."""
    form = page.locator(f"form[data-question={question}]")
    for name, value in given.items():
        form.locator(f"[name={name}]").fill(str(value))
    form.locator("button").click()
    answer = page.locator(f"[data-answer={question}][aria-busy=false]")
    answer.wait_for(timeout=60_000)
    assert answer.locator("p, dl").count() > 0
    plots = answer.locator(".plot")
    assert answer.locator(".plot:has(.main-svg)").count() == plots.count()
    return answer


def test_in_a_browser(served, look, folders, films):
    address = served(folders / "films")
    page = look(address)
    removed = asked(page, "remove", sources="1, 2").inner_text()
    assert "Exact." in removed
    assert "without them" in removed
    assert asked(page, "why", who=4).locator(".bars path").count() > 0
    known = films.model.train_.frame.filter(user_id=4)["item_id"]
    listed = of_kind(films.ask("why", who="4"), Table).frame["item"]
    other = next(
        one for one in films.model.train_.item_ids if one not in {*known.to_list(), *listed}
    )
    why_not = asked(page, "why-not", who=4, item=other)
    assert films.ask("why-not", who="4", item=str(other))[0].text in why_not.inner_text()
    assert why_not.locator(".bars path").count() > 0
    gone = asked(page, "forget", who=6)
    assert "rows forgotten" in gone.inner_text()
    lists = gone.locator("table", has_text="were their history shown once more")
    assert lists.locator("tbody tr").count() == 10
    assert page.evaluate("window.hacked") is None
    assert page.complaints == []
    assert all(url.startswith((address, "blob:")) for url in page.asked)


def test_what_influence_predicts_is_marked_in_a_browser(served, look, tmp_path):
    pytest.importorskip("torch")
    write_ratings(tmp_path / "ratings.csv")
    line = ("train", "--data", tmp_path / "ratings.csv", "--model", "bprmf", "--epochs", "1")
    whence_(*line, "-o", tmp_path / "network", "-q")
    page = look(served(tmp_path / "network"), width=390)
    for question, given in (("remove", {"sources": "3"}), ("forget", {"who": 5})):
        answer = asked(page, question, **given)
        marked = answer.locator("p.note").first.inner_text()
        assert marked.startswith("Predicted by influence, not retrained")
        assert "Exact." not in answer.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.complaints == []
