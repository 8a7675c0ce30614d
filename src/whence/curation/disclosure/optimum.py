"""What a disclosure looks at of factor models, whose optimum can be reached for any strategy."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from whence.attribution.record import plain_values
from whence.curation.disclosure.calibration import FACTORS, LAMS, Calibration
from whence.curation.disclosure.measuring import HALF, Measured
from whence.curation.disclosure.retraining import Yardstick
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import FloatArray, Mask, worthwhile
from whence.data import Interactions
from whence.engines import ListJob, identity_of
from whence.engines import run as run_job
from whence.errors import DataWarning
from whence.influence.functions import Objective, descend

_NEAR = 0.5


@dataclass(frozen=True)
class MeasuredAtOptimum(Measured):
    """A factor model at its optimum; see `Measured`."""

    @cached_property
    def influences(self) -> FloatArray:
        """See `Measured`."""

        def measure() -> dict[str, Any]:
            facts: dict[str, Any] = {}
            values = self.sum_over_users(self.objective, self.yardstick, facts)
            return {"values": values, "facts": plain_values(facts)}

        found = self.recall("influences", measure)
        self.facts.update(found["facts"])
        values: FloatArray = found["values"]
        return values

    @cached_property
    def values(self) -> FloatArray:
        """See `Measured`."""
        return self.expected(self.influences)

    @property
    def quality_of_all(self) -> float:
        """See `Measured`."""
        return self.yardstick.of_objective(self.objective)

    def trained_quality(self, mask: Mask) -> float:
        """See `Measured`."""
        return self.trained(mask)[1]

    def sum_over_users(
        self, objective: Objective, yardstick: Yardstick, facts: dict[str, Any] | None = None
    ) -> FloatArray:
        """Σ_u V[u, s] by row, float64 [n_rows]; what is to be known of it is put into `facts`."""
        question = yardstick.question
        work = self.influence.work_on(self.model, None, objective=objective, question=question)
        rows = self.by_row(work.mean() * len(question))
        if facts is not None:
            facts.update(work.facts)
        return rows

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
        return Calibration(**self.recall("calibration", self._calibrate))

    def _calibrate(self) -> dict[str, float]:
        usual = float(np.median(self.beta)) or float(self.beta.mean()) or 1.0
        influences, halves, worth = self.influences, self._halves(), self.worth
        with warnings.catch_warnings():  # what there is to say, the influences have said
            warnings.simplefilter("ignore", DataWarning)
            measured = [self.sum_over_users(self.objective, seen) for seen, _ in halves]
        unseen = [other for _, other in halves]
        job = Believed(self, measured, unseen, worth, [share * worth / usual for share in LAMS])
        shards = list(product(range(len(halves)), range(len(FACTORS)), range(len(LAMS))))
        found = run_job(
            job, shards, self.run, message="how much influences are worth",
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
        near = bool(mask.mean() > _NEAR)
        there, _ = descend(objective, tolerance=self.recipe.tolerance, warm=near)
        return there, yardstick.of_objective(there)

    def anchored(self, mask: Mask) -> Anchor:
        """See `Measured`."""

        def train() -> dict[str, Any]:
            objective, quality = self.trained(mask)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                values = self.expected(self.sum_over_users(objective, self.yardstick))
            return {"quality": quality, "values": values}

        return Anchor(mask, **self.recall(f"anchor {identity_of(np.packbits(mask))}", train))

    def _halves(self) -> list[tuple[Yardstick, Yardstick]]:
        """The validation data in two halves, each once to measure influence on."""
        data = Interactions.from_frame(self.validation)
        first = np.random.default_rng([self.seed, HALF, 1]).permutation(data.n_rows) % 2 == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            a, b = (
                Yardstick.of(self.model, data.keep_rows(m), self.outcome) for m in (first, ~first)
            )
        return [(a, b), (b, a)]


@dataclass(frozen=True)
class Believed(ListJob[tuple[int, int, int], float]):
    """Rewards of what is disclosed by the influence on one half, seen from the other.

    A shard is the number of the half, of the factor by which its influences are believed, and of
    λ; the reward is that of a retrained model.

    Attributes
    ----------
    measured : MeasuredAtOptimum
    influences : list of float64 [n_rows]
        Measured on each half.
    unseen : list of Yardstick
        The other half, of each.
    worth : float
        See `Calibration`.
    lams : list of float
    """

    alone = True

    measured: MeasuredAtOptimum
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
