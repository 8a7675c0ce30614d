"""Strategies against brute force, definitions and each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from disclosing import fitted, parts

from whence.curation.disclosure import Calibration, Disclosure, reward
from whence.curation.disclosure.search import Anchor, mirror, trust_region
from whence.curation.disclosure.strategies import by_order, descending, within_violation, worthwhile
from whence.errors import DataWarning, ParameterError
from whence.influence.functions import InfluenceFunction


def every_strategy(count):
    return (np.array(bits, dtype=bool) for bits in itertools.product((0, 1), repeat=count))


@pytest.fixture(params=range(4))
def small(request):
    rng = np.random.default_rng(request.param)
    count = int(rng.integers(4, 13))
    return rng.normal(size=count), rng.random(count).round(2), rng


def test_worthwhile_is_the_best_of_all_strategies(small):
    values, beta, _ = small
    for lam in (0.0, 0.3, 1.0, 3.0):
        best = max(every_strategy(len(beta)), key=lambda o: (values - lam * beta) @ o)
        np.testing.assert_array_equal(worthwhile(values, beta, lam), best)


def test_a_number_is_the_best_of_that_number(small):
    values, beta, rng = small
    gains = values - 0.5 * beta
    for n in range(len(beta) + 1):
        found = by_order(descending(gains, rng), beta, n=n)
        best = max(gains @ o for o in every_strategy(len(beta)) if o.sum() == n)
        assert found.sum() == n
        assert gains @ found == pytest.approx(best)


def test_a_violation_is_the_best_of_that_violation(small):
    values, beta, rng = small
    for wv in (0.0, 0.5, 1.0, 3.0):
        found = within_violation(values, beta, wv, rng)
        used = beta[found].sum()
        assert used <= wv + 1e-9
        best = max(values @ o for o in every_strategy(len(beta)) if beta @ o <= used + 1e-12)
        assert values @ found == pytest.approx(best)


def test_orders_stop_at_the_violation():
    beta = np.array([0.0, 0.5, 0.4, 0.0, 0.3])
    found = by_order(np.array([0, 1, 2, 3, 4]), beta, wv=0.9)
    assert found.tolist() == [True, True, True, True, False]
    assert by_order(np.arange(5), beta, wv=0.7).tolist() == [True, True, False, False, False]


def test_reward_counts_quality_with_a_plus():
    assert reward(-1.0, 2.0, 0.5) == -2.0
    assert reward(-0.5, 2.0, 0.5) > reward(-1.0, 2.0, 0.5)
    assert reward(-1.0, 1.0, 0.5) > reward(-1.0, 2.0, 0.5)


def test_a_better_model_means_a_larger_reward_after_retraining():
    """Quality is minus the loss, so that with λ = 0 it pays to disclose what helps."""
    train, validation, test = parts()
    asked = Disclosure(lam=0.0, calibrate=False).pose(fitted(train), validation, willingness="no")
    found = asked.compare(("all", "none"), test=test, seeds=(0,), controls=(), metrics=())
    everything, nothing = found.runs["reward"]
    assert everything > nothing
    assert found.runs["quality"].to_list() == [everything, nothing]
    assert everything < 0


def anchors_of(hidden):
    """Anchors of a made-up quality that is quadratic in the strategy."""

    def anchored(mask):
        gap = hidden - mask
        return Anchor(mask.copy(), -float(gap @ gap), 2.0 * gap + (1.0 - 2.0 * mask) * -1.0)

    return anchored


@pytest.mark.parametrize("lam", [0.0, 0.4])
def test_a_trust_region_never_ends_below_its_start(lam):
    rng = np.random.default_rng(0)
    hidden, beta = rng.random(40), rng.random(40)
    anchored = anchors_of(hidden)
    for start in (np.zeros(40, dtype=bool), np.ones(40, dtype=bool)):
        found = trust_region(start, anchored, beta, lam, delta=0.3, rounds=30)
        rewards = [entry["reward"] for entry in found.path if entry["accepted"]]
        assert rewards == sorted(rewards)
        assert found.anchor.reward(beta, lam) == rewards[-1]
        assert rewards[-1] > rewards[0]


def test_mirror_descent_goes_the_way_of_the_slopes():
    rng = np.random.default_rng(0)
    values, beta = rng.normal(size=60), rng.random(60)
    found = mirror(
        lambda mask: Anchor(mask, float(values @ mask), values),
        beta, 0.7, anchors=3, rounds=40, rate=0.5, rng=rng,
    )  # fmt: skip
    np.testing.assert_array_equal(found.anchor.mask, worthwhile(values, beta, 0.7))
    assert len(found.path) == 4


@pytest.fixture(scope="module")
def plain():
    train, validation, _ = parts()
    return Disclosure(lam=0.01, calibrate=False).pose(fitted(train), validation, willingness="no")


def test_strategies_are_what_they_are_called(plain):
    method = InfluenceFunction(solver="cg")
    V = method.matrix(plain.model, plain.validation)
    np.testing.assert_allclose(plain.values, V.sum(axis=0), atol=1e-6)
    own = InfluenceFunction(solver="block").own(plain.model, plain.validation)
    np.testing.assert_allclose(plain.own_values, own, atol=1e-12)
    beta, lam = plain.beta, 0.01
    cases = {
        "social": plain.values > lam * beta,
        "selfish": own > lam * beta,
        "all": np.ones_like(beta, dtype=bool),
        "none": np.zeros_like(beta, dtype=bool),
    }
    for name, mask in cases.items():
        np.testing.assert_array_equal(plain.solve(name).disclosed, mask)
    assert plain.solve("budget", n=7).n_disclosed == 7
    assert plain.solve("budget", wv=3.0).violation <= 3.0 + 1e-9
    threshold = plain.solve("threshold", n=50)
    assert threshold.frame.filter("disclosed")["beta"].max() <= np.sort(beta)[50]
    influence = plain.solve("influence_only", n=50)
    least = influence.frame.filter("disclosed")["V"].min()
    assert least >= influence.frame.filter(~influence.frame["disclosed"])["V"].max()
    first, again = (plain.solve("random", wv=10.0).disclosed for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_searches_retrain_and_never_lose(plain):
    start = plain.solve("social")
    found = plain.solve("trust_region", start=start, rounds=4)
    path = found.metadata["path"]
    assert path[0]["n"] == start.n_disclosed
    assert max(e["reward"] for e in path if e["accepted"]) >= path[0]["reward"]
    quality = plain.measured.trained(found.disclosed)[1]
    expected = quality - 0.01 * found.violation
    assert max(e["reward"] for e in path if e["accepted"]) == pytest.approx(expected, abs=1e-3)
    mirrored = plain.solve("mirror", anchors=2, rounds=1)
    assert 0 < mirrored.n_disclosed <= len(mirrored)


def test_calibration_is_measured_and_keeps_the_order():
    train, validation, _ = parts()
    asked = Disclosure(lam=0.01).pose(fitted(train), validation, willingness="no")
    own = asked.calibration
    assert own.worth > 0
    assert 0 < own.factor <= 1
    inside = np.abs(asked.influences - own.median) < own.limit
    np.testing.assert_array_equal(
        np.argsort(asked.values[inside]), np.argsort(asked.influences[inside])
    )
    assert asked.values.mean() == pytest.approx(own.worth, abs=3 * own.limit * own.factor)
    letter = Disclosure(lam=0.01, calibrate=False).pose(asked.model, validation, willingness="no")
    np.testing.assert_array_equal(letter.values, letter.influences)
    assert letter.calibration is None
    assert Calibration.factor_of_all(0.2, np.arange(4.0), np.arange(4.0)) == pytest.approx(0.2)
    assert Calibration.factor_of_all(0.2, np.arange(4.0), -np.arange(4.0)) == pytest.approx(0.4)


def test_what_willingness_alone_decides_is_said(plain):
    with pytest.warns(DataWarning, match="far above lam_ref"):
        plain.solve("social", lam=1e3 * plain.lam_ref)
    with pytest.warns(DataWarning, match="of 30 user values disclose nothing"):
        plain.solve("random", n=5)
    free = Disclosure(calibrate=False).pose(
        plain.model, plain.validation, willingness=np.zeros(len(plain.beta))
    )
    assert free.lam_ref is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strategy": "socal"}, "Did you mean 'social'"),
        ({"strategy": "budget"}, "needs either n"),
        ({"strategy": "random", "n": 1, "wv": 1.0}, "needs either n"),
        ({"strategy": "social", "n": 3}, "n=… is not for strategy='social'"),
        ({"strategy": "random", "n": 10_000}, "n must be an integer between 0 and"),
        ({"lam": -1.0}, "lam must be a number of at least 0"),
        ({"strategy": "trust_region", "rounds": 0}, "rounds must be"),
    ],
)
def test_arguments_out_of_range(plain, options, match):
    with pytest.raises(ParameterError, match=match):
        plain.solve(**options)
