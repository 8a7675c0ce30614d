"""How faithful an order of events is to the model: masking them, best first or best last.

Curves and numbers compare an explanation with controls that know nothing of the model's answer:
random orders, the most recent first, and the most popular first. All values are divided by
``v(all) - v(none)``, so that 1 is the whole of what there is to explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import ParameterError, UnsupportedError, check_int
from whence.explanation._targets import rank_scalar

if TYPE_CHECKING:
    from whence.explanation.result import Explanation

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_STREAM = 0x66696465
MEASURES = (
    "deletion_auc", "insertion_auc", "comprehensiveness", "sufficiency", "still_recommended",
)  # fmt: skip


def relative_l2(estimate: npt.ArrayLike, exact: npt.ArrayLike) -> float:
    """Distance of shares from exact ones, over the length of the exact ones.

    Parameters
    ----------
    estimate, exact : float [n]

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If the lengths differ.
    """
    found, truth = np.asarray(estimate, np.float64), np.asarray(exact, np.float64)
    if found.shape != truth.shape:
        raise ParameterError(
            f"{found.size} shares cannot be compared with {truth.size}; explain the same players."
        )
    length = float(np.linalg.norm(truth))
    distance = float(np.linalg.norm(found - truth))
    return distance / length if length else float(distance > 0)


@dataclass(frozen=True)
class Curve:
    """What becomes of a value as players are masked, or brought back.

    Attributes
    ----------
    values : float64 [n + 1]
        ``(v - v(none)) / (v(all) - v(none))`` after 0, 1, …, n players.
    auc : float
        Mean height, by the trapezoidal rule.
    """

    values: FloatArray
    auc: float


def order_of(explanation: Explanation) -> IntArray:
    """Players by their share, the largest in the direction of the whole first."""
    sign = 1.0 if explanation.value_all >= explanation.value_nothing else -1.0
    return np.argsort(-sign * explanation.scores, kind="stable")


def deletion_curve(explanation: Explanation, order: npt.ArrayLike | None = None) -> Curve:
    """Mask players one after another; a faithful order makes the value fall fast (low AUC).

    Parameters
    ----------
    explanation : Explanation
        With its model.
    order : int array [n], optional
        Players, most important first; by default those of the explanation.
    """
    rank = np.argsort(_checked(explanation, order))
    steps = np.arange(len(rank) + 1)
    return _curve(explanation, rank[None, :] >= steps[:, None])


def insertion_curve(explanation: Explanation, order: npt.ArrayLike | None = None) -> Curve:
    """Bring players back one after another; a faithful order makes the value rise fast (high AUC).

    Parameters
    ----------
    explanation, order
        As in `deletion_curve`.
    """
    rank = np.argsort(_checked(explanation, order))
    steps = np.arange(len(rank) + 1)
    return _curve(explanation, rank[None, :] < steps[:, None])


def comprehensiveness(
    explanation: Explanation, n: int, order: npt.ArrayLike | None = None
) -> float:
    """Share of the whole that is lost without the n most important players (high is faithful)."""
    kept = np.argsort(_checked(explanation, order)) >= check_int("n", n, 1, len(explanation))
    return float(1.0 - _shares(explanation, kept[None])[0])


def sufficiency(explanation: Explanation, n: int, order: npt.ArrayLike | None = None) -> float:
    """Share of the whole that is lost with only the n most important ones (low is faithful)."""
    kept = np.argsort(_checked(explanation, order)) < check_int("n", n, 1, len(explanation))
    return float(1.0 - _shares(explanation, kept[None])[0])


def still_recommended(
    explanation: Explanation, n: int, order: npt.ArrayLike | None = None
) -> float:
    """Share of the frozen items still in the top k without the n most important players.

    Items of the original history stay excluded, so that an event's own item does not come back in.
    """
    problem = explanation.problem
    kept = np.argsort(_checked(explanation, order)) >= check_int("n", n, 1, len(explanation))
    k = len(problem.frozen)
    stay = [
        problem.game.with_scalar(
            rank_scalar(problem.asker, problem.history, int(number), k)
        ).values(kept[None])[0]
        for number in problem.frozen
    ]
    return float(np.mean(stay))


def controls(explanation: Explanation, *, seed: int = 42) -> dict[str, IntArray]:
    """Orders of players that know nothing of the answer: random, recency, popularity."""
    problem = explanation.problem
    players = problem.game.players
    n = len(players)
    rng = np.random.default_rng([seed, _STREAM])
    found = {"random": rng.permutation(n), "recency": np.arange(n)[::-1].copy()}
    counts = problem.asker.counts
    if counts is not None and players.what in ("event", "group"):
        of_event = counts[problem.asker.items_in(problem.history)]
        of_player = np.array([of_event[member].max() for member in players.members])
        found["popularity"] = np.argsort(-of_player, kind="stable")
    return found


def measure(
    explanations: Explanation | Sequence[Explanation],
    *,
    n: int = 3,
    seed: int = 42,
    orders: Mapping[str, Sequence[npt.ArrayLike]] | None = None,
) -> pl.DataFrame:
    """Measure explanations beside their controls, on average.

    Parameters
    ----------
    explanations, n, seed, orders
        As in `measure_each`.

    Returns
    -------
    polars.DataFrame
        One row per order (``explanation``, ``random``, ``recency``, ``popularity``, …) and masking:
        ``n_histories`` and the means of ``deletion_auc`` (low is faithful), ``insertion_auc``
        (high), ``comprehensiveness`` (high), ``sufficiency`` (low) and ``still_recommended`` (low).

    Raises
    ------
    UnsupportedError
        As in `measure_each`.
    """
    keys = ["order", "masking"]
    return (
        measure_each(explanations, n=n, seed=seed, orders=orders)
        .group_by(keys, maintain_order=True)
        .agg(pl.len().alias("n_histories"), pl.col(*MEASURES).mean())
    )


def measure_each(
    explanations: Explanation | Sequence[Explanation],
    *,
    n: int = 3,
    seed: int = 42,
    orders: Mapping[str, Sequence[npt.ArrayLike]] | None = None,
) -> pl.DataFrame:
    """Measure each explanation beside its controls.

    Parameters
    ----------
    explanations : Explanation or sequence of them
        With their models; those whose value does not change (``v(all) = v(none)``) are left out.
    n : int, default 3
        Most important players of comprehensiveness, sufficiency and rank; at most all of them.
    seed : int
        Of the random orders.
    orders : mapping of str to sequence of orders, optional
        Further orders by name, one per explanation.

    Returns
    -------
    polars.DataFrame
        One row per explanation and order: ``history`` (the place of the explanation, from 0),
        ``order``, ``masking``, and the columns of `measure`.

    Raises
    ------
    UnsupportedError
        If no explanation has anything to explain, or they were loaded from files.
    """
    check_int("n", n, minimum=1)
    single = not isinstance(explanations, Sequence)
    all_of_them: list[Explanation] = [explanations] if single else list(explanations)  # type: ignore[arg-type,list-item]
    rows = []
    for number, explanation in enumerate(all_of_them):
        if explanation.value_all == explanation.value_nothing:
            continue
        named: dict[str, Any] = {"explanation": order_of(explanation)}
        named |= controls(explanation, seed=seed + number)
        named |= {name: given[number] for name, given in (orders or {}).items()}
        most = min(n, len(explanation))
        rows += [
            {
                "history": number,
                "order": name,
                "masking": explanation.metadata["masking"],
                "deletion_auc": deletion_curve(explanation, order).auc,
                "insertion_auc": insertion_curve(explanation, order).auc,
                "comprehensiveness": comprehensiveness(explanation, most, order),
                "sufficiency": sufficiency(explanation, most, order),
                "still_recommended": still_recommended(explanation, most, order),
            }
            for name, order in named.items()
        ]
    if not rows:
        raise UnsupportedError(
            "No explanation has anything to explain: the value with all events is that with none; "
            "take other histories or another masking."
        )
    return pl.DataFrame(rows)


def _checked(explanation: Explanation, order: npt.ArrayLike | None) -> IntArray:
    if order is None:
        return order_of(explanation)
    given = np.asarray(order, dtype=np.int64)
    if given.shape != (len(explanation),) or set(given.tolist()) != set(range(len(explanation))):
        raise ParameterError(
            f"An order names each of the {len(explanation)} players once, from 0; give a "
            "permutation."
        )
    return given


def _shares(explanation: Explanation, kept: npt.NDArray[np.bool_]) -> FloatArray:
    gap = explanation.value_all - explanation.value_nothing
    shares: FloatArray = (explanation.value(kept) - explanation.value_nothing) / (gap or 1.0)
    return shares


def _curve(explanation: Explanation, kept: npt.NDArray[np.bool_]) -> Curve:
    values = _shares(explanation, kept)
    return Curve(values, float((values[1:] + values[:-1]).mean() / 2))
