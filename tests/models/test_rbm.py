"""The restricted Boltzmann machine: energies by enumeration, sampling step by step."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import gradient_checks as checks  # noqa: E402

import whence  # noqa: E402
from whence import evaluate, read_interactions  # noqa: E402
from whence.data.splits import split_rows  # noqa: E402
from whence.errors import ParameterError  # noqa: E402
from whence.models.neural.rbm import RBM  # noqa: E402


@pytest.fixture(scope="module")
def train():
    return checks.rated_users()


def make(**options):
    return RBM(**{"hidden_units": 5, "epochs": 2, "batch_size": 8, **options})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_free_energy(p, visible):
    """-log of the sum over all states of the hidden units."""
    total = 0.0
    for hidden in itertools.product([0.0, 1.0], repeat=len(p["hidden_bias"])):
        hidden = np.array(hidden)
        energy = visible @ p["visible_bias"] + hidden @ p["hidden_bias"]
        total += np.exp(energy + visible @ p["weight"] @ hidden)
    return -np.log(total)


def naive_sample(p, visible, noise, steps):
    """Unit by unit, with the numbers in the order in which they are used."""
    noise = iter(noise.tolist())
    for _ in range(steps):
        odds = p["hidden_bias"] + visible @ p["weight"]
        hidden = np.array([next(noise) < sigmoid(one) for one in odds])
        odds = p["visible_bias"] + p["weight"] @ hidden
        visible = np.array([next(noise) < sigmoid(one) for one in odds]).astype(float)
    return visible


def visible_of(train):
    """Who has what, [n_sources, n_items]."""
    visible = np.zeros((train.n_sources, train.n_items))
    visible[train.source_codes, train.item_codes] = 1
    return visible


@pytest.mark.parametrize("steps", [1, 3])
def test_loss_is_the_difference_of_free_energies(train, steps):
    model = checks.shaken(make(steps=steps).fit(train))
    p = checks.parameters(model)
    batch = model.examples_.batch(np.arange(train.n_sources), epoch=2)
    np.testing.assert_array_equal(batch["visible"], visible_of(train))
    losses = model.example_loss(batch).detach().numpy()
    moved = 0
    for loss, visible, noise in zip(losses, visible_of(train), batch["noise"].numpy()):
        reached = naive_sample(p, visible, noise, steps)
        moved += (reached != visible).any()
        expected = naive_free_energy(p, visible) - naive_free_energy(p, reached)
        np.testing.assert_allclose(loss, expected, rtol=1e-8, atol=1e-9)
    assert moved > 20


def test_gradient_is_that_of_contrastive_divergence(train):
    model = checks.shaken(make().fit(train))
    p = checks.parameters(model)
    batch = model.examples_.batch(np.arange(train.n_sources), epoch=1)
    model.module_.zero_grad()
    model.example_loss(batch).sum().backward()
    expected = {name: np.zeros_like(value) for name, value in p.items()}
    for visible, noise in zip(visible_of(train), batch["noise"].numpy()):
        reached = naive_sample(p, visible, noise, 1)
        for sign, state in ((-1, visible), (1, reached)):
            hidden = sigmoid(p["hidden_bias"] + state @ p["weight"])
            expected["weight"] += sign * np.outer(state, hidden)
            expected["visible_bias"] += sign * state
            expected["hidden_bias"] += sign * hidden
    for name, parameter in model.module_.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name], rtol=1e-8, atol=1e-10)


def test_losses_and_gradients(train):
    for check in (
        checks.check_losses_of_examples,
        checks.check_training_loss,
        checks.check_second_derivatives,
    ):
        check(make().fit(train))


def test_scores_are_one_step_of_mean_field(train):
    model = checks.shaken(make(exclude_seen=False).fit(train))
    p = checks.parameters(model)
    scores = model.score_codes(model.user_queries(train.source_ids))
    hidden = sigmoid(p["hidden_bias"] + visible_of(train) @ p["weight"])
    np.testing.assert_allclose(scores, p["visible_bias"] + hidden @ p["weight"].T, rtol=1e-6)


def test_any_history_is_scored(train):
    model = make().fit(train)
    user = train.source_ids[3]
    mine = train.frame.filter(pl.col("user_id") == user)["item_id"].to_list()
    by_user = model.score(model.user_queries([user]))
    np.testing.assert_array_equal(model.score([mine]), by_user)
    np.testing.assert_array_equal(model.score([[*mine[::-1], mine[0]]]), by_user)
    assert (by_user[0, train.vocabulary.item_codes(pl.Series(mine))] == -np.inf).all()
    items, _ = model.recommend(mine, k=3)
    assert not set(items.tolist()) & set(mine)
    assert (model.score([[], mine])[0] == -np.inf).all()


def test_random_numbers_follow_from_example_and_epoch(train):
    examples = make().fit(train).examples_
    whole = examples.batch(np.arange(len(examples)), 1)["noise"]
    some = np.array([7, 3])
    torch.testing.assert_close(examples.batch(some, 1)["noise"], whole[some], rtol=0, atol=0)
    assert not torch.equal(examples.batch(some, 2)["noise"], whole[some])
    other = make(seed=1).fit(train).examples_
    assert not torch.equal(other.batch(some, 1)["noise"], whole[some])
    noise = RBM(hidden_units=5000, epochs=1).fit(train).examples_.batch(some)["noise"].numpy()
    assert (noise >= 0).all()
    assert (noise < 1).all()
    np.testing.assert_allclose(noise.mean(), 1 / 2, atol=0.01)
    np.testing.assert_allclose(noise.var(), 1 / 12, atol=0.005)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.05


def test_first_parameters(train):
    model = make(hidden_units=2000, epochs=1, learning_rate=0.0).fit(train)
    p = checks.parameters(model)
    np.testing.assert_allclose(p["weight"].std(), 0.01, rtol=0.05)
    assert (p["hidden_bias"] == 0).all()
    popular = visible_of(train).sum(0)
    assert np.argmax(p["visible_bias"]) in np.flatnonzero(popular == popular.max())
    share = (popular + 0.5) / (train.n_sources + 1)
    np.testing.assert_allclose(sigmoid(p["visible_bias"]), share, rtol=1e-5)


def test_same_seed_and_saving(train, tmp_path):
    checks.check_same_seed_and_saving(make, train, tmp_path)


def test_users_without_rows_are_no_examples(train):
    gone = train.source_ids[[0, 4]]
    part = train.without(gone)
    model = make().fit(part)
    assert len(model.examples_) == train.n_sources - 2
    numbers = np.arange(len(model.examples_))
    rows, offsets = model.examples_.rows(numbers)
    owners = part.frame[rows.tolist()]["user_id"].to_list()
    assert not set(owners) & set(gone.to_list())
    assert all(len(set(owners[a:b])) == 1 for a, b in itertools.pairwise(offsets))
    scores = model.score_codes(model.user_queries(train.source_ids))
    assert np.isfinite(scores).any(axis=1).tolist() == [i not in (0, 4) for i in range(25)]


@pytest.mark.parametrize("argument", ["hidden_units", "steps"])
def test_bad_arguments(train, argument):
    with pytest.raises(ParameterError, match=f"{argument} must be an integer of at least 1"):
        make(**{argument: 0}).fit(train)


@pytest.mark.slow
def test_quality_on_real_data(data_dir):
    data = read_interactions(data_dir / "ml-100k" / "u.data")
    train, valid, test = split_rows(data, seed=1)
    model = RBM(seed=1).fit(train, validation=valid, eval_every=5)
    found = evaluate(model, test, "ndcg@10", history=valid).scores["ndcg@10"]
    popular = whence.Popularity().fit(train)
    assert found > 0.27
    assert found > evaluate(popular, test, "ndcg@10", history=valid).scores["ndcg@10"]
