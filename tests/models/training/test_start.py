"""Training from the parameters of a model that is there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

import whence
from whence.errors import DataError, FileFormatError, NotFittedError, ParameterError
from whence.models.adapters import TorchModel
from whence.models.training.start import Start

DAYS = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "seed": 3}


@pytest.fixture(scope="module")
def days():
    """Ratings of old days by all users, and of new days by some, in another order of ids."""
    rng = np.random.default_rng(5)
    rows = [
        (f"u{u}", f"i{i}", 10 * t + u, float(rng.integers(1, 6)))
        for u in range(8)
        for t, i in enumerate(rng.permutation(11)[:8])
    ]
    names = ["user_id", "item_id", "timestamp", "rating"]
    frame = pl.DataFrame(rows, schema=names, orient="row").sort("timestamp")
    return frame.filter(pl.col("timestamp") < 50), frame.filter(pl.col("timestamp") >= 50)[::-1]


class Mean(torch.nn.Module):
    """Scores by the mean of the embeddings of a window."""

    def __init__(self, n_items):
        super().__init__()
        self.items = torch.nn.Embedding(n_items + 1, 4, padding_idx=n_items)

    def forward(self, items, lengths):
        return (self.items(items).sum(1) / lengths[:, None]) @ self.items.weight[:-1].T


MODELS = {
    "neumf": lambda **more: whence.NeuMF(gmf_dim=3, mlp_dim=3, layers=(4,), **DAYS | more),
    "bpr": lambda **more: whence.BPRMF(embedding_dim=3, **DAYS | more),
    "mf": lambda **more: whence.BiasedMF(embedding_dim=3, **DAYS | more),
    "widedeep": lambda **more: whence.WideDeep(embedding_dim=3, layers=(4,), **DAYS | more),
    "gru": lambda **more: whence.GRU4Rec(embedding_dim=4, hidden_dim=4, **DAYS | more),
    "lstm": lambda **more: whence.LSTMRec(embedding_dim=4, hidden_dim=4, **DAYS | more),
    "sasrec": lambda **more: whence.SASRec(embedding_dim=4, num_layers=1, **DAYS | more),
    "rbm": lambda **more: whence.RBM(hidden_units=3, **DAYS | more),
    "torch": lambda **more: TorchModel(lambda train: Mean(train.n_items), **DAYS | more),
}


def parameters(model):
    return {name: value.clone() for name, value in model.module_.state_dict().items()}


def are_equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", MODELS)
def test_training_goes_on_from_there(days, name):
    old, new = days
    before = MODELS[name]().fit(old)
    began = parameters(before)
    still = MODELS[name](start=before, learning_rate=0.0).fit(new)
    assert are_equal(parameters(still), began)
    assert still.vocabulary.items.equals(before.vocabulary.items)
    after = MODELS[name](start=before).fit(new)
    assert are_equal(parameters(before), began)
    assert not are_equal(parameters(after), began)


@pytest.mark.parametrize("name", ["bpr", "neumf", "mf"])
def test_a_step_is_taken_at_the_parameters_of_the_start(days, name):
    old, new = days
    before = MODELS[name]().fit(old)
    plain = {"optimizer": "sgd", "epochs": 1, "batch_size": 1000, "weight_decay": 0.0}
    after = MODELS[name](start=before, **plain).fit(new)
    examples = after.examples_.batch(np.arange(len(after.examples_)))
    module = before.module_
    slopes = torch.autograd.grad(before.example_loss(examples).mean(), list(module.parameters()))
    for (key, value), slope in zip(module.named_parameters(), slopes):
        moved = after.module_.get_parameter(key)
        torch.testing.assert_close(moved, value - DAYS["learning_rate"] * slope)


@pytest.mark.parametrize("name", ["neumf", "gru", "torch"])
def test_it_is_kept_in_the_file(days, name, tmp_path):
    old, new = days
    before = MODELS[name]().fit(old)
    path = before.save(tmp_path / "before.whence")
    after = MODELS[name](start=path).fit(new)
    more = {"module": after.module} if name == "torch" else {}
    loaded = whence.load_model(after.save(tmp_path / "after.whence"), **more)
    path.unlink()
    assert are_equal(parameters(loaded), parameters(after))
    assert loaded.start_.fingerprint == after.start_.fingerprint
    again = type(loaded)(**loaded.params).fit(new)
    assert are_equal(parameters(again), parameters(after))
    twice = whence.load_model(loaded.save(tmp_path / "twice.whence"), **more)
    assert twice.start_.fingerprint == after.start_.fingerprint


def test_what_is_left_out_is_left_out_from_the_same_start(days):
    old, new = days
    before = MODELS["mf"]().fit(old)
    model = MODELS["mf"](start=before).fit(new)
    gone = np.array([0, 3, 5])
    less = MODELS["mf"](start=before).fit(new, without=gone)
    mask = np.ones(len(new), dtype=bool)
    mask[model.train_.rows[gone]] = False
    rows = MODELS["mf"](start=before).fit(whence.Interactions.from_frame(new).keep_rows(mask))
    assert not are_equal(parameters(less), parameters(model))
    for value, other in zip(parameters(less).values(), parameters(rows).values()):
        torch.testing.assert_close(value, other)


def test_replay_begins_there_for_every_run(days):
    old, new = days
    before = MODELS["bpr"]().fit(old)
    model = whence.smooth(MODELS["bpr"](start=before)).fit(new)
    values = whence.Replay(runs=2, by="user").attribute(model, new)
    assert values.metadata["difference"] < 1e-4
    other = whence.smooth(MODELS["bpr"](start=before, seed=4)).fit(new)
    single = [
        whence.Replay(by="user").attribute(one, whence.influence.query_examples(model, new)).scores
        for one in (model, other)
    ]
    np.testing.assert_allclose(values.scores, np.mean(single, axis=0), rtol=1e-3, atol=1e-6)


def test_resumption_asks_for_the_same_start(days, tmp_path):
    old, new = days
    before, other = (MODELS["bpr"](seed=seed).fit(old) for seed in (1, 2))
    run = whence.Run(folder=tmp_path / "run")
    MODELS["bpr"](start=before, epochs=1).fit(new, run=run)
    on = run.changed(resume=True)
    with pytest.raises(ParameterError, match="another start"):
        MODELS["bpr"](start=other, epochs=2).fit(new, run=on)
    resumed = MODELS["bpr"](start=before, epochs=2).fit(new, run=on)
    assert are_equal(parameters(resumed), parameters(MODELS["bpr"](start=before).fit(new)))


def test_a_start_that_does_not_fit_is_refused(days, tmp_path):
    old, new = days
    before = MODELS["bpr"]().fit(old)
    strangers = new.with_columns(user_id=pl.lit("nobody"))
    with pytest.raises(DataError, match=r"start from.*'nobody'"):
        MODELS["bpr"](start=before).fit(strangers)
    items = new.with_columns(item_id=pl.lit("new"))
    with pytest.raises(DataError, match="'new'"):
        MODELS["bpr"](start=before).fit(items)
    # A sequential model has no parameters of users.
    MODELS["gru"](start=MODELS["gru"]().fit(old)).fit(strangers)
    with pytest.raises(ParameterError, match="start is a BPRMF"):
        MODELS["neumf"](start=before).fit(new)
    with pytest.raises(ParameterError, match=r"'users\.weight' is 8 × 3"):
        whence.BPRMF(embedding_dim=5, start=before).fit(new)
    with pytest.raises(NotFittedError, match="learned nothing"):
        MODELS["bpr"](start=MODELS["bpr"]()).fit(new)
    with pytest.raises(ParameterError, match="no file"):
        MODELS["bpr"](start=tmp_path / "nowhere").fit(new)
    for wrong in (5, {"a": 1}, whence.EASE().fit(old)):
        with pytest.raises(ParameterError, match="trains by gradients"):
            MODELS["bpr"](start=wrong).fit(new)
    saved = whence.EASE().fit(old).save(tmp_path / "ease.whence")
    with pytest.raises(ParameterError, match="trains by gradients"):
        MODELS["bpr"](start=saved).fit(new)
    (tmp_path / "text.whence").write_text("none")
    with pytest.raises(FileFormatError):
        MODELS["bpr"](start=tmp_path / "text.whence").fit(new)
    assert Start.of(None) is None
