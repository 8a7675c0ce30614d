"""What a disclosure looks at of networks, which are trained again for every strategy."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whence.attribution.record import plain_values
from whence.curation.disclosure.measuring import HALF, Measured
from whence.curation.disclosure.reliability import Reliability, in_halves, shrunk
from whence.curation.disclosure.replaying import Qualities
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import FloatArray, Mask
from whence.engines import identity_of
from whence.errors import DataWarning
from whence.influence.functions import Question, objective_of
from whence.influence.replay import Replay


@dataclass(frozen=True)
class MeasuredNetwork(Measured):
    """A network as its training left it; see `Measured`.

    Influences are measured on two halves of the validation data, and of what they agree in is
    made what to expect; see `whence.curation.disclosure.reliability`.

    Attributes
    ----------
    runs : int
        Trainings from as many starts, the model's own first.
    """

    runs: int = 1

    @cached_property
    def influences(self) -> FloatArray:
        """See `Measured`."""
        mean: FloatArray = self._halves.mean(axis=0)
        return mean

    @cached_property
    def values(self) -> FloatArray:
        """See `Measured`: what the average row is worth, and what each is worth above it."""
        if not self.calibrate:
            return self.influences
        expected = self._shrunk[0]
        return self.worth + expected - float(expected.mean())

    @property
    def reliability(self) -> Reliability | None:
        """See `Measured`."""
        return self._shrunk[1] if self.calibrate else None

    @cached_property
    def quality_of_all(self) -> float:
        """See `Measured`: mean over the runs."""
        return self._quality(self._whole)

    def trained_quality(self, mask: Mask) -> float:
        """See `Measured`: mean over the runs."""
        return self._quality(self._trained(mask))

    def anchored(self, mask: Mask) -> Anchor:
        """See `Measured`."""

        def train() -> dict[str, Any]:
            models = self._trained(mask)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                halves, _ = self._on_halves(models, mask)
            values = self._expected(halves)[0] if self.calibrate else halves.mean(axis=0)
            return {"quality": self._quality(models), "values": values}

        return Anchor(mask, **self.recall(f"anchor {identity_of(np.packbits(mask))}", train))

    @cached_property
    def _halves(self) -> FloatArray:
        """Σ_u V[u, s] on each half of the validation data, float64 [2, n_rows]."""

        def measure() -> dict[str, Any]:
            halves, facts = self._on_halves(self._whole, None)
            return {"values": halves, "facts": plain_values(facts)}

        found = self.recall("influences", measure)
        self.facts.update(found["facts"])
        halves: FloatArray = found["values"]
        return halves

    @cached_property
    def _shrunk(self) -> tuple[FloatArray, Reliability]:
        values, found = self._expected(self._halves)
        self.facts["reliability"] = asdict(found)
        return values, found

    def _expected(self, halves: FloatArray) -> tuple[FloatArray, Reliability]:
        """What is to be expected of influences, by row; of rows of no example, the mean."""
        known = self.example_rows[1] >= 0
        users, items = (codes[known] for codes in self.codes)
        some, found = shrunk(halves[:, known], users, items)
        values = np.full(len(known), some.mean() if len(some) else 0.0)
        values[known] = some
        return values, found

    @cached_property
    def _whole(self) -> list[Any]:
        """Models of all rows, from each start."""
        train, seed = self.model.train_, self.model.seed
        return [
            self.model if not run else self.recipe.train(train, seed + run)
            for run in range(self.runs)
        ]

    def _trained(self, mask: Mask) -> list[Any]:
        """Models of what a mask leaves, from each start."""
        left, seed = self.model.train_.keep_rows(mask), self.model.seed
        return [self.recipe.train(left, seed + run) for run in range(self.runs)]

    def _quality(self, models: list[Any]) -> float:
        return float(np.mean([self.yardstick.by_user(model).sum() for model in models]))

    def _on_halves(self, models: list[Any], mask: Mask | None) -> tuple[FloatArray, dict[str, Any]]:
        """Σ_u V[u, s] on each half, float64 [2, n_rows], and what is to be known of it.

        Of several runs, every second one is asked for the first half and the others for the
        second, so that what the halves agree in is no accident of a run either.
        """
        found: list[list[FloatArray]] = [[], []]
        facts: dict[str, Any] = {}
        for run, model in enumerate(models):
            wanted = [0, 1] if len(models) == 1 else [run % 2]
            whole = self.yardstick.asked_of(model)
            rng = np.random.default_rng([self.seed, HALF, 1])
            question, shares = in_halves(whole, rng)
            if isinstance(self.influence, Replay):
                values = self._replayed(model, mask, question, shares[wanted])
            else:
                values, facts = self._influence(model, mask, question, shares[wanted])
            for half, part in zip(wanted, values * len(whole)):
                found[half].append(part)
        halves = np.stack([np.mean(parts, axis=0) for parts in found])
        if mask is not None and isinstance(self.influence, Replay):
            # What is withheld was no part of that training: its worth is that of all the data.
            halves = np.where(mask, halves, self._halves)
        return halves, facts

    def _influence(
        self, model: Any, mask: Mask | None, question: Question, shares: FloatArray
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Influence functions at a model, by row, float64 [R, n_rows]."""
        here = None
        if mask is not None:
            # The examples are those of all rows, as what is withheld has a worth, too.
            here = self.influence.work_on(self.model, None, question=question).objective
            here = here.weighted(mask[self.example_rows[0]].astype(np.float64))
            here = here.at(objective_of(model).theta)
        work = self.influence.work_on(model, None, objective=here, question=question)
        return self.by_row(work.means(shares)), work.facts

    def _replayed(
        self, model: Any, mask: Mask | None, question: Question, shares: FloatArray
    ) -> FloatArray:
        """Values of replayed training, by row, float64 [R, n_rows]; 0 for what was withheld."""
        method = Replay(precision=self.influence.precision)
        values = method.matrix(model, Qualities(question, shares)).T
        if mask is None:
            return self.by_row(values)
        rows, offsets = model.examples_.rows(np.arange(values.shape[1]))
        out = np.zeros((len(values), len(mask)))
        out[:, np.flatnonzero(mask)[rows[offsets[1:] - 1]]] = values
        return out
