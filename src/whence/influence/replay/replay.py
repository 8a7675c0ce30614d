"""Replayed training: what each training example did to an outcome, by differentiating training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from whence.attribution import Attributor
from whence.engines import Checkpoints, Run, identity_of, part_of, reporter, settled
from whence.errors import ParameterError, TrainingError
from whence.influence.credit import check_credit
from whence.influence.replay.adjoint import Trajectory
from whence.influence.replay.forward import shares_of_groups, through_training
from whence.influence.replay.outcomes import Outcome, Several, outcome_of
from whence.influence.replay.passes import Passes, Take, gone_through, stage_of
from whence.influence.replay.replayed import Replayed, check_replayable
from whence.influence.replay.smoothness import warn_of_kinks
from whence.influence.result import Influence
from whence.models.training.loop import torch_threads
from whence.parameters import Positive, PositiveInt

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
    by : {"example", "interaction", "session", "user", "item", "target"}
        Who is credited; the values of several examples add up.
    outcome : {"loss", "ndcg", "mrr", "coverage", "averagepopularity", "novelty"} or callable
        What is explained: minus the loss of the queries ("loss"); a ranking metric of each
        query, with soft ranks; or what is recommended, wanted or not, with soft lists: the share of
        the catalogue that is reached, its popularity, or its self-information. In Python also the
        score of an item, a difference or a mean of such
        (`whence.Prediction`), or anything: ``outcome(model, parameters)`` gives a tensor of one
        number, or of several, and while it is called ``model.module_`` has the parameters.
    temperature : float
        Of the soft ranks and lists, in units of scores.
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
    by: Literal["example", "interaction", "session", "user", "item", "target"] = "example"
    outcome: (
        Literal["loss", "ndcg", "mrr", "coverage", "averagepopularity", "novelty"]
        | Callable[[Any, Any], Any]
    ) = "loss"
    temperature: Positive = 1.0
    precision: Literal["float32", "float64"] = "float32"

    def check_model(self, model: Any) -> None:
        """Refuse a model whose training is not known; see `Attributor.check_model`."""
        check_replayable(model)

    def attribute(self, model: Any, data: Any = None, *, run: Run | None = None) -> Influence:
        """Value the training data by what it did to the outcome, in the mean over the queries.

        Parameters
        ----------
        model : fitted differentiable model
            As `fit` left it.
        data : Interactions, data frame, Queries or QueryExamples, optional
            Validation or test data, the queries; see `query_examples`. Outcomes that are callable
            need none.
        run : Run, optional
            How the work is done. In its folder is kept what has been done.

        Returns
        -------
        Influence
            ``score``: what the outcome gains by the source; with several runs
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
            If no query is left, or memory would not suffice.
        ParameterError
            If the outcome cannot be differentiated.
        TrainingError
            If a derivative is infinite.
        """
        replayed = self._asked(model, data, run)
        with (
            self._working("attribute", replayed) as kept,
            reporter(replayed.run.progress) as report,
        ):
            scores = np.zeros((self.runs, replayed.n))

            def take(number: int, _: Any, values: FloatArray) -> None:
                scores[number] = values[0]

            passes = [(number, None) for number in range(self.runs)]
            gone_through(Passes(self, replayed, take, report, kept, passes))
        return self._answer(replayed, scores)

    def attribute_each(
        self, model: Any, data: Any = None, *, outcomes: Sequence[Any], run: Run | None = None
    ) -> list[Influence]:
        """Value the training data by several outcomes, which are differentiated in one pass.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        outcomes : sequence
            As the parameter `outcome`, which is not looked at.

        Returns
        -------
        list of Influence
            One for each outcome.
        """
        Replayed.check(model)
        parts = [outcome_of(model, data, one, self.temperature) for one in outcomes]
        if not parts:
            raise ParameterError("outcomes is empty; give one at least.")
        replayed = self._replayed(model, Several(parts), run)
        by_run = np.zeros((self.runs, len(parts), replayed.n))

        def take(number: int, chosen: Any, values: FloatArray) -> None:
            by_run[number, slice(*chosen)] = values

        with self._working("attribute_each", replayed) as kept:
            self._in_blocks(replayed, kept, take)
        return [
            self._answer(replayed.about(one), by_run[:, place]) for place, one in enumerate(parts)
        ]

    def effects(
        self, model: Any, data: Any = None, *, groups: Any, run: Run | None = None
    ) -> dict[Any, FloatArray]:
        """What groups of rows did to all queries at once: a user, a session, a day, a source.

        Training is gone through forwards, which costs about as much for a group as `attribute`
        does for an outcome. It is the sum, over the group, of what `matrix` has.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        groups : mapping of name to rows, or sequence
            Numbers of rows of the training table, or masks of them, by name; or one label for each
            row, such as its day. An example belongs to a group by the share of its targets.

        Returns
        -------
        dict of name to float64 [n_queries]
            What each outcome gains because the group is trained on: the mean over the runs.
        """
        replayed = self._asked(model, data, run)
        shares = shares_of_groups(model.train_, model.examples_, groups)
        names, weights = list(shares), np.stack(list(shares.values()))
        step = _MOST_OUTCOMES
        starts = range(0, len(names), step)
        total = np.zeros((len(names), len(replayed.outcome)))
        told = reporter(replayed.run.progress)
        with self._working("effects", replayed, identity_of(weights)) as kept, told as report:
            for number in range(self.runs):
                training = replayed.training(number)
                look = None if number else replayed.compare
                for place, start in enumerate(starts):
                    stage, chosen = f"run-{number}-{start}", slice(start, start + step)
                    found = kept.load(stage)
                    if found is None:
                        part = part_of(
                            report, number * len(starts) + place, self.runs * len(starts)
                        )
                        end, ways = through_training(training, weights[chosen], part, look)
                        found = _finite(replayed.outcome.changes(training, end, ways))
                        kept.save(stage, found)
                    total[chosen] += found / self.runs
        return dict(zip(names, total))

    def matrix(self, model: Any, data: Any = None, *, run: Run | None = None) -> FloatArray:
        """Values of the training examples for each query, float64 [n_examples, n_queries].

        Several queries are differentiated in one pass, which is less work than a pass for each.
        Of an outcome that is callable there is a column for each number that it gives.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        """
        replayed = self._asked(model, data, run)
        out = np.zeros((replayed.n, len(replayed.outcome)))

        def take(_: int, chosen: Any, values: FloatArray) -> None:
            out[:, slice(*chosen)] += values.T / self.runs

        with self._working("matrix", replayed) as kept:
            self._in_blocks(replayed, kept, take)
        return out

    def _in_blocks(self, replayed: Replayed, kept: Checkpoints, take: Take) -> None:
        """Have the values for all single outcomes, run by run."""
        n, step = len(replayed.outcome), _MOST_OUTCOMES
        passes = [
            (number, (start, min(start + step, n)))
            for number in range(self.runs)
            for start in range(0, n, step)
        ]
        with reporter(replayed.run.progress) as report:
            gone_through(Passes(self, replayed, take, report, kept, passes))

    def _asked(self, model: Any, data: Any, run: Run | None) -> Replayed:
        """Check a call."""
        self._check_params()
        Replayed.check(model)
        check_credit(model.train_, model.examples_, self.by, places=False)
        outcome = outcome_of(model, data, self.outcome, self.temperature)
        return self._replayed(model, outcome, run)

    def _replayed(self, model: Any, outcome: Outcome, run: Run | None) -> Replayed:
        self._check_params()
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
        stage = stage_of(number, outcomes)
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
        values = _finite(trajectory.values(slopes, part_of(report, 1, 2), kept, backwards))
        if kept is not None:
            kept.save(stage, values)
            kept.drop(backwards)
        return values

    def _working(
        self, what: str, replayed: Replayed, *more: str
    ) -> AbstractContextManager[Checkpoints]:
        parameters = {"runs": self.runs, "precision": self.precision, "more": more}
        return replayed.working(f"{self.name}: {what}", parameters)

    def _answer(self, replayed: Replayed, by_run: FloatArray) -> Influence:
        """Wrap values of examples, float64 [R, n]."""

        def scores_of(query: int) -> FloatArray:
            chosen = query, query + 1
            with torch_threads(replayed.model.torch_threads), reporter(False) as report:
                runs = [self._of_run(replayed, r, chosen, report)[0] for r in range(self.runs)]
            return np.asarray(np.mean(runs, axis=0))

        params = {
            "runs": self.runs,
            "outcome": replayed.outcome.name,
            "temperature": self.temperature,
            "precision": self.precision,
        }
        return replayed.answer(self, by_run, scores_of, params=params)


def _finite(values: FloatArray) -> FloatArray:
    """Values, unless one is none.

    Raises
    ------
    TrainingError
        If a derivative is infinite or no number.
    """
    if not np.isfinite(values).all():
        raise TrainingError(
            "A derivative through training is infinite or no number, because training is not "
            "smooth; train whence.smooth(model), or with a lower learning rate."
        )
    return values
