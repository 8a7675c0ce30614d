"""Replayed training: what each training example did to an outcome, by differentiating training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from whence.attribution import Attributor
from whence.engines import Checkpoints, Run, part_of, reporter, settled
from whence.errors import TrainingError
from whence.influence.replay.adjoint import Trajectory
from whence.influence.replay.outcomes import Losses, Outcome
from whence.influence.replay.replayed import Replayed, check_replayable
from whence.influence.replay.smoothness import warn_of_kinks
from whence.influence.result import Influence
from whence.models.training.loop import torch_threads
from whence.parameters import PositiveInt

FloatArray = npt.NDArray[np.float64]

_MOST_OUTCOMES = 16
"""Differentiated in one pass: each takes the memory of one more state."""


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
        check_replayable(model)

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
        replayed = self._replayed(model, data, run)
        with (
            self._working("attribute", replayed) as kept,
            reporter(replayed.run.progress) as report,
        ):
            scores = np.stack([
                self._of_run(replayed, number, None, part_of(report, number, self.runs), kept)[0]
                for number in range(self.runs)
            ])  # fmt: skip
        return self._answer(replayed, scores)

    def matrix(self, model: Any, data: Any, *, run: Run | None = None) -> FloatArray:
        """Values of the training examples for each query, float64 [n_examples, n_queries].

        Several queries are differentiated in one pass, which is less work than a pass for each.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        """
        replayed = self._replayed(model, data, run)
        n, step = len(replayed.outcome), _MOST_OUTCOMES
        starts = range(0, n, step)
        parts = self.runs * len(starts)
        out = np.zeros((replayed.n, n))
        with self._working("matrix", replayed) as kept, reporter(replayed.run.progress) as report:
            for number in range(self.runs):
                for place, start in enumerate(starts):
                    chosen = start, min(start + step, n)
                    told = part_of(report, number * len(starts) + place, parts)
                    values = self._of_run(replayed, number, chosen, told, kept)
                    out[:, slice(*chosen)] += values.T / self.runs
        return out

    def _replayed(self, model: Any, data: Any, run: Run | None) -> Replayed:
        """Check a call."""
        self._check_params()
        Replayed.check(model)
        outcome = data if isinstance(data, Outcome) else Losses(model, data)
        replayed = Replayed(model, outcome, settled(run, self), self.precision)
        every = Trajectory(replayed.first).every
        replayed.check_memory(2 * every + 4 * (1 + _MOST_OUTCOMES // 4))
        warn_of_kinks(model)
        return replayed

    def _of_run(
        self,
        replayed: Replayed,
        number: int,
        outcomes: tuple[int, int] | None,
        report: Any,
        kept: Checkpoints | None = None,
    ) -> FloatArray:
        """Values of one run for the mean of the outcomes, or for some of them, float64 [K, n]."""
        stage = f"run-{number}" + ("" if outcomes is None else f"-{outcomes[0]}")
        done = None if kept is None else kept.load(stage)
        if done is not None:
            return np.asarray(done)
        training = replayed.training(number)
        look = None if number else replayed.compare
        trajectory = Trajectory.of(training, part_of(report, 0, 2), look)
        end = trajectory.parameters
        if outcomes is None:
            slopes = [replayed.outcome.slope(training, end)]
        else:
            slopes = replayed.outcome.slopes(training, end, *outcomes)
        backwards = f"{stage}-backwards"
        values = trajectory.values(slopes, part_of(report, 1, 2), kept, backwards)
        if not np.isfinite(values).all():
            raise TrainingError(
                "A derivative through training is infinite or no number, because training is not "
                "smooth; train whence.smooth(model), or with a lower learning rate."
            )
        if kept is not None:
            kept.save(stage, values)
            kept.drop(backwards)
        return values

    def _working(self, what: str, replayed: Replayed) -> AbstractContextManager[Checkpoints]:
        return replayed.working(f"{self.name}: {what}", self._own_params())

    def _own_params(self) -> dict[str, Any]:
        return {"runs": self.runs, "precision": self.precision}

    def _answer(self, replayed: Replayed, by_run: FloatArray) -> Influence:
        """Wrap values of examples, float64 [R, n]."""

        def scores_of(query: int) -> FloatArray:
            chosen = query, query + 1
            with torch_threads(replayed.model.torch_threads), reporter(False) as report:
                runs = [self._of_run(replayed, r, chosen, report)[0] for r in range(self.runs)]
            return np.asarray(np.mean(runs, axis=0))

        return replayed.answer(self, by_run, scores_of, params=self._own_params())
