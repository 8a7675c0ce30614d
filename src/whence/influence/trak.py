"""TRAK: projected gradients, decorrelated, and averaged over several models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from whence.errors import DataError, ParameterError, check_float, check_int
from whence.influence.base import InfluenceMethod, Work
from whence.influence.checkpoints import State
from whence.influence.engine import Engine
from whence.influence.result import Influence
from whence.influence.strategies import BySketch, Strategy
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]
_LEAST_DOUBT = 1e-4


class TRAK(InfluenceMethod):
    """Influence by a linearised model in randomly projected gradients, over several models.

    With Φ the projected gradients of the models' outputs at the training examples, a query's
    scores are ``Φ (ΦᵀΦ)⁻¹ φ(z')`` times the models' doubt about each example, both averaged over
    the models. The output is the log odds of the loss taken for a negative log-likelihood,
    -log(eˡ - 1), for the losses of ratings the negative loss itself. Models that differ in their
    seeds make it better; checkpoints of one run are the cheap way.

    Parameters
    ----------
    dimension : int, default 256
        Numbers per parameter that gradients are projected to.
    seed : int, default 0
        Of the projections.
    regularisation : float, default 1e-3
        Added to the diagonal of ΦᵀΦ, as a share of its mean.
    checkpoints : optional
        As in `TracIn`; "final", the default: each model as it is.
    layers, by, batch_size, precision, threads, progress
        As in `TracIn`.

    References
    ----------
    -  Park, Georgiev, Ilyas, Leclerc and Madry. TRAK: Attributing model behavior at scale.
       ICML 2023.
    """

    name: ClassVar[str] = "trak"

    def __init__(
        self,
        dimension: int = 256,
        seed: int = 0,
        regularisation: float = 1e-3,
        checkpoints: Any = "final",
        layers: str | Iterable[str] = "all",
        by: str = "example",
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int = 1,
        progress: bool | Callable[[float, float, str], None] = False,
    ) -> None:
        self.dimension = dimension
        self.seed = seed
        self.regularisation = regularisation
        self.checkpoints = checkpoints
        self.layers = layers
        self.by = by
        self.batch_size = batch_size
        self.precision = precision
        self.threads = threads
        self.progress = progress
        self.normalise: str | None = None
        self.weighting = "sgd"
        self.learning_rate: Any = 1.0
        self.folder: str | Path | None = None

    def attribute(self, models: Any, queries: Any) -> Influence:
        """Value the training data by what it did for all queries together.

        Parameters
        ----------
        models : fitted model, or a list of models fitted on the same data
        queries : Interactions, data frame, Queries or QueryExamples

        Raises
        ------
        DataError
            If the models were fitted on different data.
        """
        works = [self._resolve(model, queries) for model in _listed(models)]
        _check_same_data(works)
        parts = [
            _Linearised(work.engine, state, self.regularisation, _is_rating(work.model))
            for work in works
            for state in work.engine.states
        ]
        with torch_threads(1):
            for part in parts:
                part.fit()
        doubt = np.mean([part.doubt for part in parts], axis=0)

        def scores_of(numbers: npt.NDArray[np.int64]) -> FloatArray:
            with torch_threads(1):
                scores: FloatArray = np.mean([part.scores(numbers) for part in parts], axis=0)
                doubtful: FloatArray = doubt * scores
                return doubtful

        work = works[0]
        everybody = np.arange(work.engine.n_queries)
        return self._answer(
            work,
            scores_of(everybody),
            scores_of=lambda query: scores_of(np.array([query])),
            n_models=len(parts),
        )

    def _check_params(self) -> None:
        super()._check_params()
        check_int("dimension", self.dimension, minimum=1)
        check_int("seed", self.seed, minimum=0)
        check_float("regularisation", self.regularisation, minimum=0.0)

    def _strategy(self, names: list[str], dtype: torch.dtype) -> Strategy:
        return BySketch(names, dtype, self.dimension, self.seed)


class _Linearised:
    """One model at one checkpoint: features of the training examples, decorrelated."""

    def __init__(self, engine: Engine, state: State, regularisation: float, rating: bool) -> None:
        self.engine = engine
        self.state = state
        self.regularisation = regularisation
        self.rating = rating
        self.doubt: FloatArray
        self._features: FloatArray

    def fit(self) -> None:
        """Project all training examples, and divide by their second moments."""
        engine = self.engine
        rows, doubts = [], []
        for first in engine.starts():
            numbers = np.arange(first, min(first + engine.chunk, engine.n))
            features, doubt = self._of(engine.batch_of(self.state, numbers))
            rows.append(features)
            doubts.append(doubt)
        features, self.doubt = np.concatenate(rows), np.concatenate(doubts)
        moments = features.T @ features
        diagonal = np.einsum("ii->i", moments)
        diagonal += self.regularisation * diagonal.mean() + np.finfo(float).tiny
        self._features = np.linalg.solve(moments, features.T).T.astype(np.float64, copy=False)

    def scores(self, numbers: npt.NDArray[np.int64]) -> FloatArray:
        """Scores of all training examples, summed over some queries, without their doubt."""
        total: FloatArray = np.zeros(self._features.shape[1])
        step = self.engine.chunk
        for first in range(0, len(numbers), step):
            batch = self.engine.query_batch(numbers[first : first + step])
            total += self._of(batch)[0].sum(0)
        products: FloatArray = self._features @ total
        return products

    def _of(self, batch: Any) -> tuple[FloatArray, FloatArray]:
        """Projected gradients of the outputs [n, K], and the doubt 1 - p of each [n]."""
        factors = self.engine.strategy.factors(self.state, batch)
        sketches = factors.wide.double().numpy()
        if self.rating:
            return -sketches, np.ones(len(sketches))
        with torch.inference_mode():
            losses = self.state.model.example_loss(batch).double().numpy()
        doubt = np.maximum(-np.expm1(-losses), _LEAST_DOUBT)
        return -sketches / doubt[:, None], doubt


def _is_rating(model: Any) -> bool:
    return "rating" in getattr(model, "levels", ())


def _listed(models: Any) -> list[Any]:
    listed = list(models) if isinstance(models, Sequence) else [models]
    if not listed:
        raise ParameterError("TRAK needs one model at least; give a fitted model or a list.")
    return listed


def _check_same_data(works: list[Work]) -> None:
    prints = {getattr(work.train, "fingerprint", None) for work in works}
    if len(prints) > 1 or len({work.engine.n for work in works}) > 1:
        raise DataError(
            "The models were fitted on different data, so that their examples cannot be averaged; "
            "fit them on the same data with different seeds."
        )
