"""TracIn by random projection: small sketches of the gradients, which can be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from whence.errors import check_int
from whence.influence.base import Work
from whence.influence.checkpoints import State
from whence.influence.result import Influence
from whence.influence.strategies import ByFactors, BySketch, Strategy
from whence.influence.tracin import TracIn

_EXAMPLES, _QUERIES = 64, 16


class TracInRandomProjection(TracIn):
    """TracIn with gradients projected at random, layer by layer: an approximation.

    Each parameter's gradient becomes `dimension` numbers (fewer where it has fewer) whose inner
    products are right on average. It pays where sketches are kept and asked again and again;
    for one pass the exact `TracIn` is as fast. Every result says how far its scores are from the
    exact ones on a sample (``metadata["sketch_error"]``).

    Parameters
    ----------
    dimension : int, default 512
        Numbers per parameter.
    seed : int, default 0
        Of the projections.
    checkpoints, layers, by, normalise, top, learning_rate, batch_size, precision, threads
        As in `TracIn`.
    folder, progress
        As in `TracIn`.

    References
    ----------
    -  Johnson and Lindenstrauss. Extensions of Lipschitz mappings into a Hilbert space.
       Contemporary Mathematics 26, 1984.
    """

    name: ClassVar[str] = "tracin-projection"

    def __init__(
        self,
        dimension: int = 512,
        seed: int = 0,
        checkpoints: Any = None,
        layers: str | Iterable[str] = "all",
        by: str = "example",
        normalise: str | None = None,
        top: int = 10,
        learning_rate: float | Sequence[float] | None = None,
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int = 1,
        folder: str | Path | None = None,
        progress: bool | Callable[[float, float, str], None] = False,
    ) -> None:
        super().__init__(
            checkpoints=checkpoints,
            layers=layers,
            by=by,
            normalise=normalise,
            top=top,
            learning_rate=learning_rate,
            batch_size=batch_size,
            precision=precision,
            threads=threads,
            folder=folder,
            progress=progress,
        )
        self.dimension = dimension
        self.seed = seed

    def sketches(self, model: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """Sketches of all training examples, to be kept: float [n, numbers x checkpoints].

        Those of a checkpoint are multiplied by the root of its learning rate, so that the scores
        are plain inner products with `query_sketches`.
        """
        work = self._resolve(model, None)
        return _stacked(work, work.examples, work.engine.n, of_train=True)

    def query_sketches(self, model: Any, queries: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """Sketches of queries; see `sketches`."""
        work = self._resolve(model, queries)
        return _stacked(work, work.queries, work.engine.n_queries, of_train=False)

    def _check_params(self) -> None:
        super()._check_params()
        check_int("dimension", self.dimension, minimum=1)
        check_int("seed", self.seed, minimum=0)

    def _strategy(self, names: list[str], dtype: torch.dtype) -> Strategy:
        return BySketch(names, dtype, self.dimension, self.seed)

    def _facts(self, work: Work) -> dict[str, Any]:
        """How far sketched scores are from the exact ones, on a sample."""
        return {"sketch_error": sketch_error(work, work.engine.states[-1])}

    @property
    def _title(self) -> str:
        return self.name

    def self_influence(self, model: Any) -> Influence:
        """As of `TracIn`, by the norms of sketches."""
        return super().self_influence(model)


def sketch_error(work: Work, state: State) -> dict[str, float]:
    """Compare sketched with exact inner products, at one checkpoint.

    Returns
    -------
    dict
        ``relative_error`` (root mean square over that of the exact ones), ``spearman`` (mean over
        the queries), ``n_examples`` and ``n_queries`` of the sample.
    """
    from scipy.stats import spearmanr

    engine = work.engine
    if engine.queries is None or engine.n < 2:
        return {}
    stream = np.random.Generator(np.random.PCG64(0))
    numbers = np.sort(stream.permutation(engine.n)[:_EXAMPLES])
    asked = np.sort(stream.permutation(engine.n_queries)[:_QUERIES])
    batch = engine.batch_of(state, numbers)
    queries = engine.query_batch(asked)
    exact = ByFactors(engine.strategy.names, engine.strategy.dtype)
    exact.prepare(state, batch, queries)
    blocks = [
        strategy.factors(state, batch).inner(strategy.factors(state, queries)).double().numpy()
        for strategy in (exact, engine.strategy)
    ]
    error = np.sqrt(np.mean((blocks[1] - blocks[0]) ** 2) / max(np.mean(blocks[0] ** 2), 1e-300))
    ranks = [spearmanr(a, b).statistic for a, b in zip(blocks[0].T, blocks[1].T)]
    return {
        "relative_error": float(error),
        "spearman": float(np.nanmean(ranks)),
        "n_examples": len(numbers),
        "n_queries": len(asked),
    }


def _stacked(
    work: Work, examples: Any, n: int, *, of_train: bool
) -> np.ndarray[Any, np.dtype[Any]]:
    """Sketches at all checkpoints side by side."""
    engine, parts = work.engine, []
    for state in engine.states:
        rows = []
        for first in range(0, n, engine.chunk):
            numbers = np.arange(first, min(first + engine.chunk, n))
            batch = engine.batch_of(state, numbers) if of_train else engine.query_batch(numbers)
            rows.append(engine.strategy.factors(state, batch).wide.numpy())
        parts.append(np.concatenate(rows) * state.rate**0.5)
    return np.concatenate(parts, 1)
