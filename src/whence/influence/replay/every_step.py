"""TracIn over every step of training, of which no checkpoint is needed: training is done again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels
from whence.engines import Checkpoints, Run, part_of, reporter, settled
from whence.engines.progress import Report
from whence.errors import ParameterError, UnsupportedError
from whence.influence.checkpoints import resolve_states
from whence.influence.comparison import typed
from whence.influence.credit import check_credit
from whence.influence.passes import SIDES, Arrays, empty_lists
from whence.influence.replay.outcomes import Losses
from whence.influence.replay.replayed import Replayed
from whence.influence.replay.training import TrainingMap, replaying
from whence.influence.result import Influence
from whence.influence.selection import selected_names
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]

_TOGETHER = 1 << 25
"""Numbers in the gradients of the queries that go through training together."""

_WEIGHTING = {"sgd": "sgd", "adam": "adam", "adamw": "adam", "adagrad": "adagrad"}


def weighting_of_training(model: Any, weighting: str | None) -> str:
    """The weighting of gradients at every step: that of the optimiser, unless it is said.

    Raises
    ------
    UnsupportedError
        If the optimiser does not move like that.
    """
    own = _WEIGHTING.get(model.optimizer, "sgd")
    if weighting not in (None, "sgd", own):
        raise UnsupportedError(
            f"weighting={weighting!r} is not that of {model.optimizer}, by which the model was "
            f"trained; with every_step=True it is {own!r} or 'sgd'."
        )
    return weighting or own


def attribute(method: Any, model: Any, data: Any, run: Run | None) -> Influence:
    """Sums over all queries; see `TracIn.attribute`."""
    steps = EveryStep.of(method, model, data, run)
    with steps.working(method, "attribute") as kept, steps.reporting() as report:
        scores = steps.scores(report, kept=kept)
    return steps.answer(method, scores[0])


def per_query(
    method: Any, model: Any, data: Any, n: int, run: Run | None
) -> tuple[EveryStep, Arrays]:
    """What was asked, and unordered lists; see `whence.influence.passes.Strongest`."""
    steps = EveryStep.of(method, model, data, run)
    n = min(n, steps.replayed.n)
    found = empty_lists(steps.replayed.n, len(steps.replayed.outcome), n)
    with steps.working(method, f"per_query {n}") as kept, steps.reporting() as report:
        for (start, stop), scores in steps.blocks(report, kept):
            found["scores"] += scores.sum(axis=0)
            for side, sign in SIDES.items():
                best, numbers = (found[f"{side}_{what}"] for what in ("scores", "examples"))
                kernels.keep_largest(
                    np.ascontiguousarray(scores.T), sign, 0, best[start:stop], numbers[start:stop]
                )
    return steps, found


def matrix(method: Any, model: Any, data: Any, out: Any, run: Run | None) -> Any:
    """Scores of all pairs, [n, Q]; `out` makes the array that they go to, of a shape."""
    steps = EveryStep.of(method, model, data, run)
    written = out((steps.replayed.n, len(steps.replayed.outcome)))
    with steps.working(method, "matrix") as kept, steps.reporting() as report:
        for queries, scores in steps.blocks(report, kept):
            written[:, slice(*queries)] = scores.T
    return written


@dataclass(frozen=True)
class EveryStep:
    """Products of gradients at every step of training.

    Attributes
    ----------
    replayed : Replayed
    weighting : {"sgd", "adam", "adagrad"}
    mask : Tensor [P] or None
        1 for the parameters that count.
    """

    replayed: Replayed
    weighting: str
    mask: Tensor | None = None

    @classmethod
    def of(cls, method: Any, model: Any, data: Any, run: Run | None) -> EveryStep:
        """Check a call of a method.

        Raises
        ------
        UnsupportedError, NotFittedError
            If training cannot be done again.
        ParameterError
            If a setting of the method has no meaning here.
        DataError
            If no query is left.
        """
        method._check_params()
        _check(method)
        Replayed.check(model)
        check_credit(model.train_, model.examples_, method.by, places=False)
        weighting = weighting_of_training(model, method.weighting)
        epochs = None if method.until == "best" else len(model.history_) or model.epochs
        asked = Losses(model, data)
        replayed = Replayed(model, asked, settled(run, method), method.precision, epochs)
        replayed.check_memory(8)
        return cls(replayed, weighting, _mask(replayed, method.layers))

    def working(self, method: Any, what: str) -> Any:
        """What has been done in the folder of the run."""
        skipped = ("threads", "by", "checkpoints", "top")
        params = {name: value for name, value in method.params.items() if name not in skipped}
        return self.replayed.working(f"{method.name}, every step: {what}", params)

    def reporting(self) -> Any:
        """Progress of the run."""
        return reporter(self.replayed.run.progress)

    def answer(self, method: Any, scores: FloatArray, **facts: Any) -> Influence:
        """Wrap sums over queries into the result type."""
        skipped = ("checkpoints", "by", "threads")
        params = {name: value for name, value in method.params.items() if name not in skipped}

        def scores_of(query: int) -> FloatArray:
            threads = torch_threads(self.replayed.model.torch_threads)
            with threads, reporter(False) as report:
                return np.asarray(self.scores(report, (query, query + 1))[0])

        facts = {"params": params, "weighting": self.weighting, **facts}
        return self.replayed.answer(method, scores[None], scores_of, **facts)

    def blocks(
        self, report: Report, kept: Checkpoints
    ) -> Iterator[tuple[tuple[int, int], FloatArray]]:
        """Queries that go through training together, and the scores for them, float64 [q, n]."""
        n = len(self.replayed.outcome)
        size = max(1, _TOGETHER // len(self.replayed.trained))
        starts = range(0, n, size)
        for place, start in enumerate(starts):
            queries, stage = (start, min(start + size, n)), f"block-{place}"
            scores = kept.load(stage)
            if scores is None:
                told = part_of(report, place, len(starts))
                scores = self.scores(told, queries, kept, f"{stage}-steps")
                kept.save(stage, scores)
                kept.drop(f"{stage}-steps")
            yield queries, scores

    def scores(
        self,
        report: Report,
        queries: tuple[int, int] | None = None,
        kept: Checkpoints | None = None,
        stage: str = "steps",
    ) -> FloatArray:
        """Scores of all examples.

        Parameters
        ----------
        report : callable
            Told of the steps.
        queries : (int, int), optional
            First of some queries, and the one after the last; by default their sum.
        kept : Checkpoints, optional
            Where what is done is kept, as `stage`.

        Returns
        -------
        float64 [Q, n]
            One row for the sum.
        """
        replayed = self.replayed
        training, n = replayed.training(), replayed.first.n_steps
        rows = 1 if queries is None else queries[1] - queries[0]
        scores = torch.zeros(rows, training.n, dtype=torch.float64)
        state, done = training.start(), 0
        before = None if kept is None else kept.load(stage)
        if before is not None:
            done, scores = before["done"], torch.from_numpy(before["scores"].copy())
            state = tuple(torch.from_numpy(part).to(state[0]) for part in before["state"])
        with replaying(training.model):
            for number in range(done + 1, n + 1):
                parameters = state[0].detach().requires_grad_()
                gradient, weights, numbers = training.weighted_gradient(parameters, number)
                after = training.moved(state, gradient.detach(), number)
                directions = self._directions(training, parameters, queries)
                # Steps go against the gradient of the loss.
                factor = -training.rate(number) * training.step.clipping(gradient.detach())
                if self.weighting != "sgd":
                    factor = factor * training.step.scale(after, number)
                if self.mask is not None:
                    factor = factor * self.mask
                own = _products(gradient, weights, [one * factor for one in directions])
                scores.index_add_(1, torch.from_numpy(numbers), own.to("cpu", torch.float64))
                state = after
                replayed.compare(number, state)
                report(number, n, "training again")
                if kept is not None and kept.is_due:
                    parts = [part.numpy(force=True) for part in state]
                    one = {"done": number, "scores": scores.numpy(), "state": parts}
                    kept.save(stage, one)
        return scores.numpy()

    def _directions(
        self, training: TrainingMap, parameters: Tensor, queries: tuple[int, int] | None
    ) -> list[Tensor]:
        outcome = self.replayed.outcome
        if queries is None:
            return [outcome.slope(training, parameters) * len(outcome)]
        return outcome.slopes(training, parameters, *queries)


def _products(gradient: Tensor, weights: Tensor, directions: Sequence[Tensor]) -> Tensor:
    """Products of the parts that examples have in a gradient with vectors, Tensor [Q, b]."""
    rows = list[Tensor]()
    for place, direction in enumerate(directions):
        last = place + 1 == len(directions)
        rows += torch.autograd.grad(gradient, weights, direction, retain_graph=not last)
    return torch.stack(rows)


def _mask(replayed: Replayed, layers: Any) -> Tensor | None:
    """Which parameters count, 0 or 1, Tensor [P]; None for all."""
    if layers == "all":
        return None
    training, model = replayed.first, replayed.model
    (state,), _ = resolve_states(model, "final", None, replayed.dtype)
    few = typed(model.examples_.batch(np.arange(min(3, replayed.n))), replayed.dtype)
    chosen = selected_names(state, list(training.named(replayed.trained)), layers, few)
    return training.vector({
        name: torch.full_like(part, float(name in chosen))
        for name, part in training.named(replayed.trained).items()
    })  # fmt: skip


def _check(method: Any) -> None:
    """Refuse settings of TracIn that have no meaning where training is done again."""
    usual = method.parameter_defaults()
    for name in ("checkpoints", "learning_rate", "normalise"):
        if getattr(method, name) is not usual[name]:
            raise ParameterError(
                f"{name} has no meaning with every_step=True, which goes through the steps of "
                "training itself; leave one of them out."
            )
