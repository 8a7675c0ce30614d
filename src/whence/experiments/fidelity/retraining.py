"""Models, their data and their outcomes: trained on all, and on what removals leave."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data import Interactions
from whence.engines import Checkpoints, Job, Run
from whence.engines import run as run_job
from whence.errors import DataError
from whence.evaluation import make_queries
from whence.evaluation.evaluate import evaluate
from whence.experiments.fidelity.removals import Removal, key_of
from whence.influence import query_examples
from whence.influence.functions.optimum import descend, to_optimum
from whence.influence.functions.reading import objective_of
from whence.models.identity import model_identity

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_STREAM = 0xA5C
_ASKED = 4096


@dataclass(frozen=True)
class Subject(ABC):
    """A model that is not fitted, its data, and the outcomes that are looked at.

    Attributes
    ----------
    make : callable
        ``make(seed)`` gives the model, not yet fitted.
    train : Interactions
    validation : Interactions
    by : {"example", "source"}
        What is left out: training examples, or all that a session or user has.
    n_queries : int
        Validation queries looked at one by one, each of another session or user.
    seed : int
        Of the model, and of the choice of the queries.
    """

    make: Callable[[int], Any]
    train: Interactions
    validation: Interactions
    by: str
    n_queries: int
    seed: int

    @property
    def outcome(self) -> str:
        """What is measured: the model's loss, or a metric."""
        return "loss"

    @property
    @abstractmethod
    def asked(self) -> Any:
        """The validation data as what the model is asked."""

    @abstractmethod
    def fitted(self, seed: int) -> Any:
        """Return the model fitted on all data, with what methods need."""

    @abstractmethod
    def without(self, seed: int, units: IntArray) -> FloatArray:
        """Outcomes after training without some units, the larger the better, float64 [1 + K].

        The mean over all queries comes first, then the queries that are looked at.
        """

    @cached_property
    def chosen(self) -> IntArray:
        """Numbers of the queries that are looked at, int64 [K]."""
        return self._drawn(_codes(self.asked.ids.to_series(0)))

    @cached_property
    def owners(self) -> IntArray:
        """Number of the session or user of each of them in the training data, -1 for none."""
        return _owners(self.train, self.asked.ids.to_series(0)[self.chosen])

    def __getstate__(self) -> dict[str, Any]:
        """What decides everything else, which another process makes for itself."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__ if name[0] != "_"} | {
            name: {} for name in self.__dataclass_fields__ if name[0] == "_"
        }

    @cached_property
    def base(self) -> Any:
        """The model of the experiment's own seed, fitted on all data."""
        return self.fitted(self.seed)

    @cached_property
    def sources(self) -> IntArray:
        """Session or user of each example, int64 [n_examples]; of sources their own number."""
        if self.by == "source":
            return np.arange(self.train.n_sources)
        examples = self.base.examples_
        found: IntArray = examples.sources(np.arange(len(examples)))
        return found

    @property
    def n_units(self) -> int:
        """Number of what can be left out."""
        return len(self.sources)

    def owned(self) -> list[IntArray]:
        """Units of the user of each query that is looked at."""
        order = np.argsort(self.sources, kind="stable")
        ranks = self.sources[order]
        edges = [np.searchsorted(ranks, self.owners, side=side) for side in ("left", "right")]
        return [order[a:b] if who >= 0 else order[:0] for who, a, b in zip(self.owners, *edges)]

    def identity(self) -> dict[str, Any]:
        """What decides the outcomes of retraining."""
        return {
            "model": model_identity(self.make(self.seed)),
            "training data": self.train.fingerprint,
            "validation data": self.validation.fingerprint,
            "by": self.by,
            "queries": self.n_queries,
            "seed": self.seed,
            "retraining": type(self).__name__,
        }

    def _drawn(self, asker: npt.NDArray[Any]) -> IntArray:
        """Queries, each of another asker, drawn at random, int64 [K]."""
        rng = np.random.default_rng([self.seed, _STREAM])
        order = rng.permutation(len(asker))
        first = order[np.sort(np.unique(asker[order], return_index=True)[1])]
        return np.sort(first[: self.n_queries])


@dataclass(frozen=True)
class ByTraining(Subject):
    """A model that is trained by gradients, with common random numbers.

    Attributes
    ----------
    checkpoints : int
        Every how many epochs a checkpoint is kept, for the methods that go through them.
    """

    checkpoints: int = 1
    _models: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def fitted(self, seed: int) -> Any:
        """See `Subject.fitted`; one model is held besides that of the experiment's own seed."""
        if seed not in self._models:
            for held in [one for one in self._models if one != self.seed]:
                del self._models[held]
            model = self.make(seed)
            self._models[seed] = model.fit(self.train, checkpoints=self.checkpoints)
        return self._models[seed]

    @cached_property
    def asked(self) -> Any:
        """The validation data as examples, with the negatives of the experiment's own seed."""
        return query_examples(self.base, self.validation)

    def without(self, seed: int, units: IntArray) -> FloatArray:
        """See `Subject`."""
        if not len(units):
            return self.of(self.fitted(seed))
        return self.of(self.make(seed).fit(self.train, without=self._examples(units)))

    def of(self, model: Any) -> FloatArray:
        """Outcomes of a model, as `without` has them."""
        import torch

        n, parts = len(self.asked), []
        with torch.inference_mode():
            for start in range(0, n, _ASKED):
                batch = self.asked.batch(np.arange(start, min(n, start + _ASKED)))
                losses = model.example_loss(model._to_device(batch))
                parts.append(losses.cpu().double().numpy())
        return _outcomes(-np.concatenate(parts), self.chosen)

    def _examples(self, units: IntArray) -> IntArray:
        if self.by == "example":
            return units
        examples = self.base.examples_
        sources = examples.sources(np.arange(len(examples)))
        return np.flatnonzero(np.isin(sources, units))


