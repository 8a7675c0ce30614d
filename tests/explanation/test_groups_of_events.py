"""Parts of groups of events, and two models compared, against loops over histories."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_oracles import knn
from featured import BASE, Recurrent, events
from matplotlib.figure import Figure
from scipy import stats

pytest.importorskip("torch")

from whence.errors import DataError, ParameterError
from whence.explanation import explain_many
from whence.plots.reports import groups

HISTORIES = {"a": [4, 1, 8], "b": [10, 2, 0, 5], "c": [7, 4], "d": [1, 2, 3, 4, 5]}


@pytest.fixture(scope="module")
def many():
    model = knn("ItemKNN")
    ids = model.vocabulary.items.to_list()
    named = {name: [ids[code] for code in codes] for name, codes in HISTORIES.items()}
    return explain_many(model, named, k=3)


@pytest.fixture(scope="module")
def other(many):
    model = knn("VMISKNN")
    named = {name: one.frame["item"].to_list() for name, one in zip(many.ids, many)}
    return explain_many(model, {name: named[name] for name in ("a", "b", "d")}, k=3)


def parts_by_loops(many, group_of):
    """Of each history: part and net of each group."""
    found = {}
    for name, one in zip(many.ids, many):
        whole = np.abs(one.scores).sum()
        if not whole:
            continue
        own = found[name] = {}
        for place, (item, score) in enumerate(zip(one.frame["item"], one.scores)):
            group = group_of(name, place, len(one), item)
            part, net = own.get(group, (0.0, 0.0))
            own[group] = (part + abs(score) / whole, net + score / whole)
    return found


def interval(values):
    n = len(values)
    error = np.std(values, ddof=1) / n**0.5
    width = stats.t.ppf(0.975, n - 1) * error
    return np.mean(values), error, np.mean(values) - width, np.mean(values) + width


BY = {
    "recency": ("recency", lambda name, place, n, item: n - 1 - place),
    "items": ({2: "two", 4: "even", 8: "even"}, None),
    "places": ({name: list("xyxyx") for name in HISTORIES}, lambda name, p, n, item: "xyxyx"[p]),
    "function": (lambda row: row["item"] % 3, lambda name, place, n, item: item % 3),
}


@pytest.mark.parametrize("kind", list(BY))
def test_parts_and_intervals(many, kind):
    by, group_of = BY[kind]
    if group_of is None:
        group_of = lambda name, place, n, item: by.get(item)  # noqa: E731
    wanted = parts_by_loops(many, group_of)
    table = many.by_group(by)
    assert set(table["group"]) == {group for own in wanted.values() for group in own}
    for row in table.iter_rows(named=True):
        values = [own.get(row["group"], (0.0, 0.0)) for own in wanted.values()]
        own = interval([part for part, _ in values])
        assert (row["part"], row["std_error"], row["low"], row["high"]) == pytest.approx(own)
        assert row["net"] == pytest.approx(np.mean([net for _, net in values]))
        assert row["n"] == len(wanted)
    assert table["part"].sum() == pytest.approx(1.0)


def test_two_models(many, other):
    table = many.compare(other, by="recency")
    first, second = (
        parts_by_loops(one, lambda name, place, n, item: n - 1 - place) for one in (many, other)
    )
    common = sorted(set(first) & set(second))
    for row in table.iter_rows(named=True):
        group = row["group"]
        before = [first[name].get(group, (0.0,))[0] for name in common]
        after = [second[name].get(group, (0.0,))[0] for name in common]
        assert row["first"] == pytest.approx(np.mean(before))
        assert row["second"] == pytest.approx(np.mean(after))
        own = interval(np.array(after) - before)
        found = (row["difference"], row["std_error"], row["low"], row["high"])
        assert found == pytest.approx(own)
        assert row["n"] == len(common)
    same = many.compare(many, by="item")
    assert (same["difference"] == 0).all()
    for shown in (table, many.by_group("recency"), many[:1].by_group("item")):
        assert "part of the absolute" in groups(shown, ax=Figure().subplots()).get_xlabel()


def test_features_are_groups():
    asked = {"k": 2, "masking": ("item", BASE), "level": "feature"}
    many = explain_many(Recurrent(), [events(4, seed=n) for n in range(3)], **asked)
    table = many.by_group("feature")
    assert set(table["group"]) == {"item", "hour", "stars"}


def test_groups_that_make_no_sense(many, other):
    with pytest.raises(ParameterError, match="have no genre"):
        many.by_group("genre")
    with pytest.raises(ParameterError, match="in place 1 but only 1 groups"):
        many.by_group({"a": ["x"]})
    with pytest.raises(DataError, match="no history in common"):
        many[2:3].compare(other)
