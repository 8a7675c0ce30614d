"""Values by training loss: against explicit loops, and what they find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

import whence
from whence.curation import Attack
from whence.data._shuffling import shuffled
from whence.errors import DataError, NotFittedError, ParameterError, UnsupportedError
from whence.influence import InformationGain, OrderGain, TrainingLoss, TrimmedLoss


def ring(n=40):
    """Users who walk along a ring of 20 items."""
    rng = np.random.default_rng(0)
    steps = np.arange(12)
    items = (rng.integers(0, 20, n)[:, None] + steps + (rng.random((n, 12)) < 0.05)) % 20
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(n), 12),
            "item_id": items.ravel(),
            "timestamp": np.tile(steps, n),
        }
    )


def make(positions="all"):
    return whence.GRU4Rec(
        embedding_dim=8, hidden_dim=8, dropout=0.0, max_length=5, epochs=12, batch_size=16,
        learning_rate=0.02, positions=positions, seed=1,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["all", "last"])
def model(request):
    data = Attack(kind="shuffled", share=0.1, seed=3).plant(ring())
    model = make(request.param).fit(data.data)
    model.corrupted = data.corrupted
    return model


def by_hand(model, data):
    """Mean loss of the next items of each user, one at a time, as its windows have them."""
    module, examples = model.module_.eval(), model._examples(data)
    sums, counts = np.zeros(data.n_sources), np.zeros(data.n_sources)
    for number in range(len(examples)):
        batch = examples.batch(np.array([number]))
        states = module.states(batch["items"], batch["length"])[0]
        targets = batch["target"][0].reshape(-1)
        places = [len(targets) - 1] if model.positions == "all" else [int(batch["length"]) - 1]
        places = range(int(batch["length"])) if model.positions == "all" else places
        owner = examples.sources(np.array([number]))[0]
        for place in places:
            target = targets[place if model.positions == "all" else 0]
            if target >= 0:
                scores = module.item_scores(states[place][None])[0]
                sums[owner] -= torch.log_softmax(scores, 0)[target].item()
                counts[owner] += 1
    return sums / counts


def test_loss_by_user_is_that_of_its_next_items(model):
    values = TrainingLoss().attribute(model)
    want = by_hand(model, model.train_)
    assert values.ids.equals(model.train_.source_ids.alias("user_id"))
    np.testing.assert_allclose(values.scores, -want, rtol=1e-4)
    assert values.metadata["method"] == "loss"


def test_loss_by_example_and_by_item(model):
    examples = model.examples_
    losses = -TrainingLoss(by="example").attribute(model).scores
    terms = examples.n_terms(examples.keys)
    sums, shares = {}, {}
    for number in range(len(examples)):
        rows, _ = examples.rows(np.array([number]))
        for item in model.train_.frame["item_id"].gather(rows):
            sums[item] = sums.get(item, 0.0) + losses[number] * terms[number] / len(rows)
            shares[item] = shares.get(item, 0.0) + terms[number] / len(rows)
    found = TrainingLoss(by="item").attribute(model)
    want = [-sums[item] / shares[item] for item in found.ids]
    np.testing.assert_allclose(found.scores, want, rtol=1e-5)


def test_gain_by_order_is_the_loss_in_other_orders_minus_that_in_ones_own(model):
    train = model.train_
    generator = np.random.Generator(np.random.PCG64([7, 0x0D]))
    everybody = np.ones(train.n_sources, dtype=bool)
    want = -by_hand(model, train)
    for _ in range(2):
        want += by_hand(model, shuffled(train, everybody, generator)) / 2
    values = OrderGain(seed=7, draws=2).attribute(model)
    np.testing.assert_allclose(values.scores, want, rtol=1e-3, atol=1e-4)


def test_gain_by_order_finds_shuffled_users(model):
    report = whence.detection_report({"order": OrderGain().attribute(model)}, model.corrupted)
    assert report["average_precision"][0] > 0.85


def test_information_gain_is_what_is_known_beyond_popularity(model):
    train = model.train_
    counts = np.bincount(train.item_codes)
    sums, n = -by_hand(model, train), np.bincount(train.source_codes) - 1
    for source in range(train.n_sources):
        a, b = train.sequences.offsets[source : source + 2]
        targets = train.sequences.items[a + 1 : b]
        sums[source] -= np.log(counts[targets] / train.n_rows).sum() / n[source]
    values = InformationGain().attribute(model)
    np.testing.assert_allclose(values.scores, sums, rtol=1e-4, atol=1e-4)
    sampled = whence.GRU4Rec(loss="bpr", epochs=1).fit(train)
    with pytest.raises(UnsupportedError, match="cross_entropy"):
        InformationGain().attribute(sampled)


def test_trimmed_loss_is_that_of_a_model_without_the_suspicious():
    attacked = Attack(kind="duplicated", share=0.2, seed=0).plant(ring())
    train = attacked.data
    model = make().fit(train)
    first = by_hand(model, train)
    kept = np.ones(train.n_sources, dtype=bool)
    kept[np.argsort(-first)[: int(0.3 * train.n_sources)]] = False
    again = make().fit(train.keep_sources(kept))
    values = TrimmedLoss(trim=0.3).attribute(model)
    np.testing.assert_allclose(values.scores, -by_hand(again, train), rtol=1e-4)
    # A second round starts from the losses of the first.
    kept = np.ones(train.n_sources, dtype=bool)
    kept[np.argsort(values.scores)[: int(0.3 * train.n_sources)]] = False
    again = make().fit(train.keep_sources(kept))
    twice = TrimmedLoss(trim=0.3, rounds=2).attribute(model)
    np.testing.assert_allclose(twice.scores, -by_hand(again, train), rtol=1e-4)
    # Copies that support each other are found once nothing learns from them.
    rankings = {"loss": TrainingLoss().attribute(model), "trimmed": values}
    report = whence.detection_report(rankings, attacked.corrupted)
    plain, trimmed = report["average_precision"]
    assert trimmed > plain


def test_models_without_order_have_losses():
    model = whence.NeuMF(epochs=1, seed=0).fit(ring())
    assert len(TrainingLoss(by="interaction").attribute(model)) == 480
    assert len(TrimmedLoss().attribute(model)) == 40
    with pytest.raises(UnsupportedError, match="does not learn from the order"):
        OrderGain().attribute(model)


def test_bad_input(model):
    with pytest.raises(ParameterError, match="trim"):
        TrimmedLoss(trim=1.5).attribute(model)
    with pytest.raises(DataError, match="smaller trim"):
        TrimmedLoss(trim=1.0).attribute(model)
    with pytest.raises(ParameterError, match="leave by out"):
        OrderGain(by="item").attribute(model)
    with pytest.raises(ParameterError, match="by"):
        TrainingLoss(by="basket").attribute(model)
    with pytest.raises(NotFittedError):
        TrainingLoss().attribute(whence.GRU4Rec())
    with pytest.raises(UnsupportedError, match="gradients"):
        TrainingLoss().attribute(whence.ItemKNN().fit(ring()))
