"""Estimators against exact values: their error, and their own opinion of it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from explanation_oracles import N_ITEMS, knn, neural

torch = pytest.importorskip("torch")

from whence.errors import ParameterError, UnsupportedError  # noqa: E402
from whence.explanation import Explainer, _permutations, explain  # noqa: E402
from whence.explanation._controls import Surrogate, of_places, table_size  # noqa: E402
from whence.explanation._estimates import shapley_values  # noqa: E402
from whence.explanation._games import Game  # noqa: E402
from whence.explanation._kernel import KernelSettings, kernel  # noqa: E402
from whence.explanation._permutations import (  # noqa: E402
    PermutationSettings,
    permutation,
    tail_of,
)
from whence.explanation._problems import as_asker, pose  # noqa: E402
from whence.explanation.fidelity import relative_l2  # noqa: E402

CODES = [4, 1, 8, 1, 2, 0, 9, 5, 6, 11]


def settings(**changes):
    return Explainer(**{"k": 3, "masking": "pad", "seed": 1, **changes})


@pytest.fixture(scope="module")
def model():
    return neural("GRU4Rec", learning_rate=0.1)


@pytest.fixture(scope="module", params=["remove", "pad"])
def case(request, model):
    """A game of ten events, and its exact values."""
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES]
    exact = explain(model, history, k=3, masking=request.param, method="exact")
    return exact.problem.game, exact.scores


def methods(game, n_rows, seed):
    """Estimates of ten players: 24 pairs of orders or more, and n_rows coalitions."""
    yield "tail", permutation(game, PermutationSettings(24 * 2 * 8 * 8, 0.0, seed, tail=3))
    yield "no tail", permutation(game, PermutationSettings(n_rows, 0.0, seed, tail=0))
    yield "kernel", kernel(game, KernelSettings(n_rows, 0.0, seed))


def test_the_error_falls_with_the_root_of_the_rows(case):
    game, exact = case
    errors = {}
    for n_rows in (1440, 5760):
        for name in ("tail", "no tail"):
            tail = {"tail": 2, "no tail": 0}[name]
            found = [
                permutation(game, PermutationSettings(n_rows, 0.0, seed, tail)).phi
                for seed in range(24)
            ]
            errors[name, n_rows] = np.sqrt(np.mean([(phi - exact) ** 2 for phi in found]))
    for name in ("tail", "no tail"):
        ratio = (
            errors[name, 1440] / errors[name, 5760]
        )  # 2 by theory, and a little more: there are pairs for more controls
        assert 1.4 < ratio < 4.0, (name, ratio)


def test_two_standard_errors_cover_about_95_percent(case):
    game, exact = case
    inside = {}
    for seed in range(60):
        for name, estimate in methods(game, 480 if seed % 2 else 900, seed):
            covered = np.abs(estimate.phi - exact) <= 2 * estimate.std_error + 1e-9
            inside.setdefault(name, []).append(covered.mean())
    for name, shares in inside.items():
        # Players of one run hang together: 60 runs know the share to some 2.5%.
        assert 0.87 <= np.mean(shares) <= 1.0, (name, np.mean(shares))


def test_estimates_are_right_on_average_and_add_up(case):
    game, exact = case
    all_runs = [dict(methods(game, 800, seed)) for seed in range(24)]
    for name in ("tail", "no tail", "kernel"):
        runs = [found[name] for found in all_runs]
        mean = np.mean([run.phi for run in runs], axis=0)
        error = np.std([run.phi for run in runs], axis=0, ddof=1) / np.sqrt(24)
        assert np.all(np.abs(mean - exact) <= 4.5 * error + 1e-7), name
        for run in runs:
            assert run.phi.sum() == pytest.approx(game.gap, abs=1e-9)


def test_enumerating_the_tail_is_no_worse(case):
    game, exact = case
    assert tail_of(game, 10**6) == 2
    errors = []
    for tail in (0, 3):
        n_rows = 24 * 2 * (game.n - tail + 1) << tail  # as many orders
        runs = [permutation(game, PermutationSettings(n_rows, 0.0, s, tail)) for s in range(20)]
        errors.append(np.mean([(run.phi - exact) ** 2 for run in runs]))
    assert errors[1] < errors[0]


def test_controls_of_estimates_have_the_means_that_are_said(case):
    game, _ = case
    n, m, tail = 6, 4, 1
    short = pose(game.asker, [game.history.items[-n:]], settings(masking="pad"))[0].game
    surrogate = Surrogate.of(short, m, tail, np.random.default_rng(0))
    # Each term as a game of its own, every coalition listed.
    bits = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    p, row = bits[:, : n - m].mean(axis=1), bits[:, n - m :] @ (1 << np.arange(m))
    none, half, every = surrogate.tables
    values = (
        (1 - p) * none[row], (1 - p) ** 2 * none[row], 4 * p * (1 - p) * half[row],
        p * every[row], p**2 * every[row],
    )  # fmt: skip
    for term, expected in zip(values, surrogate.expected):
        np.testing.assert_allclose(shapley_values(term), expected, atol=1e-9)
    orders = np.array(list(permutations(range(n - tail))))
    assert np.abs(surrogate.controls(orders)).max() > 1e-4
    np.testing.assert_allclose(surrogate.controls(orders).mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(of_places(orders, n).mean(axis=0), 0, atol=1e-12)


def test_a_table_of_the_last_players_takes_off_some_of_the_error(case, monkeypatch):
    game, exact = case
    assert table_size(game, 20_000, 0) == 5
    errors = []
    for size in (0, 5):
        monkeypatch.setattr(_permutations, "table_size", lambda *_, m=size: m)
        n_rows = 40 * 2 * 11 + (4 << size if size else 0)
        runs = [permutation(game, PermutationSettings(n_rows, 0.0, s, 0)) for s in range(20)]
        assert {run.details["n_coalitions"] for run in runs} == {n_rows}
        errors.append(np.mean([(run.phi - exact) ** 2 for run in runs]))
    assert errors[1] < 0.8 * errors[0]


def test_the_kernel_enumerates_all_it_can(case):
    game, exact = case
    estimate = kernel(game, KernelSettings(2000, 0.0, 0))
    assert estimate.stopped == "exact"
    np.testing.assert_allclose(estimate.phi, exact, atol=1e-7)
    np.testing.assert_array_equal(estimate.std_error, np.zeros(game.n))
    partly = kernel(game, KernelSettings(200, 0.0, 0))
    assert 20 <= partly.details["n_enumerated"] < partly.details["n_coalitions"] <= 200


class Quadratic(Game):
    """Players with main effects and pairwise effects, and no model."""

    def _values(self, kept):
        z = kept.astype(float)
        return z @ MAIN + np.einsum("bi,ij,bj->b", z, PAIRS, z)


MAIN = np.random.default_rng(3).normal(size=10)
PAIRS = np.triu(np.random.default_rng(4).normal(size=(10, 10)), 1)


def test_pairs_of_players_cost_no_accuracy_and_can_be_asked_for(case):
    game, _ = case
    quadratic = Quadratic(game.asker, game.history, game.players, None, game.scalar)
    truth = MAIN + (PAIRS + PAIRS.T).sum(axis=1) / 2
    for order in (1, 2):
        estimate = kernel(quadratic, KernelSettings(240, 0.0, 0, order))
        np.testing.assert_allclose(estimate.phi, truth, atol=1e-9)
        assert np.all(estimate.std_error < 1e-9)
    np.testing.assert_allclose(estimate.interactions, PAIRS + PAIRS.T, atol=1e-9)


def test_stops_at_the_tolerance_or_the_budget(model):
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES]
    for method in ("permutation", "kernel"):
        coarse = explain(model, history, k=3, masking="pad", method=method, tolerance=0.2)
        gap = abs(coarse.value_all - coarse.value_nothing)
        assert coarse.metadata["stopped"] in ("tolerance", "exact")
        assert coarse.std_errors.max() <= 0.2 * gap
        fine = explain(model, history, k=3, masking="pad", method=method, tolerance=0, budget=300)
        assert fine.metadata["stopped"] == "budget"
        assert fine.metadata["params"]["n_coalitions"] <= 300


def test_same_seed_same_result_and_another_seed_another(model):
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES]
    for method in ("permutation", "kernel"):
        runs = [
            explain(model, history, k=3, method=method, budget=300, tolerance=0, seed=seed).scores
            for seed in (1, 1, 2)
        ]
        np.testing.assert_array_equal(runs[0], runs[1])
        assert np.abs(runs[0] - runs[2]).max() > 0


def test_few_players_need_no_chance(model):
    ids = model.vocabulary.items.to_list()
    for n in (1, 2):
        history = [ids[code] for code in CODES[:n]]
        exact = explain(model, history, k=3, method="exact").scores
        for method in ("permutation", "kernel"):
            found = explain(model, history, k=3, method=method)
            np.testing.assert_allclose(found.scores, exact, atol=1e-6)
            np.testing.assert_allclose(found.std_errors, np.zeros(n), atol=1e-9)


def test_a_budget_for_no_error_is_refused(case):
    game, _ = case
    with pytest.raises(ParameterError, match="at least 44"):
        permutation(game, PermutationSettings(40, 0.0, 0))


def test_a_kernel_budget_that_fits_nothing_is_refused(case):
    game, _ = case
    with pytest.raises(ParameterError, match="at least 40"):
        kernel(game, KernelSettings(20, 0.0, 0))


def test_occlusion_is_leaving_one_out_and_says_so(model):
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES[:4]]
    found = explain(model, history, k=3, method="occlusion")
    for row in range(4):
        kept = np.ones((1, 4), dtype=bool)
        kept[0, row] = False
        assert found.scores[row] == pytest.approx(found.value_all - found.value(kept)[0], abs=1e-6)
    assert "not Shapley" in found.title
    assert found.metadata["is_shapley"] is False
    assert found.std_errors is None


@pytest.mark.parametrize("name", ["GRU4Rec", "LSTMRec", "SASRec"])
@pytest.mark.parametrize("target", ["mean", "item", "log_probability"])
def test_integrated_gradients_are_complete_and_agree_with_differences(name, target):
    model = neural(name)
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES[:4]]
    asked = target if target == "mean" else (target, ids[7])
    found = explain(
        model, history, k=3, method="integrated_gradients", masking="pad", target=asked, n_steps=600
    )
    gap = found.value_all - found.value_nothing
    assert found.scores.sum() == pytest.approx(gap, abs=2e-3 * max(1.0, abs(gap)))
    assert "not Shapley" in found.title
    # The last step alone, from almost the whole history, is a plain difference.
    one = explain(
        model, [history[0]], k=3, method="integrated_gradients", masking="pad", target=asked,
        n_steps=600,
    )  # fmt: skip
    assert one.scores[0] == pytest.approx(one.value_all - one.value_nothing, abs=2e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"masking": "remove"}, "start from"),
        ({"masking": "pad", "target": ("mrr@3", 7)}, "no gradient"),
    ],
)
def test_integrated_gradients_say_what_they_cannot_do(model, options, words):
    ids = model.vocabulary.items.to_list()
    if "target" in options:
        options["target"] = ("mrr@3", ids[7])
    with pytest.raises(UnsupportedError, match=words):
        explain(model, [ids[4], ids[1]], k=3, method="integrated_gradients", **options)
    with pytest.raises(UnsupportedError, match="embeddings"):
        explain(knn("VMISKNN"), [ids[4]], k=2, method="integrated_gradients")


def test_distance_from_exact():
    assert relative_l2([1.0, 1.0], [1.0, 0.0]) == 1.0
    assert relative_l2([0.0], [0.0]) == 0.0
    with pytest.raises(ParameterError, match="same players"):
        relative_l2([1.0], [1.0, 2.0])


def test_a_pose_needs_no_more_than_its_settings(model):
    ids = model.vocabulary.items.to_list()
    problem = pose(as_asker(model), [[ids[4], ids[1]]], settings())[0]
    assert problem.game.n == 2
    assert len(problem.frozen) == 3
    assert model.n_items == N_ITEMS
