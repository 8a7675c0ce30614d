"""Training without some examples or rows differs from training on all by what these contribute."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from oracles import random_sessions  # noqa: E402

import whence  # noqa: E402
from whence.errors import DataError, FileFormatError  # noqa: E402
from whence.models.adapters import TorchModel  # noqa: E402


class Mean(torch.nn.Module):
    """Scores of all items from the mean of a window, with dropout that is a function."""

    def __init__(self, n_items):
        super().__init__()
        self.items = torch.nn.Embedding(n_items + 1, 6, padding_idx=n_items)

    def forward(self, items, lengths):
        mean = self.items(items).sum(1) / lengths[:, None]
        mean = torch.nn.functional.dropout(mean, 0.5, self.training)
        return mean @ self.items.weight[:-1].T


SETTINGS = {"epochs": 3, "batch_size": 16, "exclude_seen": False}
SMALL = {
    "bpr": lambda **more: whence.BPRMF(embedding_dim=4, n_negatives=2, **SETTINGS, **more),
    "mf": lambda **more: whence.BiasedMF(
        embedding_dim=4, loss="logistic", n_negatives=2, **SETTINGS, **more
    ),
    "neumf": lambda **more: whence.NeuMF(
        gmf_dim=4, mlp_dim=4, layers=(4,), n_negatives=2, **SETTINGS, **more
    ),
    "widedeep": lambda **more: whence.WideDeep(
        embedding_dim=4, layers=(4,), n_negatives=2, **SETTINGS, **more
    ),
    "gru": lambda **more: whence.GRU4Rec(
        embedding_dim=4, hidden_dim=4, max_length=3, loss="bpr_max", n_negatives=3,
        **{"dropout": 0.0, **SETTINGS, **more},
    ),
    "lstm": lambda **more: whence.LSTMRec(
        embedding_dim=4, hidden_dim=4, max_length=3, positions="last", **SETTINGS, **more
    ),
    "sasrec": lambda **more: whence.SASRec(
        embedding_dim=4, num_heads=1, max_length=4, **{"dropout": 0.0, **SETTINGS, **more}
    ),
    "rbm": lambda **more: whence.RBM(hidden_units=4, **SETTINGS, **more),
}  # fmt: skip
DROPPING = {
    "gru": lambda **more: SMALL["gru"](dropout=0.4, **more),
    "sasrec": lambda **more: SMALL["sasrec"](dropout=0.4, **more),
    "torch": lambda **more: TorchModel(lambda train: Mean(train.n_items), **SETTINGS, **more),
}


@pytest.fixture
def train():
    return whence.Interactions.from_frame(random_sessions(np.random.default_rng(5), 30, 14))


def recorded(model, train, **options):
    """Batches of each step and the initial parameters, by a run of `fit`."""
    batches, first, ask = [], {}, model._training_loss

    def asked(batch):
        if not batches:
            first.update({n: p.detach().clone() for n, p in model.module_.named_parameters()})
        batches.append(batch)
        return ask(batch)

    model._training_loss = asked
    model.fit(train, **options)
    del model._training_loss
    return batches, first


def examples_of(batches):
    """Each step's examples as tuples of plain numbers."""
    found = []
    for batch in batches:
        columns = [batch[name].flatten(1) if batch[name].dim() > 1 else batch[name][:, None]
                   for name in sorted(batch)]  # fmt: skip
        found.append([tuple(row) for row in torch.cat([c.double() for c in columns], 1).tolist()])
    return found


