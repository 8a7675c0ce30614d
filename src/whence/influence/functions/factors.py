"""The training objective of factor models, ``F(θ, o) = (1/Z) Σ_s o_s l_s(θ) + ½ρ‖θ‖²``, by formula.

Parameters are two tables, one row per user and one per item, the bias last.
The users' part of the Hessian has one small block for each user, so that it is eliminated exactly
wherever an equation is solved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import linalg

from whence import _native as kernels
from whence.errors import DataError
from whence.influence.functions.objective import SINGULAR, Equations, Hessian, Objective
from whence.influence.functions.outcome_blocks import (
    Factors,
    OutcomeTerms,
    TrainingTerms,
    add_block_influence,
)
from whence.influence.functions.terms import SQUARED, Arrays, Terms, terms_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SWEEPS = 30
_SINGULAR = 1e13


@dataclass(frozen=True)
class Layout:
    """How the parameters of a factor model are one vector: a table of users, one of items.

    Attributes
    ----------
    n_users, n_items : int
    dim : int
        D: factors without the bias.
    biased : bool
    mean : float
        μ, a constant.
    """

    n_users: int
    n_items: int
    dim: int
    biased: bool
    mean: float = 0.0

    @property
    def width(self) -> int:
        """K."""
        return self.dim + int(self.biased)

    @property
    def size(self) -> int:
        """P."""
        return (self.n_users + self.n_items) * self.width

    def split(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Users [R, n_users, K] and items [R, n_items, K] of rows [R, P]."""
        middle = self.n_users * self.width
        users, items = rows[:, :middle], rows[:, middle:]
        shape = len(rows), -1, self.width
        return np.ascontiguousarray(users).reshape(shape), np.ascontiguousarray(items).reshape(
            shape
        )

    def join(self, users: FloatArray, items: FloatArray) -> FloatArray:
        """The reverse of `split`."""
        return np.concatenate(
            [users.reshape(len(users), -1), items.reshape(len(items), -1)], axis=1
        )


