"""RecBoleModel, against a record of RecBole's interface (`recorded_recbole`)."""

from __future__ import annotations

import sys
import types

import numpy as np
import polars as pl
import pytest
import torch
from recorded_recbole import (
    BPR,
    GRU,
    Annealed,
    Config,
    Dataset,
    InputType,
    Interaction,
    Loader,
    Logistic,
    Masked,
    ModelType,
    OfUsers,
    PenalisedBPR,
    SequentialDataset,
)

import whence
import whence.influence
from whence.errors import DataError, FileFormatError, UnsupportedError
from whence.models.adapters import RecBoleModel


def rows(n_users=6, n_items=9, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for user in rng.permutation(n_users) + 10:
        for moment, item in enumerate(rng.choice(n_items, rng.integers(3, 8), replace=False)):
            made.append((int(user), int(item) + 100, 50 * moment + int(user)))
    return made


def general(model=BPR, item_feat=None, **settings):
    torch.manual_seed(0)
    config = Config(MODEL_INPUT_TYPE=model.input_type, **settings)
    dataset = Dataset(config, rows(), item_feat)
    return model(config, dataset), dataset


def sequential(model=GRU, **settings):
    torch.manual_seed(0)
    config = Config(
        MODEL_TYPE=ModelType.SEQUENTIAL,
        MODEL_INPUT_TYPE=InputType.POINTWISE,
        train_neg_sample_args={"distribution": "none", "sample_num": "none"},
        **settings,
    )
    dataset = SequentialDataset(config, rows())
    return model(config, dataset), dataset


def with_prices(dataset_size=10):
    prices = torch.linspace(-1, 1, dataset_size)
    return Interaction({"item_id": torch.arange(dataset_size), "price": prices})


def numbers_of(dataset, field, ids):
    return torch.tensor([dataset.field2token_id[field][str(one)] for one in ids])


def row_of(ours, number):
    """The row of RecBole's dataset that an example is."""
    return ours._data.dataset[ours.examples_.dataset_rows(np.array([number]))]


@pytest.fixture(params=["general", "sequential"])
def wrapped(request):
    model, dataset = general() if request.param == "general" else sequential()
    return RecBoleModel(model, Loader(dataset))


def test_general_scores_are_those_of_recbole():
    model, dataset = general()
    ours = RecBoleModel(model, Loader(dataset), exclude_seen=False)
    users = [11, 14]
    items = ours.vocabulary.items.to_list()
    asked = Interaction({"user_id": numbers_of(dataset, "user_id", users)})
    with torch.no_grad():
        own = model.full_sort_predict(asked).view(2, -1)[:, numbers_of(dataset, "item_id", items)]
    np.testing.assert_array_equal(ours.score(users), own.numpy())
    assert ours.asks == "users"


def test_general_scores_pair_by_pair():
    model, dataset = general(Logistic, with_prices())
    ours = RecBoleModel(model, dataset, exclude_seen=False)
    items = ours.vocabulary.items.to_list()
    numbers = numbers_of(dataset, "item_id", items)
    pairs = {"user_id": numbers_of(dataset, "user_id", [12] * len(items)), "item_id": numbers}
    with torch.no_grad():
        own = model.predict(dataset.join(Interaction(pairs)))
    np.testing.assert_allclose(ours.score([12])[0], own.numpy(), rtol=1e-6)


def test_sequential_scores_are_those_of_recbole():
    model, dataset = sequential()
    model.train()
    ours = RecBoleModel(model, Loader(dataset), exclude_seen=False)
    ids = dataset.field2id_token["item_id"]
    batch = dataset[np.arange(12)]
    windows = zip(batch["item_id_list"].tolist(), batch["item_length"].tolist())
    histories = [[int(ids[number]) for number in row[:n]] for row, n in windows]
    # The latest items count, as RecBole cuts them.
    histories[3] = [104, 103, 102, *histories[3]] if len(histories[3]) == 4 else histories[3]
    own_items = numbers_of(dataset, "item_id", ours.vocabulary.items.to_list())
    with torch.no_grad():
        own = model.eval().full_sort_predict(batch)[:, own_items]
    np.testing.assert_allclose(ours.score(histories), own.numpy(), rtol=1e-6)
    assert ours.asks == "histories"


def test_the_training_data_are_those_of_recbole(wrapped):
    table = pl.DataFrame(rows(), schema=["user_id", "item_id", "timestamp"], orient="row")
    found = wrapped.train_.frame.with_columns(pl.col("timestamp").cast(pl.Int64))
    order = ["user_id", "timestamp"]
    assert found.select(table.columns).sort(order).equals(table.sort(order))
    assert wrapped.train_.by_user


def test_examples_are_rows_of_recbole(wrapped):
    frame, dataset = wrapped.train_.frame, wrapped._data.dataset
    numbers = np.arange(len(wrapped.examples_))[::-1]
    found, offsets = wrapped.examples_.rows(numbers)
    users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    for number, start, end in zip(numbers, offsets, offsets[1:]):
        row = row_of(wrapped, number)
        window = row["item_id_list"][0, : row["item_length"]] if wrapped.asks == "histories" else []
        wanted = [int(items[one]) for one in [*window, row["item_id"][0]]]
        part = frame[found[start:end].tolist()]
        assert part["item_id"].to_list() == wanted
        assert set(part["user_id"]) == {int(users[row["user_id"][0]])}


@pytest.mark.parametrize(
    ("make", "apart"),
    [
        (lambda: general(), True),
        (lambda: general(Logistic, with_prices()), True),
        (lambda: sequential(), True),
        (lambda: general(PenalisedBPR), False),
        (lambda: general(train_neg_sample_args={"distribution": "uniform", "sample_num": 3}), True),
    ],
    ids=["pairs", "labels", "windows", "joint", "negatives"],
)
def test_example_losses_are_recboles_of_batches_of_one(make, apart):
    model, dataset = make()
    ours = RecBoleModel(model, dataset)
    assert ours._is_apart == apart
    numbers = np.array([5, 0, 7])
    batch = ours.examples_.batch(numbers, epoch=2)
    losses = ours.example_loss(batch)
    n = ours.examples_.n_negatives
    drawn = ours._data.item_numbers[batch["negatives"]] if n else None
    for place, number in enumerate(numbers):
        row = row_of(ours, number).interaction
        if n and model.input_type is InputType.PAIRWISE:
            fields = {name: values.repeat(n) for name, values in row.items()}
            fields["neg_item_id"] = drawn[place]
        elif n:
            fields = {name: values.repeat(1 + n) for name, values in row.items()}
            fields["item_id"] = torch.cat([row["item_id"], drawn[place]])
            fields["label"] = torch.tensor([1.0] + [0.0] * n)
        else:
            fields = row
        own = model.eval().calculate_loss(dataset.join(Interaction(fields)))
        own = sum(own) if isinstance(own, tuple) else own
        torch.testing.assert_close(losses[place], own)
    again = ours.examples_.batch(numbers[::-1].copy(), epoch=2)
    torch.testing.assert_close(ours.example_loss(again).flip(0), losses)


def test_negatives_are_items_that_the_user_does_not_have():
    model, dataset = general(train_neg_sample_args={"distribution": "uniform", "sample_num": 20})
    ours = RecBoleModel(model, dataset)
    batch = ours.examples_.batch(np.arange(len(ours.examples_)))
    frame, vocabulary = ours.train_.frame, ours.vocabulary
    for user, drawn in zip(batch["user"].tolist(), batch["negatives"].numpy()):
        owned = frame.filter(user_id=vocabulary.sources[user])["item_id"].to_list()
        assert not set(owned) & set(vocabulary.items.gather(drawn))


def test_gradients_of_single_examples(wrapped):
    whence.models.base.require(wrapped, "differentiable", "TracIn")
    batch = wrapped.examples_.batch(np.array([2, 4]))
    parameters = list(wrapped.module_.parameters())
    whole = torch.autograd.grad(wrapped.example_loss(batch).sum(), parameters)
    parts = [
        torch.autograd.grad(
            wrapped.example_loss(wrapped.examples_.batch(np.array([n])))[0], parameters
        )
        for n in (2, 4)
    ]
    for total, first, second in zip(whole, *parts):
        torch.testing.assert_close(total, first + second)
    (checkpoint,) = wrapped.checkpoints_
    assert checkpoint.learning_rate == 0.01
    assert checkpoint.fingerprint == wrapped.train_.fingerprint


@pytest.mark.parametrize(
    "make",
    [
        lambda: general(train_neg_sample_args={"distribution": "uniform", "sample_num": 2}),
        lambda: general(Logistic, with_prices()),
        lambda: sequential(),
    ],
    ids=["pairs", "labels", "windows"],
)
def test_influence_of_recboles_examples(make):
    """Proponents of held-out interactions, by factors of layers and by plain autograd."""
    ours = RecBoleModel(*make())
    held_out = pl.DataFrame(rows(seed=1), schema=["user_id", "item_id", "timestamp"], orient="row")
    found = {}
    for method in ("factors", "autograd"):
        influence = whence.influence.TracIn(method=method)
        found[method] = influence.attribute(ours, held_out).to_frame().sort("example")
    first, second = (found[method]["score"].to_numpy() for method in ("factors", "autograd"))
    assert len(first) == len(ours.examples_)
    assert np.abs(first).max() > 0
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-7)


