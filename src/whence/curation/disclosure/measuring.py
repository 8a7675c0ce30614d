"""What a disclosure looks at: influences, retrained qualities, and what to expect of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.attribution.record import plain_values
from whence.curation.disclosure.calibration import FACTORS, LAMS, Calibration
from whence.curation.disclosure.retraining import Recipe, Yardstick
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import FloatArray, Mask, worthwhile
from whence.data import Interactions
from whence.engines import Checkpoints, ListJob, Run, identity_of
from whence.engines import run as run_job
from whence.errors import DataWarning, UnsupportedError
from whence.influence.functions import (
    InfluenceFunction,
    Objective,
    descend,
    factor_loss,
    objective_of,
)
from whence.models.training import PairExamples, WindowExamples

_HALF = 0x4A1F
_NEAR = 0.5


@dataclass(frozen=True)
class Measured:
    """A model, the validation data it is measured on, and how.

    Attributes
    ----------
    model : DifferentiableRecommender
        Trained on everything.
    validation : Interactions or data frame
    beta : float64 [n_rows]
    influence : InfluenceFunction
    calibrate : bool
    tolerance : float
    seed : int
    run : Run
        How the work is done.
    kept : Checkpoints, optional
        Where what was measured is kept, under stages that begin with `stage`.
    stage : str
    facts : dict
        What is to be known of `influences`: the gradient left, the solver's residual and so on.
    """

    model: Any
    validation: Any
    beta: FloatArray
    influence: InfluenceFunction
    calibrate: bool
    tolerance: float
    seed: int
    run: Run
    kept: Checkpoints | None = None
    stage: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def objective(self) -> Objective:
        """Of the model."""
        return objective_of(self.model)

    @cached_property
    def yardstick(self) -> Yardstick:
        """The quality on the validation data."""
        return Yardstick.of(self.model, self.validation)

    @cached_property
    def recipe(self) -> Recipe:
        """How models are trained."""
        return Recipe(self.model, self.tolerance)

    @cached_property
    def example_rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row of each training example, int64 [E], and each row's example, -1 for none."""
        numbers = np.arange(self.objective.n_examples)
        rows, offsets = self.model.examples_.rows(numbers)
        row = rows[offsets[1:] - 1]
        example = np.full(len(self.beta), -1, dtype=np.int64)
        example[row] = numbers
        return row, example

    def by_row(self, scores: FloatArray) -> FloatArray:
        """Scores of examples as scores of rows; 0 for rows that are no target."""
        example = self.example_rows[1]
        rows: FloatArray = np.where(example >= 0, scores[np.maximum(example, 0)], 0.0)
        return rows

    def values(
        self, objective: Objective, yardstick: Yardstick, facts: dict[str, Any] | None = None
    ) -> FloatArray:
        """Σ_u V[u, s] by row, float64 [n_rows]; what is to be known of it is put into `facts`."""
        question = yardstick.question
        work = self.influence.work_on(self.model, None, objective=objective, question=question)
        rows = self.by_row(work.mean() * len(question))
        if facts is not None:
            facts.update(work.facts)
        return rows

    @cached_property
    def influences(self) -> FloatArray:
        """Σ_u V[u, s] at full disclosure, float64 [n_rows]."""

        def measure() -> dict[str, Any]:
            facts: dict[str, Any] = {}
            values = self.values(self.objective, self.yardstick, facts)
            return {"values": values, "facts": plain_values(facts)}

        found = self._recall("influences", measure)
        self.facts.update(found["facts"])
        values: FloatArray = found["values"]
        return values

    def expected(self, influences: FloatArray) -> FloatArray:
        """Influences, calibrated if that is wanted."""
        own = self.calibration
        if own is None:
            return influences
        return Calibration.of(influences, own.worth, own.factor)(influences)

    @cached_property
    def calibration(self) -> Calibration | None:
        """How influences become expected worth; None if they are taken to the letter."""
        if not self.calibrate:
            return None
        return Calibration(**self._recall("calibration", self._calibrate))

    def _calibrate(self) -> dict[str, float]:
        half = np.random.default_rng([self.seed, _HALF]).permutation(len(self.beta)) % 2 == 0
        lost = self.yardstick.of_objective(self.objective) - self.trained(half)[1]
        worth = max(lost, 0.0) / int((~half).sum())
        usual = float(np.median(self.beta)) or float(self.beta.mean()) or 1.0
        influences, halves = self.influences, self._halves()
        with warnings.catch_warnings():  # what there is to say, the influences have said
            warnings.simplefilter("ignore", DataWarning)
            measured = [self.values(self.objective, seen) for seen, _ in halves]
        unseen = [other for _, other in halves]
        job = Believed(self, measured, unseen, worth, [share * worth / usual for share in LAMS])
        shards = list(product(range(len(halves)), range(len(FACTORS)), range(len(LAMS))))
        found = run_job(
            job, shards, self.run.changed(threads=1), message="how much influences are worth",
            kept=self.kept, stage=f"{self.stage}halves",
        )  # fmt: skip
        rewards = np.zeros(len(FACTORS))
        for (_, place, _), reward in zip(shards, found):
            rewards[place] += reward
        factor = FACTORS[int(np.argmax(rewards))]
        calibration = Calibration.of(
            influences, worth, Calibration.factor_of_all(factor, measured[0], measured[1])
        )
        return asdict(calibration)

    def trained(self, mask: Mask, yardstick: Yardstick | None = None) -> tuple[Objective, float]:
        """The objective at the optimum for a strategy, and the quality there."""
        yardstick = yardstick or self.yardstick
        objective = self.objective.weighted(mask[self.example_rows[0]].astype(np.float64))
        if factor_loss(self.model) is None:
            model = self.recipe.train(self.model.train_.keep_rows(mask))
            there = objective.at(objective_of(model).theta)
            return there, float(yardstick.by_user(model).sum())
        near = bool(mask.mean() > _NEAR)
        there, _ = descend(objective, tolerance=self.tolerance, warm=near)
        return there, yardstick.of_objective(there)

    def anchored(self, mask: Mask) -> Anchor:
        """Train for a strategy, and see what each interaction is worth there."""

        def train() -> dict[str, Any]:
            objective, quality = self.trained(mask)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                values = self.expected(self.values(objective, self.yardstick))
            return {"quality": quality, "values": values}

        return Anchor(mask, **self._recall(f"anchor {identity_of(np.packbits(mask))}", train))

    def _recall(self, name: str, compute: Callable[[], Any]) -> Any:
        """What was computed and kept before, or is now."""
        return compute() if self.kept is None else self.kept.recall(f"{self.stage}{name}", compute)

    def _halves(self) -> list[tuple[Yardstick, Yardstick]]:
        """The validation data in two halves, each once to measure influence on."""
        data = Interactions.from_frame(self.validation)
        first = np.random.default_rng([self.seed, _HALF, 1]).permutation(data.n_rows) % 2 == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            a, b = (Yardstick.of(self.model, data.keep_rows(m)) for m in (first, ~first))
        return [(a, b), (b, a)]


