"""What replayed training needs of one call: the model, its training, and what is asked of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from whence.attribution import describe_run
from whence.data import Interactions
from whence.engines import Checkpoints, Run, identity_of, kept_memory
from whence.engines.memory import available_memory
from whence.errors import DataError, UnsupportedError
from whence.influence.alone import check_alone
from whence.influence.base import DTYPES
from whence.influence.checkpoints import check_model
from whence.influence.comparison import typed
from whence.influence.credit import credited
from whence.influence.describe import Describer
from whence.influence.reliability import reliability
from whence.influence.replay.optimizers import State, step_of
from whence.influence.replay.outcomes import Outcome
from whence.influence.replay.smoothness import check_module
from whence.influence.replay.training import TrainingMap
from whence.influence.result import Influence
from whence.models.training import DifferentiableRecommender
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]

_LARGEST_DIFFERENCE = 1e-2
"""Of replayed and trained parameters, as a share of the way from the initial ones."""


def check_replayable(model: Any) -> None:
    """Refuse a model whose training is not known.

    Raises
    ------
    UnsupportedError
        If Whence does not train it by gradients.
    """
    if not isinstance(model, DifferentiableRecommender):
        raise UnsupportedError(
            f"How {type(model).__name__} is trained is not known here, so that its training "
            "cannot be replayed; take a model that Whence trains by gradients, such as NeuMF "
            "or GRU4Rec."
        )
    if model.precision != "float32":
        raise UnsupportedError(
            f"This {type(model).__name__} was trained with products in 16 bits, whose rounding "
            "cannot be gone through backwards; train it with precision='float32'."
        )
    if "refit" not in model.levels:
        raise UnsupportedError(
            f"This {type(model).__name__} was trained elsewhere, so that its training cannot be "
            "replayed; let Whence train it, or take TracIn or InfluenceFunction, which look at "
            "its parameters as they are."
        )


class Replayed:
    """A model whose training is done again, and an outcome of it.

    Parameters
    ----------
    model : fitted DifferentiableRecommender
    outcome : Outcome
    run : Run
        Settled.
    precision : {"float32", "float64"}
    epochs : int, optional
        That are replayed; by default those by which the model came about: to the best one.

    Attributes
    ----------
    n : int
        Number of training examples.
    difference : float
        Greatest of replayed and trained parameters so far, as a share of their way.

    Raises
    ------
    UnsupportedError, NotFittedError
        If the training cannot be replayed.
    """

    def __init__(
        self,
        model: Any,
        outcome: Outcome,
        run: Run,
        precision: str = "float32",
        epochs: int | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self.model, self.outcome, self.run = model, outcome, run
        self.dtype = DTYPES[precision]
        self.trained_epochs = epochs_of(model)
        self.epochs = self.trained_epochs if epochs is None else epochs
        self.n = len(model.examples_)
        self.difference = 0.0
        self.first = TrainingMap(model, self.epochs, model.seed, self.dtype)
        self.trained = self.first.vector(dict(model.module_.named_parameters()))
        few = typed(model.examples_.batch(np.arange(min(3, self.n))), self.dtype)
        own = self.first.model
        self.first.evaluated(self.trained, check_alone, own, own._to_device(few))
        outcome.prepare(self.first, self.trained)

    @staticmethod
    def check(model: Any) -> None:
        """Refuse a model whose training cannot be replayed, before anything is done."""
        check_replayable(model)
        check_model(model)
        check_module(model)
        step_of(model)
        learned_of = getattr(model.examples_, "train", model.train_)
        if learned_of is not model.train_ and learned_of.fingerprint != model.train_.fingerprint:
            raise DataError(
                "The training data changed since the fit (their fingerprint differs); give the "
                "model as fit(train) left it."
            )

    def about(self, outcome: Outcome) -> Replayed:
        """The same, of another outcome."""
        other = copy.copy(self)
        other.outcome = outcome
        return other

    def training(self, number: int = 0) -> TrainingMap:
        """Training of run `number`, from its own seed."""
        if not number:
            return self.first
        return TrainingMap(self.model, self.epochs, self.model.seed + number, self.dtype)

    def compare(self, number: int, state: State) -> None:
        """Look whether the model's own training, done again, is where it was after a step.

        Raises
        ------
        UnsupportedError
            If it is elsewhere.
        """
        epoch, rest = divmod(number, self.first.steps_per_epoch)
        if rest:
            return
        kept = {one.epoch: one.module for one in self.model.checkpoints_}
        if epoch in kept:
            self._compare(self.first.parameters(state), self.first.vector(kept[epoch]), epoch)
        if epoch == self.trained_epochs:
            self._compare(self.first.parameters(state), self.trained, epoch)

    def _compare(self, ours: Tensor, theirs: Tensor, epoch: int) -> None:
        way = float((theirs - self.first.initial).norm())
        difference = float((ours - theirs).norm()) / (way or 1.0)
        self.difference = max(self.difference, difference)
        if difference <= _LARGEST_DIFFERENCE:
            return
        again = TrainingMap(self.model, self.epochs, self.model.seed, self.dtype).initial
        if not torch.equal(again, self.first.initial):
            raise UnsupportedError(
                f"The initial parameters of this {type(self.model).__name__} do not follow from "
                "its seed, so that its training cannot be done again; draw them from torch's "
                "generator, which is seeded when the module is made."
            )
        raise UnsupportedError(
            f"Training done again differs from what the model learned by {difference:.1%} of "
            f"its way, after epoch {epoch}: give the model as fit(train) left it, trained on "
            "all its data, with the seed and the parameters that it has, and not moved since; "
            "or, where training is too rough to be done again by other operations, train "
            "whence.smooth(model)."
        )

    def check_memory(self, n_states: float) -> None:
        """Refuse what does not fit, before the work begins.

        Parameters
        ----------
        n_states : float
            How many states of training there are at a time.

        Raises
        ------
        DataError
            If there is less memory than they take.
        """
        state = sum(part.numel() * part.element_size() for part in self.first.start())
        needed, free = state * n_states, available_memory()
        if needed > free:
            raise DataError(
                f"Replaying {self.first.n_steps} steps keeps about {needed / 2**30:.1f} GiB of "
                f"states, and {free / 2**30:.1f} GiB of memory are free; train a smaller model, "
                "or fewer and larger batches."
            )

    @contextmanager
    def working(self, what: str, parameters: Mapping[str, Any]) -> Iterator[Checkpoints]:
        """What has been done in the folder of the run."""
        identity = {
            "method": what,
            "parameters": dict(parameters),
            "model": [type(self.model).__name__, self.model._recorded_params()],
            "training data": self.model.train_.fingerprint,
            "epochs": self.epochs,
            "outcome": self.outcome.identity,
            "trained parameters": identity_of(self.trained.numpy(force=True)),
        }
        threads = torch_threads(self.model.torch_threads)
        with threads, kept_memory(), Checkpoints(self.run, identity) as kept:
            yield kept

    def answer(
        self,
        method: Any,
        by_run: FloatArray,
        scores_of: Callable[[int], FloatArray],
        state: Any = None,
        **facts: Any,
    ) -> Influence:
        """Wrap values of examples into the result type.

        Parameters
        ----------
        method : Attributor
            With `by`.
        by_run : float64 [R, n]
            Values by run; their mean is the score.
        scores_of : callable
            Values of all examples for one single outcome, by number.
        state : dict of str to ndarray, optional
            Lists of `TracIn.per_query`.
        **facts
            For the metadata.
        """
        model, train = self.model, self.model.train_
        tables = [credited(train, model.examples_, scores, method.by) for scores in by_run]
        column, source, table = tables[0]
        values = np.stack([one["score"].to_numpy() for *_, one in tables])
        table = table.with_columns(score=pl.Series(values.mean(axis=0)))
        n_runs = len(by_run)
        if n_runs > 1:
            errors = values.std(axis=0, ddof=1) / np.sqrt(n_runs)
            table = table.with_columns(std_error=pl.Series(errors))
        data = self.outcome.data
        described = {
            "title": method.title,
            "by": method.by,
            "source": column,
            "metric": self.outcome.name,
            "model": model,
            "seed": model.seed,
            "train": train,
            "validation": data if isinstance(data, Interactions) else None,
            "elapsed_seconds": time.perf_counter() - self.started,
            "n_queries": len(self.outcome),
            "n_examples": self.n,
            "n_left_out": self.outcome.n_left_out,
            "n_steps": self.first.n_steps,
            "epochs": self.epochs,
            "about": "this run" if n_runs == 1 else "the expected run",
            "reliability": reliability(values),
            "difference": self.difference,
        }
        metadata = describe_run(method.name, **{**described, **facts})

        def recompute(query: int) -> Influence:
            _, source, table = credited(train, model.examples_, scores_of(query), method.by)
            one = {**metadata, "n_queries": 1, "query": query}
            return Influence(table, source=source, metadata=one, backend=train.backend)

        return Influence(
            table,
            source=source,
            metadata=metadata,
            backend=train.backend,
            state=state,
            recompute=recompute,
            scores_of=scores_of,
            about=Describer(train, model.examples_, self.outcome.described),
        )


def epochs_of(model: Any) -> int:
    """Epochs by which a fitted model came about: up to the best one by validation."""
    return int(model.best_.get("epoch") or len(model.history_) or model.epochs)
