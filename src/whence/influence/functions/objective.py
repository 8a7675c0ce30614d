"""What a method needs of a training objective, whatever the model: F, its slopes, its Hessian.

``F(θ, o) = (1/Z) Σ_s o_s l_s(θ) + ½ρ‖θ‖²`` over the examples s, with one weight o_s each; Z is the
number of loss terms of all examples and does not change with the weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]
Map = Callable[[FloatArray], FloatArray]
Self = TypeVar("Self", bound="Objective")

SINGULAR = (
    "The Hessian is singular, so that influence is not defined: without a penalty nothing holds "
    "some parameters in place; train with weight_decay above 0, or give damping."
)


@dataclass(frozen=True)
class Equations:
    """``Hx = b`` as it is solved: perhaps fewer unknowns, of which the others follow.

    Attributes
    ----------
    apply : callable
        The matrix times each row, [R, M] → [R, M].
    precondition : callable
        An approximation of its inverse times each row.
    right : float64 [R, M]
    expand : callable
        From solutions [R, M] to all unknowns [R, P].
    """

    apply: Map
    precondition: Map
    right: FloatArray
    expand: Map


class Hessian(ABC):
    """The Hessian of F at a point, plus damping times the identity."""

    @abstractmethod
    def apply(self, rows: FloatArray) -> FloatArray:
        """Product with each row, float64 [R, P]."""

    @abstractmethod
    def equations(self, rows: FloatArray) -> Equations:
        """The equations ``Hx = row`` for each row."""

    def matrix(self) -> FloatArray:
        """The matrix itself, float64 [P, P]; for few parameters."""
        size = self.n_parameters
        out = np.empty((size, size))
        for start in range(0, size, 256):
            out[start : start + 256] = self.apply(np.eye(size)[start : start + 256])
        result: FloatArray = 0.5 * (out + out.T)
        return result

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """P."""


class Objective(ABC):
    """F at a point θ with weights o.

    Attributes
    ----------
    n_examples : int
        E.
    n_terms : float
        Z.
    ridge : float
        ρ.
    weights : float64 [E]
        o.
    """

    n_terms: float
    ridge: float
    weights: FloatArray

    @property
    @abstractmethod
    def n_examples(self) -> int:
        """E."""

    @property
    @abstractmethod
    def theta(self) -> FloatArray:
        """θ, float64 [P]."""

    @abstractmethod
    def at(self: Self, theta: FloatArray) -> Self:
        """The same objective at another point."""

    @abstractmethod
    def weighted(self: Self, weights: FloatArray) -> Self:
        """The same objective with other weights of the examples."""

    @abstractmethod
    def value(self) -> float:
        """F."""

    @abstractmethod
    def gradient(self) -> FloatArray:
        """∇F, float64 [P]."""

    @abstractmethod
    def gradient_scale(self) -> float:
        """Mean over examples of ‖∇l_s‖/Z: what one of them adds to the gradient."""

    @abstractmethod
    def hessian(self, damping: float = 0.0) -> Hessian:
        """The Hessian here."""

    @abstractmethod
    def gauss_newton(self, damping: float = 0.0) -> Hessian:
        """The Gauss-Newton matrix here, in place of the Hessian.

        ``(1/Z) Σ_s o_s J_sᵀ C_s J_s + (ρ + damping) I``, J_s the derivatives of the scores that an
        example's loss is a function of, C_s the loss's second derivatives by these scores. It is
        never indefinite where the loss is a convex function of the scores.
        """

    @abstractmethod
    def slopes(self, rows: FloatArray) -> FloatArray:
        """∇l_s · row for each row and each example, float64 [R, E]."""

    @abstractmethod
    def example_gradients(self, numbers: IntArray) -> FloatArray:
        """∇l_s of some examples, float64 [n, P]."""

    @abstractmethod
    def example_losses(self, arrays: Arrays) -> FloatArray:
        """Losses of any examples, given as arrays of a batch, float64 [N]."""

    @abstractmethod
    def loss_gradient(self, arrays: Arrays, weights: FloatArray) -> FloatArray:
        """Σ_n weight_n ∇loss_n of any examples, float64 [P]."""

    @abstractmethod
    def item_scores(self, users: IntArray) -> FloatArray:
        """Scores of all items for users, float64 [N, n_items]."""

    @abstractmethod
    def score_gradient(self, user: int, weights: FloatArray) -> FloatArray:
        """Σ_i weight_i ∇s(user, i), float64 [P], with weights float64 [n_items]."""

    def sampled(self: Self, numbers: IntArray) -> Self:
        """The objective of a sample of the examples, scaled so that its mean is F."""
        weights = np.zeros(self.n_examples)
        np.add.at(weights, numbers, self.n_examples / len(numbers))
        return self.weighted(weights * self.weights)

    def gauge(self) -> FloatArray:
        """Orthonormal directions along which no loss changes, float64 [G, P]."""
        return np.zeros((0, len(self.theta)))

    def start(self: Self) -> Self:
        """A better point, where there is a quick way to one."""
        return self

    @abstractmethod
    def write(self, model: Any) -> None:
        """Put θ into the module of a model."""
