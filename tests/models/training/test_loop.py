"""The training loop: the same seed, resuming, checkpoints, early stopping, divergence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracles import random_sessions

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import GRU4Rec, LSTMRec  # noqa: E402
from whence.engines import Run  # noqa: E402
from whence.errors import (  # noqa: E402
    FileFormatError,
    OutputExistsError,
    ParameterError,
    TrainingError,
    check_interval,
)
from whence.models.training import Checkpoint, load_checkpoints  # noqa: E402

SMALL = {"embedding_dim": 6, "hidden_dim": 5, "batch_size": 8, "max_length": 4}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    return random_sessions(rng, 40, 12), random_sessions(rng, 10, 12)


def state(model):
    return {name: value.clone() for name, value in model.module_.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class BrokenOffError(Exception):
    pass


def break_off_after(epochs):
    def progress(done, total, message):
        if done == epochs:
            raise BrokenOffError

    return progress


@pytest.mark.parametrize("averaging", [0.0, 1.5])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
def test_resumed_is_the_same_as_unbroken(data, tmp_path, optimizer, averaging):
    train, valid = data
    options = {**SMALL, "epochs": 5, "dropout": 0.4, "optimizer": optimizer, "decay": 0.9}
    options["averaging"] = averaging
    whole = GRU4Rec(**options).fit(train, validation=valid, metric="mrr@5", checkpoints=2)
    folder = tmp_path / optimizer
    run, settings = Run(folder=folder), {"metric": "mrr@5", "checkpoints": 2}
    with pytest.raises(BrokenOffError):
        GRU4Rec(**options).fit(
            train, validation=valid, run=run.changed(progress=break_off_after(3)), **settings
        )
    resumed = GRU4Rec(**options).fit(
        train, validation=valid, run=run.changed(resume=True), **settings
    )
    assert same(state(resumed), state(whole))
    assert resumed.best_ == whole.best_
    assert [c.epoch for c in resumed.checkpoints_] == [2, 4, 5]
    for ours, theirs in zip(resumed.checkpoints_, whole.checkpoints_):
        assert same(ours.module, theirs.module)
        assert ours.learning_rate == theirs.learning_rate
    losses = [entry["loss"] for entry in whole.history_]
    assert [entry["loss"] for entry in resumed.history_] == losses
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == losses


def spoiled_after(model, steps):
    """The model, whose loss fails at a step."""
    usual, done = model._training_loss, []

    def loss(batch):
        done.append(1)
        if len(done) > steps:
            raise BrokenOffError
        return usual(batch)

    model._training_loss = loss
    return model


@pytest.mark.parametrize("averaging", [0.0, 1.5])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_resumed_within_an_epoch_is_the_same_as_unbroken(data, tmp_path, optimizer, averaging):
    train, valid = data
    options = {**SMALL, "epochs": 3, "dropout": 0.4, "optimizer": optimizer, "decay": 0.9}
    options["averaging"] = averaging
    settings = {"validation": valid, "metric": "mrr@5", "checkpoints": 1}
    whole = GRU4Rec(**options).fit(train, **settings)
    per_epoch = whole.history_[0]["step"]
    assert per_epoch >= 5
    # Broken off in the first epoch and in the second, a step after the state was kept.
    settings["checkpoint_every"] = 2
    run = Run(folder=tmp_path)
    within = tmp_path / "checkpoints" / "within.pt"
    for steps, resume, reached in ((3, False, 2), (per_epoch + 1, True, per_epoch + 2)):
        with pytest.raises(BrokenOffError):
            spoiled_after(GRU4Rec(**options), steps).fit(
                train, run=run.changed(resume=resume), **settings
            )
        kept = Checkpoint.load(within)
        assert (kept.step, kept.begun["batch"]) == (reached, 2)
    with pytest.raises(OutputExistsError, match="checkpoints of an earlier run"):
        GRU4Rec(**options).fit(train, run=run, **settings)
    on = run.changed(resume=True)
    resumed = GRU4Rec(**options).fit(train, run=on, **settings)
    assert same(state(resumed), state(whole))
    assert resumed.best_ == whole.best_
    assert not within.exists()
    for ours, theirs in zip(resumed.checkpoints_, whole.checkpoints_, strict=True):
        assert same(ours.module, theirs.module)
    for ours, theirs in zip(resumed.history_, whole.history_, strict=True):
        assert (ours["loss"], ours["step"]) == (theirs["loss"], theirs["step"])


def test_divergence_after_a_resumption_leaves_the_last_whole_epoch(data, tmp_path):
    train, _ = data
    run, settings = Run(folder=tmp_path), {"checkpoint_every": 1}
    first = LSTMRec(**SMALL, epochs=1).fit(train)
    per_epoch = first.history_[0]["step"]
    with pytest.raises(BrokenOffError):
        spoiled_after(LSTMRec(**SMALL, epochs=2), per_epoch + 2).fit(train, run=run, **settings)
    assert Checkpoint.load(tmp_path / "checkpoints" / "within.pt").step == per_epoch + 2
    model = LSTMRec(**SMALL, epochs=2)
    model._training_loss = lambda batch: model.example_loss(batch) * float("nan")
    with pytest.raises(TrainingError, match=r"batch 3 of .* of epoch 2.*those of epoch 1 are kept"):
        model.fit(train, run=run.changed(resume=True), **settings)
    assert same(state(model), state(first))


def test_state_within_an_epoch_is_kept_by_time_too(data, tmp_path, monkeypatch):
    train, _ = data
    seconds = iter(range(0, 10_000, 30))
    monkeypatch.setattr(whence.models.training.settings.time, "monotonic", lambda: next(seconds))
    with pytest.raises(BrokenOffError):
        spoiled_after(LSTMRec(**SMALL), 5).fit(
            train, run=Run(folder=tmp_path), checkpoint_every="1min"
        )
    # Asked after each step, half a minute later: every second one.
    assert Checkpoint.load(tmp_path / "checkpoints" / "within.pt").begun["batch"] == 4


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "", "0s", "ten minutes", "5 days"])
def test_intervals_that_are_none_are_refused(data, every):
    with pytest.raises(ParameterError, match="checkpoint_every must be a number of steps, or"):
        LSTMRec(**SMALL).fit(data[0], checkpoint_every=every)


@pytest.mark.parametrize(
    "options", [{}, {"loss": "sampled_cross_entropy", "n_negatives": 4}, {"loss": "bpr"}]
)
def test_products_in_16_bits(data, options):
    train, valid = data
    short = GRU4Rec(**SMALL, **options, epochs=2, precision="bfloat16").fit(train)
    whole = GRU4Rec(**SMALL, **options, epochs=2).fit(train)
    assert all(value.dtype == torch.float32 for value in state(short).values())
    assert not same(state(short), state(whole))
    for ours, theirs in zip(short.history_, whole.history_, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
    again = GRU4Rec(**SMALL, **options, epochs=2, precision="bfloat16").fit(train)
    assert same(state(short), state(again))
    with pytest.raises(whence.errors.UnsupportedError, match="precision='float32'"):
        whence.Replay().attribute(short, valid)


def test_intervals_are_of_steps_or_of_time():
    assert check_interval("every", 10) == check_interval("every", " 10") == (10, None)
    assert check_interval("every", "1.5h") == (None, 5400.0)
    assert check_interval("every", "90 s") == (None, 90.0)


def test_more_epochs_may_be_added(data, tmp_path):
    train, _ = data
    whole = LSTMRec(**SMALL, epochs=4).fit(train)
    LSTMRec(**SMALL, epochs=2).fit(train, run=Run(folder=tmp_path))
    longer = LSTMRec(**SMALL, epochs=4).fit(train, run=Run(folder=tmp_path, resume=True))
    assert same(state(longer), state(whole))


def test_same_seed_same_model_and_no_trace_in_global_state(data):
    train, _ = data
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    first = GRU4Rec(**SMALL, epochs=2).fit(train)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(99)
    assert same(state(GRU4Rec(**SMALL, epochs=2).fit(train)), state(first))
    assert not same(state(GRU4Rec(**SMALL, epochs=2, seed=1).fit(train)), state(first))


def test_checkpoints_hold_what_attribution_needs(data, tmp_path):
    train, _ = data
    model = LSTMRec(**SMALL, epochs=4, decay=0.5, learning_rate=0.01)
    model.fit(train, checkpoints=[1, 3], run=Run(folder=tmp_path))
    kept = load_checkpoints(tmp_path)
    assert [c.epoch for c in kept] == [1, 3]
    assert [c.learning_rate for c in kept] == [0.01, 0.0025]
    assert kept[0].step == -(-len(model.examples_) // 8)
    assert kept[0].fingerprint == model.train_.fingerprint
    moments = kept[1].optimizer["state"][0]
    assert moments["exp_avg_sq"].shape == model.module_.embedding.weight.shape
    again = LSTMRec(**SMALL, epochs=1, decay=0.5, learning_rate=0.01).fit(train)
    assert same(kept[0].module, state(again))
    assert same(state(again.load_checkpoint(kept[1])), kept[1].module)
    raw = torch.load(tmp_path / "checkpoints" / "epoch-00001.pt", weights_only=True)
    assert raw["seed"] == 42
    # Those in memory are not changed by the steps that follow.
    assert same(model.checkpoints_[0].module, kept[0].module)
    first = model.checkpoints_[0].optimizer["state"][0]["exp_avg"]
    assert torch.equal(first, kept[0].optimizer["state"][0]["exp_avg"])


def test_best_epoch_is_taken_and_patience_stops(data):
    train, valid = data
    model = GRU4Rec(**SMALL, epochs=30, learning_rate=0.05)
    model.fit(train, validation=valid, metric=["mrr@5", "recall@5"], patience=2)
    values = [entry["metrics"]["mrr@5"] for entry in model.history_]
    assert model.best_ == {
        "epoch": int(np.argmax(values)) + 1,
        "metric": "mrr@5",
        "value": max(values),
    }
    assert len(values) == model.best_["epoch"] + 2 < 30
    assert whence.evaluate(model, valid, "mrr@5")["mrr@5"] == max(values)


def test_divergence_is_told_and_the_last_good_epoch_kept(data, tmp_path):
    train, _ = data

    class Exploding(LSTMRec):
        def example_loss(self, batch):
            values = super().example_loss(batch)
            return values * (float("nan") if self.bad else 1.0)

        bad = False

    def spoil(done, total, message):
        Exploding.bad = done == 2

    model = Exploding(**SMALL, epochs=5)
    with pytest.raises(TrainingError, match=r"batch 1 of \d+ of epoch 3; .* epoch 2 are kept"):
        model.fit(train, run=Run(progress=spoil, folder=tmp_path))
    assert len(model.history_) == 2
    good = LSTMRec(**SMALL, epochs=2).fit(train)
    assert same(state(model), state(good))
    assert Checkpoint.load(tmp_path / "checkpoints" / "last.pt").epoch == 2


def test_a_full_disk_keeps_the_last_checkpoint(data, tmp_path, monkeypatch):
    train, _ = data
    write = torch.save

    def full(content, path):
        if content["epoch"] < 2:
            return write(content, path)
        path.write_bytes(b"a part")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk may be full") as caught:
        LSTMRec(**SMALL, epochs=3).fit(train, run=Run(folder=tmp_path))
    assert caught.value.filename.endswith("last.pt")
    assert Checkpoint.load(tmp_path / "checkpoints" / "last.pt").epoch == 1
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.undo()
    resumed = LSTMRec(**SMALL, epochs=3).fit(train, run=Run(folder=tmp_path, resume=True))
    assert same(state(resumed), state(LSTMRec(**SMALL, epochs=3).fit(train)))


def test_folders_are_not_mixed_up(data, tmp_path):
    train, valid = data
    LSTMRec(**SMALL, epochs=1).fit(train, run=Run(folder=tmp_path))
    with pytest.raises(OutputExistsError, match="resume"):
        LSTMRec(**SMALL, epochs=1).fit(train, run=Run(folder=tmp_path))
    with pytest.raises(ParameterError, match="hidden_dim"):
        LSTMRec(**{**SMALL, "hidden_dim": 7}, epochs=2).fit(
            train, run=Run(folder=tmp_path, resume=True)
        )
    with pytest.raises(FileFormatError, match="fingerprint"):
        LSTMRec(**SMALL, epochs=2).fit(valid, run=Run(folder=tmp_path, resume=True))
    path = tmp_path / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileFormatError, match="truncated"):
        LSTMRec(**SMALL, epochs=2).fit(train, run=Run(folder=tmp_path, resume=True))
    with pytest.raises(FileFormatError, match="no checkpoints"):
        load_checkpoints(tmp_path)
    assert not list(path.parent.glob(".*"))


def test_checkpoint_of_another_model(data):
    train, _ = data
    kept = GRU4Rec(**SMALL, epochs=1).fit(train, checkpoints=1).checkpoints_[0]
    with pytest.raises(ParameterError, match="GRU4Rec does not fit"):
        LSTMRec(**SMALL, epochs=1).fit(train).load_checkpoint(kept)


def test_tensorboard_has_the_curves(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train, valid = data
    model = LSTMRec(**SMALL, epochs=3).fit(
        train,
        validation=valid,
        metric="mrr@5",
        run=Run(folder=tmp_path),
        tensorboard=True,
    )
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    np.testing.assert_allclose(losses, [e["loss"] for e in model.history_], rtol=1e-6)
    assert len(events.Scalars("validation/mrr@5")) == 3
    assert len(events.Scalars("train/learning_rate")) == 3


@pytest.mark.parametrize(
    ("options", "fitting", "match"),
    [
        ({"epochs": 0}, {}, "epochs"),
        ({"batch_size": -1}, {}, "batch_size"),
        ({"learning_rate": -0.1}, {}, "learning_rate"),
        ({"optimizer": "adma"}, {}, "adam"),
        ({"device": "gpu9"}, {}, "device"),
        ({"loss": "hinge"}, {}, "loss"),
        ({"max_length": 0}, {}, "max_length"),
        ({"dropout": 1.0}, {}, "dropout"),
        ({}, {"tensorboard": True}, "folder"),
        ({"torch_threads": 0}, {}, "torch_threads"),
        ({}, {"folder": "runs"}, r"run=whence\.Run\(folder=\.\.\.\)"),
        ({}, {"validaton": None}, "Did you mean 'validation'"),
        ({}, {"patience": 0}, "patience"),
        ({}, {"checkpoints": [0]}, "checkpoints"),
        ({}, {"eval_every": 0}, "eval_every"),
    ],
)
def test_bad_settings(data, options, fitting, match):
    with pytest.raises(ParameterError, match=match):
        LSTMRec(**{**SMALL, **options}).fit(data[0], **fitting)


def test_examples_left_out_are_as_if_never_there(data, tmp_path):
    train, _ = data
    model = LSTMRec(**SMALL, epochs=2, positions="all")
    model.fit(train)
    everything = np.arange(len(model.examples_))
    gone = everything[model.examples_.sources(everything) == 3]
    seen = []

    class Watched(LSTMRec):
        def example_loss(self, batch):
            seen.append(batch["items"])
            return super().example_loss(batch)

    watched = Watched(**SMALL, epochs=1, positions="all").fit(
        train, without=gone, run=Run(folder=tmp_path)
    )
    # Two more were looked at to see whether training draws random numbers, as dropout does.
    assert sum(len(items) for items in seen) == len(everything) - len(gone) + 2
    missing = watched.examples_.batch(gone)["items"]
    assert not any((items == row).all(1).any() for items in seen for row in missing)
    with pytest.raises(FileFormatError, match="examples"):
        Watched(**SMALL, epochs=2, positions="all").fit(
            train, run=Run(folder=tmp_path, resume=True)
        )
    with pytest.raises(ParameterError, match="no example"):
        model.fit(train, without=everything)
    with pytest.raises(ParameterError, match="is none"):
        model.fit(train, without=[len(everything)])
