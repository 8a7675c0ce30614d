"""What is left out of training: random masks, and single units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whence.engines import identity_of

IntArray = npt.NDArray[np.int64]
SINGLE = "single"
_STREAM = 0x1D5


@dataclass(frozen=True)
class Removal:
    """Units that are left out together.

    Attributes
    ----------
    kind : str
        ``"keep 0.5"`` and so on of random masks, ``"single"`` of single units.
    units : int64 [n]
        Numbers of examples, sessions or users, ascending.
    query : int
        Of single units the query of the same user, among those that are looked at; else -1.
    """

    kind: str
    units: IntArray
    query: int = -1


NOTHING = Removal("none", np.empty(0, dtype=np.int64))


def key_of(seed: int, units: IntArray) -> str:
    """A short text that stands for a retraining."""
    return f"{seed}-{identity_of(np.ascontiguousarray(units, dtype=np.int64))}"


def draw(
    n_units: int,
    keep: Sequence[float],
    masks: int,
    removals: int,
    owned: Sequence[IntArray],
    seed: int,
) -> list[Removal]:
    """Draw masks of each share, and single units.

    The number of masks does not change the first of them, nor does a further share those of the
    others.

    Parameters
    ----------
    n_units : int
    keep : sequence of float
        Shares of the units that masks keep.
    masks : int
        For each share.
    removals : int
        Single units.
    owned : sequence of int64 arrays
        Units of the user of each query: single units are drawn from these, one query after the
        other; from all where nobody owns any.
    seed : int
    """
    found = []
    for share in keep:
        rng = np.random.default_rng([seed, _STREAM, round(share * 1e9)])
        size = n_units - round(share * n_units)
        for _ in range(masks):
            gone = np.sort(rng.choice(n_units, size=size, replace=False))
            found.append(Removal(f"keep {share:g}", gone))
    single = np.random.default_rng([seed, _STREAM])
    orders = [(query, single.permutation(units)) for query, units in enumerate(owned)]
    orders = [(query, order) for query, order in orders if len(order)]
    if not orders:
        chosen = single.choice(n_units, size=min(removals, n_units), replace=False)
        return found + [Removal(SINGLE, np.array([unit])) for unit in chosen]
    longest = max(len(order) for _, order in orders)
    in_turn = [(q, order[place]) for place in range(longest) for q, order in orders
               if place < len(order)]  # fmt: skip
    return found + [Removal(SINGLE, np.array([unit]), q) for q, unit in in_turn[:removals]]
