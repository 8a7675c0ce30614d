"""TracIn by random projection: small sketches of the gradients, which can be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from whence.engines import Run
from whence.influence.base import Problem
from whence.influence.checkpoints import State
from whence.influence.strategies import ByFactors, BySketch, Strategy
from whence.influence.tracin import Tracing
from whence.parameters import PositiveInt, Seed

_EXAMPLES, _QUERIES = 64, 16


class TracInRandomProjection(
    Tracing, name="tracin-projection", title="TracIn influence by random projection"
):
    """TracIn with gradients projected at random, layer by layer: an approximation.

    Each parameter's gradient becomes `dimension` numbers (fewer where it has fewer) whose inner
    products are right on average. It pays where sketches are kept and asked again and again;
    for one pass the exact `TracIn` is as fast. Every result says how far its scores are from the
    exact ones on a sample (``metadata["sketch_error"]``).

    Parameters
    ----------
    dimension : int, default 512
        Numbers per parameter.
    seed : int, default 42
        Of the projections.
    checkpoints, until, layers, by, normalise, top, learning_rate, batch_size, precision, threads
        As in `TracIn`.

    References
    ----------
    -  Johnson and Lindenstrauss. Extensions of Lipschitz mappings into a Hilbert space.
       Contemporary Mathematics 26, 1984.
    """

    dimension: PositiveInt = 512
    seed: Seed = 42

    def sketches(self, model: Any, *, run: Run | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        """Sketches of all training examples, to be kept: float [n, numbers x checkpoints].

        Those of a checkpoint are multiplied by the root of its learning rate, so that the scores
        are plain inner products with `query_sketches`.
        """
        problem = self._problem(model, None, run)
        return _stacked(problem, problem.comparison.n, of_train=True)

    def query_sketches(
        self, model: Any, data: Any, *, run: Run | None = None
    ) -> np.ndarray[Any, np.dtype[Any]]:
        """Sketches of queries; see `sketches`."""
        problem = self._problem(model, data, run)
        return _stacked(problem, problem.comparison.n_queries, of_train=False)

    def _strategy(self, names: list[str], dtype: torch.dtype, seed: int) -> Strategy:
        return BySketch(names, dtype, self.dimension, seed)

    def _facts(self, problem: Problem) -> dict[str, Any]:
        """How far sketched scores are from the exact ones, on a sample."""
        return {"sketch_error": sketch_error(problem, problem.comparison.states[-1])}


def sketch_error(problem: Problem, state: State) -> dict[str, float]:
    """Compare sketched with exact inner products, at one checkpoint.

    Returns
    -------
    dict
        ``relative_error`` (root mean square over that of the exact ones), ``spearman`` (mean over
        the queries), ``n_examples`` and ``n_queries`` of the sample.
    """
    from scipy.stats import spearmanr

    comparison = problem.comparison
    if comparison.queries is None or comparison.n < 2:
        return {}
    stream = np.random.Generator(np.random.PCG64(0))
    numbers = np.sort(stream.permutation(comparison.n)[:_EXAMPLES])
    asked = np.sort(stream.permutation(comparison.n_queries)[:_QUERIES])
    batch = comparison.batch_of(state, numbers)
    queries = comparison.query_batch(asked)
    exact = ByFactors(comparison.strategy.names, comparison.strategy.dtype)
    exact.prepare(state, batch, queries)
    blocks = [
        strategy.factors(state, batch).inner(strategy.factors(state, queries)).double().numpy()
        for strategy in (exact, comparison.strategy)
    ]
    error = np.sqrt(np.mean((blocks[1] - blocks[0]) ** 2) / max(np.mean(blocks[0] ** 2), 1e-300))
    ranks = [spearmanr(a, b).statistic for a, b in zip(blocks[0].T, blocks[1].T)]
    return {
        "relative_error": float(error),
        "spearman": float(np.nanmean(ranks)),
        "n_examples": len(numbers),
        "n_queries": len(asked),
    }


def _stacked(problem: Problem, n: int, *, of_train: bool) -> np.ndarray[Any, np.dtype[Any]]:
    """Sketches at all checkpoints side by side."""
    comparison, parts = problem.comparison, []
    for state in comparison.states:
        rows = []
        for first in range(0, n, comparison.chunk):
            numbers = np.arange(first, min(first + comparison.chunk, n))
            batch = (
                comparison.batch_of(state, numbers) if of_train else comparison.query_batch(numbers)
            )
            rows.append(comparison.strategy.factors(state, batch).wide.numpy())
        parts.append(np.concatenate(rows) * state.rate**0.5)
    return np.concatenate(parts, 1)
