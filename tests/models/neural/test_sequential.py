"""Sequential networks: against naive recurrences, on windows of any padding, on real orders."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracles import random_sessions
from scipy.special import erf

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import GRU4Rec, LSTMRec, SASRec, make_queries  # noqa: E402
from whence.errors import DataError, DataWarning, ParameterError  # noqa: E402
from whence.models.neural import sequential  # noqa: E402

SMALL = {
    LSTMRec: {"embedding_dim": 6, "hidden_dim": 5},
    GRU4Rec: {"embedding_dim": 6, "hidden_dim": 5},
    SASRec: {"embedding_dim": 6, "num_heads": 2, "num_layers": 2},
}
MODELS = list(SMALL)
LOSSES = ["cross_entropy", "sampled_cross_entropy", "bpr", "bpr_max", "bce"]


@pytest.fixture(scope="module")
def train():
    return random_sessions(np.random.default_rng(1), 30, 12)


def fitted(model_class, train, **options):
    options = {"epochs": 1, "batch_size": 8, "max_length": 4, "n_negatives": 3, **options}
    run = options.pop("run", None)
    return model_class(**SMALL[model_class], **options).fit(train, run=run)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def parameters(model):
    return {name: value.double().numpy() for name, value in model.module_.state_dict().items()}


def lstm_scores(p, items):
    """Equations of the LSTM, gates in torch's order: input, forget, cell, output."""
    h = c = np.zeros(5)
    for item in items:
        x = p["embedding.weight"][item]
        gates = p["lstm.weight_ih_l0"] @ x + p["lstm.bias_ih_l0"]
        gates = gates + p["lstm.weight_hh_l0"] @ h + p["lstm.bias_hh_l0"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return p["output.weight"] @ h + p["output.bias"]


def gru_scores(p, items):
    """Equations of the GRU, gates in torch's order: reset, update, new."""
    h = np.zeros(5)
    for item in items:
        x = p["embedding.weight"][item]
        xr, xz, xn = np.split(p["gru.weight_ih_l0"] @ x, 3)
        hr, hz, hn = np.split(p["gru.weight_hh_l0"] @ h, 3)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        h = (1 - z) * np.tanh(xn + r * hn) + z * h
    state = p["dense.weight"] @ h + p["dense.bias"]
    return p["embedding.weight"][:-1] @ state


def norm(x, p, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-8)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def sasrec_scores(p, items, norm_first=True):
    """Causal attention, one head after the other; with norms last, gelu as RecBole has it."""
    x = p["embedding.weight"][items] + p["place.weight"][: len(items)]
    x = x if norm_first else norm(x, p, "norm")
    for b in range(2):

        def linear(name, v, b=b):
            return v @ p[f"blocks.{b}.{name}.weight"].T + p[f"blocks.{b}.{name}.bias"]

        y = norm(x, p, f"blocks.{b}.norm_attention") if norm_first else x
        q, k, v = linear("query", y), linear("key", y), linear("value", y)
        mixed = np.zeros_like(x)
        for head in (slice(0, 3), slice(3, 6)):
            for t in range(len(items)):
                logits = q[t, head] @ k[: t + 1, head].T / np.sqrt(3)
                weight = np.exp(logits - logits.max())
                mixed[t, head] = weight / weight.sum() @ v[: t + 1, head]
        x = x + linear("output", mixed)
        if norm_first:
            y = norm(x, p, f"blocks.{b}.norm_feed")
            x = x + linear("feed_out", np.maximum(linear("feed_in", y), 0))
        else:
            x = norm(x, p, f"blocks.{b}.norm_attention")
            inner = linear("feed_in", x)
            inner = inner * 0.5 * (1.0 + erf(inner / np.sqrt(2.0)))
            x = norm(x + linear("feed_out", inner), p, f"blocks.{b}.norm_feed")
    return p["embedding.weight"][:-1] @ (norm(x, p, "norm") if norm_first else x)[-1]


NAIVE = {LSTMRec: lstm_scores, GRU4Rec: gru_scores, SASRec: sasrec_scores}


@pytest.mark.parametrize("model_class", MODELS)
def test_scores_equal_the_equations(model_class, train):
    model = fitted(model_class, train, exclude_seen=False)
    queries = make_queries(model, train)
    scores = model.score_codes(queries)
    p = parameters(model)
    for q in range(0, len(queries), 7):
        items = queries.history_items[queries.history_start[q] : queries.history_end[q]][-4:]
        np.testing.assert_allclose(scores[q], NAIVE[model_class](p, items), rtol=1e-4, atol=1e-5)


def test_sasrec_of_recbole(train):
    options = {"inner_dim": 9, "activation": "gelu", "norm_first": False, "exclude_seen": False}
    model = fitted(SASRec, train, **options)
    queries = make_queries(model, train)
    scores, p = model.score_codes(queries), parameters(model)
    assert p["blocks.0.feed_in.weight"].shape == (9, 6)
    for q in range(0, len(queries), 7):
        items = queries.history_items[queries.history_start[q] : queries.history_end[q]][-4:]
        wanted = sasrec_scores(p, items, norm_first=False)
        np.testing.assert_allclose(scores[q], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["last", "all"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model_class", MODELS)
def test_loss_of_an_example_does_not_depend_on_its_batch(model_class, loss, positions, train):
    model = fitted(model_class, train, loss=loss, positions=positions)
    module = model.module_.double()
    numbers = np.arange(len(model.examples_))
    whole = model.example_loss(model.examples_.batch(numbers, 1))
    assert whole.shape == (len(numbers),)
    for number in numbers[::5]:
        alone = model.example_loss(model.examples_.batch(np.array([number]), 1))
        torch.testing.assert_close(alone[0], whole[number], rtol=1e-9, atol=1e-12)
    assert module.training is False


@pytest.mark.parametrize("model_class", MODELS)
def test_all_positions_sum_the_last_ones(model_class, train):
    """Where no window is cut, a sequence's loss is the sum of its prefixes' losses."""
    every = fitted(model_class, train, positions="all", max_length=20)
    last = fitted(model_class, train, positions="last", max_length=20)
    last.module_.load_state_dict(every.module_.state_dict())
    for model in (every, last):
        model.module_.double()
    a, b = (np.arange(len(m.examples_)) for m in (every, last))
    totals = np.zeros(every.train_.n_sources)
    np.add.at(
        totals,
        last.examples_.sources(b),
        last.example_loss(last.examples_.batch(b)).detach().numpy(),
    )
    got = every.example_loss(every.examples_.batch(a)).detach().numpy()
    np.testing.assert_allclose(got, totals[every.examples_.sources(a)], rtol=1e-9)


@pytest.mark.parametrize("model_class", MODELS)
def test_gradients_agree_with_finite_differences(model_class, train):
    model = fitted(model_class, train, loss="cross_entropy")
    module = model.module_.double()
    batch = model.examples_.batch(np.arange(3))
    model.example_loss(batch).sum().backward()
    rng = np.random.default_rng(0)
    for parameter in module.parameters():
        flat, grad = parameter.data.view(-1), parameter.grad.view(-1)
        for place in rng.integers(0, len(flat), 3):
            value, step = float(flat[place]), 1e-6
            ends = []
            for sign in (1, -1):
                flat[place] = value + sign * step
                ends.append(float(model.example_loss(batch).sum().detach()))
            flat[place] = value
            np.testing.assert_allclose(
                (ends[0] - ends[1]) / (2 * step), float(grad[place]), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("model_class", MODELS)
def test_learns_a_rule(model_class):
    """Item i is always followed by i + 1."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 12, 200)
    table = pl.DataFrame(
        {
            "session_id": np.repeat(np.arange(200), 4),
            "item_id": (starts[:, None] + np.arange(4)).ravel() % 12,
        }
    )
    model = fitted(
        model_class, table, epochs=12, learning_rate=0.02, exclude_seen=False, max_length=10
    )
    lists, _ = model.recommend([[3], [7, 8]], k=1)
    assert [row.tolist() for row in lists] == [[4], [9]]


@pytest.mark.parametrize("model_class", MODELS)
def test_seen_items_may_be_excluded(model_class, train):
    history = train["item_id"].to_list()[:3]
    model = fitted(model_class, train, exclude_seen=True)
    items, _ = model.recommend(history, k=model.n_items)
    assert not set(items.tolist()) & set(history)
    assert len(items) == model.n_items - len(set(history))
    items, _ = fitted(model_class, train).recommend(history, k=model.n_items)
    assert len(items) == model.n_items
    users = fitted(model_class, train.rename({"session_id": "user_id"}))
    assert not set(users.recommend(history, k=model.n_items)[0].tolist()) & set(history)


def test_users_need_a_time(train):
    table = train.rename({"session_id": "user_id"})
    untimed = table.drop([c for c in table.columns if c not in ("user_id", "item_id")])
    with pytest.raises(DataError, match="no time column"):
        fitted(LSTMRec, untimed)


def test_heads_must_divide_the_embedding(train):
    with pytest.raises(ParameterError, match="multiple of num_heads"):
        SASRec(embedding_dim=6, num_heads=4).fit(train)


def test_users_are_asked_with_all_that_is_known():
    rng = np.random.default_rng(5)
    table = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(20), 6),
            "item_id": rng.integers(0, 15, 120),
            "timestamp": np.arange(120),
        }
    )
    data = whence.Interactions.from_frame(table)
    rest, test = whence.split_last(data)
    train, valid = whence.split_last(rest)
    model = fitted(GRU4Rec, train)
    result = whence.evaluate(model, test, "recall@5", history=valid)
    assert result.n_queries == 20
    lists, _ = model.recommend(
        [table.filter(pl.col("user_id") == u)["item_id"].to_list()[:5] for u in range(20)], k=5
    )
    hits = [float(table["item_id"][6 * u + 5] in row.tolist()) for u, row in enumerate(lists)]
    assert result["recall@5"] == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("model_class", [GRU4Rec, SASRec])
def test_initial_embeddings_have_the_deviation_given(train, model_class):
    settings = {"learning_rate": 0.0, "embedding_dim": 64, "initial_std": 0.25, "epochs": 1}
    embedding = model_class(**settings).fit(train).module_.embedding.weight
    assert float(embedding[:-1].std()) == pytest.approx(0.25, rel=0.1)
    assert not embedding[-1].any()


def test_layer_norms_have_the_constant_given(train):
    model = fitted(SASRec, train, norm_eps=0.5)
    norms = [layer for layer in model.module_.modules() if isinstance(layer, torch.nn.LayerNorm)]
    assert {layer.eps for layer in norms} == {0.5}


@pytest.mark.parametrize("model_class", MODELS)
def test_large_catalogues_are_learned_by_the_sampled_softmax(
    model_class, train, monkeypatch, tmp_path
):
    whole = fitted(model_class, train)
    assert whole.loss_ == "cross_entropy"
    n_items = whole.n_items
    monkeypatch.setattr(sequential, "MOST_ITEMS", n_items)
    assert fitted(model_class, train).loss_ == "cross_entropy"
    monkeypatch.setattr(sequential, "MOST_ITEMS", n_items - 1)
    with pytest.warns(DataWarning, match=f"3 drawn ones.*{n_items} items.*cross_entropy"):
        model = fitted(model_class, train)
    named = fitted(model_class, train, loss="sampled_cross_entropy")
    assert model.loss_ == named.loss_ == "sampled_cross_entropy"
    assert model.loss is None
    queries = make_queries(model, train)
    scores = model.score_codes(queries)
    assert scores.tobytes() == named.score_codes(queries).tobytes()
    assert np.isfinite(scores).sum() > 0.9 * scores.size  # all items are ranked
    named = fitted(model_class, train, loss="cross_entropy")
    assert named.score_codes(queries).tobytes() == whole.score_codes(queries).tobytes()
    again = whence.load_model(model.save(tmp_path / "model.whence"))
    assert again.loss_ == "sampled_cross_entropy"
    assert again.score_codes(queries).tobytes() == scores.tobytes()


def test_training_goes_on_with_the_loss_that_it_began_with(train, monkeypatch, tmp_path):
    run = whence.Run(folder=tmp_path)
    fitted(GRU4Rec, train, loss="cross_entropy", run=run)
    on = run.changed(resume=True)
    assert fitted(GRU4Rec, train, epochs=2, run=on).history_[-1]["epoch"] == 2
    monkeypatch.setattr(sequential, "MOST_ITEMS", 1)
    with pytest.warns(DataWarning), pytest.raises(ParameterError, match="another loss"):
        fitted(GRU4Rec, train, epochs=3, run=on)
