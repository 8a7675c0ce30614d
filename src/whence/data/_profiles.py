"""What generated data are to be like: a data set in a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from whence.data.interactions import Interactions

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Points: TypeAlias = tuple[tuple[float, float], ...]

_LENGTHS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500)
_RANKS = (1, 2, 5)
_DIGITS = 4
_ROUNDS = 30  # of the fixed point of items that are had once


@dataclass(frozen=True)
class Profile:
    """Figures of a data set that decide what data generated like it look like.

    Attributes
    ----------
    name : str
    kind : {"sessions", "users", "baskets"}
        Whose the rows are; with baskets, `lengths` count the items of a user.
    n_rows, n_items : int
        Of the data set.
    lengths : tuple of (length, share)
        The share of the sessions (or users) with at most so many rows, ascending.
    popularity : tuple of (share of items, share of rows)
        What the most popular items have of all rows, ascending.
    again, back : float
        Probability that a row has the item of the row before, and one that the session had
        earlier; with baskets, `back` is that of an item of an earlier basket.
    follow : float
        Probability that any other row has an item that usually comes after the one before.
    sizes : tuple of (size, share), optional
        The share of the baskets of at most so many items.
    """

    name: str
    kind: str
    n_rows: int
    n_items: int
    lengths: Points
    popularity: Points
    again: float = 0.0
    back: float = 0.0
    follow: float = 0.0
    sizes: Points = ()

    def catalogue(self, n_rows: int) -> int:
        """Return how many items so many rows have: their number grows as the root of the rows'."""
        return max(10, round(self.n_items * float(np.sqrt(n_rows / self.n_rows))))

    def item_shares(self, n_items: int) -> FloatArray:
        """Return the share of the rows of each item, the most popular first; float64 [n_items]."""
        share_of_items, share_of_rows = np.log(np.array(self.popularity)).T
        ranks = np.log(np.arange(1, n_items + 1) / n_items)
        total = np.interp(ranks, share_of_items, share_of_rows)
        # Of a larger catalogue, the first items are fewer than those of the first point.
        slope = np.diff(share_of_rows[:2]) / np.diff(share_of_items[:2])
        total += np.minimum(0.0, ranks - share_of_items[0]) * slope
        shares = np.diff(np.exp(total), prepend=0.0)
        shares = np.sort(shares)[::-1]
        if self.kind == "users":
            lengths = np.minimum(self.draw(self.lengths, _quantiles(100)), 0.9 * n_items)
            shares = _with_replacement(shares, lengths)
        return np.asarray(shares / shares.sum())

    @staticmethod
    def draw(points: Points, uniform: FloatArray) -> IntArray:
        """Return the lengths at quantiles in [0, 1)."""
        lengths, shares = np.array(points).T
        start = max(0.5, lengths[0] - 1.0)
        at = np.interp(
            uniform, np.concatenate(([0.0], shares)), np.log(np.concatenate(([start], lengths)))
        )
        return np.asarray(np.maximum(np.ceil(np.exp(at) - 1e-9), 1), dtype=np.int64)

    def lengths_of(self, n_rows: int, generator: Generator) -> IntArray:
        """Draw lengths that add up to a number of rows."""
        mean = float(self.draw(self.lengths, _quantiles(10_000)).mean())
        lengths = np.empty(0, dtype=np.int64)
        while lengths.sum() < n_rows:
            more = generator.random(int(n_rows / mean) // 8 + 16)
            lengths = np.concatenate([lengths, self.draw(self.lengths, more)])
        ends = np.cumsum(lengths)
        lengths = lengths[: int(np.searchsorted(ends, n_rows)) + 1]
        lengths[-1] -= lengths.sum() - n_rows
        return lengths


def shares_up_to(values: IntArray, grid: Sequence[int] = _LENGTHS) -> Points:
    """Return the share of values that are at most so large, at some values and the largest."""
    low, high = int(values.min()), int(values.max())
    at = sorted({low, *(value for value in grid if low < value < high), high})
    return tuple((float(value), round(float((values <= value).mean()), _DIGITS)) for value in at)


def shares_of_the_first(counts: IntArray) -> Points:
    """Return what the most popular items have of all rows, at ranks on a logarithmic scale."""
    ordered = np.sort(counts)[::-1]
    total, n = np.cumsum(ordered) / ordered.sum(), len(ordered)
    ranks = [step * 10**power for power in range(9) for step in _RANKS]
    ranks = [rank for rank in ranks if rank < n] + [n]
    return tuple((float(f"{rank / n:.4g}"), round(float(total[rank - 1]), 5)) for rank in ranks)


def repeats(data: Interactions) -> tuple[float, float]:
    """Return how often a row has the item of the row before, and else one of an earlier row.

    Of all rows but the first of each session, and but the first two. Of baskets, how often an item
    was in an earlier basket, of all but each user's first.
    """
    items, owner, seen = _seen(data)
    baskets = data.sequences.baskets
    if baskets is not None:
        later = baskets > 0
        return 0.0, float(seen[later].mean()) if later.any() else 0.0
    same, seen = items[1:] == items[:-1], seen[1:]
    second, third = owner[1:] == owner[:-1], np.zeros(len(seen), dtype=np.bool_)
    third[1:] = owner[2:] == owner[:-2]
    again, back = (
        int((one & where).sum()) for one, where in ((same, second), (seen & ~same, third))
    )
    return again / max(1, int(second.sum())), back / max(1, int(third.sum()))


def recurrence(data: Interactions) -> float:
    """Return how often two items that come one after the other did so before.

    Of the last fifth of the sessions, and of steps to an item that the session had not had; before
    are the other sessions.
    """
    items, owner, seen = _seen(data)
    step = (owner[1:] == owner[:-1]) & ~seen[1:]
    pair = items[:-1] * data.n_items + items[1:]
    late = owner[1:] > owner[int(0.8 * (len(owner) - 1))]
    asked = pair[step & late]
    return float(np.isin(asked, pair[step & ~late]).mean()) if len(asked) else 0.0


def _seen(data: Interactions) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """Return item and source of each row, by source, and whether the source had the item before."""
    items = data.sequences.items.astype(np.int64)
    owner = np.repeat(np.arange(data.n_sources), np.diff(data.sequences.offsets))
    key = owner * data.n_items + items
    order = np.argsort(key, kind="stable")
    seen = np.zeros(len(key), dtype=np.bool_)
    seen[order[1:]] = key[order[1:]] == key[order[:-1]]
    return items, owner, seen


def _quantiles(n: int) -> FloatArray:
    return (np.arange(n) + 0.5) / n


def _with_replacement(shares: FloatArray, lengths: FloatArray) -> FloatArray:
    """Return shares of drawing from which, each user having an item once, come the shares given.

    With so many draws, a user has an item of weight w with probability 1 - exp(-w draws); the
    draws are as many as give the user's number of items.
    """
    wanted = np.minimum(shares * lengths.sum() / len(lengths), 1.0 - 1e-3)
    weights, draws = shares.copy(), lengths.copy()
    for _ in range(_ROUNDS):
        has = -np.expm1(-np.outer(draws, weights))
        draws *= lengths / has.sum(axis=1)
        weights *= np.minimum(wanted / np.maximum(has.mean(axis=0), 1e-300), 4.0)
        weights /= weights.sum()
    return weights
