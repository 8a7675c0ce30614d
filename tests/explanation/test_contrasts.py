"""Why this rather than that, why not this one, and because you liked: against the definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from explanation_oracles import knn, naive_scalar, naive_scores, naive_shapley, naive_top, neural

pytest.importorskip("torch")

from whence.errors import DataError, ParameterError, UnsupportedError
from whence.explanation import because, explain

CODES = [4, 1, 8, 10, 2]
NAMES = ["GRU4Rec", "SASRec", "VMISKNN", "ItemKNN", "EASE"]
K = 3


@pytest.fixture(scope="module")
def models():
    learned = {name: neural(name, learning_rate=0.1) for name in ("GRU4Rec", "SASRec")}
    return learned | {name: knn(name) for name in NAMES[2:]}


def ids_of(model, codes):
    ids = model.vocabulary.items.to_list()
    return [ids[code] for code in codes]


def without(codes, left_out):
    return [code for place, code in enumerate(codes) if place not in left_out]


def is_in_top(model, codes, item, excluded, k=K):
    """Whether an item is among the k best for codes, items of the given history left out."""
    scores = naive_scores(model, list(codes))
    counts = np.bincount(model.train_.item_codes, minlength=model.n_items)
    others = [i for i in range(model.n_items) if i != item and i not in excluded and counts[i]]
    ahead = sum(scores[i] >= scores[item] for i in others)
    return bool(scores[item] > model.floor and ahead < k)


@pytest.mark.parametrize("name", NAMES)
def test_a_contrast_is_the_difference_of_its_items(models, name):
    model = models[name]
    history, (a, b) = ids_of(model, CODES), ids_of(model, [7, 3])
    both = explain(model, history, k=K, target=("versus", a, b))
    of_a = explain(model, history, k=K, target=("item", a))
    of_b = explain(model, history, k=K, target=("item", b))
    np.testing.assert_allclose(both.scores, of_a.scores - of_b.scores, atol=1e-5)
    assert both.value_all == pytest.approx(of_a.value_all - of_b.value_all, abs=1e-5)
    turned = explain(model, history, k=K, target=("versus", b, a))
    np.testing.assert_allclose(turned.scores, -both.scores, atol=1e-6)
    assert both.target == f"score of item {a!r} less that of item {b!r}"


def test_a_contrast_that_is_drawn(models):
    model = models["GRU4Rec"]
    history, (a, b) = ids_of(model, [*CODES, 0, 5]), ids_of(model, [7, 3])
    drawn = {"method": "permutation", "budget": 2000, "seed": 3, "masking": "pad"}
    both, of_a, of_b = (
        explain(model, history, k=K, target=target, tolerance=0.0, **drawn)
        for target in (("versus", a, b), ("item", a), ("item", b))
    )
    np.testing.assert_allclose(both.scores, of_a.scores - of_b.scores, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_why_not_is_verified_by_the_model(models, name):
    model = models[name]
    history = ids_of(model, CODES)
    found = explain(model, history, k=K)
    top = naive_top(model, CODES, K)
    scores = naive_scores(model, CODES)
    asked = [i for i in range(model.n_items) if i not in top and i not in CODES]
    for code in asked:
        item = ids_of(model, [code])[0]
        said = found.why_not(item)
        others = [i for i in range(model.n_items) if i not in (code, *CODES)]
        assert said.rank == 1 + sum(scores[i] >= scores[code] for i in others)
        assert said.gap == pytest.approx(scores[code] - scores[top[-1]], abs=1e-5)
        sizes = [
            size
            for size in range(1, len(CODES) + 1)
            if any(
                is_in_top(model, without(CODES, left_out), code, CODES)
                for left_out in itertools.combinations(range(len(CODES)), size)
            )
        ]
        if said.found:
            assert is_in_top(model, without(CODES, said.players), code, CODES)
            assert said.smallest is (len(said.players) == sizes[0])
        elif sizes:
            assert said.smallest is False
        helps = [more for more in others if is_in_top(model, [*CODES, more], code, [*CODES, more])]
        if said.with_item is None:
            assert not helps
        else:
            assert model.vocabulary.items.to_list().index(said.with_item) in helps
        words = str(said)
        assert f"place {said.rank}" in words
        assert ("would be recommended" in words) is (said.found or bool(helps))


def test_why_not_of_what_cannot_be_asked(models, tmp_path):
    model = models["GRU4Rec"]
    history = ids_of(model, CODES)
    found = explain(model, history, k=K)
    with pytest.raises(DataError, match="is recommended, in place 2"):
        found.why_not(found.items["item"][1])
    with pytest.raises(DataError, match="in the history"):
        found.why_not(history[0])
    with pytest.raises(DataError, match="unknown"):
        found.why_not(12345)
    loaded = type(found).load(found.save(tmp_path / "one.parquet"))
    for ask in (lambda: loaded.why_not(0), loaded.because):
        with pytest.raises(UnsupportedError, match="loaded from a file"):
            ask()


@pytest.mark.parametrize("name", NAMES)
def test_because_of_the_largest_share_of_each_item(models, name):
    model = models[name]
    top = naive_top(model, CODES, K)
    table = because(model, {"me": ids_of(model, CODES)}, k=K, n=len(CODES))
    assert table["item"].unique(maintain_order=True).to_list() == ids_of(model, top)
    for rank, item in enumerate(top, 1):
        phi, _, _ = naive_shapley(
            len(CODES),
            lambda kept, item=item: naive_scalar(
                naive_scores(model, [c for c, there in zip(CODES, kept) if there]),
                "item", top, item, CODES,
            ),
        )  # fmt: skip
        rows = table.filter(rank=rank).drop_nulls("event")
        order = [row for row in np.argsort(-phi, kind="stable") if phi[row] > 1e-6]
        np.testing.assert_allclose(rows["share"][: len(order)], phi[order], atol=1e-5)
        if len(set(phi.round(4))) == len(phi):
            assert rows["event"].to_list()[: len(order)] == order


def test_because_of_long_histories_is_drawn_and_close(models):
    model = models["SASRec"]
    history = ids_of(model, [4, 1, 8, 10, 2, 0, 9, 5])
    table = because(model, [history], k=K, n=8)
    assert table.equals(because(model, [history], k=K, n=8, threads=1))
    assert (table["std_error"] > 0).all()
    for rank in range(1, K + 1):
        rows = table.filter(rank=rank)
        exact = explain(model, history, k=K, target=("item", rows["item"][0]), method="exact")
        errors = rows["std_error"].to_numpy()
        assert (np.abs(rows["share"] - exact.scores[rows["event"].to_list()]) < 5 * errors).all()


def test_because_of_one_explanation_has_titles(models):
    model = models["ItemKNN"]
    titles = {item: f"Film {item}" for item in model.vocabulary.items.to_list()}
    found = explain(model, ids_of(model, CODES), k=K, titles=titles)
    table = found.because(2)
    assert table.columns == [
        "rank", "item", "title", "score", "reason", "event", "because", "because_title", "share",
        "std_error",
    ]  # fmt: skip
    assert table["title"][0] == f"Film {table['item'][0]}"
    with pytest.raises(ParameterError, match="has no target"):
        because(model, [[1]], target="mean")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (("versus", 3), "needs two items"),
        ("versus", "needs two items"),
        (("versus", 3, 3), "both are 3"),
        (("rank",), "needs an item"),
        ("rank", "needs an item"),
        (("item", 3, 4), "needs an item"),
        (("versus", 3, 999), "unknown"),
    ],
)
def test_targets_that_make_no_sense(models, target, words):
    with pytest.raises((ParameterError, DataError), match=words):
        explain(models["ItemKNN"], ids_of(models["ItemKNN"], CODES), k=K, target=target)


def test_questions_about_a_pruned_history(models):
    model = models["GRU4Rec"]
    found = explain(model, ids_of(model, [*CODES, 0, 5]), k=K, prune=0.9)
    assert found.metadata["n_pruned"] >= 2
    assert found.counterfactual(found.items["item"][1]).n_tried
    code = next(
        i for i in range(12) if i not in [*CODES, 0, 5, *naive_top(model, [*CODES, 0, 5], K)]
    )
    assert len(found.why_not(ids_of(model, [code])[0]).shares) == len(found)
