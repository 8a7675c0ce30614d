"""What explanations say together counts each player for what it is; and what pruning joins."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from whence.errors import ParameterError
from whence.explanation import explain, explain_many

SHARES = np.array([0.005, 0.005, 5.0, -5.0, 0.01, 3.0, 1.0, 0.0])


class Additive:
    """The score of the last item is a sum over the events."""

    def scores(self, histories):
        found = np.full((len(histories), len(SHARES)), -100.0)
        for row, history in enumerate(histories):
            found[row, -1] = sum(SHARES[event] for event in history)
        return found


class Featured:
    """Events of an item and an hour, which both add to all scores."""

    def scores(self, histories):
        found = np.zeros((len(histories), 12))
        for row, history in enumerate(histories):
            for event in history:
                found[row] += np.arange(12) * (event["item"] + 0.1 * event["hour"] + 1)
        return found


HISTORIES = [
    [{"item": 1, "hour": 2}, {"item": 3, "hour": 1}],
    [{"item": 2, "hour": 1}, {"item": 1, "hour": 3}, {"item": 4, "hour": 2}],
]
CELLS = {"masking": ("item", {"item": 0, "hour": 0}), "k": 2}


def test_pruning_stops_at_the_first_place_beyond_the_tolerance():
    found = explain(Additive(), list(range(7)), k=1, prune=0.02, method="exact")
    assert found.metadata["n_pruned"] == 2
    np.testing.assert_allclose(found.scores, [0.01, 5.0, -5.0, 0.01, 3.0, 1.0], atol=1e-9)
    whole = explain(Additive(), [0, 1, 1, 0, 1, 5], k=1, prune=0.02, method="exact")
    np.testing.assert_allclose(whole.scores, [0.025, 3.0], atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_that_pruning_joins_is_large(seed):
    rng = np.random.default_rng(seed)
    history = rng.choice(7, size=12).tolist()
    gap = abs(SHARES[history].sum())
    found = explain(Additive(), history, k=1, prune=0.05, method="exact")
    joined = np.cumsum(SHARES[history])[: found.metadata["n_pruned"]]
    assert (np.abs(joined) <= 0.05 * gap + 1e-9).all()


def test_events_that_are_joined_are_no_event_of_some_recency():
    histories = [[0, 1, 0, 5, 6], [2, 5, 6]]
    many = explain_many(Additive(), histories, k=1, prune=0.02, method="exact")
    assert [one.metadata["n_pruned"] for one in many] == [3, 0]
    assert many.to_frame()["recency"].to_list() == [None, 1, 0, 2, 1, 0]
    report = many.report("recency")
    assert report["recency"].to_list() == [0, 1, 2]
    np.testing.assert_allclose(report["mean_abs"], [1.0, 3.0, 5.0], atol=1e-9)
    assert report["n"].to_list() == [2, 2, 1]


def test_cells_are_of_the_recency_of_their_event():
    many = explain_many(Featured(), HISTORIES, level="cell", **CELLS)
    frame = many.to_frame()
    assert frame["recency"].to_list() == [1, 1, 0, 0, 2, 2, 1, 1, 0, 0]
    report = many.report("recency")
    assert report["n"].to_list() == [4, 4, 2]
    want = [frame.filter(recency=k)["score"].abs().mean() for k in range(3)]
    np.testing.assert_allclose(report["mean_abs"], want)
    some = explain_many(Featured(), HISTORIES, level="cell", cells=([1], ["hour"]), **CELLS)
    assert some.to_frame()["recency"].to_list() == [0, None, 1, None]


@pytest.mark.parametrize(
    ("options", "noun", "drawn", "rows"),
    [
        ({"level": "feature"}, "features", "feature", ["item", "hour"]),
        ({"groups": "item"}, "groups", "item", ["3", "4", "1", "2"]),
    ],
)
def test_what_is_no_event_has_no_recency(options, noun, drawn, rows):
    many = explain_many(Featured(), HISTORIES, **options, **CELLS)
    assert many.to_frame()["recency"].null_count() == sum(map(len, many))
    with pytest.raises(ParameterError, match=f"explanations of {noun} have no recency; take by="):
        many.report("recency")
    assert many.report(drawn).height == len(rows)
    ax = many.plot(ax=Figure().subplots())
    assert ax.get_ylabel() == drawn
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert sorted(labels) == sorted(rows)
    with pytest.raises(ParameterError, match=f"{noun}; take kind='beeswarm'"):
        many.plot(kind="recency")
