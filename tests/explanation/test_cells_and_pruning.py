"""Cells of the most important events and features, and pruning at every level, by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_oracles import naive_shapley
from featured import BASE, FEATURES, Recurrent, Whole, events, grouped, value_of

pytest.importorskip("torch")

from whence.errors import ParameterError
from whence.explanation import explain, explain_many

ITEM = 5
ASKED = {"k": 2, "target": ("item", ITEM), "masking": ("item", BASE), "method": "exact"}


@pytest.fixture(scope="module")
def model():
    return Recurrent()


def by_definition(model, history, groups):
    def value(there):
        kept = np.zeros((len(history), len(FEATURES)), dtype=bool)
        for group, is_there in zip(groups, there):
            for cell in group:
                kept[cell] = is_there
        return value_of(model, history, kept, ITEM)

    return naive_shapley(len(groups), value)


def the_top(model, history, n_events, n_features, n_pruned=0):
    """The most important places and features by enumeration, the pruned ones as a player."""
    every = range(len(FEATURES))
    before = [[(p, c) for p in range(n_pruned) for c in every]] if n_pruned else []
    rest = range(n_pruned, len(history))
    per_event = by_definition(model, history, before + [[(p, c) for c in every] for p in rest])[0]
    per_feature = by_definition(model, history, before + [[(p, c) for p in rest] for c in every])[0]
    events_ = np.argsort(-np.abs(per_event[n_pruned > 0 :]), kind="stable")[:n_events] + n_pruned
    columns = np.argsort(-np.abs(per_feature[n_pruned > 0 :]), kind="stable")[:n_features]
    return sorted(events_.tolist()), sorted(columns.tolist())


@pytest.mark.parametrize("kind", ["recurrent", "whole"])
@pytest.mark.parametrize("top", [(2, 2), (1, 3), (4, 1)])
def test_the_most_important_cells(model, kind, top):
    history = events(4, seed=1)
    asked = model if kind == "recurrent" else Whole(model)
    found = explain(asked, history, level="cell", cells=("top", *top), **ASKED)
    places, columns = the_top(model, history, *top)
    phi, everything, nothing = by_definition(model, history, grouped(4, places, columns))
    np.testing.assert_allclose(found.scores, phi, atol=1e-6)
    assert found.value_all == pytest.approx(everything)
    assert found.value_nothing == pytest.approx(nothing)
    table = found.to_frame()
    single = table.drop_nulls(["event", "feature"])
    n_single = len(places) * len(columns)
    assert single["event"].to_list()[:n_single] == [p for p in places for _ in columns]
    assert single["feature"].to_list()[:n_single] == [FEATURES[c] for c in columns] * len(places)


@pytest.mark.parametrize("level", ["event", "feature", "cell"])
def test_pruning_at_every_level(model, level):
    history = events(6, seed=4)
    prune = 0.4
    found = explain(
        model, history, level=level, prune=prune, cells=("top", 1, 1) if level == "cell" else None,
        **ASKED,
    )  # fmt: skip
    n = found.metadata["n_pruned"]
    assert n >= 2
    every = range(len(FEATURES))
    rest = range(n, len(history))
    before = [(p, c) for p in range(n) for c in every]
    share, everything, nothing = by_definition(
        model, history, [before, [(p, c) for p in rest for c in every]]
    )
    assert abs(share[0]) <= prune * abs(everything - nothing)
    groups = {
        "event": [before, *([(p, c) for c in every] for p in rest)],
        "feature": [before, *([(p, c) for p in rest] for c in every)],
        "cell": grouped(6, *the_top(model, history, 1, 1, n), n_pruned=n),
    }[level]
    np.testing.assert_allclose(found.scores, by_definition(model, history, groups)[0], atol=1e-6)
    assert found.labels[0] == (f"{n} earlier events" if level == "event" else "earlier events")


def test_many_by_feature_leave_the_rest_out(model):
    histories = [events(5, seed=number) for number in range(3)]
    many = explain_many(model, histories, level="cell", cells=("top", 2, 2), **ASKED)
    report = many.report("feature")
    singles = many.to_frame().drop_nulls(["event", "feature"])
    assert report["n"].sum() == singles.height
    assert set(report["feature"]) == set(singles["feature"])


@pytest.mark.parametrize("cells", [("top", 0, 2), ("top", 2), ("best", 2, 2), ("top", 2, True)])
def test_cells_that_make_no_sense(model, cells):
    with pytest.raises(ParameterError, match="'top', 5, 3"):
        explain(model, events(3), level="cell", cells=cells, **ASKED)
