"""NeuMF against the equations of the paper, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradient_checks as checks  # noqa: E402

from whence import evaluate, read_interactions  # noqa: E402
from whence.data.splits import split_rows  # noqa: E402
from whence.errors import ParameterError  # noqa: E402
from whence.models.neural.neumf import NeuMF  # noqa: E402
from whence.models.training import pairs  # noqa: E402


@pytest.fixture(scope="module")
def train():
    return checks.rated_users()


def make(**options):
    small = {"gmf_dim": 5, "mlp_dim": 4, "layers": (6, 3), "n_negatives": 2}
    return NeuMF(**{**small, "epochs": 2, "batch_size": 8, **options})


def naive_score(p, user, item):
    """Both parts side by side, each layer on its own."""
    product = p["gmf_users.weight"][user] * p["gmf_items.weight"][item]
    inputs = np.concatenate([p["mlp_users.weight"][user], p["mlp_items.weight"][item]])
    first = np.hstack([p["mlp.user_layer.weight"], p["mlp.item_layer.weight"]])
    hidden = np.maximum(first @ inputs + p["mlp.user_layer.bias"], 0)
    layer = 0
    while f"mlp.hidden.{layer}.weight" in p:
        weight, bias = p[f"mlp.hidden.{layer}.weight"], p[f"mlp.hidden.{layer}.bias"]
        hidden = np.maximum(weight @ hidden + bias, 0)
        layer += 1
    last = np.hstack([p["gmf_output.weight"], p["mlp.output.weight"]])[0]
    return last @ np.concatenate([product, hidden]) + p["mlp.output.bias"][0]


@pytest.mark.parametrize("layers", [(6,), (6, 3), [8, 4, 2]])
def test_scores_and_loss_equal_the_equations(train, layers):
    model = checks.shaken(make(layers=layers, exclude_seen=False).fit(train))
    p = checks.parameters(model)
    scores = model.score_codes(model.user_queries(train.source_ids))
    naive = np.array(
        [[naive_score(p, u, i) for i in range(train.n_items)] for u in range(train.n_sources)]
    )
    np.testing.assert_allclose(scores, naive, rtol=1e-9)
    batch = model.examples_.batch(np.arange(train.n_rows), epoch=1)
    losses = model.example_loss(batch).detach().numpy()
    for number, (user, item) in enumerate(zip(train.source_codes, train.item_codes)):
        expected = -np.log(1 / (1 + np.exp(-naive[user, item])))
        for other in batch["negatives"][number].tolist():
            expected -= np.log(1 - 1 / (1 + np.exp(-naive[user, other])))
        np.testing.assert_allclose(losses[number], expected, rtol=1e-8)


def test_losses_and_gradients(train):
    for check in (
        checks.check_losses_of_examples,
        checks.check_training_loss,
        checks.check_finite_differences,
        checks.check_second_derivatives,
    ):
        check(make().fit(train))


def test_scores(train, tmp_path):
    checks.check_scores_are_those_of_pairs(make, train)
    checks.check_strangers(make, train)
    checks.check_same_seed_and_saving(make, train, tmp_path)


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_scores_do_not_depend_on_blocks(train, size, monkeypatch):
    model = make().fit(train)
    queries = model.user_queries(train.source_ids)
    whole = model.score_codes(queries)
    monkeypatch.setattr(pairs, "_SCORES_PER_BLOCK", size)
    np.testing.assert_allclose(model.score_codes(queries), whole, rtol=1e-5)


@pytest.mark.parametrize(("given", "std"), [({}, 0.01), ({"initial_std": 0.1}, 0.1)])
def test_first_parameters(given, std):
    data = checks.rated_users(n_users=300, n_items=200)
    model = NeuMF(epochs=1, learning_rate=0.0, weight_decay=0.0, **given).fit(data)
    p = checks.parameters(model)
    for name in ("gmf_users", "gmf_items", "mlp_users", "mlp_items"):
        np.testing.assert_allclose(p[f"{name}.weight"].std(), std, rtol=0.05)
    bound = np.sqrt(6 / (64 + 32))
    first = np.hstack([p["mlp.user_layer.weight"], p["mlp.item_layer.weight"]])
    assert first.shape == (32, 64)
    assert 0.95 * bound < np.abs(first).max() < bound
    last = np.hstack([p["gmf_output.weight"], p["mlp.output.weight"]])
    assert last.shape == (1, 64 + 8)
    assert 0.8 * np.sqrt(3 / 72) < np.abs(last).max() < np.sqrt(3 / 72)
    assert all((p[name] == 0).all() for name in p if name.endswith("bias"))


def test_dropout_changes_training_alone(train):
    plain, dropped = make(dropout=0.0).fit(train), make(dropout=0.5).fit(train)
    again = make(dropout=0.5).fit(train)
    queries = plain.user_queries(train.source_ids)
    assert not np.array_equal(plain.score_codes(queries), dropped.score_codes(queries))
    np.testing.assert_array_equal(again.score_codes(queries), dropped.score_codes(queries))
    np.testing.assert_array_equal(dropped.score_codes(queries), dropped.score_codes(queries))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("gmf_dim", 0, "gmf_dim must be an integer of at least 1"),
        ("mlp_dim", -3, "mlp_dim must be an integer of at least 1"),
        ("layers", (), "layers must be the widths of one hidden layer or more"),
        ("layers", 64, "layers must be a list"),
        ("layers", (8, 0), "layers must be an integer of at least 1, not 0"),
        ("dropout", 1.0, "dropout must be a number of at least 0.0 and below 1.0"),
        ("dropout", -0.1, "dropout must be a number of at least 0.0 and below 1.0"),
        ("n_negatives", 0, "n_negatives must be an integer of at least 1"),
    ],
)
def test_bad_arguments(train, argument, value, message):
    with pytest.raises(ParameterError, match=message):
        make(**{argument: value}).fit(train)


@pytest.mark.slow
def test_quality_on_real_data(data_dir):
    """RecBole's NeuMF reaches Recall@10 .225 and NDCG@10 .263 on such a split."""
    data = read_interactions(data_dir / "ml-100k" / "u.data")
    train, valid, test = split_rows(data, seed=1)
    model = NeuMF(seed=1).fit(train, validation=valid, eval_every=3)
    scores = evaluate(model, test, ["recall@10", "ndcg@10"], history=valid).scores
    assert scores["recall@10"] > 0.23
    assert scores["ndcg@10"] > 0.27
