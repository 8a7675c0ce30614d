"""The strongest examples of each query, without the products of all pairs in full.

Most pairs of a training example and a query are far from the strongest. Of the two gradients only
the columns are multiplied in which the queries have most of their length, and in bfloat16 where
the processor is faster at it, with a bound of what that can have done to each product: for
gradients a and b whose columns are copied (a', b'), rounded (by r, s) and left out (a°, b°), it is
off by at most ‖r‖ ‖b'‖ + (‖a'‖ + ‖r‖) ‖s‖ + ‖a°‖ ‖b°‖. Pairs that are within their bound of the
strongest are multiplied in full. So the result is that of products in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

# Columns that are chosen or left out together.
_GROUP = 16
# Below these, and above this, products in float32 take less time.
_FEWEST_QUERIES, _FEWEST_COLUMNS, _LONGEST_LIST = 50, 512, 100
# The lists are filled with so many times their length of examples, by products in full.
_EARLY = 100
# Bounds that are this share of the scores' standard deviation let few pairs pass that need not.
_SHARE_OF_SPREAD = 0.5
# What summing in float32 can add, relative to the norms; what the last rounding of a product in
# bfloat16 can, relative to it; and about how long what is rounded off is.
_SUMMING, _LAST_PLACE, _ROUNDED_OFF = 2.0**-12, 1.01 * 2.0**-9, 0.0017


class Limits:
    """The weakest score that is in the lists of each query by now.

    Parameters
    ----------
    n_queries, n : int
        Number of the lists, and their length.

    Attributes
    ----------
    top, bottom : float64 [Q]
        The weakest of the largest scores, and of the smallest times -1, when `rise` was called;
        -inf while a list is not full. They only rise, so that a worker may use old ones.
    """

    def __init__(self, n_queries: int, n: int) -> None:
        self.n = n
        self.top: FloatArray = np.full(n_queries, -np.inf)
        self.bottom = self.top

    def rise(self, tops: FloatArray, bottoms: FloatArray) -> None:
        """Take what the heaps of `keep_largest` [Q, n] begin with."""
        self.top, self.bottom = tops[:, 0].copy(), bottoms[:, 0].copy()


@dataclass(frozen=True)
class Near:
    """Scores of those pairs that can be among the strongest.

    Attributes
    ----------
    n : int
        Number of examples.
    rows, columns : int64 [P]
        Example and query of each pair, by example.
    values : float32 [P]
    sums : float64 [n]
        Scores of the examples summed over all queries.
    """

    n: int
    rows: IntArray
    columns: IntArray
    values: Singles
    sums: FloatArray

    def __len__(self) -> int:
        return self.n

    def keep(self, sign: float, first: int, best: FloatArray, numbers: IntArray) -> None:
        """Take them into running lists; see `keep_largest_of_pairs`."""
        pairs = self.rows, self.columns, self.values
        kernels.keep_largest_of_pairs(*pairs, sign, first, best, numbers)


def pays(queries: Tensor, limits: Limits) -> bool:
    """Whether screening can take less time than products in full, for gradients [Q, K]."""
    return (
        queries.dtype == torch.float32
        and limits.n <= _LONGEST_LIST
        and queries.shape[0] >= _FEWEST_QUERIES
        and queries.shape[1] >= _FEWEST_COLUMNS
    )


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


class Screen:
    """Gradients of some queries, prepared to be compared with those of examples.

    Parameters
    ----------
    queries : Tensor [Q, K]
        All that is written out, of all checkpoints side by side.
    limits : Limits
    examples : Tensor [s, K]
        A few of the examples, by which the columns are chosen; the result does not depend on it.
    kept : Tensor [s, Q]
        See `near`.
    """

    def __init__(self, queries: Tensor, limits: Limits, examples: Tensor, kept: Tensor) -> None:
        self.queries = queries
        self.limits = limits
        self._sum = _sum_of_rows(queries)
        self._choose_columns(examples, kept)
        self._copy, lengths, _ = self._condensed(queries)
        norms, errors, missed = lengths
        norms = norms + errors
        self._reach = np.array([errors + _SUMMING * norms, norms, missed], dtype=np.float32)

    def is_early(self, first: int) -> bool:
        """Whether so many pairs are near the limits that all may be multiplied in full."""
        return first < _EARLY * self.limits.n

    def near(self, examples: Tensor, kept: Tensor, room: Tensor | None = None) -> Near:
        """Score the pairs that can be among the strongest.

        Parameters
        ----------
        examples : Tensor [n, K]
            Like the queries'.
        kept : Tensor [n, Q]
            What the scores have besides the products of these.
        room : Tensor [n, C], optional
            Memory of `new_room`.
        """
        copy, lengths, sums = self._condensed(examples, room)
        product = (copy @ self._copy.T).float().numpy()
        sides = lengths.astype(np.float32), self._reach, np.float32(self._relative)
        top, bottom = (
            self._lowered(sign, limit, product, kept.numpy(), sides)
            for sign, limit in ((1.0, self.limits.top), (-1.0, self.limits.bottom))
        )
        rows, columns = kernels.bounded_pairs(product, kept.numpy(), *sides, top, bottom, sums)
        gradients = examples.numpy(), self.queries.numpy()
        values = kernels.dots_of_pairs(rows, columns, *gradients, kept.numpy())
        return Near(len(examples), rows, columns, values, sums)

    def new_room(self, n: int) -> Tensor:
        """Memory for the columns of n gradients that are multiplied."""
        dtype = torch.bfloat16 if self._halves else torch.float32
        return torch.empty(n, self._n_columns, dtype=dtype)

    def _choose_columns(self, examples: Tensor, kept: Tensor) -> None:
        """So few that the bounds stay small beside the spread of the scores."""
        energies = _energies(self.queries), _energies(examples)
        order = np.argsort(-energies[0], kind="stable")
        left_out = [1.0 - np.cumsum(e[order]) / max(e.sum(), 1e-300) for e in energies]
        bounds = np.sqrt(np.maximum(left_out[0], 0.0) * np.maximum(left_out[1], 0.0))
        lengths = self.queries.norm(dim=1).mean() * examples.norm(dim=1).mean()
        spread = float((examples @ self.queries.T + kept).std())
        allowed = _SHARE_OF_SPREAD * spread / max(float(lengths), 1e-300)
        self._halves = has_fast_bfloat16() and allowed > 6.0 * _ROUNDED_OFF
        self._relative = _LAST_PLACE if self._halves else 0.0
        is_chosen = np.zeros(len(order), dtype=np.bool_)
        is_chosen[order[: int(np.searchsorted(-bounds, -allowed)) + 1]] = True
        self._runs, self._n_columns = _runs(is_chosen, self.queries.shape[1])

    def _condensed(
        self, wide: Tensor, room: Tensor | None = None
    ) -> tuple[Tensor, FloatArray, FloatArray]:
        """The chosen columns of gradients [n, K].

        Returns
        -------
        copy : Tensor [n, C]
        lengths : float64 [3, n]
            Norms of what is copied, rounded off, and left out.
        dots : float64 [n]
            Inner products with the sum of the queries.
        """
        n = len(wide)
        room = self.new_room(n) if room is None else room
        lengths, dots = np.empty((3, n)), np.empty(n)
        nothing = np.empty((0, 0), np.float32), np.empty((0, 0), np.int16)
        if self._halves:
            targets = nothing[0], room.view(torch.int16).numpy()
        else:
            targets = room.numpy(), nothing[1]
        kernels.condense(
            wide.numpy(), self._runs, self._sum.numpy(), self._halves, *targets, lengths, dots
        )
        return room, lengths, dots

    def _lowered(
        self,
        sign: float,
        limit: FloatArray,
        product: Singles,
        kept: Singles,
        sides: tuple[Singles, Singles, np.float32],
    ) -> Singles:
        """Limits in float32, not above what they are; found among the scores where unknown."""
        if not np.isfinite(limit).all():
            lengths, reach, relative = sides
            slack = lengths.T @ reach + relative * np.abs(product)
            heaps = np.full((len(limit), self.limits.n), -np.inf)
            numbers = np.full(heaps.shape, -1, dtype=np.int64)
            kernels.keep_largest(sign * (product + kept) - slack, 1.0, 0, heaps, numbers)
            limit = np.maximum(limit, heaps[:, 0])
        lowered: Singles = np.nextafter(limit.astype(np.float32), np.float32(-np.inf))
        return lowered


def _runs(is_chosen: npt.NDArray[np.bool_], width: int) -> tuple[IntArray, int]:
    """Runs of columns for `condense`, from groups of columns; and how many are chosen."""
    edges = np.flatnonzero(np.diff(is_chosen)) + 1
    edges = np.unique(np.concatenate([edges * _GROUP, np.arange(0, width, kernels.LONGEST_RUN)]))
    ends = np.append(edges[1:], width)
    inside = is_chosen[edges // _GROUP]
    sizes = np.where(inside, ends - edges, 0)
    places = np.where(inside, np.cumsum(sizes) - sizes, -1)
    return np.stack([edges, ends, places], 1), int(sizes.sum())


def _energies(matrix: Tensor) -> FloatArray:
    """Sum of the squares of each group of columns, float64 [groups]."""
    columns = _sum_of_rows(matrix, squared=True).double()
    missing = -len(columns) % _GROUP
    groups = torch.nn.functional.pad(columns, (0, missing)).view(-1, _GROUP)
    energies: FloatArray = groups.sum(1).numpy()
    return energies


def _sum_of_rows(matrix: Tensor, step: int = 32, *, squared: bool = False) -> Tensor:
    """Sum of the rows (or their squares), in float64 and back; some rows at a time."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for first in range(0, len(matrix), step):
        rows = matrix[first : first + step]
        total += (rows.square() if squared else rows).sum(0, dtype=torch.float64)
    return total.to(matrix.dtype)
