"""TRAK: projected gradients, decorrelated, and averaged over several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from whence import engines
from whence.engines import Checkpoints, Run, settled
from whence.errors import DataError, ParameterError
from whence.influence.base import InfluenceMethod, Problem
from whence.influence.checkpoints import State
from whence.influence.comparison import Comparison
from whence.influence.passes import Pass
from whence.influence.result import Influence
from whence.influence.strategies import BySketch, Strategy
from whence.models.training.loop import torch_threads
from whence.parameters import NonNegative, PositiveInt, Seed

FloatArray = npt.NDArray[np.float64]
_LEAST_DOUBT = 1e-4


class TRAK(InfluenceMethod, name="trak", title="TRAK influence"):
    """Influence by a linearised model in randomly projected gradients, over several models.

    With Φ the projected gradients of the models' outputs at the training examples, a query's
    scores are ``Φ (ΦᵀΦ)⁻¹ φ(z')`` times the models' doubt about each example, both averaged over
    the models. The output is the log odds of the loss taken for a negative log-likelihood,
    -log(eˡ - 1), for the losses of ratings the negative loss itself. Models that differ in their
    seeds make it better; checkpoints of one run are the cheap way. A doubt below 1e-4 is taken for
    1e-4.

    Parameters
    ----------
    dimension : int, default 256
        Numbers per parameter that gradients are projected to. More predict retraining better, and
        take more memory.
    seed : int, default 42
        Of the projections.
    regularisation : float, default 1e-3
        Added to the diagonal of ΦᵀΦ, as a share of its mean.
    checkpoints : optional
        As in `TracIn`; "final", the default: each model as it is.
    until, layers, by, batch_size, precision, threads
        As in `TracIn`.

    References
    ----------
    -  Park, Georgiev, Ilyas, Leclerc and Madry. TRAK: Attributing model behavior at scale.
       ICML 2023.
    """

    dimension: PositiveInt = 256
    seed: Seed = 42
    regularisation: NonNegative = 1e-3
    checkpoints: Any = "final"

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Influence:
        """Value the training data by what it did for all queries together.

        Parameters
        ----------
        model : fitted model, or a list of models fitted on the same data
        data : Interactions, data frame, Queries or QueryExamples
        run : Run, optional
            How the work is done.

        Raises
        ------
        DataError
            If the models were fitted on different data.
        """
        run = settled(run, self)
        problems = [self._resolve(one, data, run, learning_rate=1.0) for one in _listed(model)]
        _check_same_data(problems)
        parts = [
            _Linearised(problem.comparison, state, self.regularisation, _is_rating(problem.model))
            for problem in problems
            for state in problem.comparison.states
        ]
        with self._working("attribute", *problems) as kept:
            for number, part in enumerate(parts):
                part.fit(run, kept, f"features-{number}")
        doubt = np.mean([part.doubt for part in parts], axis=0)

        def scores_of(numbers: npt.NDArray[np.int64]) -> FloatArray:
            with torch_threads(1):
                scores: FloatArray = np.mean([part.scores(numbers) for part in parts], axis=0)
                doubtful: FloatArray = doubt * scores
                return doubtful

        everybody = np.arange(problems[0].comparison.n_queries)
        return self._answer(
            problems[0],
            scores_of(everybody),
            scores_of=lambda query: scores_of(np.array([query])),
            n_models=len(parts),
        )

    def _strategy(self, names: list[str], dtype: torch.dtype, seed: int) -> Strategy:
        return BySketch(names, dtype, self.dimension, seed)


Features = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class _FeaturesOfExamples(Pass[Features, Features]):
    """Projected gradients of the outputs [n, K], and the doubt 1 - p of each example [n]."""

    state: State
    rating: bool

    def run(self, shard: int) -> tuple[int, Features]:
        numbers = self.comparison.numbers(shard)
        return shard, self.of(self.comparison.batch_of(self.state, numbers))

    def of(self, batch: Any) -> Features:
        """Features of a batch, of examples or queries."""
        factors = self.comparison.strategy.factors(self.state, batch)
        sketches = factors.wide.double().numpy()
        if self.rating:
            return -sketches, np.ones(len(sketches))
        with torch.inference_mode():
            losses = self.state.model.example_loss(batch).double().numpy()
        doubt = np.maximum(-np.expm1(-losses), _LEAST_DOUBT)
        return -sketches / doubt[:, None], doubt

    def start(self) -> Features:
        n = self.comparison.n
        return np.zeros((n, self.comparison.strategy.width)), np.zeros(n)

    def add(self, total: Features, part: tuple[int, Features]) -> Features:
        first, found = part
        for whole, some in zip(total, found):
            whole[first : first + len(some)] = some
        return total


class _Linearised:
    """One model at one checkpoint: features of the training examples, decorrelated."""

    def __init__(
        self, comparison: Comparison, state: State, regularisation: float, rating: bool
    ) -> None:
        self.comparison = comparison
        self.regularisation = regularisation
        self.job = _FeaturesOfExamples(comparison, state, rating)
        self.doubt: FloatArray
        self._features: FloatArray

    def fit(self, run: Run, kept: Checkpoints, stage: str) -> None:
        """Project all training examples, and divide by their second moments."""
        features, self.doubt = engines.run(
            self.job,
            self.comparison.starts(),
            run,
            message="training examples",
            kept=kept,
            stage=stage,
        )
        moments = features.T @ features
        diagonal = np.einsum("ii->i", moments)
        diagonal += self.regularisation * diagonal.mean() + np.finfo(float).tiny
        self._features = np.linalg.solve(moments, features.T).T.astype(np.float64, copy=False)

    def scores(self, numbers: npt.NDArray[np.int64]) -> FloatArray:
        """Scores of all training examples, summed over some queries, without their doubt."""
        total: FloatArray = np.zeros(self._features.shape[1])
        step = self.comparison.chunk
        for first in range(0, len(numbers), step):
            batch = self.comparison.query_batch(numbers[first : first + step])
            total += self.job.of(batch)[0].sum(0)
        products: FloatArray = self._features @ total
        return products


def _is_rating(model: Any) -> bool:
    return "rating" in getattr(model, "levels", ())


def _listed(models: Any) -> list[Any]:
    listed = list(models) if isinstance(models, Sequence) else [models]
    if not listed:
        raise ParameterError("TRAK needs one model at least; give a fitted model or a list.")
    return listed


def _check_same_data(problems: list[Problem]) -> None:
    prints = {getattr(one.train, "fingerprint", None) for one in problems}
    if len(prints) > 1 or len({one.comparison.n for one in problems}) > 1:
        raise DataError(
            "The models were fitted on different data, so that their examples cannot be averaged; "
            "fit them on the same data with different seeds."
        )
