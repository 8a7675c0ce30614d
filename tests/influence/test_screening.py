"""Screening: lists of the strongest are those of all products in full."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import _native as kernels  # noqa: E402
from whence.influence import TracIn, screening  # noqa: E402
from whence.influence.screening import Limits, Screen  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


@pytest.fixture(params=(False, True), ids=("float32", "bfloat16"))
def halves(request, monkeypatch):
    """Whether products are taken in bfloat16, as if the processor was fast at it or not."""
    monkeypatch.setattr(screening, "has_fast_bfloat16", lambda: request.param)
    return request.param


def gradients(n, width, seed):
    """Rows whose length is mostly in a few columns, with a common part."""
    rng = np.random.default_rng(seed)
    scale = 1.0 / (1.0 + np.random.default_rng(0).permutation(width)) ** 0.7
    rows = (rng.standard_normal((n, width)) + 0.1) * scale
    return torch.from_numpy(rows.astype(np.float32))


def lists(n_queries, n):
    return np.full((n_queries, n), -np.inf), np.full((n_queries, n), -1)


def no_limits(n_queries, n):
    return Limits(n_queries, n)


def everything(examples, queries, kept, sign, n):
    best, who = lists(len(queries), n)
    scores = (examples.double() @ queries.double().T + kept.double()).numpy()
    kernels.keep_largest(scores, sign, 0, best, who)
    return np.sort(best, 1), np.sort(who, 1), scores.sum(1)


@pytest.mark.parametrize("width", [700, 5000])
@pytest.mark.parametrize("n", [1, 10])
def test_near_has_the_strongest(width, n, halves):
    examples, queries = gradients(900, width, 1), gradients(60, width, 2)
    kept = torch.from_numpy(np.random.default_rng(3).standard_normal((900, 60)) * 0.3).float()
    sides = {1.0: lists(60, n), -1.0: lists(60, n)}
    limits = Limits(60, n)
    screen = Screen(queries, limits, examples[::10], kept[::10])
    assert screen.new_room(1).dtype == (torch.bfloat16 if halves else torch.float32)
    assert screen.new_room(1).shape[1] < 0.9 * width
    sums, n_pairs = [], 0
    for first in range(0, 900, 100):
        part = slice(first, first + 100)
        found = screen.near(examples[part], kept[part].clone())
        sums.append(found.sums)
        n_pairs += len(found.rows)
        for sign, heaps in sides.items():
            found.keep(sign, first, *heaps)
        limits.rise(sides[1.0][0], sides[-1.0][0])
    for sign, (best, who) in sides.items():
        values, numbers, totals = everything(examples, queries, kept, sign, n)
        np.testing.assert_allclose(np.sort(best, 1), values, rtol=1e-5, atol=1e-5)
        assert np.array_equal(np.sort(who, 1), numbers)
    np.testing.assert_allclose(np.concatenate(sums), totals, rtol=1e-4, atol=1e-3)
    assert n_pairs < 0.5 * 900 * 60


def test_bounds_hold_for_all_pairs(halves):
    examples, queries = gradients(200, 3000, 4), gradients(50, 3000, 5)
    kept = torch.zeros(200, 50)
    screen = Screen(queries, no_limits(50, 10), examples, kept)
    copy, lengths, _ = screen._condensed(examples)
    product = (copy @ screen._copy.T).double().numpy()
    slack = lengths.T @ screen._reach + screen._relative * np.abs(product)
    exact = (examples.double() @ queries.double().T).numpy()
    error = np.abs(product - exact)
    assert (error <= slack).all()
    # The bounds are of use: they are not much larger than what scores differ by.
    assert slack.max() < 2.0 * exact.std()
    assert error.max() > 0.01 * slack.max()


def test_rounding_is_that_of_torch():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 4000)).astype(np.float32))
    rows[0, :4] = torch.tensor([0.0, -0.0, 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8])
    half = torch.empty(5, 4000, dtype=torch.bfloat16)
    lengths, dots = np.empty((3, 5)), np.empty(5)
    runs = np.array([[0, 2048, 0], [2048, 4000, 2048]])
    upper = half.view(torch.int16).numpy()
    nothing, ones = np.empty((0, 0), np.float32), np.ones(4000, np.float32)
    kernels.condense(rows.numpy(), runs, ones, True, nothing, upper, lengths, dots)
    assert torch.equal(half, rows.bfloat16())
    np.testing.assert_allclose(lengths[0], rows.double().norm(dim=1), rtol=1e-6)
    lost = rows.double() - half.double()
    np.testing.assert_allclose(lengths[1], lost.norm(dim=1), rtol=1e-5)
    assert not lengths[2].any()
    np.testing.assert_allclose(dots, rows.double().sum(1), rtol=1e-5, atol=1e-4)


def test_rows_of_zeros(halves):
    queries = gradients(50, 600, 6)
    examples = torch.zeros(40, 600)
    kept = torch.arange(40.0).unsqueeze(1).repeat(1, 50)
    screen = Screen(queries, no_limits(50, 3), examples[:5], kept[:5])
    found = screen.near(examples, kept)
    best, who = lists(50, 3)
    found.keep(1.0, 0, best, who)
    assert np.array_equal(np.sort(who, 1), np.tile([37, 38, 39], (50, 1)))


@pytest.fixture(scope="module")
def fitted():
    data = whence.make_sessions(n_sessions=150, n_validation=60, seed=2)
    model = whence.LSTMRec(
        embedding_dim=6, hidden_dim=6, max_length=20, epochs=4, batch_size=64, learning_rate=0.01
    )
    return model.fit(data.train, checkpoints=2), data.validation


@pytest.mark.parametrize(
    "arguments", [{}, {"normalise": "cosine"}, {"weighting": "adam-factored"}, {"threads": 2}]
)
def test_lists_are_those_of_the_matrix(arguments, fitted, halves, monkeypatch):
    model, validation = fitted
    monkeypatch.setattr(screening, "_EARLY", 5)
    monkeypatch.setattr(screening, "_FEWEST_COLUMNS", 1)
    used = []
    near = Screen.near
    monkeypatch.setattr(Screen, "near", lambda *a: used.append(1) or near(*a))
    matrix = TracIn(**arguments).matrix(model, validation)
    lists = TracIn(batch_size=32, top=4, **arguments).per_query(model, validation)
    assert used
    scale = np.abs(matrix).max()
    for side, sign in (("top", 1.0), ("bottom", -1.0)):
        want = -np.sort(-sign * matrix, 0)[:4].T
        got = sign * lists.state[f"{side}_scores"]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6 * scale)
        columns = np.arange(matrix.shape[1])[:, None]
        at = matrix[lists.state[f"{side}_examples"], columns]
        np.testing.assert_allclose(sign * at, want, rtol=1e-4, atol=1e-6 * scale)
    sums = matrix.astype(np.float64).sum(1)
    np.testing.assert_allclose(lists.scores, sums, rtol=1e-4, atol=1e-5 * np.abs(sums).max())
    # Threads see the limits later, and compare more pairs, but with the same result.
    if arguments.get("threads"):
        alone = TracIn(batch_size=32, top=4).per_query(model, validation)
        for name, array in lists.state.items():
            assert np.array_equal(array, alone.state[name])
