"""Explanations of networks that know more of events than their items, by enumeration."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from explanation_oracles import naive_shapley

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import GRU4Rec, Interactions, LSTMRec, SASRec  # noqa: E402
from whence.errors import DataError, ParameterError, UnsupportedError  # noqa: E402

MODELS = [GRU4Rec, LSTMRec, SASRec]
NAMES = ["item", "genres", "sex", "price"]
TARGET = 4
ASKED = {"k": 2, "target": ("item", TARGET), "method": "exact"}


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(2)
    n = 120
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 12, n),
            "item": rng.integers(0, 11, n),
            "time": rng.permutation(n),
            "price": rng.normal(3, 2, n),
        }
    )
    genres = [["a", "b"], ["a"], ["b", "c"], ["c"], [], None]
    items = pl.DataFrame({"item": range(11), "genres": (genres * 2)[:11]})
    users = pl.DataFrame({"user": range(12), "sex": ["f", "m", None] * 4})
    return Interactions.from_frame(frame).with_tables(items=items, users=users)


@pytest.fixture(scope="module")
def models(train):
    settings = {
        "embedding_dim": 6, "epochs": 3, "learning_rate": 0.05, "item_features": ["genres"],
        "user_features": ["sex"], "context_features": ["price"],
    }  # fmt: skip
    return {one: one(**settings).fit(train) for one in MODELS}


HISTORY = [
    {"item": 7, "sex": "m", "price": 5.0},
    {"item": 0, "sex": "m", "price": 1.0},
    {"item": 3, "sex": "m", "price": None},
]
TYPICAL = {"item": 2, "genres": ["a"], "sex": "f", "price": 3.0}
GENRES = {7: ["a"], 0: ["a", "b"], 3: ["c"]}


def score(model, events):
    """Score of the target by the public way, for events whose item may be gone."""
    module, coding = model.module_.eval(), model.coding_
    number = int(model.vocabulary.item_codes(pl.Series([TARGET]))[0])
    if not events and isinstance(model, LSTMRec):  # the state before the first event
        with torch.no_grad():
            return float(module.item_scores(torch.zeros(1, model.hidden_dim))[0, number])
    codes = [
        model.n_items
        if event["item"] is None
        else int(model.vocabulary.item_codes(pl.Series([event["item"]]))[0])
        for event in events
    ] or [model.n_items]
    rows = np.zeros((len(codes), coding.width("item", "user", "context")), np.float32)
    rows = coding.given_rows(events, rows)[None]
    with torch.no_grad():
        states = module.states(
            torch.tensor([codes]), torch.tensor([len(codes)]), torch.from_numpy(rows)
        )
        return float(module.item_scores(states[:, -1])[0, number])


def masked(kept, masking):
    """The events of which only some cells are there, bool [3, 4]."""
    events = []
    for event, row in zip(HISTORY, kept):
        whole = {**event, "genres": GENRES[event["item"]]}
        if masking == "remove" and not row.any():
            continue
        base = TYPICAL if masking == "typical" else dict.fromkeys(NAMES)
        events.append(
            {name: whole[name] if there else base[name] for name, there in zip(NAMES, row)}
        )
    return events


def by_definition(model, groups, masking):
    def value(there):
        kept = np.zeros((3, 4), dtype=bool)
        for group, is_there in zip(groups, there):
            for cell in group:
                kept[cell] = is_there
        return score(model, masked(kept, masking))

    return naive_shapley(len(groups), value)


MASKINGS = {"remove": "remove", "pad": "pad", "typical": ("item", TYPICAL)}


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("model_class", MODELS)
@pytest.mark.parametrize("level", ["event", "feature", "cell"])
def test_shares_are_those_of_enumeration(models, model_class, masking, level):
    model = models[model_class]
    groups, more = {
        "event": ([[(p, c) for c in range(4)] for p in range(3)], {}),
        "feature": ([[(p, c) for p in range(3)] for c in range(4)], {}),
        "cell": (
            [[(p, c)] for p in (1, 2) for c in (0, 1, 3)]
            + [[(0, c) for c in range(4)] + [(1, 2), (2, 2)]],
            {"cells": ([1, 2], ["item", "genres", "price"])},
        ),
    }[level]
    found = whence.explain(
        model, HISTORY, level=level, masking=MASKINGS[masking], **ASKED, **more
    )  # fmt: skip
    phi, everything, nothing = by_definition(model, groups, masking)
    np.testing.assert_allclose(found.scores, phi, atol=1e-5)
    assert found.value_all == pytest.approx(everything, abs=1e-5)
    assert found.value_nothing == pytest.approx(nothing, abs=1e-5)
    gap = found.value_all - found.value_nothing
    assert float(found.scores.sum()) == pytest.approx(gap, abs=1e-6)


@pytest.mark.parametrize("model_class", MODELS)
def test_all_features_of_all_events_are_the_events(models, model_class):
    """A game of cells in which each event has all of its own is that of events."""
    model = models[model_class]
    for masking in ("remove", "pad", "mean_embedding", ("item", 2), "lowest"):
        asked = {**ASKED, "masking": masking}
        events = whence.explain(model, HISTORY, **asked)
        cells = whence.explain(model, HISTORY, level="cell", cells=("top", 3, 4), **{
            **asked, "method": "permutation", "budget": 64})  # fmt: skip
        assert cells.value_nothing == pytest.approx(events.value_nothing, abs=1e-6)
        assert cells.value_all == pytest.approx(events.value_all, abs=1e-6)
        assert float(cells.scores.sum()) == pytest.approx(events.value_all - events.value_nothing)


@pytest.mark.parametrize("model_class", [GRU4Rec, SASRec])
def test_the_mean_event_is_the_mean_of_the_inputs(models, train, model_class):
    model = models[model_class]
    found = whence.explain(model, HISTORY, masking="mean_embedding", **ASKED)
    own = list(model.event_histories(train).values())
    module, inputs = model.module_, []
    for events in own:
        rows = model.rows_of_events(
            codes := model.vocabulary.item_codes(pl.Series([e["item"] for e in events])), events
        )
        with torch.no_grad():
            codes = torch.tensor(codes)
            inputs.append(module.embedding(codes) + module.features(torch.from_numpy(rows)))
    mean = torch.cat(inputs).mean(0)
    twin = model_class(embedding_dim=6, epochs=1).fit(train).module_.eval()
    twin.load_state_dict(
        {k: v for k, v in module.state_dict().items() if not k.startswith("features.")}
    )
    twin.embedding = torch.nn.Embedding.from_pretrained(mean.repeat(3, 1))
    with torch.no_grad():
        states = twin.states(torch.zeros((1, 3), dtype=torch.int64), torch.tensor([3]))
        number = int(model.vocabulary.item_codes(pl.Series([TARGET]))[0])
        want = float(module.item_scores(states[:, -1])[0, number])
    assert found.value_nothing == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("model_class", MODELS)
def test_recurrent_states_and_whole_histories_agree(models, train, model_class):
    """Frozen items and their scores are those that the model recommends."""
    model = models[model_class]
    own = model.event_histories(train)
    many = whence.explain_many(model, train, k=3, method="exact")
    recommended, scores = model.recommend(list(own.values()), k=3)
    for one, items, values in zip(many, recommended, scores):
        np.testing.assert_array_equal(one.items["item"].to_numpy(), items)
        np.testing.assert_allclose(one.items["score"].to_numpy(), values, atol=1e-5)
        assert one.value_all == pytest.approx(values.mean(), abs=1e-5)
    queries = whence.make_queries(model, train, protocol="prefixes").take([3, 9, 20])
    of_queries = whence.explain_many(model, queries, k=3, method="exact")
    _, scores = model.recommend(queries, k=3)
    for one, values in zip(of_queries, scores):
        assert one.value_all == pytest.approx(values.mean(), abs=1e-4)


def test_a_feature_that_is_not_looked_at_gets_nothing(train):
    model = GRU4Rec(
        embedding_dim=6, epochs=1, item_features=["genres"], context_features=["price"]
    ).fit(train)
    with torch.no_grad():
        model.module_.features.numbers.weight.zero_()
    history = [{"item": 7, "price": 9.0}, {"item": 1, "price": -3.0}]
    found = whence.explain(model, history, level="feature", k=2)
    assert found.to_frame().filter(pl.col("feature") == "price")["score"].item() == pytest.approx(
        0, abs=1e-7
    )
    assert np.abs(found.scores[:2]).min() > 0.0
    # A model that gives the same to everything divides nothing.
    with torch.no_grad():
        for parameter in model.module_.parameters():
            parameter.zero_()
    for level in ("event", "feature", "cell"):
        assert not whence.explain(model, history, level=level, k=2).scores.any()


def test_repeats_contrasts_and_ids_alone(models):
    model = models[GRU4Rec]
    a, b = (whence.explain(model, HISTORY, level="cell", k=2, target=("item", i)) for i in (4, 5))
    versus = whence.explain(model, HISTORY, level="cell", k=2, target=("versus", 4, 5))
    np.testing.assert_allclose(versus.scores, a.scores - b.scores, atol=1e-6)
    plain = whence.explain(model, [7, 0, 3], level="feature", k=2)
    shares = dict(zip(plain.labels, plain.scores))
    assert [shares["sex"], shares["price"]] == pytest.approx([0.0, 0.0], abs=1e-7)
    assert abs(shares["genres"]) > 1e-4
    gradients = whence.explain(
        model, HISTORY, method="integrated_gradients", masking="pad", k=2, n_steps=256
    )
    gap = gradients.value_all - gradients.value_nothing
    assert float(gradients.scores.sum()) == pytest.approx(gap, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"level": "cell", "masking": "marginal"}, UnsupportedError, "has no values"),
        ({"level": "feature", "masking": ("items", [3])}, ParameterError, "one for each place"),
        ({"level": "feature", "masking": ("item", 99)}, DataError, "unknown to GRU4Rec"),
        ({"level": "feature", "masking": ("item", {"price": 1.0})}, DataError, "has no item"),
        ({"level": "cell", "cells": (None, ["colour"])}, ParameterError, "features among 'item'"),
    ],
)
def test_what_cannot_be_is_said(models, settings, error, said):
    with pytest.raises(error, match=said):
        whence.explain(models[GRU4Rec], HISTORY, k=2, **settings)


def test_models_of_items_alone_say_how_they_would_have_features(train):
    model = GRU4Rec(embedding_dim=4, epochs=1).fit(train)
    with pytest.raises(UnsupportedError, match="item_features, user_features or context_features"):
        whence.explain(model, [7, 0], level="cell", k=2)
