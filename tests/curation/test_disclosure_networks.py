"""Disclosure on networks: reliability, choosing within items, what is retrained and measured."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
import torch
from disclosing import fitted, parts

import whence
from whence import Disclosure
from whence.curation.disclosure.quality import quality_in_words
from whence.curation.disclosure.reliability import (
    Reliability,
    in_halves,
    shrunk,
    split_by_means,
)
from whence.curation.disclosure.retraining import _Remembering
from whence.curation.disclosure.strategies import (
    by_order,
    descending,
    marginal_worth,
    with_the_mix,
    worthwhile_within,
)
from whence.data import Interactions
from whence.errors import DataError, DataWarning, ParameterError, UnsupportedError
from whence.influence.functions import InfluenceFunction, ask, objective_of

SMALL = {"gmf_dim": 2, "mlp_dim": 2, "layers": (3,), "n_negatives": 1, "batch_size": 64}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        yield


def neumf(train, **params):
    data = Interactions.from_frame(train, user="user")
    return whence.NeuMF(**{**SMALL, "epochs": 6, "learning_rate": 0.02, **params}).fit(data)


@pytest.fixture(scope="module")
def data():
    return parts()


@pytest.fixture(scope="module")
def asked(data):
    train, validation, _ = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return Disclosure().pose(neumf(train), validation, willingness="no")


# Reliability


def test_parts_are_those_of_a_two_way_layout():
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)
    values = rng.normal(size=20)
    mean, found = split_by_means(values, users, items)
    table = values.reshape(5, 4)
    assert mean == pytest.approx(values.mean())
    by_item = np.tile(table.mean(axis=0) - values.mean(), 5)
    by_user = np.repeat(table.mean(axis=1) - values.mean(), 4)
    np.testing.assert_allclose(found[0], by_item, atol=1e-12)
    np.testing.assert_allclose(found[1], by_user, atol=1e-12)
    np.testing.assert_allclose(mean + found.sum(axis=0), values, atol=1e-12)


def test_shrunk_values_are_the_best_guess_of_values_measured_with_noise():
    """Truth plus independent noise in each half: the slope of truth on the guess is 1."""
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 80, 40_000), rng.integers(0, 50, 40_000)
    truth = (
        2.0
        + 0.5 * rng.normal(size=50)[items]
        + 0.3 * rng.normal(size=80)[users]
        + 0.4 * rng.normal(size=40_000)
    )
    halves = truth + 1.5 * rng.normal(size=(2, 40_000))
    guess, found = shrunk(halves, users, items)
    r = 0.4**2 / (0.4**2 + 1.5**2)
    assert found.rest == pytest.approx(2 * r / (1 + r), abs=0.02)
    assert found.item > 0.95
    assert found.user > 0.9
    slope = np.polyfit(guess, truth, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.03)
    error = np.mean((guess - truth) ** 2)
    assert error < np.mean((halves.mean(axis=0) - truth) ** 2) / 3
    noise, none = shrunk(rng.normal(size=(2, 40_000)), users, items)
    assert none.rest < 0.05
    assert noise.std() < 0.1
    same, full = shrunk(np.stack([truth, truth]), users, items)
    np.testing.assert_allclose(same, truth, atol=1e-9)
    assert (full.item, full.user, full.rest) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize("outcome", ["loss", "ndcg"])
def test_halves_share_out_the_rows_of_the_validation_data(data, outcome):
    train, validation, _ = data
    model = neumf(train)
    whole = ask(model, validation, outcome=outcome)
    both, shares = in_halves(whole, np.random.default_rng(0))
    counts = [int(np.diff(both.starts)[row > 0].sum()) for row in shares]
    assert sum(counts) == whole.starts[-1]
    assert abs(counts[0] - counts[1]) <= 1
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    objective = objective_of(model)
    values = both.values(objective)
    assert values.shape == (len(both),)
    if outcome == "loss":
        sizes, total = np.diff(both.starts), {}
        for user, value, size in zip(both.sources, values, sizes):
            total[user] = total.get(user, 0.0) + value * size
        sums = whole.values(objective) * np.diff(whole.starts)
        np.testing.assert_allclose([total[user] for user in whole.sources], sums, atol=1e-9)
    else:
        user = int(whole.sources[0])
        mine = [q for q in range(len(both)) if both.sources[q] == user]
        found = [both.relevant[both.starts[q] : both.starts[q + 1]] for q in mine]
        items = whole.relevant[: whole.starts[1]]
        assert sorted(np.concatenate(found)) == sorted(items)
        for q, own in zip(mine, found):
            assert set(items) - set(own) <= set(both.closed[q])
            assert not set(own) & set(both.closed[q])


def test_influences_are_those_of_the_influence_function(asked, data):
    """The mean of both halves, each of Gauss-Newton influence, summed over the users."""
    method = InfluenceFunction(solver="ggn")
    question, shares = in_halves(
        asked.measured.yardstick.question, np.random.default_rng([42, 0x4A1F, 1])
    )
    work = method.work_on(asked.model, None, question=question)
    expected = work.means(shares).mean(axis=0) * asked.n_users
    rows = asked.train.rows
    np.testing.assert_allclose(asked.influences[rows], expected, rtol=1e-6)
    assert asked.values.mean() == pytest.approx(asked.measured.worth)
    assert 0.0 <= asked.reliability.rest <= 1.0
    assert asked.calibration is None
    letter = Disclosure(calibrate=False).pose(asked.model, data[1], willingness="no")
    np.testing.assert_array_equal(letter.values, letter.influences)
    assert letter.reliability is None


def test_influence_that_is_chance_is_said(asked, monkeypatch):
    assert max(vars(asked.reliability).values()) >= 0.05
    chance = Reliability(0.0, 0.01, 0.02)
    monkeypatch.setattr(type(asked.measured), "reliability", property(lambda own: chance))
    with pytest.warns(DataWarning, match="chosen by them is chance"):
        asked.solve()


def test_several_starts_share_out_the_halves(data):
    """Every second run is asked for the first half of the validation data, the others for the rest.

    Influence and quality are means over the runs.
    """
    train, validation, _ = data
    model = neumf(train)
    asked = Disclosure(runs=3).pose(model, validation, willingness="no")
    models = [asked.measured.recipe.train(asked.train, model.seed + run) for run in range(3)]
    question, shares = in_halves(
        asked.measured.yardstick.question, np.random.default_rng([42, 0x4A1F, 1])
    )
    method, halves = InfluenceFunction(solver="ggn"), [[], []]
    for run, one in enumerate(models):
        work = method.work_on(one, None, question=question)
        halves[run % 2].append(work.means(shares[[run % 2]])[0] * asked.n_users)
    expected = 0.5 * (np.mean(halves[0], axis=0) + halves[1][0])
    np.testing.assert_allclose(asked.influences[asked.train.rows], expected, rtol=1e-4, atol=1e-6)
    qualities = [asked.quality(one, validation).sum() for one in models]
    assert asked.measured.quality_of_all == pytest.approx(np.mean(qualities), rel=1e-6)
    plan = asked.solve("trust_region", lam=0.5 * asked.lam_ref, rounds=1)
    again = [asked.measured.recipe.train(plan.apply(asked.train), model.seed + r) for r in range(3)]
    reward = np.mean([asked.quality(one, validation).sum() for one in again])
    reward -= plan.metadata["lam"] * plan.violation
    best = max(entry["reward"] for entry in plan.metadata["path"] if entry["accepted"])
    assert best == pytest.approx(reward, rel=1e-6)


def test_what_a_row_is_worth_is_what_half_of_them_lose(asked):
    """And λ_ref is the λ at which all of the data and a random half have the same reward."""
    half = np.random.default_rng([42, 0x4A1F]).permutation(len(asked.beta)) % 2 == 0
    model = asked.measured.recipe.train(asked.train.keep_rows(half))
    both = [float(asked.quality(m, asked.validation).sum()) for m in (asked.model, model)]
    worth = max(both[0] - both[1], 0.0) / (~half).sum()
    assert asked.measured.worth == pytest.approx(worth)
    assert asked.lam_ref == pytest.approx(worth / asked.beta.mean())
    assert asked.lam == asked.lam_ref


# Within items


def greedy(values, beta, lam, groups, worth):
    """Best sum of what is won in each group, by trying each number of the cheapest rows."""
    mask = np.zeros(len(beta), dtype=bool)
    cost = lam * beta - (values - values.mean())
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        rows = rows[np.argsort(cost[rows], kind="stable")]
        shares = (np.arange(len(rows)) + 0.5) / len(rows)
        won = [0.0, *np.cumsum(marginal_worth(shares, worth) - cost[rows])]
        mask[rows[: int(np.argmax(won))]] = True
    return mask


@pytest.mark.parametrize("lam", [0.0, 0.2, 1.0, 5.0])
def test_within_groups_the_cheapest_are_disclosed_while_that_pays(lam):
    rng = np.random.default_rng(2)
    values, beta, groups = rng.normal(size=60), rng.random(60), rng.integers(0, 7, 60)
    found = worthwhile_within(values, beta, lam, groups, 0.5, rng)
    np.testing.assert_array_equal(found, greedy(values, beta, lam, groups, 0.5))


def test_what_a_row_is_worth_adds_up_to_the_measured_gain():
    """∫ φ′ from a half to all is what the second half was worth; each halving costs the same."""
    shares = (np.arange(100_000) + 0.5) / 100_000
    slope = marginal_worth(shares, 3.0)
    second, first = shares > 0.5, (shares > 0.25) & (shares < 0.5)
    assert slope[second].sum() == pytest.approx(3.0 * second.sum(), rel=1e-4)
    assert slope[first].sum() == pytest.approx(slope[second].sum(), rel=1e-3)
    assert (np.diff(slope) < 0).all()


def test_steps_keep_the_mix():
    """Around a strategy, what is rare among the disclosed is worth more, and sums are of φ′."""
    groups, worth = np.repeat([0, 1], [10, 40]), 2.0
    mask = np.arange(50) % 2 == 0
    mask[groups == 0] = np.arange(10) < 1
    values = with_the_mix(np.full(50, 7.0), mask, groups, worth)
    shares = {True: (1 - 0.5) / 10, False: (1 + 0.5) / 10}
    for disclosed, share in shares.items():
        mine = values[(groups == 0) & (mask == disclosed)]
        np.testing.assert_allclose(mine, marginal_worth(np.array([share]), worth)[0])
    assert values[(groups == 0) & ~mask].min() > values[(groups == 1) & ~mask].max()


def test_an_order_within_groups_has_the_same_share_of_each():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 9, 900)
    values = rng.normal(size=900) + groups  # so that without groups the last would be first
    order = descending(values, rng, groups)
    assert sorted(order) == list(range(900))
    sizes = np.bincount(groups)
    for n in (90, 300, 555):
        mask = by_order(order, np.zeros(900), n=n)
        kept = np.bincount(groups[mask], minlength=9)
        assert np.abs(kept - n / 900 * sizes).max() <= 1.0 + 1e-9
        for group in range(9):
            mine = groups == group
            if 0 < kept[group] < sizes[group]:
                assert values[mine & mask].min() > values[mine & ~mask].max()


def test_strategies_within_items(asked):
    items, lam = asked.measured.codes[1], 0.5 * asked.lam_ref
    found = asked.solve("social", lam=lam)
    expected = greedy(asked.values, asked.beta, lam, items, asked.measured.worth)
    np.testing.assert_array_equal(found.disclosed, expected)
    assert found.metadata["within"] == "item"
    plain = asked.solve("social", lam=lam, within="all")
    np.testing.assert_array_equal(plain.disclosed, asked.values > lam * asked.beta)
    sizes = np.bincount(items)
    for name in ("random", "threshold", "influence_only", "budget"):
        plan = asked.plan(f"{name} within item", n=len(asked.beta) // 2)
        kept = np.bincount(items[plan.disclosed], minlength=len(sizes))
        assert np.abs(kept - plan.share * sizes).max() <= 1.0
    priced = asked.solve("threshold", wv=4.0, within="item")
    assert 3.0 < priced.violation <= 4.0 + 1e-9
    assert asked.solve("threshold", n=50).metadata["within"] == "all"
    with pytest.raises(ParameterError, match="within='item' is not for strategy='selfish'"):
        asked.solve("selfish", within="item")
    with pytest.raises(ParameterError, match="within must be one of"):
        asked.solve("social", within="user")


def test_a_trust_region_retrains_and_never_ends_below_its_start(asked):
    lam = 0.5 * asked.lam_ref
    found = asked.solve("trust_region", lam=lam, rounds=2)
    start = asked.solve("social", lam=lam)
    path = found.metadata["path"]
    assert path[0]["n"] == start.n_disclosed
    assert all(entry["changed"] <= 0.1 * len(asked.beta) for entry in path)
    best = max(entry["reward"] for entry in path if entry["accepted"])
    model = asked.retrained(found)
    quality = asked.quality(model, asked.validation).sum()
    assert best == pytest.approx(quality - lam * found.violation)
    assert best >= path[0]["reward"]


# Comparing


def test_models_are_retrained_from_other_starts_and_from_the_same(asked, data):
    found = asked.at(0.3 * asked.lam_ref).compare(
        ("social",), test=data[2], seeds=(0,), controls=("threshold within item",),
        metrics=("ndcg@5",), starts=("other", "same"),
    )  # fmt: skip
    runs = found.runs
    assert runs.height == 2 * 3
    assert runs["start"].unique().sort().to_list() == ["other", "same"]
    problem = asked.reseeded(0)
    plan = problem.at(found.lam).plan("social")
    for start, seed in (("other", 1000), ("same", 0)):
        row = runs.filter(strategy="social", start=start).row(0, named=True)
        assert row["n"] == plan.n_disclosed
        model = problem.measured.recipe.train(plan.apply(asked.train), seed)
        assert row["quality"] == pytest.approx(problem.quality(model, data[2]).mean())
    same = runs.filter(strategy="threshold within item", matched="number")
    assert set(same["n"]) == {plan.n_disclosed}
    assert "cross-entropy" in found.quality
    gaps = found.differences()
    assert set(gaps["start"]) == {"other", "same"}
    with pytest.raises(ParameterError, match="starts must be one of"):
        asked.compare(("social",), test=data[2], starts=("here",))
    with pytest.raises(ParameterError, match="Give at least one of starts"):
        asked.compare(("social",), test=data[2], starts=())


def test_metrics_are_given_with_and_without_withheld_items(asked, data):
    plan = asked.plan("random", n=len(asked.beta) // 3)
    model = asked.retrained(plan, 1)
    test = data[2]
    found = asked.yardstick(test).metrics(model, ["ndcg@5", "hitrate@5"])
    scores = whence.evaluate(model, test, ["ndcg@5"]).scores
    assert found["ndcg@5"] == scores["ndcg@5"]
    # With the histories of all data, whose items are not recommended, and the same scores.
    queries = whence.make_queries(asked.model, test, protocol="users")
    less = whence.evaluate(model, queries, ["ndcg@5"]).scores
    assert found["ndcg@5 less withheld"] == pytest.approx(less["ndcg@5"])
    assert found["ndcg@5 less withheld"] != found["ndcg@5"]


def test_quality_in_words():
    words = quality_in_words(whence.NeuMF(n_negatives=3))
    assert "cross-entropy of a row and its 3 drawn negatives" in words
    assert "nearer to 0 is better" in words
    assert "squares of a step of the rating scale" in quality_in_words(whence.BiasedMF())
    assert "the next item among all items" in quality_in_words(whence.GRU4Rec())
    assert "above 1 drawn negatives" in quality_in_words(whence.BPRMF(n_negatives=1))
    assert "from 0 to 1, larger is better" in quality_in_words(whence.NeuMF(), "ndcg")


# Outcomes and models


def test_a_ranking_metric_as_quality(data):
    train, validation, test = data
    asked = Disclosure(outcome="ndcg").pose(neumf(train), validation, willingness="no")
    plan = asked.solve()
    assert "nDCG" in plan.metadata["quality"]
    quality = asked.quality(asked.model, test)
    assert ((quality > 0) & (quality < 1)).all()
    question = ask(asked.model, test, outcome="ndcg")
    np.testing.assert_allclose(quality, question.values(objective_of(asked.model)))
    sequences = Interactions.from_frame(train, user="user")
    model = whence.GRU4Rec(embedding_dim=2, hidden_dim=2, positions="last", epochs=1)
    with pytest.raises(UnsupportedError, match="needs a model of users and items"):
        Disclosure(outcome="ndcg").pose(model.fit(sequences), validation, willingness="no").solve()


@pytest.mark.parametrize("runs", [1, 2])
def test_replayed_training_as_the_source(data, runs):
    """Each half is the mean over its users of the mean over their rows, of single values."""
    train, validation, _ = data
    table = Interactions.from_frame(train.filter(pl.col("user") < 12), user="user")
    model = whence.smooth(whence.NeuMF(**SMALL, epochs=2)).fit(table)
    method = whence.Replay(runs=runs, precision="float64")
    few = validation.filter(pl.col("user") < 12)
    asked = Disclosure(influence=method).pose(model, few, willingness="no")
    question, shares = in_halves(
        asked.measured.yardstick.question, np.random.default_rng([42, 0x4A1F, 1])
    )
    weights = np.repeat(shares, np.diff(question.starts), axis=1) * question.weights()

    class Rows:
        def __len__(self):
            return int(question.starts[-1])

        def batch(self, numbers):
            return {k: torch.from_numpy(v[numbers]) for k, v in question.arrays.items()}

    each = whence.Replay(precision="float64").matrix(model, Rows())
    expected = weights @ each.T
    if runs == 2:
        other = type(model)(**{**model.params, "seed": model.seed + 1}).fit(table)
        second = whence.Replay(precision="float64").matrix(other, Rows())
        expected[1] = weights[1] @ second.T
    rows = asked.train.rows
    sums = expected.mean(axis=0) * asked.n_users
    np.testing.assert_allclose(asked.influences[rows], sums, rtol=1e-6, atol=1e-12)
    found = asked.solve("trust_region", rounds=1, lam=0.3 * (asked.lam_ref or 1e-3))
    assert found.n_disclosed
    letter = Disclosure(influence=method, outcome="ndcg").pose(model, few, willingness="no")
    with pytest.raises(UnsupportedError, match="Replayed training is asked for losses"):
        letter.solve()


def test_pairwise_factors_that_are_replayed_are_retrained_as_they_were(data):
    train, validation, _ = data
    table = Interactions.from_frame(train, user="user")
    model = whence.smooth(whence.BPRMF(embedding_dim=2, epochs=2)).fit(table)
    asked = Disclosure(influence=whence.Replay()).pose(model, validation, willingness="no")
    plan = asked.solve("social", lam=1e-3)
    again = type(model)(**model.params).fit(table.keep_rows(plan.disclosed))
    learned, expected = (one.module_.state_dict() for one in (asked.retrained(plan), again))
    assert all(np.array_equal(learned[name], expected[name]) for name in expected)


SEQUENCES = {
    "gru": lambda: whence.GRU4Rec(embedding_dim=3, hidden_dim=3, positions="last", epochs=2),
    "attention": lambda: whence.SASRec(embedding_dim=4, num_heads=1, positions="last", epochs=2),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequence_models(name, data):
    train, validation, test = data
    model = SEQUENCES[name]().fit(Interactions.from_frame(train, user="user"))
    asked = Disclosure(lam=1e-3).pose(model, validation, willingness="no")
    first = asked.train.frame.with_row_index("row").group_by("user").agg(pl.col("row").first())
    # The first row of a user is no target: it is worth what rows are worth on average.
    rows = first["row"].to_numpy()
    assert (asked.influences[rows] == 0).all()
    assert np.count_nonzero(asked.influences) == len(asked.influences) - len(rows)
    np.testing.assert_allclose(asked.values[rows], asked.values[rows[0]])
    plan = asked.solve("trust_region", rounds=1)
    assert plan.n_disclosed
    assert asked.quality(asked.retrained(plan), test).shape == (len(test["user"].unique()),)


def test_a_sequence_model_does_not_see_what_it_may_not_recommend(data):
    """Metrics less withheld keep the history that the model has, and leave out what it lacks."""
    train, _, test = data
    model = SEQUENCES["gru"]().fit(Interactions.from_frame(train, user="user"))
    asked = Disclosure(lam=0.0).pose(model, test, willingness="no")
    everything = asked.yardstick(test).metrics(model, ["ndcg@5"])
    assert everything["ndcg@5"] == everything["ndcg@5 less withheld"]
    retrained = asked.retrained(asked.plan("random", n=120))
    remembering = _Remembering(retrained, asked.train)
    queries = whence.make_queries(retrained, test, protocol="users")
    own, less = retrained.score_codes(queries), remembering.score_codes(queries)
    left_out = np.isneginf(less)
    np.testing.assert_array_equal(own[~left_out], less[~left_out])
    for q, user in enumerate(queries.ids["user"]):
        items = set(np.flatnonzero(left_out[q]) + 0)
        mine = asked.train.frame.filter(user=user)["item"]
        assert set(retrained.vocabulary.item_codes(mine)) <= items


def test_nothing_left_to_recommend():
    pairs = {"user": [1, 1, 2, 2], "item": [1, 2, 1, 2], "rating": [1.0, 5.0, 2.0, 4.0]}
    every = pl.DataFrame(pairs)
    asked = Disclosure(calibrate=False).pose(fitted(every), every, willingness=np.zeros(4))
    with pytest.raises(DataError, match="Nothing is left to recommend"):
        asked.yardstick(every).metrics(asked.model, ["ndcg@1"])


def test_pairwise_factors_within_items(data):
    train, validation, _ = data
    model = whence.BPRMF(embedding_dim=2, weight_decay=0.05, epochs=5)
    model = whence.to_optimum(model.fit(Interactions.from_frame(train, user="user")))
    asked = Disclosure(lam=0.01, within="item").pose(model, validation, willingness="no")
    items = asked.measured.codes[1]
    expected = greedy(asked.values, asked.beta, 0.01, items, asked.measured.worth)
    np.testing.assert_array_equal(asked.solve().disclosed, expected)


def test_everything_withheld(asked):
    plan = asked.solve("none")
    with pytest.raises(DataError, match="Nothing is disclosed"):
        asked.measured.recipe.train(plan.apply(asked.train))
    model = asked.retrained(plan)
    nothing = -2 * np.log(2)  # of an item and its negative, each of a probability of one half
    np.testing.assert_allclose(asked.quality(model, asked.validation), nothing, rtol=1e-6)


def test_a_single_validation_row_cannot_be_halved(data):
    train, validation, _ = data
    asked = Disclosure().pose(neumf(train), validation.head(1), willingness="no")
    with pytest.raises(DataError, match="calibrate=False"):
        asked.solve()
