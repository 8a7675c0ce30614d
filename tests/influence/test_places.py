"""Credit by place and by target: the gradient of each place's loss by itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from brute import at, close  # noqa: E402
from torch.nn import functional  # noqa: E402

import whence  # noqa: E402
from whence.errors import UnsupportedError  # noqa: E402
from whence.influence import TRAK, TracIn, TracInRandomProjection, query_examples  # noqa: E402
from whence.influence.strategies import ByFactors  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")
EXACT = {"precision": "float64", "weighting": "sgd"}


def fitted(name, sessions, **arguments):
    # Sessions are longer than windows, so that windows overlap and some places have no target.
    model = getattr(whence, name)(
        embedding_dim=4, max_length=4, positions="all", epochs=2, batch_size=8,
        learning_rate=0.05, seed=3, **arguments,
    )  # fmt: skip
    return model.fit(sessions[0], checkpoints=1)


@pytest.fixture(scope="module", params=["LSTMRec", "GRU4Rec", "SASRec"])
def model(request, sessions):
    return fitted(request.param, sessions, loss="cross_entropy")


@pytest.fixture
def queries(model, sessions):
    return query_examples(model, sessions[1])


def flat(losses, module):
    """Gradients of losses, one row for each."""
    rows = [
        torch.autograd.grad(loss, list(module.parameters()), retain_graph=True) for loss in losses
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).numpy()


def of_places(model, checkpoint):
    """Gradients of each place of each window, the windows, and the rows that are targets."""
    here, train = at(model, checkpoint.module), model.train_
    batch = here.examples_.batch(np.arange(len(here.examples_)))
    losses, owner, rows = [], [], []
    for number, target in enumerate(batch["target"]):
        window = here.examples_.rows(np.array([number]))[0]
        states = here.module_.states(batch["items"][[number]], batch["length"][[number]])
        for place in np.flatnonzero(target >= 0):
            scores = here.module_.item_scores(states[:, place])
            losses.append(functional.cross_entropy(scores, target[[place]]))
            owner.append(number)
            # What follows an item is the next one of the window.
            rows.append(window[place + 1])
            names = dict(enumerate(train.vocabulary.items.to_list()))
            assert train.frame["item_id"][int(rows[-1])] == names[int(target[place])]
    return flat(losses, here.module_), np.array(owner), np.array(rows)


def of_queries(model, queries, checkpoint):
    here = at(model, checkpoint.module)
    return flat(here.example_loss(queries.batch(np.arange(len(queries)))), here.module_)


def expected(model, queries=None, cosine=False):
    """Scores of the places for each query, or for their own windows; windows and rows."""
    total, rates = 0.0, sum(c.learning_rate for c in model.checkpoints_)
    for checkpoint in model.checkpoints_:
        places, owner, rows = of_places(model, checkpoint)
        whole = np.stack([places[owner == n].sum(0) for n in range(owner.max() + 1)])
        if queries is None:
            total = total + checkpoint.learning_rate * (places * whole[owner]).sum(1)
            continue
        asked, rate = of_queries(model, queries, checkpoint), checkpoint.learning_rate
        if cosine:
            places = places / np.linalg.norm(whole, axis=1)[owner, None]
            asked, rate = asked / np.linalg.norm(asked, axis=1, keepdims=True), rate / rates
        total = total + rate * places @ asked.T
    return total, owner, rows


def by_row(values, rows, model):
    return np.bincount(rows, weights=values, minlength=model.train_.n_rows)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("cosine", [False, True])
def test_each_row_has_the_places_where_it_is_the_target(
    cosine, forward, model, queries, monkeypatch
):
    if not forward:
        monkeypatch.setattr(ByFactors, "_can_go_forward", lambda *_: False)
    scores, _, rows = expected(model, queries, cosine)
    want = by_row(scores.sum(1), rows, model)
    method = TracIn(by="interaction", normalise="cosine" if cosine else None, **EXACT)
    values = method.attribute(model, queries)
    close(values.scores, want, 1e-9)
    close(values.for_query(2).scores, by_row(scores[:, 2], rows, model), 1e-9)
    table = model.train_.frame.select("item_id").with_columns(score=pl.Series(want))
    sums = table.group_by("item_id").agg(pl.col("score").sum())
    by_target = TracIn(by="target", normalise=method.normalise, **EXACT)
    found = by_target.attribute(model, queries)
    joined = found.frame.join(sums, on="item_id", suffix="_want")
    assert len(joined) == len(found.frame) == len(model.train_.vocabulary.items)
    close(joined["score"].to_numpy(), joined["score_want"].to_numpy(), 1e-9)


def test_self_influence_by_row(model):
    scores, _, rows = expected(model)
    values = TracIn(by="interaction", **EXACT).self_influence(model)
    close(values.scores, by_row(scores, rows, model), 1e-9)


def test_all_tables_have_one_sum(model, queries):
    example = TracIn(precision="float64").attribute(model, queries)
    for by in ("interaction", "target", "item", "session"):
        values = TracIn(precision="float64", by=by).attribute(model, queries)
        assert values.scores.sum() == pytest.approx(example.scores.sum())
    lists = TracIn(precision="float64", by="target", top=2).per_query(model, queries)
    close(
        lists.scores,
        TracIn(precision="float64", by="target").attribute(model, queries).scores,
        1e-9,
    )


def test_sketches_of_full_size_have_exact_places(model, queries):
    want = TracIn(by="interaction", **EXACT).attribute(model, queries).scores
    sketches = TracInRandomProjection(dimension=10**6, precision="float64", by="interaction")
    close(sketches.attribute(model, queries).scores, want, 1e-9)


def test_tables_name_the_place_that_did_most(model, queries, sessions):
    scores, owner, rows = expected(model, queries)
    values = TracIn(**EXACT).attribute(model, queries)
    train = model.train_
    for table, sign in ((values.proponents(1, 4), 1), (values.opponents(1, 4), -1)):
        assert table.columns == [
            "rank", "score", "example", "session_id", "place", "place_score", "target", "sequence",
        ]  # fmt: skip
        for row in table.iter_rows(named=True):
            places = np.flatnonzero(owner == row["example"])
            most = places[np.argmax(sign * scores[places, 1])]
            assert row["place_score"] == pytest.approx(scores[most, 1])
            assert row["score"] == pytest.approx(scores[places, 1].sum())
            item = train.frame["item_id"][int(rows[most])]
            assert row["target"] == f"Film {item}"
            window = model.examples_.rows(np.array([row["example"]]))[0]
            assert row["place"] == list(window).index(rows[most]) + 1
            titles = [f"Film {train.frame['item_id'][int(r)]}" for r in window]
            assert row["sequence"] == titles[: row["place"] - 1]


def test_models_of_one_target_have_it_credited(lstm, tables, sessions):
    queries = query_examples(lstm, sessions[1])
    plain = TracIn(**EXACT).attribute(lstm, queries)
    rows = lstm.examples_.targets(np.arange(len(lstm.examples_)))[0]
    values = TracIn(by="interaction", **EXACT).attribute(lstm, queries)
    close(values.scores, by_row(plain.scores, rows, lstm), 1e-12)
    assert "place" not in plain.proponents(0, 1).columns
    pairs = whence.BPRMF(embedding_dim=3, epochs=1).fit(tables[0], checkpoints=1)
    by = {by: TracIn(by=by).attribute(pairs, tables[1]).scores for by in ("item", "target")}
    close(by["target"], by["item"], 1e-6)


def test_targets_that_nobody_knows_are_refused(tables, model, queries):
    whole = whence.RBM(hidden_units=3, epochs=1).fit(tables[0], checkpoints=1)
    with pytest.raises(UnsupportedError, match="about all items"):
        TracIn(by="target").self_influence(whole)
    assert len(TracIn(by="interaction").self_influence(whole).scores) == whole.train_.n_rows
    with pytest.raises(UnsupportedError, match="single places"):
        TRAK(by="target", dimension=8).attribute(model, queries)
