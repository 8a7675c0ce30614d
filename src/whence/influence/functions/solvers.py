"""Ways to apply the inverse Hessian, and how well each of them did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from whence.errors import DataError, ParameterError, UnsupportedError
from whence.influence.functions.conjugate import Solution, Steps, conjugate_gradients
from whence.influence.functions.kronecker import factors_of
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import SINGULAR, FloatArray, Objective

SOLVERS = ("ggn", "ekfac", "exact", "cg", "block", "lissa", "dot")
_LARGEST = 6000
_POWER_STEPS = 30
_OWN: dict[str, dict[str, Any]] = {
    "ggn": {"damping": 1e-4, "tolerance": 1e-3, "max_iterations": 15},
    "ekfac": {"damping": 1e-4},
}


@dataclass(frozen=True)
class Settings:
    """How an inverse Hessian is applied.

    Attributes
    ----------
    solver : str
        One of `SOLVERS`.
    damping : float
        Added to the diagonal of the Hessian.
    tolerance : float
        ggn, cg, lissa: of the residual, relative to the right-hand side.
    max_iterations : int
        ggn, cg, lissa.
    scale : float or None
        lissa: what the Hessian is divided by; None: its largest eigenvalue, estimated.
    batch_size : int or None
        lissa: examples per step, drawn anew; None: all.
    seed : int
        lissa: of the draws.
    """

    solver: str = "cg"
    damping: float = 0.0
    tolerance: float = 1e-6
    max_iterations: int = 1000
    scale: float | None = None
    batch_size: int | None = None
    seed: int = 42

    @classmethod
    def of(cls, solver: str, **given: Any) -> Settings:
        """With the solver's own defaults for what is None.

        A few steps with the Gauss-Newton matrix go along what the data say most about; what more
        of them add is noise.
        """
        said = {name: value for name, value in given.items() if value is not None}
        return cls(solver, **{**_OWN.get(solver, {}), **said})

    @property
    def needs_optimum(self) -> bool:
        """Whether the solution means little away from an optimum of the objective."""
        return self.solver not in ("ggn", "ekfac", "dot")


def solve(
    objective: Objective, rows: FloatArray, settings: Settings, steps: Steps | None = None
) -> Solution:
    """Apply the inverse of the (damped) Hessian to each row, float64 [R, P].

    The iterative solvers keep and tell of their steps.

    Raises
    ------
    DataError
        If the Hessian is singular, or a series diverges.
    ParameterError
        If there are too many parameters for the solver.
    """
    if settings.solver == "dot":
        return Solution(rows, np.nan, 0, np.nan, True)
    if settings.solver == "ekfac":
        return _by_factors(objective, rows, settings, steps)
    if settings.solver == "exact":
        return _exact(objective, rows, settings.damping)
    if settings.solver == "lissa":
        return _neumann(objective, rows, settings, steps)
    matrix = objective.gauss_newton if settings.solver == "ggn" else objective.hessian
    equations = matrix(settings.damping).equations(rows)
    found = conjugate_gradients(
        equations.apply,
        equations.right,
        equations.precondition,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
        steps=steps,
    )
    x = equations.expand(found.x)
    _check_finite(x)
    return Solution(x, found.residual, found.iterations, found.smallest_curvature, found.converged)


def _by_factors(
    objective: Objective, rows: FloatArray, settings: Settings, steps: Steps | None
) -> Solution:
    """By EK-FAC; the factors are made once for an objective."""
    if not isinstance(objective, ModuleObjective):
        raise UnsupportedError(
            "solver='ekfac' works layer by layer; for the formulas of factor models choose "
            "solver='ggn' or 'cg'."
        )
    factors = factors_of(objective, settings.seed, None if steps is None else steps.report)
    x = factors.solve(rows, settings.damping)
    _check_finite(x)
    return Solution(x, np.nan, 0, np.nan, True)


def _exact(objective: Objective, rows: FloatArray, damping: float) -> Solution:
    """By factorising the matrix, made regular along the directions in which nothing changes."""
    size = len(objective.theta)
    if size > _LARGEST:
        raise ParameterError(
            f"solver='exact' factorises a matrix of {size:,} x {size:,} parameters, more than "
            f"{_LARGEST:,}; choose solver='cg', which finds the same without the matrix."
        )
    hessian = objective.hessian(damping)
    matrix = hessian.matrix()
    top = float(np.abs(np.diag(matrix)).max(initial=0.0)) or 1.0
    gauge = objective.gauge()
    regular = matrix + top * gauge.T @ gauge
    try:
        factor = linalg.cho_factor(regular, lower=True)
        smallest = _smallest(factor, size)
        if smallest <= 1e-13 * top:
            raise linalg.LinAlgError
        x = linalg.cho_solve(factor, rows.T).T
    except linalg.LinAlgError:
        values = linalg.eigh(regular, eigvals_only=True)
        smallest = float(values[0])
        if np.abs(values).min() <= 1e-12 * np.abs(values).max():
            raise DataError(SINGULAR) from None
        x = linalg.solve(regular, rows.T, assume_a="sym").T
    _check_finite(x)
    residual = _relative(x @ regular - rows, np.linalg.norm(rows, axis=1))
    return Solution(np.ascontiguousarray(x), residual, 1, smallest, True)


def _smallest(factor: tuple[FloatArray, bool], size: int) -> float:
    """Smallest eigenvalue of a factorised matrix, by inverse iteration."""
    vector = np.random.default_rng(0).normal(size=size)
    value = np.inf
    for _ in range(_POWER_STEPS):
        vector /= np.linalg.norm(vector)
        image = linalg.cho_solve(factor, vector)
        value, vector = 1.0 / float(vector @ image), image
    return value


def _neumann(
    objective: Objective, rows: FloatArray, settings: Settings, steps: Steps | None
) -> Solution:
    """The series Σ_k (I - H/scale)^k row / scale, with all examples or a sample for each term."""
    rng = np.random.default_rng(settings.seed)
    hessian = objective.hessian(settings.damping)
    scale = settings.scale
    if scale is None:
        scale = 1.05 * _largest(hessian.apply, rows.shape[1], rng)
    x, length = np.zeros_like(rows), np.linalg.norm(rows, axis=1)
    done, before = 0, None if steps is None else steps.before()
    if before is not None:
        x, done, rng.bit_generator.state = before
    while done < settings.max_iterations:
        here = hessian
        if settings.batch_size is not None:
            drawn = rng.integers(0, objective.n_examples, settings.batch_size)
            here = objective.sampled(drawn).hessian(settings.damping)
        left = rows - here.apply(x)
        if settings.batch_size is None and _relative(left, length) <= settings.tolerance:
            break
        x = x + left / scale
        done += 1
        if not np.isfinite(x).all() or np.abs(x).max(initial=0) > 1e12 * (1 + 1 / scale):
            raise DataError(
                "The series of solver='lissa' diverges; give a larger scale or more damping, or "
                "choose solver='cg'."
            )
        if steps is not None:
            state = x, done, rng.bit_generator.state
            steps.after(done, settings.max_iterations, _relative(left, length), state)
    residual = _relative(rows - hessian.apply(x), length)
    return Solution(x, residual, done, np.nan, residual <= settings.tolerance)


def _largest(apply, size: int, rng: np.random.Generator) -> float:  # type: ignore[no-untyped-def]
    vector = rng.normal(size=size)
    value = 0.0
    for _ in range(_POWER_STEPS):
        vector /= np.linalg.norm(vector)
        image = apply(vector[None])[0]
        value, vector = float(np.linalg.norm(image)), image
    return value


def _relative(left: FloatArray, length: FloatArray) -> float:
    """Largest norm of a row, relative to a length."""
    norms = np.linalg.norm(left, axis=1)
    ratio = np.divide(norms, length, out=np.zeros_like(norms), where=length > 0)
    return float(ratio.max(initial=0.0))


def _check_finite(x: FloatArray) -> None:
    if not np.isfinite(x).all():
        raise DataError(SINGULAR)
