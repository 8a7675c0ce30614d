"""Fast Influence Analysis: the block of one user and one or two items for each outcome."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from whence import _native as kernels

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BYTES = 1 << 24
"""Of the equations that are solved at once."""


class Factors(NamedTuple):
    """Parameters: float64 [n_users, K] and [n_items, K], of which the first `dim` are factors."""

    users: FloatArray
    items: FloatArray
    dim: int


class TrainingTerms(NamedTuple):
    """Terms of the training examples, sorted by user.

    Attributes
    ----------
    starts : int64 [n_users + 1]
        Where the terms of each user begin.
    user, item, other, example : int64 [T]
        See `terms.Terms`.
    first, second : float64 [T]
        Derivatives of φ, weighted, over Z: the Hessian.
    slope : float64 [T]
        φ' by the term's share of the example, over Z: what is credited.
    item_starts, item_terms : int64 [n_items + 1], int64 [m]
        Terms that touch each item.
    """

    starts: IntArray
    user: IntArray
    item: IntArray
    other: IntArray
    example: IntArray
    first: FloatArray
    second: FloatArray
    slope: FloatArray
    item_starts: IntArray
    item_terms: IntArray


class OutcomeTerms(NamedTuple):
    """Terms of the outcomes.

    Attributes
    ----------
    user, item, other : int64 [N]
    weight : float64 [N]
        Derivative of the outcome by x.
    row : int64 [N]
        Row of the result that each term counts in.
    """

    user: IntArray
    item: IntArray
    other: IntArray
    weight: FloatArray
    row: IntArray


def add_block_influence(
    factors: Factors,
    blocks: tuple[FloatArray, FloatArray],
    training: TrainingTerms,
    outcome: OutcomeTerms,
    only_own: bool,
    out: FloatArray,
) -> None:
    """Add the influence of training terms on outcome terms, by the block of each outcome term.

    The block of an outcome term are the rows of its user and of its one or two items: the Hessian
    of those parameters alone, over the training terms that touch them, is solved.

    Parameters
    ----------
    factors : Factors
    blocks : float64 [n_users, K, K], float64 [n_items, K, K]
        Diagonal blocks of the Hessian.
    training : TrainingTerms
    outcome : OutcomeTerms
    only_own : bool
        Credit the training terms of the same user only.
    out : float64 [R, E]
        Added to: minus ∇outcomeᵀ H⁻¹ ∇l over Z.
    """
    n_items = 2 if (outcome.other >= 0).any() else 1
    size = factors.users.shape[1] * (1 + n_items)
    step = max(1, _BYTES // (8 * size * size))
    for first in range(0, len(outcome.user), step):
        some = OutcomeTerms._make(part[first : first + step] for part in outcome)
        slopes = np.zeros((len(some.user), size))
        hessians = np.zeros((len(slopes), size, size))
        kernels.write_outcome_blocks(factors, *blocks, training, some, hessians, slopes)
        solved = np.linalg.solve(hessians, slopes[..., None])[..., 0]
        kernels.credit_outcome_blocks(factors, training, some, solved, only_own, out)
