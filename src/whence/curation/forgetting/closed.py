"""Forgetting by closed forms: EASE by downdates of its inverse, ALS by solves from where it is."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from whence.curation.forgetting.gone import CodeArray, Gone
from whence.data import Sequences
from whence.models._histories import incidence
from whence.models._user_items import has_rows
from whence.models.matrix.als import ALS, Factors, _solving
from whence.models.matrix.ease import EASE, FloatArray, weights_of

_RESIDUAL = 1e-9
_COLUMNS = 16
_SWEEPS = 3


def forget_weights(model: EASE, gone: Gone) -> dict[str, float]:
    """Downdate P = (XᵀX + l2 I)⁻¹ of `EASE` by the rows of X that change, at once.

    With the rows W that go (c = -1) and those that come in their place (c = 1), and C of the c,
    the new inverse is P - P Wᵀ (C⁻¹ + W P Wᵀ)⁻¹ W P (Woodbury): rank one for a user who goes.
    It is fitted again where that is as quick, or where rounding errors have added up.
    """
    n_items = gone.train.n_items
    model._learned = has_rows(gone.left)
    before = _binary(*gone.before(), n_items)
    after = _binary(*gone.rest(), n_items)
    has = incidence(gone.left)
    rank = before.shape[0] + after.shape[0]
    residual = np.inf
    if 4 * rank < n_items:
        signs = np.repeat([-1.0, 1.0], [before.shape[0], after.shape[0]])
        changes = sparse.csr_array(sparse.vstack([before, after], format="csr"))
        inverse = _downdated(_inverse_of(model), changes, signs)
        residual = _residual(inverse, has, model.l2)
        model.weights_, model._diagonal = weights_of(inverse)
        # Where an item has no rows, what is left of it is rounding errors.
        model.weights_[~model._learned] = 0.0
        model.weights_[:, ~model._learned] = 0.0
    if not residual <= _RESIDUAL:
        from whence.models.matrix.ease import _weights

        model.weights_, model._diagonal = _weights(has, model.l2)
        residual = _residual(_inverse_of(model), has, model.l2)
    return {"residual": residual}


def _binary(sources: CodeArray, sequences: Sequences, n_items: int) -> sparse.csr_array:
    """Which of the sources has which item, float64 [n, n_items]."""
    owner = np.repeat(np.arange(len(sources)), np.diff(sequences.offsets))
    rows = sparse.csr_array(
        (np.ones(len(owner)), (owner, sequences.items)), shape=(len(sources), n_items)
    )
    rows.data[:] = 1.0
    return rows


def _inverse_of(model: EASE) -> FloatArray:
    """P, from the weights and its diagonal."""
    inverse = model.weights_ * -model._diagonal
    np.fill_diagonal(inverse, model._diagonal)
    return inverse


def _downdated(inverse: FloatArray, changes: sparse.csr_array, signs: FloatArray) -> FloatArray:
    """P after the changes W [r, n_items] with their signs; overwritten."""
    products = changes @ inverse
    middle = np.diag(signs) + changes @ products.T
    inverse -= products.T @ linalg.solve(middle, products, assume_a="sym")
    return inverse


def _residual(inverse: FloatArray, has: sparse.csr_array, l2: float) -> float:
    """Largest entry of (XᵀX + l2 I) P - I in some columns."""
    n_items = len(inverse)
    wanted = np.unique(np.linspace(0, n_items - 1, min(n_items, _COLUMNS)).astype(np.int64))
    columns = np.ascontiguousarray(inverse[:, wanted])
    error = has.T @ (has @ columns) + l2 * columns
    error[wanted, np.arange(len(wanted))] -= 1.0
    return float(np.abs(error).max())


def forget_factors(model: ALS, gone: Gone, threads: int | None) -> dict[str, float]:
    """Solve for the users and items of `ALS` from where they are, a few times in turn."""
    model._prepare(gone.left)
    users, items = model.user_factors_.copy(), model.item_factors_.copy()
    change = np.inf
    with _solving():
        solver = model._solver(items, threads)
        solver.user_factors, solver.iterations = users, 1
        for _ in range(_SWEEPS):
            before: Factors = solver.item_factors.copy()
            solver.fit(model._confidences, show_progress=False)
            moved = np.linalg.norm(solver.item_factors - before)
            change = float(moved) / max(float(np.linalg.norm(before)), 1e-30)
        everyone = np.arange(gone.left.n_sources)
        model.user_factors_ = solver.recalculate_user(everyone, model._confidences)
    model.item_factors_ = solver.item_factors
    return {"last_change": change}