@dataclass(frozen=True)
class AtOptimum(ByTraining):
    """A model at the optimum of its objective, and of the objective of what is left.

    Attributes
    ----------
    tolerance : float
        See `whence.to_optimum`.
    """

    tolerance: float = 1e-6

    def fitted(self, seed: int) -> Any:
        """See `Subject`."""
        if seed not in self._models:
            model = self.make(seed).fit(self.train)
            self._models[seed] = to_optimum(model, tolerance=self.tolerance)
        return self._models[seed]

    def without(self, seed: int, units: IntArray) -> FloatArray:
        """See `Subject`; from the model's parameters to the optimum without some examples."""
        objective = objective_of(self.fitted(seed))
        weights = objective.weights.copy()
        weights[self._examples(units)] = 0.0
        there, _ = descend(objective.weighted(weights), tolerance=self.tolerance, warm=True)
        return _outcomes(-there.example_losses(self.asked.arrays), self.chosen)


@dataclass(frozen=True)
class ByRefitting(Subject):
    """Any model, fitted again on the rows that are left; the outcome is a metric.

    Attributes
    ----------
    metric : str
    """

    metric: str = "mrr@20"

    @property
    def outcome(self) -> str:
        """See `Subject`."""
        return self.metric

    @cached_property
    def _fitted(self) -> Any:
        return self.make(self.seed).fit(self.train)

    def fitted(self, seed: int) -> Any:
        """See `Subject`."""
        return self._fitted if seed == self.seed else self.make(seed).fit(self.train)

    @cached_property
    def asked(self) -> Any:
        """The queries of the validation data."""
        return make_queries(self.base, self.validation)

    def without(self, seed: int, units: IntArray) -> FloatArray:
        """See `Subject`."""
        model = self.fitted(seed)
        if len(units):
            keep = np.ones(self.train.n_sources, dtype=np.bool_)
            keep[units] = False
            left = self.train.keep_sources(keep)
            if not left.n_rows:
                raise DataError("Nothing is left to fit on; keep a larger share.")
            model = self.make(seed).fit(left)
        return _outcomes(evaluate(model, self.asked, self.metric).values(), self.chosen)


def _codes(ids: Any) -> IntArray:
    return ids.rank("dense").to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _owners(train: Interactions, ids: Any) -> IntArray:
    """Numbers of sources of the training data; -1 for those of other data."""
    if ids.name != train.columns.source:
        return np.full(len(ids), -1, dtype=np.int64)
    return train.vocabulary.source_codes(ids)


def _outcomes(values: FloatArray, chosen: IntArray) -> FloatArray:
    found: FloatArray = np.concatenate(([values.mean()], values[chosen])).astype(np.float64)
    return found


# Many of them, each once


Known = dict[str, FloatArray]
"""Outcomes [1 + K] by the key of the retraining, and behind them its processor seconds."""


@dataclass(frozen=True)
class _Retrainings(Job[tuple[int, IntArray], tuple[str, FloatArray], Known]):
    """Outcomes after training without some units; a shard is a seed and the units."""

    alone = True

    subject: Subject
    known: Known = field(repr=False)
    kept: Checkpoints = field(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs."""
        return {"subject": self.subject}

    def run(self, shard: tuple[int, IntArray]) -> tuple[str, FloatArray]:
        seed, units = shard
        began = time.thread_time()
        outcomes = self.subject.without(seed, units)
        return key_of(seed, units), np.append(outcomes, time.thread_time() - began)

    def start(self) -> Known:
        return self.known

    def add(self, total: Known, part: tuple[str, FloatArray]) -> Known:
        total[part[0]] = part[1]
        if self.kept.is_due:
            save_known(self.kept, total)
        return total


def retrain(
    subject: Subject,
    wanted: list[tuple[int, Removal]],
    known: Known,
    kept: Checkpoints,
    run: Run,
    message: str,
) -> None:
    """Retrain where the outcomes are not known yet, and keep them.

    Parameters
    ----------
    subject : Subject
    wanted : list of (seed, Removal)
    known : dict
        Gets what was found.
    kept : Checkpoints
        Where outcomes stay also when the experiment is over, for further methods and masks.
    run : Run
    message : str
        What is done.
    """
    missing = {key_of(seed, one.units): (seed, one.units) for seed, one in wanted}
    shards = [shard for key, shard in missing.items() if key not in known]
    if not shards:
        return
    try:
        run_job(_Retrainings(subject, known, kept), shards, run, message=message)
    finally:
        save_known(kept, known)


def save_known(kept: Checkpoints, known: Known) -> None:
    """Keep outcomes."""
    kept.save("outcomes", {"keys": list(known), "values": np.array(list(known.values()))})


def load_known(kept: Checkpoints) -> Known:
    """Outcomes that were kept."""
    state = kept.load("outcomes")
    return {} if state is None else dict(zip(state["keys"], np.asarray(state["values"])))
