"""Which interactions are disclosed, in closed form: values V and violations β in, a mask out.

The surrogate utility is linear in the strategy o, so that each of these is a comparison or a sort.
Shapes: N interactions. Equal candidates are taken in a seeded random order.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

Strategy = Literal[
    "selfish", "social", "budget", "trust_region", "mirror",
    "all", "none", "random", "threshold", "influence_only",
]  # fmt: skip
STRATEGIES: tuple[str, ...] = get_args(Strategy)
SIZED = ("budget", "random", "threshold", "influence_only")
_HAIR = 1e-9


def worthwhile(values: FloatArray, beta: FloatArray, lam: float) -> Mask:
    """Disclose what is worth more than its violation: V > λβ."""
    mask: Mask = values > lam * beta
    return mask


def by_order(
    order: IntArray, beta: FloatArray, *, n: int | None = None, wv: float | None = None
) -> Mask:
    """Disclose in an order: the first n, or as many as together violate at most `wv`.

    Those with no violation of their own never count against `wv`; the first that would go beyond
    it ends the list.
    """
    mask = np.zeros(len(beta), dtype=np.bool_)
    if n is not None:
        mask[order[:n]] = True
    else:
        assert wv is not None
        fits = np.cumsum(beta[order]) <= wv * (1 + _HAIR) + _HAIR
        mask[order[fits]] = True
    return mask


def descending(values: FloatArray, rng: np.random.Generator) -> IntArray:
    """Order from the largest value to the smallest, equal ones at random."""
    return np.lexsort((rng.random(len(values)), -values))


def within_violation(
    values: FloatArray, beta: FloatArray, wv: float, rng: np.random.Generator
) -> Mask:
    """Disclose by value per violation, V/β, until the violation is `wv`; nothing of V ≤ 0.

    The best strategy among those of its own violation (the knapsack's greedy solution).
    """
    density = np.divide(values, beta, out=np.full(len(beta), np.inf), where=beta > 0)
    density[values <= 0] = -np.inf
    order = descending(density, rng)
    return by_order(order[values[order] > 0], beta, wv=wv)


def flips(
    mask: Mask, values: FloatArray, beta: FloatArray, lam: float, most: int
) -> tuple[IntArray, float]:
    """The at most `most` changes of a strategy with the largest gains, and the sum of those."""
    gain = np.where(mask, -1.0, 1.0) * (values - lam * beta)
    order = np.argsort(-gain, kind="stable")[:most]
    order = order[gain[order] > 0]
    return order, float(gain[order].sum())


def check_size(strategy: str, n: int | None, wv: float | None) -> None:
    """Raise ParameterError unless a strategy has the size that it needs, and no other."""
    given = [name for name, value in (("n", n), ("wv", wv)) if value is not None]
    if strategy in SIZED and len(given) != 1:
        raise ParameterError(
            f"strategy={strategy!r} needs either n=…, the number of interactions, or wv=…, the "
            "violation they may have in all."
        )
    if strategy not in SIZED and given:
        named = " and ".join(f"{name}=…" for name in given)
        raise ParameterError(
            f"{named} is not for strategy={strategy!r}; choose 'budget', 'random', 'threshold' or "
            "'influence_only'."
        )