@dataclass(frozen=True)
class Believed(ListJob[tuple[int, int, int], float]):
    """Rewards of what is disclosed by the influence on one half, seen from the other.

    A shard is the number of the half, of the factor by which its influences are believed, and of
    λ; the reward is that of a retrained model.

    Attributes
    ----------
    measured : Measured
    influences : list of float64 [n_rows]
        Measured on each half.
    unseen : list of Yardstick
        The other half, of each.
    worth : float
        See `Calibration`.
    lams : list of float
    """

    measured: Measured
    influences: list[FloatArray]
    unseen: list[Yardstick]
    worth: float
    lams: list[float]

    def run(self, shard: tuple[int, int, int]) -> float:
        """Choose, retrain and measure."""
        half, place, number = shard
        values, lam, beta = self.influences[half], self.lams[number], self.measured.beta
        expected = Calibration.of(values, self.worth, FACTORS[place])(values)
        mask = worthwhile(expected, beta, lam)
        return self.measured.trained(mask, self.unseen[half])[1] - lam * float(beta[mask].sum())


def check_examples(model: Any) -> None:
    """Raise UnsupportedError if single interactions cannot be taken out of a model's loss."""
    examples, name = model.examples_, type(model).__name__
    if isinstance(examples, WindowExamples) and examples.positions != "last":
        raise UnsupportedError(
            f"{name} learns from whole windows at once, so that single interactions cannot be "
            "taken out of its loss; train it with positions='last'."
        )
    if not isinstance(examples, (PairExamples, WindowExamples)):
        raise UnsupportedError(
            f"{name} learns from whole histories, so that single interactions cannot be taken "
            "out of its loss; choose a model whose examples are interactions, such as BiasedMF."
        )