def test_other_parameters_give_other_scores(wrapped):
    """What a model keeps of its former parameters is forgotten."""
    users = [11] if wrapped.asks == "users" else [[101, 102]]
    before = wrapped.score(users)
    (first,) = wrapped.checkpoints_
    with torch.no_grad():
        for parameter in wrapped.module_.parameters():
            parameter.mul_(2.0)
    open_ = np.isfinite(before)
    assert np.abs(wrapped.score(users)[open_] - before[open_]).max() > 0
    np.testing.assert_array_equal(wrapped.load_checkpoint(first).score(users), before)


def test_the_model_given_is_never_changed(wrapped):
    before = {name: value.clone() for name, value in wrapped.model.state_dict().items()}
    wrapped.model.train()
    with torch.no_grad():
        for parameter in wrapped.module_.parameters():
            parameter.zero_()
    wrapped.example_loss(wrapped.examples_.batch(np.arange(2))).sum().backward()
    assert wrapped.model.training
    assert all(p.grad is None for p in wrapped.model.parameters())
    for name, value in wrapped.model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_lists_and_evaluation(wrapped):
    table = pl.DataFrame(rows(seed=1), schema=["user_id", "item_id", "timestamp"], orient="row")
    result = whence.evaluate(wrapped, table, ["mrr@5", "recall@5"])
    assert 0.0 <= result["recall@5"] <= 1.0
    codes = wrapped.recommend_codes(whence.make_queries(wrapped, table), 9)[0]
    assert ((codes >= 0).sum(1) > 0).all()
    if wrapped.asks == "users":
        own = wrapped.train_.frame.filter(user_id=11)["item_id"].to_list()
        items, _ = wrapped.recommend(11, k=9)
        assert not set(items.tolist()) & set(own)
        with pytest.raises(UnsupportedError, match="only for users that it was trained on"):
            wrapped.recommend([[101, 102]], k=2)
    else:
        items, _ = wrapped.recommend([[101, 102]], k=3)
        assert not {101, 102} & set(items[0].tolist())


