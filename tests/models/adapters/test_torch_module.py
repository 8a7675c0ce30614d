"""TorchModel: any module of sequences or pairs, trained here or elsewhere."""

from __future__ import annotations

import copy
import threading

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import whence
import whence.influence
from whence.errors import DataError, OutputExistsError, ParameterError, UnsupportedError
from whence.models.adapters import TorchModel


class Sequences(nn.Module):
    """Mean of item vectors, by position weights, then a dot product with all items."""

    def __init__(self, n_numbers, n_columns=None, padding=None, dim=4, length=5, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.padding = n_numbers - 1 if padding is None else padding
        self.table = nn.Parameter(torch.randn(n_numbers, dim, generator=generator))
        self.places = nn.Parameter(torch.rand(length, generator=generator))
        columns = n_numbers - 1 if n_columns is None else n_columns
        self.out = nn.Linear(dim, columns)
        with torch.no_grad():
            for weight in self.out.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self.calls = []

    def forward(self, items, lengths):
        self.calls.append((items.clone(), lengths.clone()))
        real = (items != self.padding).float() * self.places
        vectors = (self.table[items] * real.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)
        return self.out(self.dropout(vectors))


class Pairs(nn.Module):
    def __init__(self, n_users, n_items, seed=0, column=False):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.users = nn.Parameter(torch.randn(n_users, 3, generator=generator))
        self.items = nn.Parameter(torch.randn(n_items, 3, generator=generator))
        self.column = column

    def forward(self, users, items):
        scores = (self.users[users] * self.items[items]).sum(1)
        return scores.unsqueeze(1) if self.column else scores


@pytest.fixture
def clicks():
    return whence.make_sessions(
        n_sessions=30, n_items=12, n_clusters=3, n_validation=10, n_test=10, seed=3
    )


@pytest.fixture
def ratings():
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", i, float(rng.integers(1, 6))) for u in range(8) for i in rng.choice(9, 5, False)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row")
    return table.with_columns(timestamp=pl.int_range(len(rows)))


def test_scores_of_sequences_are_those_of_the_module(clicks):
    train = clicks.train
    module = Sequences(train.n_items + 1)
    model = TorchModel(module, trained=True, max_length=5, exclude_seen=False).fit(train)
    histories = [train.item_ids.to_list()[:3], train.item_ids.to_list()[4:11]]
    scores = model.score(histories)
    codes = model.vocabulary.item_codes
    items = torch.full((2, 5), train.n_items)
    items[0, :3] = torch.tensor(codes(histories[0]))
    items[1] = torch.tensor(codes(histories[1])[-5:])
    with torch.no_grad():
        own = module.eval()(items, torch.tensor([3, 5]))
    np.testing.assert_allclose(scores, own.numpy(), rtol=1e-6)


def test_numbers_padding_and_sides(clicks):
    """0 for padding, items from 1 on, filled up on the left, a column for the padding too."""
    train = clicks.train
    module = Sequences(train.n_items + 1, n_columns=train.n_items + 1, padding=0)
    options = {"trained": True, "max_length": 5, "exclude_seen": False, "offset": 1}
    model = TorchModel(module, padding_side="left", **options).fit(train)
    history = train.item_ids.to_list()[:2]
    scores = model.score(history)
    items, lengths = model.module_.calls[-1]
    first, second = (model.vocabulary.item_codes(history) + 1).tolist()
    assert items.tolist() == [[0, 0, 0, first, second]]
    assert lengths.tolist() == [2]
    with torch.no_grad():
        own = module.eval()(items, lengths)[0, 1:]
    np.testing.assert_allclose(scores, own.numpy(), rtol=1e-6)
    # The same module without a column for the padding.
    narrow = Sequences(train.n_items + 1, n_columns=train.n_items, padding=0)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(narrow.out, name).copy_(getattr(module.out, name)[1:])
    other = TorchModel(narrow, padding_side="left", **options).fit(train)
    np.testing.assert_allclose(other.score(history), scores, rtol=1e-6)


