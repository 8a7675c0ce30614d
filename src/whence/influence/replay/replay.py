"""Replayed training: what each training example did to an outcome, by differentiating training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from whence.attribution import Attributor, describe_run
from whence.data import Interactions
from whence.engines import Checkpoints, Run, identity_of, kept_memory, part_of, reporter, settled
from whence.engines.memory import available_memory
from whence.errors import DataError, TrainingError, UnsupportedError
from whence.influence.base import DTYPES
from whence.influence.checkpoints import check_model
from whence.influence.credit import credited
from whence.influence.describe import Describer
from whence.influence.queries import query_examples
from whence.influence.reliability import reliability
from whence.influence.replay.adjoint import Trajectory
from whence.influence.replay.smoothness import check_module, warn_of_kinks
from whence.influence.replay.training import TrainingMap, replaying
from whence.influence.result import Influence
from whence.models.training import DifferentiableRecommender
from whence.models.training.loop import torch_threads
from whence.parameters import PositiveInt

FloatArray = npt.NDArray[np.float64]

_MOST_OUTCOMES = 16
"""Differentiated in one pass: each takes the memory of one more state."""
_LARGEST_DIFFERENCE = 1e-2
"""Of replayed and trained parameters, as a share of the way from the initial ones."""
_ASKED = 4096
"""Queries whose losses are taken together."""


class Replay(Attributor, name="replay", title="Replayed training"):
    """Value training examples by the derivative of an outcome through all of training.

    Training is a function of one weight for each example. It is done again, from the same initial
    parameters, with the same batches, negatives and dropout, and then gone through backwards, step
    by step: this gives the derivative of the loss on the queries by the weights of all examples at
    once. The value of an example is minus this derivative: what the outcome gains, to first order,
    because the example is trained on. The sum over some examples predicts what retraining without
    them does, as far as training is smooth; see `whence.smooth`.

    Parameters
    ----------
    runs : int
        1: the values of this run, of the model as it was trained. More: those of the expected run,
        means over as many trainings, from the model's own seed and those that follow it, with
        standard errors and their reliability.
    by : {"example", "interaction", "session", "user", "item"}
        Who is credited; the values of several examples add up.
    precision : {"float32", "float64"}
        What is computed in.

    Notes
    -----
    One of every √T states of T steps is kept, and the others are made again from it: training is
    done three times in all, one of them with second derivatives.

    The values of single examples belong to one run: those of another agree with them little, and
    sums over users or items somewhat more. Take ``runs`` of 4 or more before acting on them, and
    look at the reliability in the metadata.

    References
    ----------
    -  Maclaurin, Duvenaud and Adams. Gradient-based hyperparameter optimization through reversible
       learning. ICML 2015.
    -  Bae, Lin, Lorraine and Grosse. Training data attribution via approximate unrolling.
       NeurIPS 2024.
    -  Ilyas and Engstrom. MAGIC: near-optimal data attribution for deep learning. 2025.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=120, seed=1)
    >>> small = whence.GRU4Rec(embedding_dim=8, hidden_dim=8, dropout=0.0, epochs=2)
    >>> model = whence.smooth(small).fit(data.train)
    >>> values = whence.Replay(by="session").attribute(model, data.validation)
    >>> values.source
    'session_id'
    """

    runs: PositiveInt = 1
    by: Literal["example", "interaction", "session", "user", "item"] = "example"
    precision: Literal["float32", "float64"] = "float32"

    def check_model(self, model: Any) -> None:
        """Refuse a model whose training is not known; see `Attributor.check_model`."""
        if not isinstance(model, DifferentiableRecommender):
            raise UnsupportedError(
                f"How {type(model).__name__} is trained is not known here, so that its training "
                "cannot be replayed; take a model that Whence trains by gradients, such as NeuMF "
                "or GRU4Rec."
            )

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Influence:
        """Value the training data by what it did to the mean loss of the queries.

        Parameters
        ----------
        model : fitted differentiable model
            As `fit` left it.
        data : Interactions, data frame, Queries or QueryExamples
            Validation or test data, the queries; see `query_examples`.
        run : Run, optional
            How the work is done. In its folder is kept what has been done.

        Returns
        -------
        Influence
            ``score``: what minus the mean loss gains by the source; with several runs
            ``std_error``, of the mean over runs. ``for_query(q)`` and ``proponents(q)`` go through
            training again for that query.

        Raises
        ------
        UnsupportedError
            If the training of the model is not known, has no derivative, or, done again, does not
            end where the model is.
        NotFittedError
            If the model has not learned.
        DataError
            If the training data changed since the fit, or no query is left.
        TrainingError
            If a derivative is infinite.
        """
        asked = _Asked.of(self, model, data, run)
        with self._working("attribute", asked) as kept, reporter(asked.run.progress) as report:
            scores = np.stack([
                self._of_run(asked, number, None, part_of(report, number, self.runs), kept)[0]
                for number in range(self.runs)
            ])  # fmt: skip
        return self._answer(asked, scores)

    def matrix(self, model: Any, data: Any, *, run: Run | None = None) -> FloatArray:
        """Values of the training examples for each query, float64 [n_examples, n_queries].

        Several queries are differentiated in one pass, which is less work than a pass for each.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        """
        asked = _Asked.of(self, model, data, run)
        starts = range(0, len(asked.queries), _MOST_OUTCOMES)
        parts = self.runs * len(starts)
        out = np.zeros((asked.n, len(asked.queries)))
        with self._working("matrix", asked) as kept, reporter(asked.run.progress) as report:
            for number in range(self.runs):
                for place, start in enumerate(starts):
                    chosen = np.arange(start, min(start + _MOST_OUTCOMES, len(asked.queries)))
                    told = part_of(report, number * len(starts) + place, parts)
                    values = self._of_run(asked, number, chosen, told, kept)
                    out[:, chosen] += values.T / self.runs
        return out

    def _of_run(
        self,
        asked: _Asked,
        number: int,
        queries: npt.NDArray[np.int64] | None,
        report: Any,
        kept: Checkpoints | None = None,
    ) -> FloatArray:
        """Values of one run for the mean of the queries, or for some of them, float64 [K, n]."""
        stage = f"run-{number}" + ("" if queries is None else f"-{queries[0]}")
        done = None if kept is None else kept.load(stage)
        if done is not None:
            return np.asarray(done)
        trajectory = asked.trajectory(number, part_of(report, 0, 2))
        slopes = asked.slopes(trajectory, queries)
        backwards = f"{stage}-backwards"
        values = -trajectory.values(slopes, part_of(report, 1, 2), kept, backwards)
        if not np.isfinite(values).all():
            raise TrainingError(
                "A derivative through training is infinite or no number, because training is not "
                "smooth; train whence.smooth(model), or with a lower learning rate."
            )
        if kept is not None:
            kept.save(stage, values)
            kept.drop(backwards)
        return values

    @contextmanager
    def _working(self, what: str, asked: _Asked) -> Iterator[Checkpoints]:
        identity = {
            "method": f"{self.name}: {what}",
            "parameters": {"runs": self.runs, "precision": self.precision},
            "model": [type(asked.model).__name__, asked.model._recorded_params()],
            "training data": asked.model.train_.fingerprint,
            "queries": getattr(asked.queries, "fingerprint", len(asked.queries)),
            "trained parameters": identity_of(asked.trained.numpy(force=True)),
        }
        threads = torch_threads(asked.model.torch_threads)
        with threads, kept_memory(), Checkpoints(asked.run, identity) as kept:
            yield kept

    def _answer(self, asked: _Asked, by_run: FloatArray, **facts: Any) -> Influence:
        """Wrap values of examples, float64 [R, n]."""
        model, train = asked.model, asked.model.train_
        tables = [credited(train, model.examples_, scores, self.by) for scores in by_run]
        column, source, table = tables[0]
        values = np.stack([one["score"].to_numpy() for *_, one in tables])
        table = table.with_columns(score=pl.Series(values.mean(axis=0)))
        if self.runs > 1:
            errors = values.std(axis=0, ddof=1) / np.sqrt(self.runs)
            table = table.with_columns(std_error=pl.Series(errors))
        metadata = describe_run(
            self.name,
            title=self.title,
            by=self.by,
            source=column,
            metric="loss",
            model=model,
            params={"runs": self.runs, "precision": self.precision},
            seed=model.seed,
            train=train,
            validation=asked.data if isinstance(asked.data, Interactions) else None,
            elapsed_seconds=time.perf_counter() - asked.started,
            n_queries=len(asked.queries),
            n_examples=asked.n,
            n_left_out=getattr(asked.queries, "n_left_out", None),
            n_steps=asked.n_steps,
            epochs=asked.epochs,
            about="this run" if self.runs == 1 else "the expected run",
            reliability=reliability(values),
            difference=asked.difference,
            **facts,
        )

        def scores_of(query: int) -> FloatArray:
            chosen = np.array([query])
            with torch_threads(model.torch_threads), reporter(False) as report:
                runs = [self._of_run(asked, r, chosen, report)[0] for r in range(self.runs)]
            return np.asarray(np.mean(runs, axis=0))

        def recompute(query: int) -> Influence:
            _, source, table = credited(train, model.examples_, scores_of(query), self.by)
            one = {**metadata, "n_queries": 1, "query": query}
            return Influence(table, source=source, metadata=one, backend=train.backend)

        about = Describer(train, model.examples_, asked.queries) if asked.describes else None
        return Influence(
            table,
            source=source,
            metadata=metadata,
            backend=train.backend,
            recompute=recompute,
            scores_of=scores_of,
            about=about,
        )


class _Asked:
    """One call, checked."""

    @classmethod
    def of(cls, method: Replay, model: Any, data: Any, run: Run | None) -> _Asked:
        """Check a call.

        Raises
        ------
        As `Replay.attribute` says, but for TrainingError.
        """
        method._check_params()
        method.check_model(model)
        check_model(model)
        check_module(model)
        return cls(method, model, data, settled(run, method))

    def __init__(self, method: Replay, model: Any, data: Any, run: Run) -> None:
        self.started = time.perf_counter()
        self.model, self.data, self.run = model, data, run
        self.queries = data if hasattr(data, "batch") else query_examples(model, data)
        self.describes = hasattr(self.queries, "ids")
        self.dtype = DTYPES[method.precision]
        self.epochs = int(model.best_.get("epoch") or len(model.history_) or model.epochs)
        self.n = len(model.examples_)
        self.difference = 0.0
        first = TrainingMap(model, self.epochs, model.seed, self.dtype)
        self.n_steps = first.n_steps
        self.trained = first.vector(dict(model.module_.named_parameters()))
        self._check_memory(first)
        warn_of_kinks(model)

    def trajectory(self, number: int, report: Any) -> Trajectory:
        """Training of run `number` done again; that of the model itself is checked."""
        training = TrainingMap(self.model, self.epochs, self.model.seed + number, self.dtype)
        if number:
            return Trajectory.of(training, report)
        kept = {one.epoch: one.module for one in self.model.checkpoints_}

        def look(epoch: int, parameters: Tensor) -> None:
            if epoch in kept:
                self._compare(training, parameters, training.vector(kept[epoch]), epoch)

        trajectory = Trajectory.of(training, report, look)
        self._compare(training, trajectory.parameters, self.trained, self.epochs)
        return trajectory

    def slopes(
        self, trajectory: Trajectory, queries: npt.NDArray[np.int64] | None
    ) -> Sequence[Tensor]:
        """Derivatives of the mean loss of all queries, or of the losses of some."""
        training = trajectory.training
        parameters = trajectory.parameters.detach().requires_grad_()
        batch_of: Callable[[Any], Any] = self.queries.batch
        with replaying(training.model), torch.enable_grad():
            if queries is not None:
                losses = training.losses(parameters, self._placed(batch_of(queries)))
                return [
                    torch.autograd.grad(loss, parameters, retain_graph=True)[0] for loss in losses
                ]
            total = torch.zeros_like(parameters)
            for start in range(0, len(self.queries), _ASKED):
                numbers = np.arange(start, min(start + _ASKED, len(self.queries)))
                losses = training.losses(parameters, self._placed(batch_of(numbers)))
                total += torch.autograd.grad(losses.sum() / len(self.queries), parameters)[0]
        return [total]

    def _placed(self, batch: Any) -> Any:
        return self.model._to_device(batch)

    def _compare(self, training: TrainingMap, ours: Tensor, theirs: Tensor, epoch: int) -> None:
        way = float((theirs - training.initial).norm())
        difference = float((ours - theirs).norm()) / (way or 1.0)
        self.difference = max(self.difference, difference)
        if difference > _LARGEST_DIFFERENCE or not np.isfinite(difference):
            raise UnsupportedError(
                f"Training done again differs from what the model learned by {difference:.1%} of "
                f"its way, after epoch {epoch}: give the model as fit(train) left it, trained on "
                "all its data and not loaded or moved since; or, where training is too rough to "
                "be done again by other operations, train whence.smooth(model)."
            )

    def _check_memory(self, training: TrainingMap) -> None:
        """Refuse what does not fit, before the work begins."""
        every = Trajectory(training).every
        state = sum(part.numel() * part.element_size() for part in training.start())
        needed = state * (2 * every + 4 * (1 + _MOST_OUTCOMES // 4))
        free = available_memory()
        if needed > free:
            raise DataError(
                f"Replaying {training.n_steps} steps keeps about {needed / 2**30:.1f} GiB of "
                f"states, and {free / 2**30:.1f} GiB of memory are free; train a smaller model, "
                "or fewer and larger batches."
            )
