"""Models whose dependence on their data is a formula: EASE by user, ALS by row of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whence.data import Interactions
from whence.errors import DataError
from whence.evaluation import make_queries
from whence.evaluation.queries import positions_of_windows
from whence.models._histories import history_rows, incidence

FloatArray = npt.NDArray[np.float64]


def ease_influence(model: Any, validation: Any) -> tuple[FloatArray, dict[str, Any]]:
    """What EASE owes to each user (or session) of the training data, exactly.

    Without the row x of a user, ``P = (XᵀX + l2 I)⁻¹`` becomes ``P + a aᵀ / (1 - xᵀa)`` with
    ``a = P x`` (Sherman and Morrison), from which the scores of all validation targets follow
    without another inverse. The outcome of a query is minus the mean of ``(1 - score)²`` over its
    targets outside its history; histories stay what they are.

    Parameters
    ----------
    model : EASE
    validation : Interactions or data frame

    Returns
    -------
    scores : float64 [n_sources]
        Mean outcome over the queries, less that of EASE refitted without the source.
    facts : dict
        ``value_all`` and ``n_queries``.

    Raises
    ------
    DataError
        If no query has a target that can be scored.
    """
    train: Interactions = model.train_
    queries = make_queries(model, validation)
    history = history_rows(queries, train)
    sizes = queries.target_end - queries.target_start
    owner = np.repeat(np.arange(len(queries)), sizes)
    target = queries.target_items[positions_of_windows(queries.target_start, sizes)]
    seen = np.asarray(history[owner, np.maximum(target, 0)]).ravel() > 0
    good = (target >= 0) & ~seen & (np.diff(history.indptr)[owner] > 0)
    owner, target = owner[good], target[good].astype(np.int64)
    if not len(owner):
        raise DataError(
            "No validation query has a known history and a known item outside of it; check that "
            "both data use the same ids."
        )
    has = incidence(train)
    inverse = _inverse(has, model.l2)
    asked, owner = np.unique(owner, return_inverse=True)
    share = 1.0 / np.bincount(owner)[owner] / len(asked)
    known = history[asked]
    numerator = np.asarray((known @ inverse)[owner, target])
    diagonal = np.diag(inverse)[target]
    before = float(share @ (1.0 + numerator / diagonal) ** 2)
    rows = has @ inverse
    left = 1.0 - np.asarray(has.multiply(rows).sum(axis=1)).ravel()
    across = np.asarray(known @ rows.T)
    scores = np.zeros(train.n_sources)
    for source in np.flatnonzero(np.diff(has.indptr)):
        a = rows[source, target]
        changed = numerator + across[owner, source] * a / left[source]
        error = 1.0 + changed / (diagonal + a**2 / left[source])
        scores[source] = float(share @ error**2) - before
    return scores, {"value_all": -before, "n_queries": len(asked)}


def _inverse(has: sparse.csr_array, l2: float) -> FloatArray:
    gram = (has.T @ has).toarray()
    gram[np.diag_indices(len(gram))] += l2
    inverse: FloatArray = np.linalg.inv(gram)
    return inverse


def als_prediction(model: Any, user: int, item: int) -> tuple[FloatArray, float]:
    """What each row of a user does for ALS's score of an item, the items' factors held fixed.

    The user's factors are ``x = A⁻¹ b`` with ``A = YᵀY + l2 I + Σ_j (c_j - 1) y_j y_jᵀ`` and
    ``b = Σ_j c_j y_j`` over the items j of the user. Without row k, c_k is less by what the row
    adds to it (an item without rows is left out altogether): the score is computed anew, exactly.

    Parameters
    ----------
    model : ALS
    user, item : int
        Numbers in the training data.

    Returns
    -------
    scores : float64 [n_rows]
        Score of the item less the score without each row, 0 for rows of others.
    prediction : float
        The score.
    """
    train: Interactions = model.train_
    factors = model.item_factors_.astype(np.float64)
    mine = np.flatnonzero(train.source_codes == user)
    items = train.item_codes[mine]
    weight = np.ones(len(mine))
    if model.use_ratings:
        ratings = train.frame[str(train.columns.rating)].cast(float).to_numpy()
        weight = ratings[train.rows[mine]]
    totals = model.alpha * np.bincount(items, weights=weight, minlength=train.n_items)
    counts = np.bincount(items, minlength=train.n_items)
    base = factors.T @ factors + model.l2 * np.eye(factors.shape[1])

    def score(confidence: FloatArray, present: npt.NDArray[np.bool_]) -> float:
        own = factors[present]
        left = base + (own * (confidence[present] - 1.0)[:, None]).T @ own
        solved = np.linalg.solve(left, confidence[present] @ own)
        return float(solved @ factors[item])

    whole = score(totals, counts > 0)
    out = np.zeros(train.n_rows)
    for row, code, part in zip(mine, items, weight):
        fewer, present = totals.copy(), counts > 0
        fewer[code] -= model.alpha * part
        present[code] = counts[code] > 1
        out[train.rows[row]] = whole - score(fewer, present)
    return out, whole
