"""The passes over the training examples, whatever the gradients are made of.

All passes go chunk by chunk through the training examples, with all checkpoints for each chunk,
so that what has been done is final: a pass that was broken off goes on with the next chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.influence.capture import Batch
from whence.influence.checkpoints import State
from whence.influence.factors import Factors, joined_factors
from whence.influence.strategies import Strategy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
T = TypeVar("T")

# Numbers in memory for a chunk of examples: gradients written out, and factors, for which the
# processor's caches are fastest.
_WRITTEN, _HELD = 1 << 24, 1 << 23
_LARGEST_CHUNK, _SMALLEST_CHUNK = 2048, 16
_QUERY_BYTES = 1 << 30


@dataclass
class Engine:
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
    threads : int
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
    threads: int = 1
    _rates: list[float] = field(default_factory=list)

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

    def starts(self, after: int = 0) -> range:
        """First numbers of the chunks from a number on."""
        return range(after, self.n, self.chunk)

    def sums(self, after: int = 0) -> Iterator[tuple[int, FloatArray]]:
        """Scores of chunks of examples, summed over all queries: first number, float64 [m]."""
        directions = [self._direction(state) for state in self.states]

        def work(first: int) -> FloatArray:
            total = np.zeros(len(self._numbers(first)))
            for state, rate, direction in zip(self.states, self._rates, directions):
                batch = self.batch_of(state, self._numbers(first))
                values = self.strategy.along(state, batch, direction)
                if self.cosine:
                    factors = self.strategy.factors(state, batch, passing=True)
                    values = values * _inverse_norms(factors)
                total += rate * values
            return total

        yield from self._in_order(work, self.starts(after))

    def blocks(
        self, queries: Sequence[Factors], after: int = 0
    ) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Scores of chunks of examples for some queries: first number, float [m, Q]."""
        inverse = [_inverse_norms(factors) for factors in queries] if self.cosine else []

        def work(first: int) -> npt.NDArray[Any]:
            total: Tensor | None = None
            for place, (state, rate) in enumerate(zip(self.states, self._rates)):
                batch = self.batch_of(state, self._numbers(first))
                factors = self.strategy.factors(state, batch, passing=True)
                block = factors.inner(queries[place], half=self.half)
                if self.cosine:
                    block *= torch.from_numpy(_inverse_norms(factors)).to(block.dtype).unsqueeze(1)
                    block *= torch.from_numpy(inverse[place]).to(block.dtype)
                block *= rate
                total = block if total is None else total.add_(block)
            assert total is not None
            return total.numpy()

        yield from self._in_order(work, self.starts(after))

    def own(self, after: int = 0) -> Iterator[tuple[int, FloatArray]]:
        """Scores of chunks of examples for themselves: first number, float64 [m]."""

        def work(first: int) -> FloatArray:
            total = np.zeros(len(self._numbers(first)))
            for state, rate in zip(self.states, self._rates):
                total += (
                    rate
                    * self.strategy.factors(
                        state, self.batch_of(state, self._numbers(first))
                    ).norms()
                )
            return total

        yield from self._in_order(work, self.starts(after))

    def batch_of(self, state: State, numbers: IntArray) -> Batch:
        """Tensors of some training examples, with the negatives of the checkpoint's epoch."""
        return typed(self.examples.batch(numbers, state.epoch), self.strategy.dtype)

    def query_batch(self, numbers: IntArray) -> Batch:
        """Tensors of some queries."""
        return typed(self.queries.batch(numbers), self.strategy.dtype)

    def query_factors(self, numbers: IntArray) -> list[Factors]:
        """Gradients of some queries at each checkpoint."""
        step = self.chunk
        out = []
        for state in self.states:
            parts = [
                self.strategy.factors(state, self.query_batch(numbers[first : first + step]))
                for first in range(0, len(numbers), step)
            ]
            out.append(joined_factors(parts))
        return out

    def query_blocks(self) -> list[IntArray]:
        """Numbers of the queries whose gradients are in memory together."""
        few = np.arange(min(8, self.n_queries))
        each = sum(factors.n_bytes for factors in self.query_factors(few)) / max(len(few), 1)
        size = max(1, int(_QUERY_BYTES // max(each, 1.0)))
        return [
            np.arange(first, min(first + size, self.n_queries))
            for first in range(0, self.n_queries, size)
        ]

    def _direction(self, state: State) -> Any:
        """Sum of the queries' gradients, weighted where products are divided by norms."""

        def batches() -> Iterator[tuple[Batch, Tensor]]:
            for first in range(0, self.n_queries, self.chunk):
                numbers = np.arange(first, min(first + self.chunk, self.n_queries))
                batch = self.query_batch(numbers)
                weights = np.ones(len(numbers))
                if self.cosine:
                    weights = _inverse_norms(self.strategy.factors(state, batch))
                yield batch, torch.from_numpy(weights)

        return self.strategy.total(state, batches())

    def _numbers(self, first: int) -> IntArray:
        return np.arange(first, min(first + self.chunk, self.n))

    def _in_order(self, work: Callable[[int], T], starts: Sequence[int]) -> Iterator[tuple[int, T]]:
        """Results of the chunks in their order, a few being worked on ahead."""
        if self.threads == 1:
            for first in starts:
                yield first, work(first)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[tuple[int, Any]] = deque()
            try:
                for first in starts:
                    waiting.append((first, pool.submit(work, first)))
                    if len(waiting) > self.threads:
                        number, future = waiting.popleft()
                        yield number, future.result()
                while waiting:
                    number, future = waiting.popleft()
                    yield number, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()


def typed(batch: Batch, dtype: torch.dtype) -> Batch:
    """A batch with its floating-point numbers in one type."""
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}


def _inverse_norms(factors: Factors) -> FloatArray:
    """1 / norm of each gradient, float64 [n]; 0 for one that is zero."""
    norms = np.sqrt(np.maximum(factors.norms(), 0.0))
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
