"""Ways to inner products of the gradients of single examples: by factors of layers, or sketched."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.errors import UnsupportedError
from whence.influence import forward_mode
from whence.influence.capture import Batch, Blocks
from whence.influence.checkpoints import State
from whence.influence.factors import Factors, Plan, by_block, contract
from whence.influence.per_example import Method, PerExample, sum_of_gradients
from whence.influence.pieces import Outer, Piece, Rows, as_matrix
from whence.influence.places import single_terms
from whence.influence.weights import Weights

FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 1e-3


@dataclass
class Strategy(ABC):
    """A way to the gradients of examples, in a form that has inner products.

    Attributes
    ----------
    names : list of str
        Parameters that count.
    dtype : torch.dtype
    """

    names: list[str]
    dtype: torch.dtype

    def prepare(self, state: State, train: Batch, queries: Batch) -> None:  # noqa: B027
        """Look at a few examples of both sides before the work begins."""

    @abstractmethod
    def factors(self, state: State, batch: Batch, room: Tensor | None = None) -> Factors:
        """Gradients of a batch, what is written out in `room` [n, K] if there is one."""

    @property
    def alone(self) -> list[str]:
        """Parameters whose gradients are computed one example at a time."""
        return []

    def room(self, n: int, n_states: int) -> Tensor | None:
        """Memory [n, n_states, K] for gradients at some checkpoints, if they can be put there."""
        return None

    def total(self, state: State, batches: Iterable[tuple[Batch, Tensor]]) -> Any:
        """Sum of the gradients of batches, each with a weight for every example [n]."""
        total: Tensor | None = None
        for batch, weights in batches:
            wide = self.factors(state, batch).wide.double()
            part = weights.double() @ wide
            total = part if total is None else total + part
        assert total is not None
        return total.to(self.dtype)

    def along(self, state: State, batch: Batch, direction: Any) -> FloatArray:
        """Inner products of the gradients of a batch with what `total` gave, float64 [n]."""
        products: FloatArray = (self.factors(state, batch).wide @ direction).double().numpy()
        return products

    def along_terms(self, state: State, batch: Batch, direction: Any) -> FloatArray:
        """As `along`, of each term of the examples' losses by itself, float64 [terms]."""
        alone, n = single_terms(batch), len(next(iter(batch.values())))
        terms = len(next(iter(alone.values())))
        parts = [
            self.along(state, {k: v[first : first + n] for k, v in alone.items()}, direction)
            for first in range(0, terms, n)
        ]
        return np.concatenate(parts)

    @property
    def width(self) -> int:
        """Numbers per example that are written out."""
        return 1

    @property
    def held(self) -> int:
        """Numbers per example that its factors hold."""
        return 1


