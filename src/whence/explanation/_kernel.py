"""KernelSHAP without its usual losses: paired, small sizes enumerated, the constraint exact.

With x = z - 1/2 for membership z, the terms of even degree are the same for a coalition and its
complement. Half the difference of the two values is therefore linear in x for every game of pairs,
and its regression on x alone, over pairs, is also that of the second-order ("2-additive") model: no
pairwise terms have to be fitted, unless they are wanted for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._estimates import Estimate
from whence.explanation._games import Game

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_ROUND = 1 << 9  # pairs
_FEWEST = 4  # pairs per player before a standard error is believed


@dataclass(frozen=True)
class KernelSettings:
    """How many coalitions, and what is fitted.

    Attributes
    ----------
    budget : int
        Coalitions, at most; two for each pair.
    tolerance : float
        Stop when every standard error is below this share of ``|v(all) - v(none)|``.
    seed : int or sequence of int
    order : {1, 2}
        2: Shapley interaction indices of pairs of players, too.
    """

    budget: int
    tolerance: float
    seed: int | tuple[int, ...]
    order: int = 1


@dataclass
class _Pairs:
    """Pairs of complementary coalitions: which, their values, and their weight.

    Attributes
    ----------
    kept : bool [P, n]
    odd, even : float64 [P]
        Half the difference and half the sum of the values of coalition and complement.
    weight : float64 [P]
        Of sampled pairs, for each draw.
    """

    kept: BoolArray
    odd: FloatArray
    even: FloatArray
    weight: FloatArray


def kernel(game: Game, settings: KernelSettings) -> Estimate:
    """Weighted least squares on pairs of coalitions, Σφ = v(all) - v(none) held exactly.

    Sizes whose coalitions are fewer than would be drawn are enumerated, from the outermost on; the
    rest is drawn by the Shapley kernel. No penalty. Standard errors are those of least squares
    whose errors differ in size, over the drawn pairs.

    Raises
    ------
    ParameterError
        If the budget is too small for a regression.
    """
    n = game.n
    if n == 1:
        return Estimate(np.array([game.gap]), np.zeros(1))
    needed = 4 * n if settings.order == 1 else 2 * n + n * (n - 1)
    if settings.budget < needed and settings.budget < 2**n - 2:
        raise ParameterError(
            f"budget={settings.budget} coalitions are too few to fit {n} players"
            + (" and their pairs" if settings.order == 2 else "")
            + f"; allow at least {needed}."
        )
    rng = np.random.default_rng(settings.seed)
    whole, sampled_sizes, mass = _enumerated(game, settings.budget // 2)
    drawn = _Pairs(np.empty((0, n), dtype=np.bool_), *(np.empty(0) for _ in range(3)))
    most = settings.budget // 2 - len(whole.kept)
    stopped = "exact" if not len(sampled_sizes) else "budget"
    phi, errors = _solve(game, whole, drawn) if stopped == "exact" else (np.zeros(n), np.zeros(n))
    while len(sampled_sizes) and len(drawn.kept) < most:
        count = min(max(_ROUND, len(drawn.kept)), most - len(drawn.kept))
        kept = _draw(rng, n, sampled_sizes, count)
        drawn = _joined(drawn, _pairs_of(game, kept, np.full(count, mass)))
        phi, errors = _solve(game, whole, drawn)
        enough = len(whole.kept) + len(drawn.kept) >= _FEWEST * n
        if enough and errors.max() <= settings.tolerance * abs(game.gap):
            stopped = "tolerance"
            break
    return Estimate(
        phi=phi,
        std_error=errors,
        stopped=stopped,
        details={
            "n_coalitions": 2 * (len(whole.kept) + len(drawn.kept)),
            "n_enumerated": 2 * len(whole.kept),
            "order": settings.order,
        },
        interactions=_interactions(whole, drawn) if settings.order == 2 else None,
    )


def _enumerated(game: Game, n_pairs: int) -> tuple[_Pairs, npt.NDArray[np.int64], float]:
    """Pairs of the sizes that are enumerated; the sizes that are not; and their mass."""
    n = game.n
    sizes = np.arange(1, n // 2 + 1)
    # Mass of a size and its complement: the Shapley kernel, summed over their coalitions.
    mass = (n - 1) / (sizes * (n - sizes)) * np.where(2 * sizes == n, 1.0, 2.0)
    mass /= mass.sum()
    rows: list[BoolArray] = []
    weights: list[FloatArray] = []
    left, done = n_pairs, 0
    for number, size in enumerate(sizes.tolist()):
        count = comb(n, size) // (2 if 2 * size == n else 1)
        share = mass[number] / mass[number:].sum()
        if count > left * share * (1 + 1e-9):
            break
        chosen = np.array(list(islice(combinations(range(n), size), count)), dtype=np.int64)
        kept = np.zeros((count, n), dtype=np.bool_)
        np.put_along_axis(kept, chosen, True, axis=1)
        rows.append(kept)
        weights.append(np.full(count, mass[number] / count))
        left -= count
        done += 1
    kept = np.concatenate([np.empty((0, n), dtype=np.bool_), *rows])
    whole = _pairs_of(game, kept, np.concatenate([np.empty(0), *weights]))
    return whole, sizes[done:], float(mass[done:].sum())


def _draw(rng: np.random.Generator, n: int, sizes: npt.NDArray[np.int64], count: int) -> BoolArray:
    """Coalitions drawn by the Shapley kernel from some sizes, bool [count, n]."""
    mass = 1.0 / (sizes * (n - sizes)) * np.where(2 * sizes == n, 1.0, 2.0)
    chosen = rng.choice(sizes, size=count, p=mass / mass.sum())
    rank = np.argsort(rng.random((count, n)), axis=1).argsort(axis=1)
    kept: BoolArray = rank < chosen[:, None]
    return kept


def _pairs_of(game: Game, kept: BoolArray, weight: FloatArray) -> _Pairs:
    if not len(kept):
        return _Pairs(kept, np.empty(0), np.empty(0), weight)
    values = game.values(np.concatenate([kept, ~kept]))
    with_, without = values[: len(kept)], values[len(kept) :]
    return _Pairs(kept, (with_ - without) / 2, (with_ + without) / 2, weight)


def _joined(first: _Pairs, second: _Pairs) -> _Pairs:
    names = ("kept", "odd", "even", "weight")
    return _Pairs(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names))


def _weights(whole: _Pairs, drawn: _Pairs) -> FloatArray:
    count = max(len(drawn.weight), 1)
    weights: FloatArray = np.concatenate([whole.weight, drawn.weight / count])
    return weights


def _solve(game: Game, whole: _Pairs, drawn: _Pairs) -> tuple[FloatArray, FloatArray]:
    """Least squares of the odd parts on x under the constraint, and standard errors."""
    both = _joined(whole, drawn)
    weight = _weights(whole, drawn)
    x = both.kept.astype(np.float64) - 0.5
    n = x.shape[1]
    # φ = gap / n + N u, with the columns of N a basis of the vectors that add up to zero.
    basis = np.linalg.qr(np.eye(n) - 1.0 / n)[0][:, : n - 1]
    inside = x @ basis
    rest = both.odd - x.sum(axis=1) * (game.gap / n)
    square = (inside * weight[:, None]).T @ inside
    inverse = np.linalg.pinv(square, hermitian=True)
    u = inverse @ (inside.T @ (weight * rest))
    phi = game.gap / n + basis @ u
    n_drawn = len(drawn.kept)
    if not n_drawn:
        return phi, np.zeros(n)
    # Only drawn pairs are random: their scores' spread about the mean, through the inverse.
    residual = rest[-n_drawn:] - inside[-n_drawn:] @ u
    scores = inside[-n_drawn:] * (weight[-n_drawn:] * residual)[:, None]
    scores -= scores.mean(axis=0)
    spread = inverse @ (scores.T @ scores) @ inverse
    correction = n_drawn / max(n_drawn - n, 1)
    variance = np.einsum("ij,jk,ik->i", basis, spread, basis) * correction
    return phi, np.sqrt(np.maximum(variance, 0.0))


def _interactions(whole: _Pairs, drawn: _Pairs) -> FloatArray:
    """Second-order coefficients: least squares of the even parts on products of x."""
    both = _joined(whole, drawn)
    weight = np.sqrt(_weights(whole, drawn))
    x = both.kept.astype(np.float64) - 0.5
    n = x.shape[1]
    first, second = np.triu_indices(n, 1)
    products = np.column_stack([np.ones(len(x)), x[:, first] * x[:, second]])
    fitted = np.linalg.lstsq(products * weight[:, None], both.even * weight, rcond=None)[0]
    found = np.zeros((n, n))
    found[first, second] = found[second, first] = fitted[1:]
    return found
