"""Conjugate gradients for several right-hand sides at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.engines import Checkpoints, Report

FloatArray = npt.NDArray[np.float64]
Map = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Steps:
    """Where the steps of a solver are kept and told.

    Attributes
    ----------
    kept : Checkpoints
    report : callable
        See `whence.engines.reporter`.
    """

    kept: Checkpoints
    report: Report

    def before(self) -> Any:
        """Return the state in which the solver was broken off; None if it was not."""
        return self.kept.load("steps")

    def after(self, done: int, most: int, residual: float, state: Any) -> None:
        """Keep a step, if it is time, and tell of it."""
        if self.kept.is_due:
            self.kept.save("steps", state)
        self.report(done, most, f"residual {residual:.1e}")


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Attributes
    ----------
    x : float64 [R, P]
    residual : float
        Largest ‖b - Hx‖ / ‖b‖ over the right-hand sides.
    iterations : int
    smallest_curvature : float
        Smallest curvature ``dᵀHd / dᵀd`` seen along a direction d; below 0 where the Hessian is
        indefinite. NaN where the solver sees none.
    converged : bool
    """

    x: FloatArray
    residual: float
    iterations: int
    smallest_curvature: float
    converged: bool


def conjugate_gradients(
    apply: Map,
    b: FloatArray,
    precondition: Map,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at_negative: bool = False,
    steps: Steps | None = None,
) -> Solution:
    """Solve Hx = b for each row of `b` by preconditioned conjugate gradients.

    The rows are independent of each other, so that a solution does not depend on what else is
    solved; they share the products with H, and rows that have converged leave.

    Parameters
    ----------
    apply : callable
        ``apply(rows)`` is H times each row, [R, P] → [R, P].
    b : float64 [R, P]
    precondition : callable
        As `apply`, an approximation of H⁻¹.
    tolerance : float
        Of the residual relative to b.
    max_iterations : int
    stop_at_negative : bool
        Leave a row as it is when its direction has no positive curvature (a truncated Newton
        step), instead of going on.
    steps : Steps, optional
    """
    scale = np.linalg.norm(b, axis=1)
    before = None if steps is None else steps.before()
    if before is None:
        x, active = np.zeros_like(b), np.flatnonzero(scale > 0)
        residual = b[active].copy()
        z = precondition(residual)
        way, rz = z.copy(), _dots(residual, z)
        done, smallest, left = 0, np.inf, np.zeros(len(b))
    else:
        x, active, residual, way, rz, done, smallest, left = before
    while len(active) and done < max_iterations:
        product = apply(way)
        bend = _dots(way, product)
        smallest = min(smallest, float((bend / _dots(way, way)).min()))
        step = np.divide(rz, bend, out=np.zeros_like(rz), where=bend != 0)
        flat = bend <= 0
        if stop_at_negative and flat.any():
            first = np.abs(x[active]).max(axis=1) == 0
            step[flat] = np.where(first[flat], 1.0, 0.0)
        x[active] += step[:, None] * way
        residual -= step[:, None] * product
        left[active] = np.linalg.norm(residual, axis=1) / scale[active]
        done += 1
        going = left[active] > tolerance
        if stop_at_negative:
            going &= ~flat
        if not going.any():
            active = active[:0]
            break
        z = precondition(residual[going])
        old, rz = rz[going], _dots(residual[going], z)
        way = z + (rz / old)[:, None] * way[going]
        residual, active = residual[going], active[going]
        if steps is not None:
            state = x, active, residual, way, rz, done, smallest, left
            steps.after(done, max_iterations, float(left.max()), state)
    return Solution(x, float(left.max(initial=0.0)), done, smallest, not len(active))


def _dots(a: FloatArray, b: FloatArray) -> FloatArray:
    products: FloatArray = np.einsum("rp,rp->r", a, b)
    return products
