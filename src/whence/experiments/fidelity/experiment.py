"""The fidelity experiment: do the values of a method predict what retraining does?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from whence.data import Interactions
from whence.engines import Checkpoints, Run, identity_of, part_of, reporter, settled
from whence.errors import ParameterError, WhenceError
from whence.experiments.fidelity.measured import Measured, Predicted
from whence.experiments.fidelity.methods import (
    CONTROLS,
    Method,
    identity_of_method,
    resolved,
    strongest,
    values_of,
)
from whence.experiments.fidelity.removals import NOTHING, Removal, draw, key_of
from whence.experiments.fidelity.result import FidelityResult
from whence.experiments.fidelity.retraining import Subject, load_known, retrain
from whence.experiments.fidelity.subjects import subject_of
from whence.models.base import Recommender
from whence.parameters import Configurable, Count, NonNegative, PositiveInt, Seed, Share

FloatArray = npt.NDArray[np.float64]

STARTS = 1000
"""Between the seeds of the runs that values are of, and of further starts of retraining."""
_PROPONENTS = 0.01
_METHODS = ("replay", "tracin", "tracin:weighting=sgd", "random")


class FidelityExperiment(Configurable):
    """Leave out random parts of the training data, retrain, and compare with what values predict.

    The sum of the values of what a mask leaves out predicts how much an outcome loses by it. The
    score is the Spearman correlation, over masks, of predicted and actual changes (the linear
    datamodeling score), in the mean over outcomes: of the mean validation loss ("total"), and of
    the losses of single validation examples ("single"). Retraining keeps the start, the order of
    batches, the negatives and dropout, so that a change is due to what was left out. Models that
    are not trained by gradients are fitted again without whole sessions or users, and the outcome
    is a metric.

    Two questions are kept apart. **This run**: what retraining from the same start does. **The
    expected run**: what it does in the mean over several other starts, predicted by values that
    are means over runs.

    Parameters
    ----------
    model : callable or Recommender, optional
        ``model(seed)`` makes the model, not yet fitted; or a model that is not fitted, which gets
        each seed. By default a smooth `NeuMF` of users, and a smooth `GRU4Rec` of sessions.
    methods : sequence or mapping of methods
        Objects, or names with parameters behind a colon, as in ``"tracin"`` and
        ``"influence-function:solver=cg,damping=0.01"``; and the controls "random", "loss" (minus
        the training loss of each example) and "self-influence". A mapping gives the names
        that tables show.
    by : {"example", "session", "user"}, optional
        What is left out: training examples where the model is trained by gradients, else sessions
        or users, as the data has them.
    keep : sequence of float
        Shares of the training data that masks keep.
    masks : int
        Random masks of each share.
    removals : int
        Single examples (or sessions, or users) that are left out alone, of the users of the
        queries where these are in the training data. Their scores have another outcome, "own":
        the loss of the user's own query.
    queries : int
        Validation examples that are looked at singly, each of another user or session.
    starts : int
        Further starts of retraining, whose mean is the expected run; 0: this run alone.
    runs : sequence of int
        Numbers of runs that values are averaged over, for the expected run.
    proponents : int
        Queries whose strongest 1% of proponents by each method are left out, to see by how much
        their loss rises.
    pairs : int
        Pairs of masks of the largest share, for the metasmoothness of the model.
    checkpoints : int
        Every how many epochs the model keeps a checkpoint, for the methods that use them.
    n_sources : int, optional
        Users or sessions that are kept, drawn at random; all by default.
    metric : str, optional
        The outcome of a model that is not trained by gradients, "mrr@20" by default.
    optimum : bool
        Bring the model to the optimum of its objective, and retrain from there to the optimum
        without what is left out: what influence functions are about. There is one run then.
    tolerance : float
        Of the way to the optimum; see `whence.to_optimum`.
    seed : int
        Of the split, the model and the draws. Values of several runs are of the seeds that follow
        it, retraining from further starts of those from ``seed + 1000`` on.

    Notes
    -----
    With a folder, outcomes of retraining and values stay there when the experiment is over. With
    ``resume=True`` further methods, masks, runs and starts then cost no more than themselves.

    References
    ----------
    -  Park, Georgiev, Ilyas, Leclerc and Madry. TRAK: Attributing model behavior at scale.
       ICML 2023.
    -  Ilyas and Engstrom. MAGIC: near-optimal data attribution for deep learning. 2025.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=60, seed=1)
    >>> experiment = whence.FidelityExperiment(
    ...     model=whence.VMISKNN(k=20, m=50), methods=["shapley"], keep=[0.5], masks=4, pairs=0
    ... )
    >>> found = experiment.run(data.train, validation=data.validation)
    >>> found.to_frame()["outcome"].unique(maintain_order=True).to_list()
    ['total', 'single']
    """

    model: Callable[[int], Any] | Recommender | None = None
    methods: Sequence[Method] | Mapping[str, Method] = _METHODS
    by: Literal["example", "session", "user"] | None = None
    keep: Sequence[Share] = (0.5, 0.9, 0.99)
    masks: Count = 40
    removals: Count = 0
    queries: PositiveInt = 50
    starts: Count = 0
    runs: Sequence[PositiveInt] = (1,)
    proponents: Count = 0
    pairs: Count = 5
    checkpoints: PositiveInt = 1
    n_sources: PositiveInt | None = None
    metric: str | None = None
    optimum: bool = False
    tolerance: NonNegative = 1e-6
    seed: Seed = 42

    def _check_params(self) -> None:
        super()._check_params()
        resolved(self.methods)
        if not self.runs:
            raise ParameterError("runs is empty; write runs=[1], or such as runs=[1, 4].")
        if max(self.runs) > 1 and not self.starts:
            raise ParameterError(
                "Values of several runs are about the expected run, which is measured from "
                "further starts; give starts=3, for example."
            )
        if max(self.runs) > STARTS:
            raise ParameterError(f"runs has {max(self.runs)}; at most {STARTS} can be averaged.")
        if self.optimum and self.starts:
            raise ParameterError("At the optimum there is one run; leave starts out.")
        if not (self.masks and len(self.keep)) and not self.removals:
            raise ParameterError("Nothing is left out; give masks and keep, or removals.")
        if any(share in (0.0, 1.0) for share in self.keep):
            raise ParameterError("keep is above 0 and below 1: masks leave out some, not all.")
        known = self.model is None or isinstance(self.model, Recommender)
        if not known and not callable(self.model):
            raise ParameterError(
                "model is a recommender, or a function from a seed to one, not "
                f"{type(self.model).__name__}."
            )

    def run(self, data: Any, *, validation: Any = None, run: Run | None = None) -> FidelityResult:
        """Fit, leave out, retrain and compare.

        Parameters
        ----------
        data : Interactions or table
            Users or sessions with their items. Without validation data they are split: of models
            of users and items a tenth of each user's rows are for validation and a tenth is not
            used, of other models of users the last item but one is for validation, of sessions a
            tenth of them, of baskets the last one of each user.
        validation : Interactions or table, optional
            The training data are all of `data` then.
        run : Run, optional
            How the work is done; see the notes. With ``engine="processes"`` several retrainings
            are done at once, with the same result.

        Raises
        ------
        ParameterError, DataError
            If a parameter does not suit the data.
        """
        self._check_params()
        run = settled(run, self)
        assert run.seed is not None
        methods = resolved(self.methods)
        subject = subject_of(self, Interactions.from_frame(data), validation, run.seed)
        with Checkpoints(run, subject.identity(), name="retrainings") as kept:
            kept.is_finished = False  # for further methods
            with reporter(run.progress) as report:
                part = partial(part_of, report, of=3)
                measured = self._measured(subject, kept, run.changed(progress=part(number=0)))
                predicted = self._predicted(
                    methods, subject, measured, kept, run.changed(progress=part(number=1))
                )
                self._without_proponents(
                    subject, predicted, measured, kept, run.changed(progress=part(number=2))
                )
        return FidelityResult.of(measured, predicted, list(self.runs), self._settings(subject))

    # What is measured

    def _measured(self, subject: Subject, kept: Checkpoints, run: Run) -> Measured:
        """Outcomes of retraining without each removal, from this start and the further ones."""
        removals = draw(
            subject.n_units, self.keep, self.masks, self.removals, subject.owned(), subject.seed
        )
        seeds = [subject.seed, *(subject.seed + STARTS + number for number in range(self.starts))]
        pairs = self._pairs_of(removals)
        wanted = [(seed, one) for seed in seeds for one in (NOTHING, *removals)]
        wanted += [(subject.seed, more) for _, *two in pairs for more in two]
        known = load_known(kept)
        retrain(subject, wanted, known, kept, run, "retraining")
        return Measured(removals, seeds, pairs, known, subject.outcome == "loss")

    def _pairs_of(self, removals: list[Removal]) -> list[tuple[Removal, Removal, Removal]]:
        """A mask of the largest share, what another has besides, and both together."""
        if not self.keep:
            return []
        kind = f"keep {max(self.keep):g}"
        masks = [one for one in removals if one.kind == kind][: 2 * self.pairs]
        return [
            (
                one,
                Removal("other", np.setdiff1d(other.units, one.units)),
                Removal("both", np.union1d(one.units, other.units)),
            )
            for one, other in zip(masks[::2], masks[1::2])
        ]

    # What is predicted

    def _predicted(
        self,
        methods: Mapping[str, Method],
        subject: Subject,
        measured: Measured,
        kept: Checkpoints,
        run: Run,
    ) -> list[Predicted]:
        """What each method says of each removal, by run."""
        asked = identity_of([key_of(0, one.units) for one in measured.removals])
        quiet = run.changed(progress=False, folder=None, resume=False)
        todo = [(number, name) for number in range(max(self.runs)) for name in methods]
        found = {name: Predicted(name, methods[name] in CONTROLS) for name in methods}
        with reporter(run.progress) as report:
            for place, (number, name) in enumerate(todo):
                report(place, len(todo), name)
                one, method = found[name], methods[name]
                if one.why or (number and one.is_control):
                    continue
                seed = subject.seed + number
                key = [identity_of_method(method), seed, asked, self.proponents, self.checkpoints]
                make = partial(self._of_run, method, subject, seed, measured.removals, quiet)
                try:
                    one.add(kept.recall(f"values-{identity_of(key)}", make))
                except WhenceError as error:
                    one.why = str(error)
        return list(found.values())

    def _of_run(
        self, method: Method, subject: Subject, seed: int, removals: list[Removal], run: Run
    ) -> dict[str, Any]:
        values = values_of(method, subject, seed, run)
        single = values.single
        return {
            "total": np.array([values.total[one.units].sum() for one in removals]),
            "single": None if single is None
            else np.array([single[one.units].sum(axis=0) for one in removals]),
            "strongest": strongest(values, min(self.proponents, len(subject.chosen)), _PROPONENTS),
            "seconds": values.seconds,
            "seconds_single": values.seconds_single,
            "why": values.why,
        }  # fmt: skip

    def _without_proponents(
        self,
        subject: Subject,
        predicted: list[Predicted],
        measured: Measured,
        kept: Checkpoints,
        run: Run,
    ) -> None:
        """Retrain without the strongest proponents of single queries."""
        for one in predicted:
            one.gone = [
                Removal("proponents", units, query)
                for query, units in enumerate(one.strongest if one.strongest is not None else ())
            ]
        wanted = [(subject.seed, gone) for one in predicted for gone in one.gone]
        retrain(subject, wanted, measured.known, kept, run, "retraining without proponents")

    def _settings(self, subject: Subject) -> dict[str, Any]:
        model = subject.base
        return {
            "model": type(model).__name__,
            "model_params": model.params,
            "training_data": subject.train.fingerprint,
            "validation_data": subject.validation.fingerprint,
            "n_rows": subject.train.n_rows,
            "n_units": subject.n_units,
            "by": subject.by if subject.by == "example" else subject.train.columns.source,
            "n_queries": len(subject.chosen),
            "n_validation": len(subject.asked),
            "outcome": subject.outcome,
            "keep": list(self.keep),
            "masks": self.masks,
            "starts": self.starts,
            "optimum": self.optimum,
            "seed": subject.seed,
        }
