"""Exact explanations against enumeration by the definition, for every kind of model."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_oracles import (
    N_ITEMS,
    knn,
    masked,
    naive_scalar,
    naive_scores,
    naive_shapley,
    naive_top,
    neural,
)

torch = pytest.importorskip("torch")

from whence.explanation import explain  # noqa: E402
from whence.explanation._estimates import chain_weights, shapley_values, size_weights  # noqa: E402

NEURAL = ["LSTMRec", "GRU4Rec", "SASRec"]
KNN = ["VMISKNN", "ItemKNN", "Popularity", "EASE", "MarkovChain"]
STAND_INS = {"remove": None, "pad": N_ITEMS, "mean_embedding": N_ITEMS + 1, "item": 3}
TARGETS = ["mean", "item", "log_probability", "versus", "rank", "mrr@3"]
K = 3


@pytest.fixture(scope="module")
def models():
    made = {name: neural(name) for name in NEURAL}
    made |= {name: knn(name) for name in (*KNN, "TIFUKNN")}
    return made


def ids_of(model, codes):
    ids = model.vocabulary.items.to_list()
    return [ids[code] for code in codes]


def compare(model, codes, masking, target, tolerance=1e-5):
    stand_in = STAND_INS[masking]
    frozen = naive_top(model, codes, K)
    item = 7
    phi, everything, nothing = naive_shapley(
        len(codes),
        lambda kept: naive_scalar(
            naive_scores(model, masked(codes, kept, stand_in)), target, frozen, item, codes
        ),
    )
    ids = model.vocabulary.items.to_list()
    given = ("item", ids[stand_in]) if masking == "item" else masking
    asked = "mean" if target == "mean" else (target, ids[item])
    asked = (target, ids[item], ids[0]) if target == "versus" else asked
    found = explain(model, ids_of(model, codes), k=K, masking=given, target=asked, method="exact")
    assert found.items["item"].to_list() == ids_of(model, frozen)
    np.testing.assert_allclose(found.scores, phi, atol=tolerance)
    assert found.value_all == pytest.approx(everything, abs=tolerance)
    assert found.value_nothing == pytest.approx(nothing, abs=tolerance)
    assert found.scores.sum() == pytest.approx(found.value_all - found.value_nothing, abs=1e-9)
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("masking", list(STAND_INS))
@pytest.mark.parametrize("name", NEURAL)
def test_networks(models, name, masking, target):
    compare(models[name], [4, 1, 8, 1, 2], masking, target)


@pytest.mark.parametrize("name", NEURAL)
@pytest.mark.parametrize("masking", ["remove", "pad"])
def test_networks_on_eight_events(models, name, masking):
    compare(models[name], [4, 1, 8, 1, 2, 0, 9, 5], masking, "mean")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("masking", ["remove", "item"])
@pytest.mark.parametrize("name", KNN)
def test_neighbours_and_counts(models, name, masking, target):
    codes = [4, 1, 8, 10]
    if name == "MarkovChain" and target == "log_probability":
        pytest.skip("its scores are not finite everywhere")
    if masking == "item" and name in ("EASE", "MarkovChain"):
        masking = "remove"
    compare(models[name], codes, masking, target)


def test_marginal_is_the_mean_over_its_draws(models):
    from whence.explanation._maskings import parse_masking, tokens_off
    from whence.explanation._problems import as_asker

    for name in ("GRU4Rec", "SASRec", "VMISKNN"):
        model, codes = models[name], [4, 1, 8]
        asker = as_asker(model)
        history = asker.encode(ids_of(model, codes))
        draws = tokens_off(parse_masking(("marginal", 4)), asker, history, 5)
        frozen = naive_top(model, codes, K)

        def value(kept, model=model, codes=codes, draws=draws, frozen=frozen):
            parts = []
            for draw in draws:
                mixed = [c if there else int(d) for c, there, d in zip(codes, kept, draw)]
                parts.append(np.mean(naive_scores(model, mixed)[frozen]))
            return float(np.mean(parts))

        phi, everything, nothing = naive_shapley(3, value)
        found = explain(model, ids_of(model, codes), k=K, masking=("marginal", 4), seed=5)
        np.testing.assert_allclose(found.scores, phi, atol=1e-5)
        assert found.metadata["masking"] == "marginal over 4 draws"
        assert found.value_nothing == pytest.approx(nothing, abs=1e-5)
        assert found.value_all == pytest.approx(everything, abs=1e-5)


def test_baskets_event_by_event_and_basket_by_basket(models):
    model = models["TIFUKNN"]
    ids = model.vocabulary.items.to_list()
    baskets = [[0, 3], [5], [3, 7]]
    named = [[ids[code] for code in basket] for basket in baskets]
    scores = model.score(model.fold_in([named]))[0]
    seen = {0, 3, 5, 7}
    allowed = [i for i in range(model.n_items) if i not in seen and scores[i] > 0]
    frozen = sorted(allowed, key=lambda i: (-scores[i], i))[:K]
    events = [(number, code) for number, basket in enumerate(baskets) for code in basket]

    def value(kept):
        left = {}
        for (number, code), there in zip(events, kept):
            if there:
                left.setdefault(number, []).append(ids[code])
        if not left:
            return 0.0
        return float(np.mean(model.score(model.fold_in([list(left.values())]))[0][frozen]))

    phi, _, _ = naive_shapley(len(events), value)
    found = explain(model, named, k=K)
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)

    def of_baskets(kept):
        return value([kept[number] for number, _ in events])

    phi, _, _ = naive_shapley(3, of_baskets)
    found = explain(model, named, k=K, groups="basket")
    np.testing.assert_allclose(found.scores, phi, atol=1e-9)
    assert found.to_frame()["n_events"].to_list() == [2, 1, 2]


@pytest.mark.parametrize("name", ["GRU4Rec", "SASRec"])
@pytest.mark.parametrize("masking", ["remove", "pad"])
def test_groups_in_any_order(models, name, masking):
    model, codes = models[name], [4, 1, 8, 1, 4, 2]
    owner = [0, 1, 2, 1, 0, 3]
    frozen = naive_top(model, codes, K)

    def value(kept):
        there = [kept[player] for player in owner]
        return float(np.mean(naive_scores(model, masked(codes, there, STAND_INS[masking]))[frozen]))

    phi, _, _ = naive_shapley(4, value)
    for groups in ("item", ["a", "b", "c", "b", "a", "d"], lambda item: item):
        found = explain(model, ids_of(model, codes), k=K, masking=masking, groups=groups)
        np.testing.assert_allclose(found.scores, phi, atol=1e-5)
        assert found.to_frame()["n_events"].to_list() == [2, 2, 1, 1]
        # A tail that is enumerated must not split the groups either.
        drawn = explain(
            model, ids_of(model, codes), k=K, masking=masking, groups=groups, method="permutation",
            budget=4000, tolerance=0,
        )  # fmt: skip
        assert np.abs(drawn.scores - phi).max() < 0.1 * np.abs(phi).max()


def test_groups_in_order_go_through_the_trie(models):
    model, codes = models["GRU4Rec"], [4, 1, 8, 1, 4, 2]
    frozen = naive_top(model, codes, K)
    phi, _, _ = naive_shapley(
        3,
        lambda kept: float(
            np.mean(
                naive_scores(model, masked(codes, [kept[i // 2] for i in range(6)], N_ITEMS))[
                    frozen
                ]
            )
        ),
    )
    found = explain(
        model, ids_of(model, codes), k=K, masking="pad", groups=["a", "a", "b", "b", "c", "c"]
    )
    np.testing.assert_allclose(found.scores, phi, atol=1e-5)


@pytest.mark.parametrize("name", ["VMISKNN", "ItemKNN", "EASE"])
def test_dummies_and_symmetry(models, name):
    model = models[name]
    ids = model.vocabulary.items.to_list()
    if name != "VMISKNN":  # the order of a history means nothing to the others
        found = explain(model, [ids[2], ids[5], ids[2]], k=K)
        assert found.scores[0] == pytest.approx(found.scores[2], abs=1e-9)
    popular = explain(models["Popularity"], [ids[2], ids[5], ids[2]], k=K)
    np.testing.assert_array_equal(popular.scores, np.zeros(3))


@pytest.mark.parametrize("name", ["GRU4Rec", "LSTMRec"])
def test_masking_an_event_by_itself_makes_it_a_dummy(models, name):
    model = models[name]
    ids = model.vocabulary.items.to_list()
    found = explain(model, [ids[4], ids[3], ids[8]], k=K, masking=("item", ids[3]))
    assert abs(found.scores[1]) < 1e-6
    assert np.abs(found.scores[[0, 2]]).max() > 1e-3


def test_arithmetic_of_values():
    rng = np.random.default_rng(0)
    for n in range(1, 7):
        values = rng.normal(size=1 << n)
        phi, everything, nothing = naive_shapley(
            n, lambda kept, v=values: v[sum(1 << i for i, there in enumerate(kept) if there)]
        )
        np.testing.assert_allclose(shapley_values(values), phi, atol=1e-12)
        assert phi.sum() == pytest.approx(everything - nothing)
        assert size_weights(n)[0] == pytest.approx(1 / n)


@pytest.mark.parametrize(("chain", "tail"), [(1, 1), (3, 2), (4, 0), (0, 3), (2, 4)])
def test_weights_of_a_known_order_are_probabilities(chain, tail):
    from math import comb

    step, tail_step = chain_weights(chain, tail)
    ways = np.array([comb(tail, b) for b in range(tail + 1)])
    np.testing.assert_allclose(step @ ways, np.ones(chain))
    if tail:
        ways = np.array([comb(tail - 1, b) for b in range(tail)])
        assert (tail_step @ ways).sum() == pytest.approx(1.0)
