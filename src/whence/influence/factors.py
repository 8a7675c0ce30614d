"""Gradients of a batch, ready for products: small blocks written out, the others as factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.influence.capture import Blocks
from whence.influence.pieces import Key, Outer, Piece, Rows, joined
from whence.influence.products import add_inner, add_norms
from whence.influence.weights import Weights

# Time besides the multiplications themselves, as a number of multiplications within products of
# large matrices: for a temporary number, and for a pair of entries that meet in a join.
_PER_PRODUCT, _PER_MEETING = 64, 512

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Which blocks are written out, and where.

    Attributes
    ----------
    wide : dict of tuple of str to (int, int, int)
        First column, rows R and columns C of the block's gradient in the wide matrix.
    width : int
        Columns of the wide matrix.
    """

    wide: dict[Key, tuple[int, int, int]] = field(default_factory=dict)
    width: int = 0

    @classmethod
    def make(cls, a: Blocks, b: Blocks, shapes: Mapping[str, tuple[int, int]]) -> Plan:
        """Write a block out where its matrix is smaller than the products of its factors.

        Parameters
        ----------
        a, b : blocks
            Of examples of the two sides, which say how many places they have.
        shapes : mapping of str to (int, int)
            Rows and columns of each parameter.
        """
        wide, width = {}, 0
        for key in a:
            if key not in b:
                continue
            rows = max(shapes[name][0] for name in key)
            columns = sum(shapes[name][1] for name in key)
            if rows * columns <= _cost(a[key], b[key], rows, columns):
                wide[key] = (width, rows, columns)
                width += rows * columns
        return cls(wide, width)


def _cost(a: list[Piece], b: list[Piece], rows: int, columns: int) -> float:
    """Multiplications of an inner product by factors."""
    total = 0.0
    for left in a:
        for right in b:
            if isinstance(left, Outer) and isinstance(right, Outer):
                total += left.places * right.places * (rows + columns + _PER_PRODUCT)
            elif isinstance(left, Rows) and isinstance(right, Rows):
                pairs = left.per_example * right.per_example / rows
                total += pairs * (columns + _PER_MEETING)
            elif isinstance(left, (Outer, Rows)) and isinstance(right, (Outer, Rows)):
                places = left.places if isinstance(left, Outer) else left.per_example
                others = right.places if isinstance(right, Outer) else right.per_example
                total += places * others * (columns + _PER_PRODUCT)
            else:
                return float("inf")
    return total


@dataclass(frozen=True)
class Factors:
    """Gradients of n examples.

    Attributes
    ----------
    n : int
    wide : Tensor [n, K]
        The blocks that are written out.
    kept : dict of tuple of str to list of pieces
        The others.
    weights : Weights
        Of the entries of the gradients in inner products.
    """

    n: int
    wide: Tensor
    kept: Blocks
    weights: Weights

    @classmethod
    def make(cls, blocks: Blocks, plan: Plan, weights: Weights, wide: Tensor) -> Factors:
        """Write out the blocks of the plan into `wide` [n, K], and keep the others as they are."""
        n = len(wide)
        written = 0
        kept: Blocks = {}
        for key, pieces in blocks.items():
            if key not in plan.wide:
                kept[key] = weights.of_pieces(key, pieces)
                continue
            first, rows, columns = plan.wide[key]
            part = wide[:, first : first + rows * columns].view(n, columns, rows)
            for place, piece in enumerate(pieces):
                piece.write(part, add=place > 0)
            weights.scale_written(key, part)
            written += rows * columns
        if written < plan.width:
            raise RuntimeError("a block of the plan is missing from a batch")
        return cls(n, wide, kept, weights)

    def inner(self, other: Factors, *, half: bool = False) -> Tensor:
        """Inner products with the gradients of m other examples, [n, m].

        Parameters
        ----------
        other : Factors
        half : bool
            Multiply in bfloat16 what is written out.
        """
        if half:
            out = (self.wide.bfloat16() @ other.wide_half.T).to(self.wide.dtype)
        else:
            out = self.wide @ other.wide.T
        self._add_kept(other, out)
        return out

    def inner_kept(self, other: Factors) -> Tensor:
        """The share that the blocks which are not written out have in `inner`, [n, m]."""
        out = self.wide.new_zeros(self.n, other.n)
        self._add_kept(other, out)
        return out

    def _add_kept(self, other: Factors, out: Tensor) -> None:
        for key, pieces in self.kept.items():
            if key in other.kept:
                add_inner(pieces, other.kept[key], out, self.weights.metric(key))

    @property
    def wide_half(self) -> Tensor:
        """The wide matrix in bfloat16, kept once it was asked for."""
        cached: Tensor | None = self.__dict__.get("_half")
        if cached is None:
            cached = self.wide.bfloat16()
            object.__setattr__(self, "_half", cached)
        return cached

    def norms(self) -> FloatArray:
        """Squared norms of the gradients, float64 [n]."""
        out: FloatArray = self.wide.square().sum(1, dtype=torch.float64).numpy()
        for key, pieces in self.kept.items():
            add_norms(pieces, out, self.weights.metric(key))
        return out

    @property
    def n_bytes(self) -> int:
        """Memory of the gradients."""
        size = self.wide.element_size()
        held = sum(piece.n_numbers for pieces in self.kept.values() for piece in pieces)
        return size * (self.wide.numel() + held)


def joined_factors(batches: list[Factors], wide: Tensor | None = None) -> Factors:
    """Gradients of several batches as those of one; `wide` has what is written out already."""
    if len(batches) == 1:
        return batches[0]
    kept: Blocks = {}
    for key in batches[0].kept:
        lists = [batch.kept[key] for batch in batches]
        kept[key] = [joined(list(pieces)) for pieces in zip(*lists)]
    wide = torch.cat([batch.wide for batch in batches]) if wide is None else wide
    return Factors(sum(batch.n for batch in batches), wide, kept, batches[0].weights)


def contract(blocks: Blocks, direction: Mapping[Key, Tensor], n: int) -> FloatArray:
    """Inner products of each example's gradient with one vector, float64 [n].

    Parameters
    ----------
    blocks : blocks
    direction : mapping of tuple of str to Tensor [R, C]
        The vector, by block.
    n : int
    """
    out = np.zeros(n)
    for key, pieces in blocks.items():
        for piece in pieces:
            piece.contract(direction[key], out)
    return out


def by_block(
    vector: Mapping[str, Tensor], keys: list[Key], shapes: Mapping[str, tuple[int, int]]
) -> dict[Key, Tensor]:
    """A vector over parameters, as one matrix per block."""
    return {
        key: torch.cat([vector[name].reshape(shapes[name]) for name in key], 1).contiguous()
        for key in keys
    }