@dataclass
class ByFactors(Strategy):
    """Gradients as factors of layers: exact, and far smaller than the gradients themselves."""

    method: Method = "auto"
    plan: Plan = field(default_factory=Plan)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    n_held: int = 1
    forward: bool = False

    def __post_init__(self) -> None:
        self.gradients = PerExample(self.names, self.method)

    def prepare(self, state: State, train: Batch, queries: Batch) -> None:
        """Check the factors against autograd, and decide which blocks are written out."""
        self.shapes = {
            name: tuple(as_matrix(state.module.get_parameter(name)).shape)  # type: ignore[misc]
            for name in self.names
        }
        self.gradients.prepare(state, train)
        # As they will be: layers with weighted gradients are not kept together.
        (of_train, _), (of_queries, _) = (self._gradients(state, b) for b in (train, queries))
        self.plan = Plan.make(of_train, of_queries, self.shapes)
        self.n_held = sum(piece.n_numbers for pieces in of_train.values() for piece in pieces)
        self.n_held //= len(next(iter(train.values())))
        self.forward = self._can_go_forward(state, train)

    @property
    def alone(self) -> list[str]:
        """See `Strategy`."""
        return self.gradients.alone

    def _can_go_forward(self, state: State, batch: Batch) -> bool:
        """Whether the module's functions have a forward mode, and it gives the same."""
        direction = forward_mode.Direction(sum_of_gradients(state, batch, self.names))
        try:
            got = forward_mode.along(state, batch, direction).double().numpy()
        except (NotImplementedError, RuntimeError):
            return False
        want = self._along_factors(state, batch, direction)
        return bool(np.abs(got - want).max() <= _TOLERANCE * np.abs(want).max())

    def factors(self, state: State, batch: Batch, room: Tensor | None = None) -> Factors:
        """Gradients of a batch, the blocks of the plan written out."""
        blocks, losses = self._gradients(state, batch)
        if room is None:
            room = torch.empty(len(losses), self.plan.width, dtype=self.dtype)
        return Factors.make(blocks, self.plan, state.weights, room)

    def _gradients(self, state: State, batch: Batch) -> tuple[Blocks, Tensor]:
        return self.gradients.of(state, batch, fuse=state.weights.plain, tables=state.tables)

    def room(self, n: int, n_states: int) -> Tensor:
        """See `Strategy`."""
        return torch.empty(n, n_states, self.plan.width, dtype=self.dtype)

    def total(
        self, state: State, batches: Iterable[tuple[Batch, Tensor]]
    ) -> forward_mode.Direction:
        """Sum of the gradients, by ordinary back-propagation."""
        total: dict[str, Tensor] = {}
        for batch, weights in batches:
            part = sum_of_gradients(state, batch, self.names, weights)
            for name, value in part.items():
                total[name] = total[name] + value.double() if name in total else value.double()
        weighted = state.weights.times(total)
        vectors = {name: value.to(self.dtype) for name, value in weighted.items()}
        return forward_mode.Direction(vectors)

    def along(self, state: State, batch: Batch, direction: forward_mode.Direction) -> FloatArray:
        """Inner products with one vector, no gradient being written out."""
        if self.forward:
            products: FloatArray = forward_mode.along(state, batch, direction).double().numpy()
            return products
        return self._along_factors(state, batch, direction)

    def along_terms(
        self, state: State, batch: Batch, direction: forward_mode.Direction
    ) -> FloatArray:
        """See `Strategy`: one pass forward gives the derivatives of all terms."""
        losses_of = getattr(state.model, "term_losses", None)
        if not self.forward or losses_of is None:
            return super().along_terms(state, batch, direction)
        along = forward_mode.along(state, batch, direction, losses_of)
        products: FloatArray = along.double().numpy()
        return products

    def _along_factors(
        self, state: State, batch: Batch, direction: forward_mode.Direction
    ) -> FloatArray:
        blocks, losses = self.gradients.of(state, batch)
        return contract(blocks, by_block(direction.vectors, list(blocks), self.shapes), len(losses))

    @property
    def width(self) -> int:
        """Numbers per example that are written out."""
        return max(self.plan.width, 1)

    @property
    def held(self) -> int:
        """Numbers per example that its factors hold."""
        return max(self.n_held, 1)


