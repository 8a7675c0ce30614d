"""Training examples against queries, whatever the gradients are made of, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels
from whence.engines.sharing import PerThread
from whence.influence import screening
from whence.influence.capture import Batch
from whence.influence.checkpoints import State
from whence.influence.factors import Factors, joined_factors
from whence.influence.places import Targets, single_terms
from whence.influence.screening import Limits, Near
from whence.influence.strategies import Strategy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Numbers in memory for a chunk of examples: gradients written out, and factors, for which the
# processor's caches are fastest.
_WRITTEN, _HELD = 1 << 24, 1 << 23
_LARGEST_CHUNK, _SMALLEST_CHUNK = 2048, 16
_QUERY_BYTES = 1 << 30
# Numbers in memory for a chunk at all checkpoints, and examples by which screening is set up.
_SCREENED, _LOOKED_AT = 1 << 27, 128
_WITH_THEIR_TERMS = 16
"""Examples that are multiplied with all terms of their losses at a time."""


@dataclass(frozen=True)
class QueryGradients:
    """Gradients of Q queries.

    Attributes
    ----------
    factors : list of Factors
        One for each checkpoint.
    scales : list of float64 [Q]
        What products with them are multiplied with, besides the learning rates.
    wide : Tensor [Q, checkpoints, K] or None
        All that is written out, in one place; the factors have parts of it.
    """

    factors: list[Factors]
    scales: list[FloatArray]
    wide: Tensor | None

    def multiply(self, rates: Sequence[float]) -> None:
        """Multiply what is written out by the scales and learning rates, for good."""
        assert self.wide is not None
        for place, (rate, scale) in enumerate(zip(rates, self.scales)):
            factor = torch.from_numpy(rate * scale).to(self.wide.dtype)
            self.wide[:, place] *= factor.unsqueeze(1)


@dataclass(frozen=True)
class Scores:
    """Scores of some examples.

    Attributes
    ----------
    values : float [m, Q]
    sums : float64 [m]
        Over the queries.
    """

    values: npt.NDArray[Any]
    sums: FloatArray

    @classmethod
    def of(cls, values: Tensor) -> Scores:
        """Add up."""
        sums = np.zeros(len(values))
        kernels.add_row_sums(values.numpy(), sums)
        return cls(values.numpy(), sums)

    def __len__(self) -> int:
        return len(self.values)

    def keep(self, sign: float, first: int, best: FloatArray, numbers: IntArray) -> None:
        """Take them into running lists; see `keep_largest`."""
        kernels.keep_largest(self.values, sign, first, best, numbers)


@dataclass
class Comparison:
    """Training examples, queries and checkpoints, ready to be compared.

    Attributes
    ----------
    states : list of State
    strategy : Strategy
    examples : Any
        With ``batch(numbers, epoch)``.
    n : int
        Number of training examples.
    queries : Any
        With ``batch(numbers)``.
    n_queries : int
    cosine : bool
        Divide products by the norms of both gradients.
    half : bool
        Multiply in bfloat16.
    batch_size : int or None
    """

    states: list[State]
    strategy: Strategy
    examples: Any
    n: int
    queries: Any
    n_queries: int
    cosine: bool = False
    half: bool = False
    batch_size: int | None = None
    _rates: list[float] = field(default_factory=list)
    _memory: PerThread = field(default_factory=PerThread)

    def __post_init__(self) -> None:
        rates = [state.rate for state in self.states]
        total = sum(rates)
        # A mean of cosines is one; a sum of products is TracIn.
        self._rates = [rate / total for rate in rates] if self.cosine and total else rates

    @property
    def chunk(self) -> int:
        """Training examples at a time."""
        if self.batch_size is not None:
            return self.batch_size
        fitting = min(_WRITTEN // self.strategy.width, _HELD // self.strategy.held)
        return max(_SMALLEST_CHUNK, min(_LARGEST_CHUNK, 1 << max(fitting, 1).bit_length() - 1))

    def starts(self) -> range:
        """First numbers of the chunks."""
        return range(0, self.n, self.chunk)

    def numbers(self, first: int) -> IntArray:
        """Numbers of the training examples of a chunk."""
        return np.arange(first, min(first + self.chunk, self.n))

    def directions(self, queries: IntArray | None = None) -> list[Any]:
        """Sum of the gradients of some queries, or all, at each checkpoint, as `along` takes it."""
        asked = np.arange(self.n_queries) if queries is None else queries
        return [self._direction(state, asked) for state in self.states]

    def along(self, directions: Sequence[Any], first: int) -> FloatArray:
        """Scores of a chunk of examples, summed over all queries, float64 [m]."""
        numbers = self.numbers(first)
        total = np.zeros(len(numbers))
        for state, rate, direction in zip(self.states, self._rates, directions):
            batch = self.batch_of(state, numbers)
            values = self.strategy.along(state, batch, direction)
            if self.cosine:
                values = values * _inverse_norms(self.strategy.factors(state, batch))
            total += rate * values
        return total

    def along_terms(self, directions: Sequence[Any], numbers: IntArray) -> FloatArray:
        """Scores of the terms of some examples' losses, summed over queries, float64 [terms]."""
        total: FloatArray | None = None
        for state, rate, direction in zip(self.states, self._rates, directions):
            batch = self.batch_of(state, numbers)
            values = rate * self.strategy.along_terms(state, batch, direction)
            if self.cosine:
                counts = Targets.of(self.examples, numbers).counts  # type: ignore[union-attr]
                norms = _inverse_norms(self.strategy.factors(state, batch))
                values *= np.repeat(norms, counts)
            total = values if total is None else total + values
        assert total is not None
        return total

    def own_terms(self, numbers: IntArray) -> FloatArray:
        """Scores of the terms of some examples' losses for the whole of these, float64 [terms]."""
        parts = []
        for first in range(0, len(numbers), _WITH_THEIR_TERMS):
            some = numbers[first : first + _WITH_THEIR_TERMS]
            counts = Targets.of(self.examples, some).counts  # type: ignore[union-attr]
            owner = np.repeat(np.arange(len(some)), counts)
            total = np.zeros(len(owner))
            for state, rate in zip(self.states, self._rates):
                batch = self.batch_of(state, some)
                terms = self.strategy.factors(state, single_terms(batch))
                products = terms.inner(self.strategy.factors(state, batch))
                total += rate * products.numpy()[np.arange(len(owner)), owner]
            parts.append(total)
        return np.concatenate(parts)

    def own(self, first: int) -> FloatArray:
        """Scores of a chunk of examples for themselves, float64 [m]."""
        numbers = self.numbers(first)
        total = np.zeros(len(numbers))
        for state, rate in zip(self.states, self._rates):
            total += rate * self.strategy.factors(state, self.batch_of(state, numbers)).norms()
        return total

    def screen(self, queries: QueryGradients, limits: Limits) -> screening.Screen | None:
        """Prepare to leave out scores beyond the limits, if that pays; `queries` is changed."""
        if queries.wide is None or not self._can_screen:
            return None
        wide = queries.wide.flatten(1)
        if not screening.pays(wide, limits):
            return None
        queries.multiply(self._rates)
        some = np.unique(np.linspace(0, self.n - 1, _LOOKED_AT).astype(np.int64))
        return screening.Screen(wide, limits, *self._written(queries, some))

    @property
    def _can_screen(self) -> bool:
        """Whether a chunk's gradients at all checkpoints fit into memory."""
        n_written = len(self.states) * min(self.chunk, self.n) * self.strategy.width
        return not self.half and n_written <= _SCREENED

    def multiplied(self, queries: QueryGradients, first: int) -> Scores:
        """Scores of one chunk of examples for some queries."""
        numbers = self.numbers(first)
        room = self._room(len(numbers), 1)
        total: Tensor | None = None
        for place, (state, rate) in enumerate(zip(self.states, self._rates)):
            batch = self.batch_of(state, numbers)
            factors = self.strategy.factors(state, batch, None if room is None else room[:, 0])
            block = factors.inner(queries.factors[place], half=self.half)
            self._scale_rows(factors, block)
            if self.cosine:
                block *= torch.from_numpy(queries.scales[place]).to(block.dtype)
            block *= rate
            total = block if total is None else total.add_(block)
        assert total is not None
        return Scores.of(total)

    def screened(
        self, queries: QueryGradients, screen: screening.Screen, first: int
    ) -> Scores | Near:
        """Scores of those pairs of one chunk that can be among the strongest."""
        numbers = self.numbers(first)
        examples, kept = self._written(queries, numbers)
        if screen.is_early(first):
            return Scores.of(kept.addmm_(examples, screen.queries.T))
        room: Tensor | None = getattr(self._memory, "copy", None)
        if room is None or len(room) < len(numbers) or self._memory.screen is not screen:
            room = self._memory.copy = screen.new_room(len(numbers))
            self._memory.screen = screen
        return screen.near(examples, kept, room[: len(numbers)])

    def _written(self, queries: QueryGradients, numbers: IntArray) -> tuple[Tensor, Tensor]:
        """What is written out of some examples [m, K], and the rest of their scores [m, Q]."""
        room = self._room(len(numbers), len(self.states))
        assert room is not None
        total: Tensor | None = None
        for place, (state, rate) in enumerate(zip(self.states, self._rates)):
            batch = self.batch_of(state, numbers)
            factors = self.strategy.factors(state, batch, room[:, place])
            kept = factors.inner_kept(queries.factors[place])
            self._scale_rows(factors, kept, factors.wide)
            kept *= torch.from_numpy(rate * queries.scales[place]).to(kept.dtype)
            total = kept if total is None else total.add_(kept)
        assert total is not None
        return room.flatten(1), total

    def _scale_rows(self, factors: Factors, *blocks: Tensor) -> None:
        """Divide what belongs to each example by the norm of its gradient, if that is wanted."""
        if not self.cosine:
            return
        scale = torch.from_numpy(_inverse_norms(factors))
        for block in blocks:
            block *= scale.to(block.dtype).unsqueeze(1)

    def _room(self, n: int, n_states: int) -> Tensor | None:
        """Memory of this thread for gradients; to get it from the system each time is slow."""
        kept: Tensor | None = getattr(self._memory, "room", None)
        if kept is None or len(kept) < n or kept.shape[1] < n_states:
            kept = self._memory.room = self.strategy.room(n, n_states)
        return None if kept is None else kept[:n]

    def batch_of(self, state: State, numbers: IntArray) -> Batch:
        """Tensors of some training examples, with the negatives of the checkpoint's epoch."""
        return typed(self.examples.batch(numbers, state.epoch), self.strategy.dtype)

    def query_batch(self, numbers: IntArray) -> Batch:
        """Tensors of some queries."""
        return typed(self.queries.batch(numbers), self.strategy.dtype)

    def ask(self, numbers: IntArray) -> QueryGradients:
        """Gradients of some queries at each checkpoint."""
        step, out = self.chunk, []
        wide = self.strategy.room(len(numbers), len(self.states))
        for place, state in enumerate(self.states):
            room = None if wide is None else wide[:, place]
            parts = [
                self.strategy.factors(
                    state,
                    self.query_batch(numbers[first : first + step]),
                    None if room is None else room[first : first + step],
                )
                for first in range(0, len(numbers), step)
            ]
            out.append(joined_factors(parts, room))
        scales = [_inverse_norms(f) if self.cosine else np.ones(f.n) for f in out]
        return QueryGradients(out, scales, wide)

    def query_blocks(self) -> list[IntArray]:
        """Numbers of the queries whose gradients are in memory together."""
        few = np.arange(min(8, self.n_queries))
        each = sum(factors.n_bytes for factors in self.ask(few).factors) / max(len(few), 1)
        size = max(1, int(_QUERY_BYTES // max(each, 1.0)))
        return [
            np.arange(first, min(first + size, self.n_queries))
            for first in range(0, self.n_queries, size)
        ]

    def _direction(self, state: State, queries: IntArray) -> Any:
        """Sum of queries' gradients, weighted where products are divided by norms."""

        def batches() -> Iterator[tuple[Batch, Tensor]]:
            for first in range(0, len(queries), self.chunk):
                numbers = queries[first : first + self.chunk]
                batch = self.query_batch(numbers)
                weights = np.ones(len(numbers))
                if self.cosine:
                    weights = _inverse_norms(self.strategy.factors(state, batch))
                yield batch, torch.from_numpy(weights)

        return self.strategy.total(state, batches())


def typed(batch: Batch, dtype: torch.dtype) -> Batch:
    """A batch with its floating-point numbers in one type."""
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}


def _inverse_norms(factors: Factors) -> FloatArray:
    """1 / norm of each gradient, float64 [n]; 0 for one that is zero."""
    norms = np.sqrt(np.maximum(factors.norms(), 0.0))
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