@pytest.mark.parametrize("name", SMALL)
def test_batches_without_some_examples_are_those_of_all_with_these_dropped(name, train):
    full = SMALL[name]()
    batches, first = recorded(full, train)
    n = len(full.examples_)
    gone = np.array([0, 3, n - 1])
    fewer, second = recorded(SMALL[name](), train, without=gone)
    assert len(fewer) == len(batches)
    epoch = len(batches) // full.epochs
    for number, (some, every) in enumerate(zip(examples_of(fewer), examples_of(batches))):
        lost = examples_of([full.examples_.batch(gone, number // epoch)])[0]
        assert some == [example for example in every if example not in lost]
    assert sum(map(len, examples_of(fewer))) < sum(map(len, examples_of(batches)))
    assert all(torch.equal(first[part], second[part]) for part in first)


@pytest.mark.parametrize("name", SMALL)
def test_keeping_the_rows_of_others_is_leaving_out_the_examples(name, train):
    source = int(np.argmax(np.diff(train.sequences.offsets) > 2))
    part = train.keep_sources(np.arange(train.n_sources) != source)
    by_rows = SMALL[name]()
    of_rows, _ = recorded(by_rows, part)
    full = SMALL[name]()
    full.fit(train)
    gone = np.flatnonzero(full.examples_.sources(np.arange(len(full.examples_))) == source)
    by_examples = SMALL[name]()
    of_examples, _ = recorded(by_examples, train, without=gone)
    assert examples_of(of_rows) == examples_of(of_examples)
    if name != "rbm":  # whose first biases follow from the data
        for a, b in zip(by_rows.module_.parameters(), by_examples.module_.parameters()):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["bpr", "gru", "lstm", "sasrec"])
def test_taking_a_row_away_leaves_the_examples_of_others_where_they_are(name, train):
    row = int(train.sequences.rows[train.sequences.offsets[7] + 1])
    source = 7
    fewer, every = SMALL[name](), SMALL[name]()
    some, first = recorded(fewer, train.keep_rows(np.arange(train.n_rows) != row))
    all_, second = recorded(every, train)
    assert all(torch.equal(first[part], second[part]) for part in first)
    assert len(some) == len(all_)
    own = [set(own_examples(model, source)) for model in (fewer, every)]
    for a, b in zip(examples_of(some), examples_of(all_)):
        assert [x for x in a if x not in own[0]] == [x for x in b if x not in own[1]]


def own_examples(model, source):
    """Examples of a source in every epoch."""
    numbers = np.flatnonzero(model.examples_.sources(np.arange(len(model.examples_))) == source)
    return [
        row
        for epoch in range(model.epochs)
        for row in examples_of([model.examples_.batch(numbers, epoch)])[0]
    ]


@pytest.mark.parametrize("name", [*SMALL, *(f"{name} with dropout" for name in DROPPING)])
def test_contributions_to_a_step_add_up(name, train):
    """One step of SGD is the sum of what it loses without each of its examples."""
    make = DROPPING[name.split()[0]] if " " in name else SMALL[name]
    # A large step, beside which rounding is small.
    step = {"optimizer": "sgd", "learning_rate": 100.0, "epochs": 1, "weight_decay": 0.0}

    def parameters(**options):
        model = make().set_params(batch_size=n, **step)
        _, before = recorded(model, train, **options)
        after = dict(model.module_.named_parameters())
        return [torch.cat([of[part].detach().flatten() for part in before])
                for of in (before, after)]  # fmt: skip

    n = len(make().set_params(epochs=1).fit(train).examples_)
    before, after = parameters()
    added = sum((after - parameters(without=[number])[1]).double() for number in range(n))
    change = (after - before).double()
    assert float(change.abs().max()) > 0.1
    assert float((added - change).abs().max()) < 1e-3 * float(change.abs().max())


def test_a_batch_that_is_gone_is_a_step_all_the_same(train):
    model = whence.BPRMF(embedding_dim=4, epochs=1, batch_size=1)
    model.fit(train, without=np.arange(10))
    assert model.history_[0]["step"] == train.n_rows


def test_what_is_kept_of_what_was_kept_is_numbered_by_the_first(train):
    rng = np.random.default_rng(0)
    mask, fewer = rng.random(train.n_rows) < 0.7, None
    part = train.keep_rows(mask)
    fewer = rng.random(part.n_rows) < 0.7
    both = mask.copy()
    both[mask] = fewer
    again, direct = part.keep_rows(fewer), train.keep_rows(both)
    assert again.fingerprint == direct.fingerprint
    np.testing.assert_array_equal(again.whole.places, direct.whole.places)
    assert train.keep_rows(np.ones(train.n_rows, dtype=bool)).fingerprint == train.fingerprint
    assert not part.whole.is_complete
    assert part.rebuild().whole.is_complete


def test_rows_made_data_of_their_own_are_trained_as_such(train):
    part = train.keep_rows(np.arange(train.n_rows) % 2 == 0).rebuild()
    fresh = whence.Interactions.from_frame(part.frame)
    a, b = (whence.BPRMF(embedding_dim=4, epochs=2).fit(data) for data in (part, fresh))
    assert torch.equal(a.module_.items.weight, b.module_.items.weight)
    assert a.checkpoints_ == b.checkpoints_ == []


def test_a_saved_model_knows_what_its_rows_were_kept_of(train, tmp_path):
    part = train.keep_rows(np.arange(train.n_rows) % 3 > 0)
    model = whence.BPRMF(embedding_dim=4, epochs=1, n_negatives=2).fit(part)
    model.save(tmp_path / "model.whence")
    loaded = whence.load_model(tmp_path / "model.whence")
    numbers = np.arange(len(model.examples_))
    assert loaded.train_.fingerprint == part.fingerprint
    for a, b in zip(model.examples_.batch(numbers, 1).values(),
                    loaded.examples_.batch(numbers, 1).values()):  # fmt: skip
        assert torch.equal(a, b)


def test_rows_that_are_no_part_are_refused(train):
    part = train.keep_rows(np.arange(train.n_rows) > 3)
    with pytest.raises(DataError, match="no part"):
        train.part_of(part.whole)


def test_damaged_places_of_a_saved_model_are_refused(train, tmp_path):
    import zipfile

    part = train.keep_rows(np.arange(train.n_rows) % 3 > 0)
    path = tmp_path / "model.whence"
    whence.BPRMF(embedding_dim=4, epochs=1).fit(part).save(path)
    damaged = tmp_path / "damaged.whence"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "places.parquet":
                pl.DataFrame({"place": [5] * part.n_rows}).write_parquet(tmp_path / "x.parquet")
                content = (tmp_path / "x.parquet").read_bytes()
            target.writestr(name, content)
    with pytest.raises(FileFormatError, match="damaged"):
        whence.load_model(damaged)