@dataclass
class BySketch(Strategy):
    """Gradients projected at random, layer by layer, to few numbers whose products are unbiased.

    The gradient G of a matrix becomes AᵀGB with A and B of independent normal entries, so that
    E⟨AᵀGB, AᵀG'B⟩ = ⟨G, G'⟩; sides shorter than their share of the dimension stay as they are.
    """

    dimension: int = 512
    seed: int = 42
    sides: dict[str, tuple[Tensor | None, Tensor | None]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gradients = PerExample(self.names)

    @property
    def alone(self) -> list[str]:
        """See `Strategy`."""
        return self.gradients.alone

    def prepare(self, state: State, train: Batch, queries: Batch) -> None:
        """Draw the projections, a function of the seed and the name of the parameter."""
        self.gradients.prepare(state, train)
        for name in self.names:
            rows, columns = as_matrix(state.module.get_parameter(name)).shape
            few = min(columns, max(1, round(self.dimension**0.5)))
            many = min(rows, max(1, self.dimension // few))
            few = min(columns, max(1, self.dimension // many))
            stream = np.random.Generator(np.random.PCG64([self.seed, zlib.crc32(name.encode())]))
            self.sides[name] = (
                self._side(stream, rows, many),
                self._side(stream, columns, few),
            )
            self.sizes[name] = (many, few)

    def _side(self, stream: np.random.Generator, size: int, to: int) -> Tensor | None:
        if to >= size:
            return None
        drawn = stream.standard_normal((size, to)) / to**0.5
        return torch.from_numpy(drawn).to(self.dtype)

    @property
    def width(self) -> int:
        """Numbers per example."""
        return max(1, sum(many * few for many, few in self.sizes.values()))

    def factors(self, state: State, batch: Batch, room: Tensor | None = None) -> Factors:
        """Sketches of the gradients of a batch."""
        if not state.weights.plain:
            raise UnsupportedError(
                "Projections are of plain gradients; take weighting='sgd', or TracIn for Adam's."
            )
        blocks, losses = self.gradients.of(state, batch, fuse=False)
        return Factors(len(losses), self.sketched(blocks, len(losses)), {}, Weights())

    def sketched(self, blocks: Blocks, n: int) -> Tensor:
        """Sketches of the gradients of n examples, [n, K]."""
        parts = [torch.zeros(n, 0 if self.sizes else 1, dtype=self.dtype)]
        for name, (many, few) in self.sizes.items():
            sketch = torch.zeros(n, many, few, dtype=self.dtype)
            for piece in blocks.get((name,), []):
                sketch += self._sketch(piece, *self.sides[name], many)
            parts.append(sketch.flatten(1))
        return torch.cat(parts, 1)

    def _sketch(
        self, piece: Piece, by_row: Tensor | None, by_column: Tensor | None, n_rows: int
    ) -> Tensor:
        """AᵀGB of each example, [n, many, few]; n_rows are those of the parameter without A."""
        if isinstance(piece, Rows):
            offsets, index, values = piece.by_example
            if by_row is None:
                left = torch.nn.functional.one_hot(index, piece.n_rows).to(self.dtype)
            else:
                left = by_row[index]
            right = values if by_column is None else values @ by_column
            counts = offsets.diff()
            owner = torch.arange(len(piece)).repeat_interleave(counts)
            place = torch.arange(len(owner)) - offsets[owner]
            places = int(counts.max()) if len(counts) else 0
            padded = [right.new_zeros(len(piece), places, side.shape[1]) for side in (left, right)]
            for target, side in zip(padded, (left, right)):
                target[owner, place] = side
            return padded[0].transpose(1, 2) @ padded[1]
        if isinstance(piece, Outer):
            rows = piece.left.shape[2]
            left = piece.left
            if by_row is not None:
                left = left @ by_row[piece.start : piece.start + rows]
            right = piece.right if by_column is None else piece.right @ by_column
            product = left.transpose(1, 2) @ right
            if by_row is None:
                missing = n_rows - piece.start - rows
                product = torch.nn.functional.pad(product, (0, 0, piece.start, missing))
            return product
        values = piece.values
        if by_row is not None:
            values = by_row.T @ values
        return values if by_column is None else values @ by_column


@dataclass
class KeepingTables(BySketch):
    """As `BySketch`, but for tables of embeddings, whose gradients touch a few rows each.

    Attributes
    ----------
    tables : list of str
        Parameters whose gradients are kept as they are.
    """

    tables: list[str] = field(default_factory=list)

    def prepare(self, state: State, train: Batch, queries: Batch) -> None:
        """Find the tables: what examples and queries touch by rows, and by nothing else."""
        super().prepare(state, train, queries)
        both = [self.gradients.of(state, batch, fuse=False)[0] for batch in (train, queries)]
        for name in self.names:
            if all(_is_table(blocks.get((name,), [])) for blocks in both):
                self.tables.append(name)
                del self.sizes[name]


def _is_table(pieces: list[Piece]) -> bool:
    return len(pieces) == 1 and isinstance(pieces[0], Rows)