def test_ids_that_are_text_and_sessions_instead_of_users():
    config = Config()
    made = [(f"s{user}", f"i{item}", moment) for user, item, moment in rows()]
    dataset = Dataset(config, made)
    ours = RecBoleModel(BPR(config, dataset), dataset)
    items, _ = ours.recommend("s11", k=2)
    assert all(item.startswith("i") for item in items)


def test_a_traditional_model_has_no_gradients():
    model, dataset = general(MODEL_TYPE=ModelType.TRADITIONAL)
    assert RecBoleModel(model, dataset).levels == {"score"}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: general(OfUsers), "that of all items of a user together"),
        (lambda: general(Annealed), "changes from call to call"),
        (lambda: sequential(Masked), "the field 'Mask_item_id_list', which RecBole makes anew"),
    ],
)
def test_models_without_losses_of_single_rows_are_asked_only(make, why):
    ours = RecBoleModel(*make())
    assert ours.levels == {"score"}
    with pytest.raises(UnsupportedError, match=why):
        whence.TracIn().attribute(ours, ours.train_)
    asked = [[101]] if ours.max_length else ours.vocabulary.sources.to_list()[:1]
    assert np.isfinite(ours.score(asked)).any()


def test_loading_a_checkpoint(monkeypatch, tmp_path):
    model, dataset = general()
    quick_start = types.ModuleType("recbole.quick_start")
    asked = []

    def load_data_and_model(model_file):
        asked.append(model_file)
        return dataset.config, model, dataset, Loader(dataset), None, None

    quick_start.load_data_and_model = load_data_and_model
    package = types.ModuleType("recbole")
    package.quick_start = quick_start
    monkeypatch.setitem(sys.modules, "recbole", package)
    monkeypatch.setitem(sys.modules, "recbole.quick_start", quick_start)
    path = tmp_path / "BPR.pth"
    with pytest.raises(FileFormatError, match="There is no file"):
        RecBoleModel.load(path)
    path.write_bytes(b"")
    ours = RecBoleModel.load(path, exclude_seen=False)
    assert asked == [str(path)]
    np.testing.assert_array_equal(
        ours.score([11]), RecBoleModel(model, dataset, exclude_seen=False).score([11])
    )


def test_what_cannot_be_done_is_said(monkeypatch, tmp_path):
    model, dataset = general()
    ours = RecBoleModel(model, dataset)
    with pytest.raises(UnsupportedError, match="train it with RecBole"):
        ours.fit(ours.train_)
    with pytest.raises(UnsupportedError, match=r"RecBoleModel\.load"):
        ours.save(tmp_path / "model")
    with pytest.raises(UnsupportedError, match="fitted again"):
        whence.RetrainingLeaveOneOut("mrr@3").attribute(ours, ours.train_)
    with pytest.raises(UnsupportedError, match="not a model of RecBole"):
        RecBoleModel(torch.nn.Linear(2, 2), dataset)
    with pytest.raises(UnsupportedError, match="not a dataset of RecBole"):
        RecBoleModel(model, ours.train_)
    masked = RecBoleModel(*sequential(Masked))
    assert np.isfinite(masked.score([[101]])).any()
    with pytest.raises(UnsupportedError, match="the field 'Mask_item_id_list'"):
        masked.example_loss(masked.examples_.batch(np.arange(2)))
    unsplit, raw = general()
    raw.inter_feat = pl.DataFrame()
    with pytest.raises(DataError, match="has not been split yet"):
        RecBoleModel(unsplit, raw)
    ready, windows = sequential()
    windows.inter_feat.interaction["item_id_list"] = windows.inter_feat["item_id_list"].flip(0)
    with pytest.raises(UnsupportedError, match="not the rows before them"):
        RecBoleModel(ready, windows)
    for name in ("recbole", "recbole.quick_start"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedError, match="pip install recbole"):
        RecBoleModel.load(tmp_path / "model")
