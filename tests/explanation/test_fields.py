"""Features of users and items in a wide & deep model, against a copy with its tables changed."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
from explanation_oracles import naive_shapley

torch = pytest.importorskip("torch")

from whence import Interactions, WideDeep  # noqa: E402
from whence.errors import DataError, UnsupportedError  # noqa: E402
from whence.explanation import explain, explain_many, fidelity  # noqa: E402

N_USERS, N_ITEMS = 9, 11


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    likes = pl.DataFrame(
        {"user_id": rng.integers(0, N_USERS, 60), "item_id": rng.integers(0, N_ITEMS, 60)}
    )
    users = pl.DataFrame(
        {
            "user_id": np.arange(N_USERS),
            "job": [["cook", "smith"][n % 2] for n in range(N_USERS)],
            "age": rng.normal(40, 9, N_USERS),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS),
            "genres": [["x", "y"][: n % 3] or ["z"] for n in range(N_ITEMS)],
            "price": rng.normal(5, 1, N_ITEMS),
            "maker": [["a", "b", "c"][n % 3] for n in range(N_ITEMS)],
        }
    )
    train = Interactions.from_frame(likes.unique(maintain_order=True)).with_tables(
        users=users, items=items
    )
    return WideDeep(
        embedding_dim=4, feature_dim=3, layers=(6,), epochs=3, learning_rate=0.1,
        user_features=["job", "age"], item_features=["genres", "price", "maker"],
    ).fit(train)  # fmt: skip


def changed(model, kept):
    """A copy of the network that knows only some of the fields."""
    module = copy.deepcopy(model.module_).eval()
    shares = (
        np.bincount(model.train_.source_codes, minlength=model.train_.n_sources),
        np.bincount(model.train_.item_codes, minlength=model.n_items),
    )
    for side, share, there in (
        (module.users, shares[0], kept[:3]),
        (module.items, shares[1], kept[3:]),
    ):
        share = torch.tensor(share / share.sum(), dtype=torch.float32)[:, None]
        slots = iter(side.slots)
        kinds = (
            ["id", "value", "number"]
            if side is module.users
            else ["id", "value", "number", "value"]
        )
        for kind, is_there in zip(kinds, there):
            if kind == "value":
                start, stop = next(slots)
            if is_there:
                continue
            if kind == "id":
                for table in (side.weight, side.embedding):
                    table.data[:] = (share * table.data).sum(0)
            elif kind == "value":
                side.values[:, start:stop] = 0
            else:
                side.numbers[:, 0] = 0
    return module


@pytest.mark.parametrize("target", ["mean", "log_probability"])
def test_against_a_changed_copy(model, target):
    user = 4
    code = model.vocabulary.source_codes(pl.Series([user]))[0]
    ids = model.vocabulary.items.to_list()
    seen = set(model.train_.frame.filter(pl.col("user_id") == user)["item_id"])
    with torch.no_grad():
        scores = model.module_.eval().item_scores(torch.tensor([code]))[0].numpy()
    free = [i for i in np.argsort(-scores, kind="stable") if ids[i] not in seen]
    frozen = free[:3]

    def value(kept):
        with torch.no_grad():
            found = changed(model, kept).item_scores(torch.tensor([code]))[0].double().numpy()
        if target == "mean":
            return float(found[frozen].mean())
        return float(found[frozen[0]] - np.log(np.exp(found).sum()))

    phi, everything, nothing = naive_shapley(7, value)
    asked = "mean" if target == "mean" else (target, ids[frozen[0]])
    before = {name: tensor.clone() for name, tensor in model.module_.named_buffers()}
    found = explain(model, user, k=3, level="feature", target=asked)
    assert found.items["item"].to_list() == [ids[i] for i in frozen]
    np.testing.assert_allclose(found.scores, phi, atol=1e-5)
    assert found.value_all == pytest.approx(everything, abs=1e-5)
    assert found.value_nothing == pytest.approx(nothing, abs=1e-5)
    assert found.to_frame()["feature"].to_list() == [
        "user", "user: job", "user: age", "item", "item: genres", "item: price", "item: maker",
    ]  # fmt: skip
    for name, tensor in model.module_.named_buffers():
        assert torch.equal(tensor, before[name])


def test_many_users_and_what_they_say_together(model):
    many = explain_many(model, [0, 1, 2, 3], k=2, level="feature")
    report = many.report("feature")
    assert report.height == 7
    assert set(report["n"]) == {4}
    assert fidelity.measure(many, n=2)["order"].to_list() == ["explanation", "random", "recency"]


def test_what_it_cannot_do(model):
    with pytest.raises(UnsupportedError, match="takes no history"):
        explain(model, [1, 2], k=2)
    with pytest.raises(UnsupportedError, match="masking='remove'"):
        explain(model, 1, k=2, level="feature", masking="pad")
    with pytest.raises(UnsupportedError, match="leave it out"):
        explain(model, 1, k=2, level="feature", prune=0.1)
    with pytest.raises(DataError, match="unknown"):
        explain(model, 99, k=2, level="feature")
