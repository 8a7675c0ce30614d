"""A semivalue is its weights: a new one is a class with one method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import RefittedGame, random_baskets, random_sessions, semivalue

from whence import TIFUKNN, VMISKNN, Banzhaf, BetaShapley, Interactions, Metric, Shapley
from whence.errors import ParameterError
from whence.valuation import weights as module
from whence.valuation.semivalues import Semivalue
from whence.valuation.weights import SUBSETS, WeightTable, sampling_weights


class Binomial(Semivalue):
    """Each of the others is there with probability 0.3."""

    def size_weights(self, n):
        s = np.arange(n)
        return 0.3**s * 0.7 ** (n - 1 - s)


class BinomialBySubsets(Binomial):
    sampling = SUBSETS


def binomial_weight(s, n):
    return 0.3**s * 0.7 ** (n - 1 - s)


@pytest.fixture(scope="module", params=["sessions", "baskets"])
def game(request):
    rng = np.random.default_rng(1)
    if request.param == "sessions":
        model = VMISKNN(k=2, m=4).fit(Interactions.from_frame(random_sessions(rng, 7, 6)))
        valid = random_sessions(rng, 5, 7, longest=4, first_id=100)
    else:
        train = Interactions.from_frame(random_baskets(rng, 7, 8))
        model = TIFUKNN(k=3, m=3, alpha=0.3).fit(train)
        valid = random_baskets(rng, 8, 9, most_baskets=1, first_basket=100)
    return RefittedGame(model, valid, sustainable=[]), valid


def expected(game, metric):
    table = game.values(metric)
    scores = np.zeros(game.n)
    for query in range(table.shape[1]):
        user = game.own(query)
        if game.train.kind == "baskets" and user < 0:
            continue
        given = 0 if user < 0 else 1 << user

        def value(coalition, query=query, given=given):
            return table[given | sum(1 << p for p in coalition), query]

        for player, credit in semivalue(value, game.candidates(query), binomial_weight).items():
            scores[player] += credit / table.shape[1]
    return scores


@pytest.mark.parametrize("make", [Binomial, BinomialBySubsets])
def test_a_new_semivalue_is_enumerated_and_sampled(game, make):
    game, valid = game
    want = expected(game, "ndcg@3")
    exact = make("ndcg@3", exact=20).attribute(game.model, valid)
    np.testing.assert_allclose(exact.scores, want, atol=1e-12)
    drawn = make("ndcg@3", exact=0, tolerance=0, max_permutations=4000).attribute(game.model, valid)
    errors = drawn.frame["std_error"].to_numpy()
    assert 0 < errors.max() < 0.02
    assert (np.abs(drawn.scores - want) <= 5 * errors + 1e-9).all()


@pytest.mark.parametrize("make", [Binomial, BinomialBySubsets])
def test_so_it_is_where_the_metric_is_a_function(game, make):
    game, valid = game
    metric = Metric.custom(lambda items, targets: float(len({*items} & {*targets})), k=3)
    exact = make(metric, exact=20).attribute(game.model, valid)
    drawn = make(metric, exact=0, tolerance=0, max_permutations=400).attribute(game.model, valid)
    errors = drawn.frame["std_error"].to_numpy()
    assert (np.abs(drawn.scores - exact.scores) <= 5 * errors + 1e-9).all()


@pytest.mark.parametrize(
    "method", [Shapley(), Banzhaf(), BetaShapley(), BetaShapley(alpha=1, beta=4)]
)
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_sampled_weights_are_those_of_sizes_over_their_chance(method, n):
    s = np.arange(n)
    combinations = np.array([math.comb(n - 1, i) for i in s], dtype=float)
    chance = np.full(n, 2.0 ** (1 - n)) if method.sampling == SUBSETS else 1 / (n * combinations)
    sizes = method.size_weights(n)
    np.testing.assert_allclose((sizes * combinations).sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(sampling_weights(method, n), sizes / chance, rtol=1e-10)
    default = module.CoalitionWeights.sampling_weights(method, n)
    np.testing.assert_allclose(default, sizes / chance, rtol=1e-10)


@pytest.mark.parametrize("own", ["given", "player"])
def test_rows_made_when_a_game_needs_them_give_the_same_values(monkeypatch, own):
    rng = np.random.default_rng(3)
    train = Interactions.from_frame(random_baskets(rng, 30, 12))
    valid = random_baskets(rng, 30, 12, most_baskets=1, first_basket=100)
    model = TIFUKNN(k=4, m=3, alpha=0.3).fit(train)
    options = {"candidates": "all", "exact": 0, "tolerance": 0, "max_permutations": 8, "own": own}
    whole = BetaShapley("ndcg@3", **options).attribute(model, valid)
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 5)
    some = BetaShapley("ndcg@3", **options).attribute(model, valid)
    monkeypatch.setattr(module, "_MOST_HELD", 40)
    few = BetaShapley("ndcg@3", threads=3, **options).attribute(model, valid)
    for other in (some, few):
        np.testing.assert_array_equal(whole.scores, other.scores)


def test_rows_are_kept_until_there_are_too_many(monkeypatch):
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(module, "_MOST_HELD", 20)
    table = WeightTable(BetaShapley(), 30, 2)
    before = table.weights
    for n in (10, 11, 12):
        weights = table.add(n)
        start = weights.sample_starts[n]
        np.testing.assert_array_equal(
            weights.samples[start : start + n], sampling_weights(BetaShapley(), n)
        )
    assert (weights.sample_starts[[3, 12]] >= 0).all()
    assert (weights.sample_starts[[4, 10, 11]] < 0).all()
    assert (before.sample_starts[[10, 11, 12]] < 0).all()


def test_weights_that_are_no_probabilities_get_a_sentence(game):
    game, valid = game

    class Wrong(Binomial):
        def size_weights(self, n):
            return np.ones(n)

    class Short(Binomial):
        def size_weights(self, n):
            return np.ones(1)

    with pytest.raises(ParameterError, match="have the probability 2 in all, not 1"):
        Wrong("mrr@3").attribute(game.model, valid)
    with pytest.raises(
        ParameterError, match=r"has the shape \(1,\); give one weight for each size"
    ):
        Short("mrr@3").attribute(game.model, valid)
    with pytest.raises(ParameterError, match="sampling_weights"):
        sampling_weights(Binomial(), 5000)
