"""Models of other libraries: functions, objects, recurrent ones, events with features."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from explanation_oracles import naive_shapley

from whence.errors import DataError, DataWarning, ParameterError, UnsupportedError
from whence.explanation import explain, explain_many

N = 8
WEIGHTS = np.random.default_rng(0).normal(size=(12, N))


def additive(histories):
    """Each event adds its row."""
    return np.array([sum((WEIGHTS[e] for e in h), np.zeros(N)) for h in histories])


def test_an_additive_model_gives_each_event_its_own_row():
    history = [9, 10, 11, 9]
    for options in ({}, {"method": "permutation"}, {"method": "kernel"}, {"method": "occlusion"}):
        found = explain(additive, history, k=2, **options)
        best = np.argsort(-additive([history])[0], kind="stable")[:2]
        assert found.items["item"].to_list() == best.tolist()
        np.testing.assert_allclose(found.scores, WEIGHTS[history][:, best].mean(axis=1))
    assert found.metadata["model"] == "function"


def test_names_of_columns_and_of_items():
    names = list("abcdefgh")

    def scores(histories):
        return additive([[names.index(event) for event in history] for history in histories])

    found = explain(scores, ["a", "c", "a"], k=3, items=names, titles={"a": "Anchovy"})
    assert not {"a", "c"} & set(found.items["item"].to_list())
    assert found.labels == ["Anchovy", "c", "Anchovy"]
    assert found.scores[0] == pytest.approx(found.scores[2])
    one = explain(scores, ["a", "c"], k=3, items=names, target=("item", "h"))
    np.testing.assert_allclose(one.scores, WEIGHTS[[0, 2], 7])
    stand_in = explain(scores, ["a", "c"], k=3, items=names, masking=("item", "c"))
    assert stand_in.scores[1] == 0.0


class Recurrent:
    """A leaky sum, in three forms of state."""

    def __init__(self, form="array"):
        self.form, self.steps = form, 0

    def wrap(self, state):
        if self.form == "torch":
            import torch

            return torch.from_numpy(state.copy())
        return (state, state[:, :1] * 2) if self.form == "tuple" else state

    def unwrap(self, state):
        return np.asarray(state[0] if self.form == "tuple" else state)

    def initial_state(self, n):
        return self.wrap(np.zeros((n, N)))

    def step(self, state, events):
        self.steps += len(events)
        return self.wrap(np.tanh(0.6 * self.unwrap(state) + WEIGHTS[list(events)]))

    def scores_from_state(self, state):
        return self.unwrap(state)

    def scores(self, histories):
        out = np.zeros((len(histories), N))
        for row, history in enumerate(histories):
            for event in history:
                out[row] = np.tanh(0.6 * out[row] + WEIGHTS[event])
        return out


@pytest.mark.parametrize("form", ["array", "tuple", "torch"])
@pytest.mark.parametrize("masking", ["remove", ("item", 8)])
def test_recurrent_models_share_their_states(form, masking):
    pytest.importorskip("torch")
    model, history = Recurrent(form), [9, 10, 11, 9, 8, 10]
    found = explain(model, history, k=2, masking=masking)
    frozen = found.items["item"].to_list()

    def value(kept):
        events = [
            event if there else (None if masking == "remove" else 8)
            for event, there in zip(history, kept)
        ]
        return model.scores([[e for e in events if e is not None]])[0][frozen].mean()

    phi, _, _ = naive_shapley(6, value)
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)
    # A trie takes 2**n - 1 steps with, and as many without; not n 2**n.
    assert model.steps <= 2 * 2**6 + 6 * 4
    plain = explain(model.scores, history, k=2, masking=masking, method="exact")
    np.testing.assert_allclose(plain.scores, phi, atol=1e-9)
    drawn = explain(model, history, k=2, masking=masking, method="permutation", tolerance=0.02)
    assert np.all(np.abs(drawn.scores - phi) <= 5 * drawn.std_errors + 1e-9)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda h: np.zeros(3), UnsupportedError, "one row for each"),
        (lambda h: "no", UnsupportedError, "one row for each"),
        (lambda h: np.zeros((1, 4)) if len(h) == 1 else np.zeros((3, 4)), UnsupportedError, "row"),
        (lambda h: np.full((len(h), 4), np.nan), DataError, "not a finite number"),
    ],
)
def test_bad_answers(answer, error, words):
    with pytest.raises(error, match=words):
        explain(answer, ["x", "y"], k=2)


def test_bad_models_and_arguments():
    with pytest.raises(UnsupportedError, match=r"scores\(histories\)"):
        explain(object(), [1, 2])
    with pytest.raises(ParameterError, match="items names 3"):
        explain(additive, [9], k=2, items=["a", "b", "c"])
    with pytest.warns(DataWarning, match="catalogue has 8"):
        longer = explain(additive, [9], k=9)
    assert longer.scores.tolist() == explain(additive, [9], k=8).scores.tolist()
    with pytest.raises(UnsupportedError, match="no padding"):
        explain(additive, [9, 10], k=2, masking="pad")
    with pytest.raises(UnsupportedError, match="no training data"):
        explain(additive, [9, 10], k=2, masking="marginal")

    class Bad(Recurrent):
        def initial_state(self, n):
            return 3.0

    pytest.importorskip("torch")
    with pytest.raises(UnsupportedError, match="initial_state"):
        explain(Bad(), [9, 10], k=2)


def test_a_torch_model_is_asked_in_evaluation_mode():
    torch = pytest.importorskip("torch")

    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = torch.nn.Dropout(0.5)
            self.weight = torch.nn.Parameter(torch.from_numpy(WEIGHTS))

        def scores(self, histories):
            assert not torch.is_grad_enabled()
            rows = [self.weight[list(h)].sum(0) if h else self.weight[0] * 0 for h in histories]
            return self.dropout(torch.stack(rows))

    model = Noisy()
    found = explain(model, [9, 10], k=2)
    assert model.training
    assert model.dropout.training
    assert model.weight.grad is None
    frozen = found.items["item"].to_list()
    np.testing.assert_allclose(found.scores, WEIGHTS[[9, 10]][:, frozen].mean(axis=1))


# Events with features

HOURS, PLACES = WEIGHTS[:, 0], WEIGHTS[:, 1]


def featured(histories):
    """Items add, and hours and places multiply."""
    out = np.zeros((len(histories), N))
    for row, history in enumerate(histories):
        for event in history:
            out[row] += WEIGHTS[event["item"]] * (1 + HOURS[event["hour"]] * PLACES[event["place"]])
    return out


EVENTS = [
    {"item": 9, "hour": 3, "place": 1},
    {"item": 10, "hour": 5, "place": 2},
    {"item": 11, "hour": 3, "place": 7},
]
BASE = {"item": 8, "hour": 0, "place": 0}


def feature_value(cells, frozen):
    events = [
        {name: event[name] if there else BASE[name] for name, there in zip(event, row)}
        for event, row in zip(EVENTS, cells)
    ]
    return featured([events])[0][frozen].mean()


def test_features_over_the_whole_history():
    found = explain(featured, EVENTS, k=2, level="feature", masking=("item", BASE))
    frozen = found.items["item"].to_list()
    phi, _, _ = naive_shapley(3, lambda kept: feature_value([kept] * 3, frozen))
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)
    assert found.to_frame()["feature"].to_list() == ["item", "hour", "place"]


def test_cells():
    found = explain(featured, EVENTS, k=2, level="cell", masking=("item", BASE))
    frozen = found.items["item"].to_list()
    phi, _, _ = naive_shapley(
        9, lambda kept: feature_value([kept[0:3], kept[3:6], kept[6:9]], frozen)
    )
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)
    frame = found.to_frame()
    assert frame["event"].to_list() == [0] * 3 + [1] * 3 + [2] * 3
    assert frame["feature"].to_list() == ["item", "hour", "place"] * 3


def test_some_cells_and_the_rest_together():
    found = explain(
        featured, EVENTS, k=2, level="cell", masking=("item", BASE), cells=([1, 2], ["hour"])
    )
    frozen = found.items["item"].to_list()

    def value(kept):
        rows = [[kept[2]] * 3, [kept[2], kept[0], kept[2]], [kept[2], kept[1], kept[2]]]
        return feature_value(rows, frozen)

    phi, _, _ = naive_shapley(3, value)
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)
    assert found.labels[-1] == "all other cells"


def test_tables_as_histories_and_events_as_players():
    table = pl.DataFrame(EVENTS)
    whole = explain(featured, EVENTS, k=2)
    for history in (table, table.to_pandas()):
        found = explain(featured, history, k=2)
        np.testing.assert_allclose(found.scores, whole.scores)
    assert found.to_frame()["item"].to_list() == [9, 10, 11]
    many = explain_many(featured, {"first": EVENTS, "second": table[:2]}, k=2)
    assert [len(one) for one in many] == [3, 2]
    np.testing.assert_allclose(many[0].scores, whole.scores)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"level": "feature"}, UnsupportedError, "a value for each"),
        ({"level": "feature", "masking": ("item", 8)}, UnsupportedError, "a value for each"),
        ({"level": "cell", "masking": ("item", {"item": 8})}, ParameterError, "'hour'"),
        (
            {"level": "cell", "masking": ("item", BASE), "cells": ([7], None)},
            ParameterError,
            "0 to",
        ),
        (
            {"level": "cell", "masking": ("item", BASE), "cells": (None, ["x"])},
            ParameterError,
            "among",
        ),
        (
            {"level": "cell", "masking": ("item", BASE), "cells": ("top", 0, 1)},
            ParameterError,
            "top",
        ),
    ],
)
def test_bad_features(options, error, words):
    with pytest.raises(error, match=words):
        explain(featured, EVENTS, k=2, **options)


def test_events_must_have_the_same_features():
    broken = [EVENTS[0], {"item": 3}]
    with pytest.raises(DataError, match="same features"):
        explain(lambda h: featured([EVENTS] * len(h)), broken, k=2, level="feature",
                masking=("item", BASE))  # fmt: skip
    with pytest.raises(UnsupportedError, match="have features"):
        explain(additive, [9, 10], k=2, level="feature", masking=("item", BASE))


def test_every_subset_is_asked_once():
    asked = []

    def counting(histories):
        asked.extend(map(tuple, histories))
        return additive(histories)

    explain(counting, [9, 10, 11], k=2)
    subsets = [subset for size in range(4) for subset in itertools.combinations([9, 10, 11], size)]
    assert set(asked) == set(subsets)
    assert len(asked) <= len(subsets) + 4  # the whole for the items, and the two ends
