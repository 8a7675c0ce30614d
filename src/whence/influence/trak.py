"""TRAK: projected gradients, decorrelated, and averaged over several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

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
from whence.influence.pieces import Rows, as_matrix
from whence.influence.result import Influence
from whence.influence.strategies import BySketch, KeepingTables, Strategy
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

    Embeddings of which an example touches a few rows are not projected, as little of a row would be
    left: of each row the gradients stay as they are, and ΦᵀΦ has a block of its own for it.

    Parameters
    ----------
    dimension : int, default 256
        Numbers per parameter that gradients are projected to. More predict retraining better, and
        take more memory.
    seed : int, default 42
        Of the projections.
    regularisation : float, default 1e-3
        Added to the diagonal of ΦᵀΦ, as a share of its mean.
    embeddings : {"kept", "projected"}
        "projected": as all other parameters.
    embedding_regularisation : float, default 1
        Added to the diagonals of the blocks of embeddings, as a share of the mean of a table's: a
        row has few examples to be known by.
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
    embeddings: Literal["kept", "projected"] = "kept"
    embedding_regularisation: NonNegative = 1.0
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
            _Linearised(self, problem.comparison, state, _is_rating(problem.model))
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
            kept=_kept(problems[0].comparison.strategy),
        )

    def _strategy(self, names: list[str], dtype: torch.dtype, seed: int) -> Strategy:
        kind = KeepingTables if self.embeddings == "kept" else BySketch
        return kind(names, dtype, self.dimension, seed)


def _kept(strategy: Strategy) -> list[str]:
    """Parameters that are not projected."""
    return strategy.tables if isinstance(strategy, KeepingTables) else []


Features = dict[str, Any]
"""Of examples: "sketches" [n, K], "doubt" [n], and of each table by name a list of `Entries`."""
Entries = list[Any]
"""Numbers of examples [N], rows of the table [N], and gradients [N, C], each pair once."""


@dataclass(frozen=True)
class _FeaturesOfExamples(Pass[Features, Features]):
    """Gradients of the outputs, projected or kept, and the doubt 1 - p of each example."""

    state: State
    rating: bool

    def run(self, shard: int) -> tuple[int, Features]:
        numbers = self.comparison.numbers(shard)
        return shard, self.of(self.comparison.batch_of(self.state, numbers))

    def of(self, batch: Any) -> Features:
        """Features of a batch, of examples or queries."""
        strategy = self.comparison.strategy
        assert isinstance(strategy, BySketch)
        blocks, losses = strategy.gradients.of(self.state, batch, fuse=False)
        doubt = np.ones(len(losses))
        if not self.rating:
            doubt = np.maximum(-np.expm1(-losses.double().numpy()), _LEAST_DOUBT)
        sketches = strategy.sketched(blocks, len(losses)).double().numpy()
        tables = {
            name: [_entries(piece, -1.0 / doubt)]
            for name in _kept(strategy)
            for piece in blocks[(name,)]
            if isinstance(piece, Rows)
        }
        return {"sketches": -sketches / doubt[:, None], "doubt": doubt, "tables": tables}

    def start(self) -> Features:
        n, strategy = self.comparison.n, self.comparison.strategy
        tables: dict[str, list[Entries]] = {name: [] for name in _kept(strategy)}
        return {"sketches": np.zeros((n, strategy.width)), "doubt": np.zeros(n), "tables": tables}

    def add(self, total: Features, part: tuple[int, Features]) -> Features:
        first, found = part
        for name in ("sketches", "doubt"):
            total[name][first : first + len(found[name])] = found[name]
        for name, parts in found["tables"].items():
            for owner, index, values in parts:
                total["tables"][name].append([owner + first, index, values])
        return total


def _entries(piece: Rows, factors: FloatArray) -> Entries:
    """What a table's gradients are made of, multiplied by a factor for each example."""
    place = piece.owner.numpy() * piece.n_rows + piece.index.numpy()
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    values = np.add.reduceat(piece.values.double().numpy()[order], starts, axis=0)
    owner, index = np.divmod(place[order][starts], piece.n_rows)
    return [owner, index, values * factors[owner][:, None]]


class _Linearised:
    """One model at one checkpoint: features of the training examples, decorrelated."""

    def __init__(self, method: TRAK, comparison: Comparison, state: State, rating: bool) -> None:
        self.method, self.comparison = method, comparison
        self.job = _FeaturesOfExamples(comparison, state, rating)
        self.doubt: FloatArray
        self._features: FloatArray
        self._tables: dict[str, _Table]

    def fit(self, run: Run, kept: Checkpoints, stage: str) -> None:
        """Look at all training examples, and divide by the second moments of their features."""
        found = engines.run(
            self.job,
            self.comparison.starts(),
            run,
            message="training examples",
            kept=kept,
            stage=stage,
        )
        features, self.doubt = found["sketches"], found["doubt"]
        moments = features.T @ features
        diagonal = np.einsum("ii->i", moments)
        diagonal += self.method.regularisation * diagonal.mean() + np.finfo(float).tiny
        self._features = np.linalg.solve(moments, features.T).T.astype(np.float64, copy=False)
        self._tables = {
            name: _Table.of(parts, self.method.embedding_regularisation)
            for name, parts in found["tables"].items()
        }

    def scores(self, numbers: npt.NDArray[np.int64]) -> FloatArray:
        """Scores of all training examples, summed over some queries, without their doubt."""
        total: FloatArray = np.zeros(self._features.shape[1])
        module = self.job.state.module
        tables = {
            name: np.zeros(as_matrix(module.get_parameter(name)).shape) for name in self._tables
        }
        step = self.comparison.chunk
        for first in range(0, len(numbers), step):
            batch = self.comparison.query_batch(numbers[first : first + step])
            found = self.job.of(batch)
            total += found["sketches"].sum(0)
            for name, parts in found["tables"].items():
                for _, index, values in parts:
                    np.add.at(tables[name], index, values)
        products: FloatArray = self._features @ total
        for name, table in self._tables.items():
            products += table.products(tables[name], self.comparison.n)
        return products


@dataclass(frozen=True)
class _Table:
    """Gradients of a table [N, C] of training examples, divided by the second moments of a row."""

    owner: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    solved: FloatArray

    @classmethod
    def of(cls, parts: Sequence[Entries], regularisation: float) -> _Table:
        owner, index, values = (np.concatenate(arrays) for arrays in zip(*parts))
        order = np.argsort(index, kind="stable")
        owner, index, values = owner[order], index[order], values[order]
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        width = values.shape[1]
        mean = np.einsum("nc,nc->", values, values) / max(1, len(starts) * width)
        ridge = (regularisation * mean + np.finfo(float).tiny) * np.eye(width)
        solved = np.empty_like(values)
        for start, stop in pairwise([*starts, len(index)]):
            of_row = values[start:stop]
            solved[start:stop] = np.linalg.solve(of_row.T @ of_row + ridge, of_row.T).T
        return cls(owner, index, solved)

    def products(self, table: FloatArray, n: int) -> FloatArray:
        """With gradients of queries, float64 [n]."""
        products = np.einsum("nc,nc->n", self.solved, table[self.index])
        return np.bincount(self.owner, products, minlength=n).astype(np.float64)


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