@dataclass(frozen=True)
class FactorObjective(Objective):
    """F of a factor model; see `Objective`.

    Attributes
    ----------
    terms : Terms
        Of the training examples.
    loss : {"squared", "labels", "logistic", "bpr"}
    layout : Layout
    vector : float64 [P]
        θ.
    n_terms, ridge, weights
        As of `Objective`.
    """

    terms: Terms
    loss: str
    layout: Layout
    vector: FloatArray = field(repr=False)
    n_terms: float
    ridge: float
    weights: FloatArray = field(repr=False)

    @property
    def n_examples(self) -> int:
        """E."""
        return self.terms.n_examples

    @property
    def theta(self) -> FloatArray:
        """θ, float64 [P]; see `Objective`."""
        return self.vector

    def at(self, theta: FloatArray) -> FactorObjective:
        """The same objective at another point; see `Objective`."""
        return replace(self, vector=theta)

    def weighted(self, weights: FloatArray) -> FactorObjective:
        """The same objective with other weights; see `Objective`."""
        return replace(self, weights=np.ascontiguousarray(weights, dtype=np.float64))

    @cached_property
    def tables(self) -> tuple[FloatArray, FloatArray]:
        """Users [n_users, K] and items [n_items, K]."""
        users, items = self.layout.split(self.vector[None])
        return users[0], items[0]

    @property
    def factors(self) -> Factors:
        """The tables as the kernels take them."""
        return Factors(*self.tables, self.layout.dim)

    @cached_property
    def starts(self) -> IntArray:
        """Where the terms of each user begin, int64 [n_users + 1]."""
        return np.searchsorted(self.terms.user, np.arange(self.layout.n_users + 1))

    def scores(self, user: IntArray, item: IntArray) -> FloatArray:
        """s(u, i) of pairs, float64 [N]."""
        return self._differences(user, item, np.full(len(item), -1))

    def item_scores(self, users: IntArray) -> FloatArray:
        """s(u, i) of all items, float64 [N, n_items]."""
        own, items = self.tables
        dim = self.layout.dim
        scores: FloatArray = own[users, :dim] @ items[:, :dim].T + self.layout.mean
        if self.layout.biased:
            scores += own[users, dim:] + items[:, dim]
        return scores

    def _differences(self, user: IntArray, item: IntArray, other: IntArray) -> FloatArray:
        x: FloatArray = kernels.score_differences(self.factors, self.layout.mean, user, item, other)
        return x

    def losses_of(self, terms: Terms) -> tuple[FloatArray, FloatArray, FloatArray]:
        """φ and its derivatives of any terms, float64 [T] each."""
        x = self._differences(terms.user, terms.item, terms.other)
        return kernels.term_losses(x, terms.target, terms.kind)  # type: ignore[no-any-return]

    @cached_property
    def losses(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """φ and its derivatives of the training terms."""
        return self.losses_of(self.terms)

    @cached_property
    def shares(self) -> FloatArray:
        """Weight of each term in F, float64 [T]."""
        return self.terms.weight * self.weights[self.terms.example] / self.n_terms

    def value(self) -> float:
        """F."""
        squares = self.vector @ self.vector
        return float(self.losses[0] @ self.shares + 0.5 * self.ridge * squares)

    def gradient(self) -> FloatArray:
        """∇F, float64 [P]; see `Objective`."""
        slope = self.sum_of_slopes(self.terms, self.losses[1] * self.shares)
        return slope + self.ridge * self.vector

    def sum_of_slopes(self, terms: Terms, weight: FloatArray) -> FloatArray:
        """Σ_t weight_t ∇x_t, float64 [P]."""
        users, items = self.tables
        user_out, item_out = np.zeros_like(users), np.zeros_like(items)
        kernels.add_term_gradients(
            self.factors, terms.user, terms.item, terms.other,
            np.ascontiguousarray(weight), user_out, item_out,
        )  # fmt: skip
        total: FloatArray = self.layout.join(user_out[None], item_out[None])[0]
        return total

    def slopes(self, rows: FloatArray) -> FloatArray:
        """∇l_s · row, float64 [R, E]; see `Objective`."""
        terms, out = self.terms, np.zeros((len(rows), self.n_examples))
        kernels.add_term_slopes(
            self.factors, terms.user, terms.item, terms.other,
            self.losses[1] * terms.weight, terms.example, *self.layout.split(rows), out,
        )  # fmt: skip
        return out

    def example_gradients(self, numbers: IntArray) -> FloatArray:
        """∇l_s of some examples, float64 [n, P]; see `Objective`."""
        out = np.empty((len(numbers), self.layout.size))
        for row, number in enumerate(numbers):
            terms = self.terms.of_examples(np.array([number]))
            out[row] = self.sum_of_slopes(terms, self.losses_of(terms)[1] * terms.weight)
        return out

    def gradient_scale(self) -> float:
        """Mean of ‖∇l_s‖/Z; see `Objective`."""
        terms, out = self.terms, np.zeros(self.n_examples)
        kernels.add_squared_term_norms(
            self.factors, terms.user, terms.item, terms.other,
            self.losses[1] * terms.weight, terms.example, out,
        )  # fmt: skip
        return float(np.sqrt(out).mean()) / self.n_terms

    def example_losses(self, arrays: Arrays) -> FloatArray:
        """Losses of any examples, float64 [N]; see `Objective`."""
        terms = terms_of(arrays, self.loss)
        weights = self.losses_of(terms)[0] * terms.weight
        losses = np.bincount(terms.example, weights, minlength=terms.n_examples)
        return losses.astype(np.float64, copy=False)

    def loss_gradient(self, arrays: Arrays, weights: FloatArray) -> FloatArray:
        """Σ weight ∇loss of any examples, float64 [P]; see `Objective`."""
        terms = terms_of(arrays, self.loss)
        slope = self.losses_of(terms)[1] * terms.weight * weights[terms.example]
        return self.sum_of_slopes(terms, slope)

    def score_gradient(self, user: int, weights: FloatArray) -> FloatArray:
        """Σ_i weight_i ∇s(u, i), float64 [P]; see `Objective`."""
        items = np.flatnonzero(weights)
        n = len(items)
        terms = Terms.sorted(
            np.full(n, user), items, np.full(n, -1), np.zeros(n), np.ones(n), np.arange(n), 0, n
        )
        return self.sum_of_slopes(terms, weights[items])

    def outcome_terms(self, arrays: Arrays, weights: FloatArray) -> tuple[Terms, FloatArray]:
        """Terms of weighted losses, and the derivative of their sum by each x."""
        terms = terms_of(arrays, self.loss)
        return terms, self.losses_of(terms)[1] * terms.weight * weights[terms.example]

    def block_influence(
        self, terms: Terms, slope: FloatArray, row: IntArray, n_rows: int, *,
        damping: float = 0.0, only_own: bool = False,
    ) -> FloatArray:  # fmt: skip
        """Influence of the training examples on outcome terms by their blocks, [n_rows, E].

        Parameters
        ----------
        terms : Terms
            Of the outcome, in any order.
        slope : float64 [N]
            Derivative of the outcome by each x.
        row : int64 [N]
            Row of the result for each term.
        damping : float
        only_own : bool
            Only what training examples do to outcomes of their own user.
        """
        own, blocks = self.terms, self.diagonal_blocks(self.ridge + damping)
        touched = np.concatenate([own.item, own.other[own.other >= 0]])
        numbers = np.concatenate([np.arange(len(own)), np.flatnonzero(own.other >= 0)])
        order = np.argsort(touched, kind="stable")
        item_starts = np.searchsorted(touched[order], np.arange(self.layout.n_items + 1))
        out = np.zeros((n_rows, self.n_examples))
        training = TrainingTerms(
            self.starts,
            own.user,
            own.item,
            own.other,
            own.example,
            self.losses[1] * self.shares,
            self.losses[2] * self.shares,
            self.losses[1] * own.weight / self.n_terms,
            item_starts,
            numbers[order],
        )
        outcome = OutcomeTerms(terms.user, terms.item, terms.other, slope, row)
        add_block_influence(self.factors, blocks, training, outcome, only_own, out)
        return out

    def hessian(self, damping: float = 0.0) -> FactorHessian:
        """The Hessian here; see `Objective`."""
        return FactorHessian(self, damping)

    def gauss_newton(self, damping: float = 0.0) -> FactorHessian:
        """The Hessian without the terms of φ'; see `Objective`."""
        return FactorHessian(self, damping, bends=False)

    def gauge(self) -> FloatArray:
        """Directions that turn the factors of users and items together; see `Objective`.

        No score changes, so that the Hessian at an optimum is singular along D(D-1)/2 directions,
        which no gradient has a part in.
        """
        users, items = self.tables
        ways = []
        for a in range(self.layout.dim):
            for b in range(a):
                parts = []
                for table in (users, items):
                    turned = np.zeros_like(table)
                    turned[:, a], turned[:, b] = table[:, b], -table[:, a]
                    parts.append(turned.ravel())
                ways.append(np.concatenate(parts))
        if not ways:
            return np.zeros((0, self.layout.size))
        _, size, basis = linalg.svd(np.array(ways), full_matrices=False)
        kept: FloatArray = basis[size > 1e-10 * max(float(size[0]), 1e-300)]
        return kept

    def start(self) -> FactorObjective:
        """Alternate between exact solutions for all users and for all items, where losses allow.

        With squared errors each user's parameters, given the items', are a small least squares
        problem, and the other way round.
        """
        here = self
        if self.terms.kind != SQUARED or (self.terms.other >= 0).any():
            return here
        for _ in range(_SWEEPS):
            for side in (0, 1):
                slopes = list(self.layout.split(here.gradient()[None]))
                block = here.diagonal_blocks(self.ridge)[side]
                step = -np.linalg.solve(block, slopes[side][0][..., None])[..., 0]
                ways = [np.zeros_like(part) for part in slopes]
                ways[side] = step[None]
                here = here.at(here.vector + self.layout.join(*ways)[0])
        return here

    def diagonal_blocks(self, ridge: float) -> tuple[FloatArray, FloatArray]:
        """The Hessian's part of each user [n_users, K, K], and of each item [n_items, K, K]."""
        layout, terms, width = self.layout, self.terms, self.layout.width
        second = self.losses[2] * self.shares
        of_users = np.zeros((layout.n_users, width, width))
        of_items = np.zeros((layout.n_items, width, width))
        touched = self.factors, terms.user, terms.item, terms.other, second
        kernels.add_user_blocks(*touched, of_users)
        kernels.add_item_blocks(*touched, of_items)
        for blocks in (of_users, of_items):
            blocks[:, np.arange(width), np.arange(width)] += ridge
        return of_users, of_items

    def write(self, model: Any) -> None:
        """Put θ into a model's module, in double precision; see `Objective`."""
        module, dim = model.module_.double(), self.layout.dim
        with torch.no_grad():
            for name, table in zip(("user", "item"), self.tables):
                getattr(module, f"{name}s").weight.copy_(torch.from_numpy(table[:, :dim]))
                if self.layout.biased:
                    getattr(module, f"{name}_bias").weight.copy_(torch.from_numpy(table[:, dim:]))


class FactorHessian(Hessian):
    """The Hessian of a factor model: blocks of users A, of items C, and B between them.

    With `bends` False, that of scores that were linear in the parameters (Gauss-Newton).
    """

    def __init__(self, objective: FactorObjective, damping: float, *, bends: bool = True) -> None:
        self.objective = objective
        self.ridge = objective.ridge + damping
        self.first = objective.losses[1] * objective.shares * bends
        self.second = objective.losses[2] * objective.shares

    @property
    def n_parameters(self) -> int:
        """P."""
        return self.objective.layout.size

    def apply(self, rows: FloatArray) -> FloatArray:
        """Product with each row; see `Hessian`."""
        layout, terms = self.objective.layout, self.objective.terms
        ways = layout.split(rows)
        outs = tuple(self.ridge * way for way in ways)
        kernels.add_term_curvature(
            self.objective.factors, terms.user, terms.item, terms.other,
            self.first, self.second, *ways, *outs,
        )  # fmt: skip
        return layout.join(*outs)

    @cached_property
    def _inverses(self) -> tuple[FloatArray, FloatArray]:
        users, items = self.objective.diagonal_blocks(self.ridge)
        return _inverses(users), _inverses(items)

    def equations(self, rows: FloatArray) -> Equations:
        """Equations for the items alone, ``(C - Bᵀ A⁻¹ B) y = c - Bᵀ A⁻¹ a``; see `Hessian`."""
        layout = self.objective.layout
        users, items = layout.split(rows)
        solved = self._solve_users(users)
        _, back = layout.split(self.apply(layout.join(solved, np.zeros_like(items))))
        right = (items - back).reshape(len(rows), -1)

        def expand(unknowns: FloatArray) -> FloatArray:
            own = unknowns.reshape(items.shape)
            across = layout.split(self.apply(layout.join(np.zeros_like(users), own)))[0]
            return layout.join(self._solve_users(users - across), own)

        return Equations(self._reduced, self._precondition, right, expand)

    def _solve_users(self, users: FloatArray) -> FloatArray:
        result: FloatArray = np.einsum("uab,rub->rua", self._inverses[0], users)
        return result

    def _reduced(self, rows: FloatArray) -> FloatArray:
        objective, layout = self.objective, self.objective.layout
        way = np.ascontiguousarray(rows).reshape(len(rows), layout.n_items, layout.width)
        out = self.ridge * way
        kernels.add_reduced_curvature(
            objective.factors, objective.starts, objective.terms.item,
            objective.terms.other, self.first, self.second, self._inverses[0], way, out,
        )  # fmt: skip
        return out.reshape(len(rows), -1)

    def _precondition(self, rows: FloatArray) -> FloatArray:
        layout = self.objective.layout
        items = rows.reshape(len(rows), layout.n_items, layout.width)
        solved: FloatArray = np.einsum("iab,rib->ria", self._inverses[1], items)
        return solved.reshape(len(rows), -1)


def _inverses(blocks: FloatArray) -> FloatArray:
    """Inverses of small matrices, float64 [n, K, K]; they are symmetric, and not below zero."""
    try:
        inverses = np.linalg.inv(blocks).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise DataError(SINGULAR) from error
    # A singular matrix may be inverted all the same, because of rounding errors, to huge numbers.
    size = np.abs(blocks).max(axis=(1, 2)) * np.abs(inverses).max(axis=(1, 2))
    if (size > _SINGULAR).any():
        raise DataError(SINGULAR)
    return inverses