def test_a_numbering_of_its_own(clicks):
    train = clicks.train
    ids = train.vocabulary.items.to_list()
    numbers = np.random.default_rng(1).permutation(40)[: len(ids)] + 1
    index = dict(zip(ids, numbers.tolist()), unknown_here=45)
    module = Sequences(50, n_columns=50, padding=0)
    model = TorchModel(module, trained=True, index=index, max_length=5, exclude_seen=False)
    history = ids[2:4]
    scores = model.fit(train).score(history)
    items, lengths = model.module_.calls[-1]
    assert items.tolist() == [[index[ids[2]], index[ids[3]], 0, 0, 0]]
    with torch.no_grad():
        own = module.eval()(items, lengths)[0, numbers]
    np.testing.assert_allclose(scores, own.numpy(), rtol=1e-6)
    with pytest.raises(DataError, match="has no number in index"):
        TorchModel(module, trained=True, index=dict(list(index.items())[1:])).fit(train)
    with pytest.raises(ParameterError, match="none of them twice"):
        TorchModel(module, trained=True, index=dict.fromkeys(ids, 3)).fit(train)
    with pytest.raises(ParameterError, match="at least"):
        TorchModel(Sequences(50, 10, 0), trained=True, index=index, max_length=5).fit(train)


def test_modules_without_lengths(clicks):
    class Plain(Sequences):
        def forward(self, items):
            return super().forward(items, (items != self.padding).sum(1))

    train = clicks.train
    options = {"trained": True, "max_length": 5}
    plain = TorchModel(Plain(train.n_items + 1), pass_lengths=False, **options).fit(train)
    given = TorchModel(Sequences(train.n_items + 1), **options).fit(train)
    history = [train.item_ids.to_list()[:3]]
    np.testing.assert_allclose(plain.score(history), given.score(history))


def test_the_module_given_is_never_changed(clicks):
    module = Sequences(clicks.train.n_items + 1).train()
    before = copy.deepcopy(module.state_dict())
    for trained in (True, False):
        model = TorchModel(module, trained=trained, max_length=5, epochs=2).fit(clicks.train)
        model.recommend([clicks.train.item_ids.to_list()[:2]], k=3)
        assert model.module_ is not module
        assert module.training
        assert not module.calls
        same = all(torch.equal(before[k], v) for k, v in model.module_.state_dict().items())
        assert same == trained
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    model.module_.train()
    model.recommend([clicks.train.item_ids.to_list()[:2]], k=3)
    assert model.module_.training


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (None, lambda s, t, n: nn.functional.cross_entropy(s, t, reduction="none")),
        ("bpr", lambda s, t, n: -torch.log(torch.sigmoid(s[0, t] - s[0, n[0]])).mean()[None]),
        (lambda s, t: (s**2).sum(1) + t, lambda s, t, n: (s**2).sum(1) + t),
    ],
    ids=["cross_entropy", "bpr", "callable"],
)
def test_example_losses_of_sequences(clicks, loss, formula):
    options = {"trained": True, "max_length": 5, "n_negatives": 3}
    model = TorchModel(Sequences(clicks.train.n_items + 1), loss=loss, **options).fit(clicks.train)
    numbers = np.array([0, 7, 3])
    found = model.example_loss(model.examples_.batch(numbers))
    for number, value in zip(numbers, found):
        batch = model.examples_.batch(np.array([number]))
        scores = model.module_(batch["items"], batch["length"])
        expected = formula(scores, batch["target"], batch.get("negatives"))
        torch.testing.assert_close(value[None], expected)


def test_attribution_has_what_it_needs(clicks):
    """Gradients of single examples, and a checkpoint, though nothing was trained here."""
    model = TorchModel(Sequences(clicks.train.n_items + 1), trained=True, max_length=5)
    model.fit(clicks.train)
    whence.models.base.require(model, "differentiable", "TracIn")
    losses = model.example_loss(model.examples_.batch(np.array([1, 4])))
    parameters = dict(model.module_.named_parameters())
    gradients = torch.autograd.grad(losses[1], list(parameters.values()))
    name, index = "out.weight", 2
    weight = parameters[name]
    step = 1e-2
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            weight[index, 1] += sign * step
            values.append(model.example_loss(model.examples_.batch(np.array([4])))[0])
            weight[index, 1] -= sign * step
    found = gradients[list(parameters).index(name)][index, 1]
    torch.testing.assert_close(found, (values[0] - values[1]) / (2 * step), rtol=1e-2, atol=1e-4)
    (checkpoint,) = model.checkpoints_
    assert checkpoint.fingerprint == model.train_.fingerprint
    model.load_checkpoint(checkpoint)
    rows, offsets = model.examples_.rows(np.array([1]))
    assert len(rows) == offsets[-1] >= 2


