"""Losses against their formulas, written out one example at a time."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from whence.models.training import losses  # noqa: E402


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.fixture
def scores():
    rng = np.random.default_rng(3)
    return rng.normal(size=4), rng.normal(size=(4, 3))


def by_hand(positive, negatives, formula):
    return [formula(p, row) for p, row in zip(positive, negatives)]


def bpr_max_by_hand(p, row):
    weight = np.exp(row) / np.exp(row).sum()
    return -np.log((weight * sigmoid(p - row)).sum()) + 0.5 * (weight * row**2).sum()


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (losses.bce, lambda p, row: -np.log(sigmoid(p)) - np.log(1 - sigmoid(row)).sum()),
        (losses.bpr, lambda p, row: -np.log(sigmoid(p - row)).mean()),
        (lambda p, n: losses.bpr_max(p, n, regularisation=0.5), bpr_max_by_hand),
        (
            losses.sampled_cross_entropy,
            lambda p, row: -np.log(np.exp(p) / (np.exp(p) + np.exp(row).sum())),
        ),
    ],
    ids=["bce", "bpr", "bpr_max", "sampled_cross_entropy"],
)
def test_sampled_losses(scores, loss, formula):
    positive, negatives = scores
    got = loss(torch.from_numpy(positive), torch.from_numpy(negatives))
    np.testing.assert_allclose(got, by_hand(positive, negatives, formula), rtol=1e-12)


def test_cross_entropy(scores):
    _, table = scores
    target = np.array([2, 0, 1, 1])
    want = [-np.log(np.exp(row[t]) / np.exp(row).sum()) for row, t in zip(table, target)]
    got = losses.cross_entropy(torch.from_numpy(table), torch.from_numpy(target))
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_sampled_cross_entropy_with_all_items_is_the_full_one():
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 6)))
    others = torch.tensor([[0, 1, 3, 4, 5]])
    full = losses.cross_entropy(table, torch.tensor([2]))
    sampled = losses.sampled_cross_entropy(table[:, 2], table.gather(1, others))
    np.testing.assert_allclose(sampled, full, rtol=1e-12)
    shift = (torch.full((1,), 0.7), torch.full((1, 5), 0.7))
    corrected = losses.sampled_cross_entropy(table[:, 2], table.gather(1, others), shift)
    np.testing.assert_allclose(corrected, full, rtol=1e-12)


def test_squared_error():
    got = losses.squared_error(torch.tensor([1.0, 4.0]), torch.tensor([3.0, 3.5]))
    assert got.tolist() == [4.0, 0.25]


@pytest.mark.parametrize(
    "loss", [losses.bce, losses.bpr, losses.bpr_max, losses.sampled_cross_entropy]
)
def test_gradients_agree_with_finite_differences(scores, loss):
    positive, negatives = (torch.from_numpy(x).requires_grad_() for x in scores)
    assert torch.autograd.gradcheck(loss, (positive, negatives))


@pytest.mark.parametrize("loss", [losses.bce, losses.bpr, losses.sampled_cross_entropy])
def test_extreme_scores_stay_finite(loss):
    positive = torch.tensor([1e4, -1e4])
    negatives = torch.tensor([[-1e4], [1e4]])
    values = loss(positive, negatives)
    assert values.isfinite().all()
    assert values[0] == 0.0
