"""To the optimum of the training objective, where influence is defined."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from whence.errors import DataWarning, check_float, check_int
from whence.influence.functions.conjugate import conjugate_gradients
from whence.influence.functions.objective import FloatArray, Objective

Goal = TypeVar("Goal", bound=Objective)
_FAR = 10.0
_ENOUGH = 1e-4
_HALVINGS = 40
_NOTHING = 1e-14


@dataclass(frozen=True)
class Descent:
    """How the optimum was approached.

    Attributes
    ----------
    gradient : float
        ‖∇F‖ where it ended, as a multiple of what one training example adds to it on average.
    value : float
        F where it ended.
    steps, products : int
        Newton steps, and products with the Hessian.
    converged : bool
        Whether `gradient` is within the tolerance.
    """

    gradient: float
    value: float
    steps: int
    products: int
    converged: bool


def to_optimum(model: Any, *, tolerance: float = 1e-6, max_steps: int = 200, epoch: int = 0) -> Any:
    """Train a fitted model on, with all examples at once, until its gradient vanishes.

    Stochastic training stops near an optimum of ``(1/Z) Σ_s l_s(θ) + ½ρ‖θ‖²`` at best; influence
    functions ask what changes *at* one. Truncated Newton steps (conjugate gradients in the inner
    loop) go there from the fitted parameters; for squared losses of factor models, alternating
    least squares goes the first part of the way.

    Parameters
    ----------
    model : fitted differentiable model
        It is left as it is. Its ``weight_decay`` is ρ.
    tolerance : float
        Stop when the norm of the gradient is at most this, as a multiple of what one training
        example adds to the gradient on average.
    max_steps : int
        Newton steps.
    epoch : int
        Whose negatives are kept, where the loss has any.

    Returns
    -------
    model
        A copy at the optimum, its parameters in double precision; ``optimum_`` says how exactly.

    Raises
    ------
    UnsupportedError
        If the model has no loss per training example.
    NotFittedError
        If it has not been fitted.

    References
    ----------
    Nocedal and Wright. Numerical optimization, chapter 7. Springer 2006.
    """
    from whence.influence.functions.reading import objective_of

    check_float("tolerance", tolerance, minimum=0.0)
    check_int("max_steps", max_steps, minimum=1)
    objective, descent = descend(
        objective_of(model, epoch=epoch), tolerance=tolerance, max_steps=max_steps
    )
    if not descent.converged:
        warnings.warn(
            f"After {descent.steps} steps the gradient is still that of {descent.gradient:.2g} "
            f"training examples (tolerance {tolerance:g}); give more steps, or train with a "
            "larger weight_decay.",
            DataWarning,
            stacklevel=2,
        )
    found = copy.copy(model)
    found.module_ = copy.deepcopy(model.module_)
    objective.write(found)
    found.optimum_ = descent
    return found


def descend(
    objective: Goal, *, tolerance: float, max_steps: int = 200, warm: bool = False
) -> tuple[Goal, Descent]:
    """Minimise an objective from where it is; see `to_optimum`.

    Parameters
    ----------
    objective : Objective
    tolerance, max_steps
        As in `to_optimum`.
    warm : bool
        The point is near an optimum already: do not take the quick way first.
    """
    here = objective
    if not warm and _size(here) > _FAR:
        here = here.start()
    steps = products = 0
    size = best = _size(here)
    worse = 0
    while size > tolerance and steps < max_steps and worse < 3:
        way, used = _newton(here, size)
        there = _search(here, way)
        steps, products = steps + 1, products + used
        if there is None:
            break
        here, size = there, _size(there)
        # Below this the gradient is rounding errors: nothing is gained by going on.
        worse = worse + 1 if size >= best and best < 1e-6 else 0
        best = min(best, size)
    return here, Descent(size, here.value(), steps, products, size <= tolerance)


def relative_gradient(objective: Objective) -> float:
    """‖∇F‖ as a multiple of what one training example adds to it on average.

    0 where it is nothing but rounding errors: under a strong penalty all parameters may vanish, and
    with them all gradients of examples.
    """
    norm = float(np.linalg.norm(objective.gradient()))
    if norm <= _NOTHING:
        return 0.0
    scale = objective.gradient_scale()
    return norm / scale if scale > 0 else np.inf


_size = relative_gradient


def _newton(here: Objective, size: float) -> tuple[FloatArray, int]:
    """A truncated Newton step, and the number of products with the Hessian."""
    slope = here.gradient()
    equations = here.hessian().equations(-slope[None])
    solution = conjugate_gradients(
        equations.apply,
        equations.right,
        equations.precondition,
        tolerance=float(np.clip(1e-2 * np.sqrt(size), 1e-5, 1e-2)),
        max_iterations=500,
        stop_at_negative=True,
    )
    way = equations.expand(solution.x)[0]
    return way if way @ slope < 0 else -slope, solution.iterations


def _search(here: Goal, way: FloatArray) -> Goal | None:
    """The first point on halved steps with a smaller value; near the optimum, gradient."""
    value, slope = here.value(), float(here.gradient() @ way)
    size = None
    step = 1.0
    for _ in range(_HALVINGS):
        there = here.at(here.theta + step * way)
        change = there.value() - value
        if change <= _ENOUGH * step * slope and change < 0:
            return there
        if abs(change) <= 1e-12 * abs(value):
            # The value is flat to rounding errors; its gradient is not yet.
            size = np.linalg.norm(here.gradient()) if size is None else size
            if np.linalg.norm(there.gradient()) < size:
                return there
        step *= 0.5
    return None
