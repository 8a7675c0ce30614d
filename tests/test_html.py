"""Results in a notebook: a line of heading, and the table."""

from __future__ import annotations

from html import escape

import polars as pl
import pytest

import whence
from whence.experiments.disclosure import DisclosureResult
from whence.experiments.explanation_results import ExplanationFidelityResult
from whence.experiments.results import OpponentsResult


@pytest.fixture(scope="module")
def made():
    data = whence.make_sessions(n_sessions=120, n_validation=30, n_test=30, seed=1)
    model = whence.VMISKNN(k=30, m=60).fit(data.train)
    history = data.train.item_ids.to_list()[:4]
    evaluation = whence.evaluate(model, data.test, ["mrr@20"])
    return {
        "Attribution": whence.LeaveOneOut("mrr@20").attribute(model, data.validation),
        "Evaluation": evaluation,
        "Comparison": whence.compare(evaluation, evaluation),
        "Explanation": whence.explain(model, history, k=2),
        "Explanations": whence.explain_many(model, [history, history[:3]], k=2),
    }


@pytest.mark.parametrize(
    ("name", "heading", "column"),
    [
        ("Attribution", "Attribution: leave-one-out values of 120 sessions", "score"),
        ("Evaluation", "Evaluation(", "std_error"),
        ("Comparison", "Comparison(mrr@20", "p_value"),
        ("Explanation", "Explanation: Shapley values (exact) of 4 events", "event"),
        ("Explanations", "Explanations of 2 histories", "recency"),
    ],
)
def test_a_heading_and_a_table(made, name, heading, column):
    first, _, rest = made[name]._repr_html_().partition("\n")
    assert first.lower().startswith(f"<p>{heading}".lower())
    assert first.endswith("</p>")
    assert "<table" in rest
    assert f"<th>{column}</th>" in rest


def test_an_attribution_shows_both_its_ends(made):
    values = made["Attribution"]
    shown = values._repr_html_()
    for ends in (values.top(1), values.bottom(1)):
        assert f"<td>{ends['session_id'][0]}</td>" in shown


def test_headings_are_text_even_where_names_are_not():
    frame = pl.DataFrame({"<b>": ["x"], "score": [1.0]})
    values = whence.Attribution(frame, source="<b>", metadata={"metric": "<i>"})
    first = values._repr_html_().partition("\n")[0]
    assert "&lt;i&gt;" in first
    assert "<i>" not in first


def test_plans_and_results_of_experiments():
    rows = {"row": [0, 1], "user_id": [1, 2], "disclosed": [True, False], "beta": [0.5, 0.25]}
    plan = whence.DisclosurePlan(pl.DataFrame(rows), metadata={"strategy": "social"})
    first, _, rest = plan._repr_html_().partition("\n")
    assert first == "<p>DisclosurePlan social: 1 of 2 interactions (50.0%), violation 0.5</p>"
    assert "<th>disclosed</th>" in rest
    fits = [
        {"seed": seed, "arm": arm, "n_left_out": 0, "planted_share": None, "mrr@10": 0.1 * seed}
        for seed in (1, 2)
        for arm in ("none", "random")
    ]
    result = OpponentsResult(pl.DataFrame(fits), {"popularity": {"mrr@10": 0.05}})
    first, _, rest = result._repr_html_().partition("\n")
    assert first == "<p>OpponentsResult of 4 rows</p>"
    assert "<th>vs_none</th>" in rest
    for kind in (DisclosureResult, ExplanationFidelityResult):
        assert repr(kind(pl.DataFrame(fits), {})) == f"<{kind.__name__} of 4 rows>"


def test_interactions_show_their_rows():
    data = whence.Interactions.from_frame(pl.DataFrame({"session": ["<i>", "b"], "item": [1, 2]}))
    first, _, rest = data._repr_html_().partition("\n")
    assert first == "<p>Interactions: 2 rows, 2 sessions, 2 items</p>"
    assert "<th>session</th>" in rest
    assert "<i>" not in rest


def test_what_is_said_in_sentences_is_shown_in_them():
    frame = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "c", "b"]})
    model = whence.EASE(l2=1.0).fit(frame)
    forgotten = whence.forget(model, users=[2])
    assert forgotten._repr_html_().startswith("<p>Forgotten: 2 rows, 1 users")
    explanation = whence.explain(model, ["a", "b"], k=1)
    found = explanation.counterfactual()
    assert found._repr_html_() == f"<p>{escape(str(found))}</p>"
