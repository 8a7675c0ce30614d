"""Which interactions are disclosed, in closed form: values V and violations β in, a mask out.

The surrogate utility is linear in the strategy o, so that each of these is a comparison or a sort.
Shapes: N interactions. Equal candidates are taken in a seeded random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, check_choice

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

Strategy = Literal[
    "selfish", "social", "budget", "trust_region", "mirror",
    "all", "none", "random", "threshold", "influence_only",
]  # fmt: skip
STRATEGIES: tuple[str, ...] = get_args(Strategy)
SIZED = ("budget", "random", "threshold", "influence_only")
CONTROLS = (
    "threshold", "random", "influence_only", "threshold within item", "random within item",
)  # fmt: skip
"""What strategies are compared with, at their number and at their violation."""
GROUPED = ("social", "trust_region", *SIZED)
"""Strategies that can choose within each item."""
Within = Literal["auto", "item", "all"]
_HAIR = 1e-9


def named(argument: str, name: Any, allowed: Sequence[str]) -> tuple[str, Within]:
    """A strategy and what it chooses within, from ``"threshold within item"`` or ``"threshold"``.

    Raises
    ------
    ParameterError
        If the strategy is none of those allowed.
    """
    strategy, _, group = str(name).partition(" within ")
    if group and group in ("item", "all") and strategy in GROUPED and strategy in allowed:
        return strategy, group  # type: ignore[return-value]
    return check_choice(argument, name, allowed), "auto"


def check_within(strategy: str, within: str) -> None:
    """Raise ParameterError if a strategy cannot choose within each item."""
    if within == "item" and strategy not in GROUPED:
        raise ParameterError(
            f"within='item' is not for strategy={strategy!r}, which looks at no item; choose one "
            f"of {', '.join(GROUPED)}, or leave within out."
        )


def worthwhile(values: FloatArray, beta: FloatArray, lam: float) -> Mask:
    """Disclose what is worth more than its violation: V > λβ."""
    mask: Mask = values > lam * beta
    return mask


def worthwhile_within(
    values: FloatArray,
    beta: FloatArray,
    lam: float,
    groups: IntArray,
    worth: float,
    rng: np.random.Generator,
) -> Mask:
    """In each group disclose what costs least, while more of the group is worth what it costs.

    A row costs its violation less what it is worth above the average row, ``λβ - (V - mean V)``.
    What the average row is worth falls with the share of its group that is disclosed already: see
    `marginal_worth`.

    Parameters
    ----------
    values, beta : float64 [N]
    lam : float
    groups : int64 [N]
        Such as the item of each row.
    worth : float
        What a row of the second half of all rows is worth on average.
    rng : numpy.random.Generator
        Of the order of equal rows.
    """
    cost = lam * beta - (values - values.mean()) if len(values) else lam * beta
    order, rank, size = _ranked(-cost, groups, rng)
    mask = np.zeros(len(beta), dtype=np.bool_)
    mask[order] = marginal_worth((rank + 0.5) / size, worth) > cost[order]
    return mask


def with_the_mix(values: FloatArray, mask: Mask, groups: IntArray, worth: float) -> FloatArray:
    """Values around a strategy: what one more row of each group is worth, and each above the mean.

    Parameters
    ----------
    values : float64 [N]
    mask : bool [N]
        The strategy.
    groups : int64 [N]
    worth : float
        See `worthwhile_within`.
    """
    size, kept = np.bincount(groups), np.bincount(groups, weights=mask)
    share = (kept[groups] + np.where(mask, -0.5, 0.5)) / size[groups]
    mixed: FloatArray = values - values.mean() + marginal_worth(share, worth)
    return mixed


def marginal_worth(share: FloatArray, worth: float) -> FloatArray:
    """What one more row is worth where a share of the rows is disclosed: φ'(share) / N.

    φ is the quality by the share of the data, ``φ(p) = quality of all + gain · log2(p)``: each
    halving of the data costs as much as the first, which was measured by retraining. It is concave,
    and its slope at share p is ``gain / (p ln 2)``, with ``gain = worth · N/2``.
    """
    slope: FloatArray = worth / (2.0 * np.log(2.0) * share)
    return slope


def _ranked(
    values: FloatArray, groups: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """Rows group by group, the largest value first; the rank of each in its group, and its size."""
    order = np.lexsort((rng.random(len(values)), -values, groups))
    counts = np.bincount(groups)
    counts = counts[counts > 0]
    rank = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order, rank, np.repeat(counts, counts)


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


def descending(
    values: FloatArray, rng: np.random.Generator, groups: IntArray | None = None
) -> IntArray:
    """Order from the largest value to the smallest, equal ones at random.

    With groups, int64 [N], from the largest value to the smallest within each of them, the groups
    side by side: the first n hold about the same share of every group (systematic sampling).
    """
    if groups is None:
        return np.lexsort((rng.random(len(values)), -values))
    order, rank, size = _ranked(values, groups, rng)
    start = rng.random(int(groups.max(initial=-1)) + 1)[groups[order]]
    return order[np.argsort((rank + start) / size, kind="stable")]


def within_violation(
    values: FloatArray,
    beta: FloatArray,
    wv: float,
    rng: np.random.Generator,
    groups: IntArray | None = None,
) -> Mask:
    """Disclose by value per violation, V/β, until the violation is `wv`; nothing of V ≤ 0.

    The best strategy among those of its own violation (the knapsack's greedy solution), or, with
    groups, the same share of each by this order; see `descending`.
    """
    density = np.divide(values, beta, out=np.full(len(beta), np.inf), where=beta > 0)
    density[values <= 0] = -np.inf
    order = descending(density, rng, groups)
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