@pytest.mark.parametrize("loss", ["cross_entropy", "bpr", "pairs"])
def test_influence_by_factors_and_by_autograd(clicks, ratings, loss):
    if loss == "pairs":
        made = TorchModel(Pairs(8, 9), takes="pairs", trained=True, n_negatives=2).fit(ratings)
        asked = ratings.with_columns(item_id=(pl.col("item_id") + 1) % 9)
    else:
        options = {"trained": True, "max_length": 5, "n_negatives": 2}
        made = TorchModel(Sequences(clicks.train.n_items + 1), loss=loss, **options)
        made.fit(clicks.train)
        asked = clicks.validation
    found = {}
    for method in ("factors", "autograd"):
        influence = whence.influence.TracIn(method=method, layers="all")
        found[method] = influence.attribute(made, asked).to_frame().sort("example")["score"]
    assert found["autograd"].abs().max() > 0
    np.testing.assert_allclose(*(v.to_numpy() for v in found.values()), rtol=1e-3, atol=1e-6)


def test_training_is_the_one_of_whence(clicks, tmp_path):
    """The same seed gives the same model, and a run that was broken off goes on."""
    module = Sequences(clicks.train.n_items + 1)
    options = {"max_length": 5, "batch_size": 16, "learning_rate": 0.01, "seed": 5}
    whole = TorchModel(module, epochs=4, **options).fit(clicks.train, validation=clicks.validation)
    assert whole.history_[-1]["loss"] < whole.history_[0]["loss"]
    assert whole.best_["metric"] == "mrr@10"
    TorchModel(module, epochs=2, **options).fit(
        clicks.train, run=whence.Run(folder=tmp_path), checkpoints=1
    )
    resumed = TorchModel(module, epochs=4, **options)
    resumed.fit(clicks.train, run=whence.Run(folder=tmp_path, resume=True))
    plain = TorchModel(module, epochs=4, **options).fit(clicks.train)
    for name, value in plain.module_.state_dict().items():
        torch.testing.assert_close(resumed.module_.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(ParameterError, match="another learning_rate"):
        TorchModel(module, epochs=4, **{**options, "learning_rate": 0.02}).fit(
            clicks.train, run=whence.Run(folder=tmp_path, resume=True)
        )


def test_factories_begin_from_the_seed_and_can_be_saved(clicks, tmp_path):
    def make(train):
        module = Sequences(train.n_items + 1)
        nn.init.normal_(module.table)
        return module

    def squares(scores, targets):
        return (scores**2).sum(1)

    train, history = clicks.train, clicks.train.item_ids.to_list()[:3]
    first, second = (TorchModel(make, max_length=5, epochs=1, seed=3).fit(train) for _ in range(2))
    np.testing.assert_array_equal(first.score(history), second.score(history))
    path = first.save(tmp_path / "model")
    loaded = TorchModel.load(path, module=make)
    np.testing.assert_array_equal(loaded.score(history), first.score(history))
    assert loaded.params == first.params
    with pytest.raises(OutputExistsError):
        first.save(path)
    with pytest.raises(UnsupportedError, match=r"TorchModel\.load\(path, module=\.\.\.\)"):
        whence.load_model(path)
    index = {one: number + 3 for number, one in enumerate(train.vocabulary.items.to_list())}
    trained = TorchModel(
        lambda train: Sequences(60, 60, 0), trained=True, index=index, loss=squares, max_length=5
    ).fit(train)
    path = trained.save(tmp_path / "trained")
    again = whence.load_model(path, module=lambda train: Sequences(60, 60, 0, seed=9), loss=squares)
    np.testing.assert_array_equal(again.score(history), trained.score(history))
    assert len(again.checkpoints_) == 1
    with pytest.raises(UnsupportedError, match=r"torch\.save"):
        TorchModel(make(train), trained=True, max_length=5).fit(train).save(tmp_path / "no")


@pytest.mark.parametrize("column", [False, True])
def test_scores_of_pairs_are_those_of_the_module(ratings, column):
    module = Pairs(9, 10, column=column)
    model = TorchModel(module, takes="pairs", trained=True, offset=1, exclude_seen=False)
    model.fit(ratings)
    users = ["u3", "u0"]
    scores = model.score(users)
    number = model.vocabulary.source_codes(users) + 1
    own = module.users[number] @ module.items[1 : model.n_items + 1].T
    np.testing.assert_allclose(scores, own.detach().numpy(), rtol=1e-5)
    items, _ = (
        TorchModel(module, takes="pairs", trained=True, offset=1).fit(ratings).recommend("u3", k=9)
    )
    seen = ratings.filter(user_id="u3")["item_id"].to_list()
    assert set(items.tolist()) == set(ratings["item_id"]) - set(seen)


def test_pairs_of_own_numbers(ratings):
    users = {f"u{n}": 7 - n for n in range(8)}
    items = {n: 2 * n for n in range(9)}
    module = Pairs(8, 17)
    model = TorchModel(
        module, takes="pairs", trained=True, index=items, user_index=users, exclude_seen=False
    ).fit(ratings)
    own = module.users[4] @ module.items[[10, 4]].T
    np.testing.assert_allclose(model.score("u3", items=[5, 2]), own.detach().numpy(), rtol=1e-5)


def test_losses_of_pairs(ratings):
    module = Pairs(8, 9)
    plain = TorchModel(module, takes="pairs", trained=True, n_negatives=2).fit(ratings)
    batch = plain.examples_.batch(np.array([3, 9]))
    scores = module(batch["user"].repeat_interleave(2), batch["negatives"].flatten()).view(2, 2)
    gap = module(batch["user"], batch["item"]).unsqueeze(1) - scores
    expected = -torch.log(torch.sigmoid(gap)).mean(1)
    torch.testing.assert_close(plain.example_loss(batch), expected)

    def own(scores, targets):
        assert targets.sum(1).tolist() == [1.0] * len(scores)
        return ((scores - targets) ** 2).sum(1)

    custom = TorchModel(module, takes="pairs", loss=own, trained=True, n_negatives=2).fit(ratings)
    all_scores = torch.cat([module(batch["user"], batch["item"]).unsqueeze(1), scores], 1)
    wanted = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    torch.testing.assert_close(custom.example_loss(batch), ((all_scores - wanted) ** 2).sum(1))


def test_ratings_are_learned_and_predicted(ratings):
    module = Pairs(8, 9)
    model = TorchModel(
        module, takes="pairs", loss="squared_error", epochs=200, learning_rate=0.05
    ).fit(ratings)
    predicted = model.predict(ratings["user_id"].to_list(), ratings["item_id"].to_list())
    error = np.abs(predicted - ratings["rating"].to_numpy()).mean()
    assert error < 0.5  # the ratings are noise, of which three factors hold the most
    mean = ratings["rating"].mean()
    assert model.predict(["u0", "nobody"], [99, 3]).tolist() == [mean, mean]
    result = whence.evaluate(model, ratings, "rmse")
    assert float(result) == pytest.approx(np.sqrt(((predicted - ratings["rating"]) ** 2).mean()))
    absolute = TorchModel(
        module, takes="pairs", loss=lambda s, r: (s - r).abs(), n_negatives=0, epochs=1
    ).fit(ratings)
    assert "rating" in absolute.levels
    with pytest.raises(UnsupportedError, match="predicts ratings"):
        TorchModel(module, takes="pairs", epochs=1).fit(ratings).predict(["u0"], [1])


def test_users_without_rows_and_strangers(ratings):
    without = whence.Interactions.from_frame(ratings).without(["u2"])
    model = TorchModel(Pairs(8, 9), takes="pairs", trained=True).fit(without)
    lists, _ = model.recommend(["u2", "u3"], k=2)
    assert [len(row) for row in lists] == [0, 2]
    with pytest.raises(UnsupportedError, match="only for users that it was trained on"):
        model.recommend([[1, 2]], k=2)


def test_what_is_trained_cannot_be_fitted_again(clicks):
    module = Sequences(clicks.train.n_items + 1)
    kept = TorchModel(module, trained=True, max_length=5).fit(clicks.train)
    assert kept.levels == {"score", "differentiable"}
    with pytest.raises(UnsupportedError, match="fitted again"):
        whence.RetrainingLeaveOneOut("mrr@3").attribute(kept, clicks.validation)
    free = TorchModel(module, max_length=5, epochs=1).fit(clicks.train)
    few = clicks.train.source_ids.to_list()[:2]
    values = whence.RetrainingLeaveOneOut("mrr@3", sources=few).attribute(free, clicks.validation)
    assert sorted(values.to_frame()["session_id"]) == sorted(few)


def test_what_does_not_fit_is_said_in_a_sentence(clicks, ratings):
    train = clicks.train
    n = train.n_items
    fit = {"max_length": 5, "trained": True}

    def said(model, data=train):
        with pytest.raises(ParameterError) as caught:
            model.fit(data)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert f"[1, {n}]" in said(TorchModel(Sequences(n + 1, n + 4), **fit))
    assert f"but returned [1, {n - 1}]" in said(TorchModel(Sequences(n + 1, n - 1), **fit))
    assert "numbers up to" in said(TorchModel(nn.Embedding(3, 4), pass_lengths=False, **fit))
    assert "the number of an item" in said(TorchModel(Sequences(n + 1), padding=0, **fit))
    assert "one value for each" in said(
        TorchModel(Sequences(n + 1), loss=lambda s, t: s.mean(), **fit)
    )
    assert "one score for each pair" in said(
        TorchModel(_Wide(), takes="pairs", trained=True), ratings
    )
    assert "no parameters to train" in said(TorchModel(nn.Identity()))
    assert "not a torch.nn.Module" in said(TorchModel(lambda train: 3))
    assert "cannot be copied" in said(TorchModel(_uncopyable(n), **fit))
    assert "module must be" in said(TorchModel(3))
    with pytest.raises(UnsupportedError, match="There is no module"):
        TorchModel(None).fit(train)
    assert "loss" in said(TorchModel(nn.Identity(), loss="squared_error"))
    assert "takes" in said(TorchModel(nn.Identity(), takes="baskets"))
    assert "n_negatives" in said(TorchModel(nn.Identity(), n_negatives=0, loss="bpr"))


class _Wide(nn.Module):
    def forward(self, users, items):
        return torch.zeros(len(users), 2)


def _uncopyable(n):
    module = Sequences(n + 1)
    module.lock = threading.Lock()
    return module


class _Ways(nn.Module):
    """Mean of embeddings that are sparse, or are changed in place."""

    def __init__(self, n_items, sparse=False, in_place=False):
        super().__init__()
        self.items = nn.Embedding(n_items + 1, 4, padding_idx=n_items, sparse=sparse)
        self.in_place = in_place

    def forward(self, items, lengths):
        states = self.items(items)
        if self.in_place:
            states *= 2
        else:
            states = states * 2
        return states.sum(1) / lengths[:, None] @ self.items.weight[:-1].T


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
def test_sparse_embeddings_are_trained_as_dense_ones(clicks, optimizer):
    states = []
    for sparse in (False, True):
        made = TorchModel(
            lambda train, sparse=sparse: _Ways(train.n_items, sparse=sparse),
            epochs=2, optimizer=optimizer, weight_decay=0.01, gradient_clip=1.0,
        )  # fmt: skip
        states.append(made.fit(clicks.train, checkpoints=1).module_.items.weight)
    assert torch.equal(*states)


def test_an_embedding_that_is_changed_in_place(clicks):
    plain, changed = (
        TorchModel(lambda train, way=way: _Ways(train.n_items, in_place=way), epochs=2).fit(
            clicks.train, checkpoints=1
        )
        for way in (False, True)
    )
    with pytest.raises(UnsupportedError, match="in place"):
        whence.TracIn(method="factors").attribute(changed, clicks.validation)
    want = whence.TracIn().attribute(plain, clicks.validation).scores
    for method in ("auto", "autograd"):
        found = whence.TracIn(method=method).attribute(changed, clicks.validation).scores
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
