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
from whence.curation.disclosure.replaying import replayed_halves
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import FloatArray, Mask
from whence.engines import identity_of
from whence.errors import DataWarning
from whence.influence.functions import objective_of
from whence.influence.replay import Replay


@dataclass(frozen=True)
class MeasuredNetwork(Measured):
    """A network as its training left it; see `Measured`.

    Influences are measured on two halves of the validation data, and of what they agree in is
    made what to expect; see `whence.curation.disclosure.reliability`.
    """

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
        """See `Measured`."""
        return float(self.yardstick.by_user(self.model).sum())

    def trained_quality(self, mask: Mask) -> float:
        """See `Measured`."""
        return float(self.yardstick.by_user(self._trained(mask)).sum())

    def anchored(self, mask: Mask) -> Anchor:
        """See `Measured`."""

        def train() -> dict[str, Any]:
            model = self._trained(mask)
            quality = float(self.yardstick.by_user(model).sum())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                halves, _ = self._on_halves(model, mask)
            values = self._expected(halves)[0] if self.calibrate else halves.mean(axis=0)
            return {"quality": quality, "values": values}

        return Anchor(mask, **self.recall(f"anchor {identity_of(np.packbits(mask))}", train))

    @cached_property
    def _halves(self) -> FloatArray:
        """Σ_u V[u, s] on each half of the validation data, float64 [2, n_rows]."""

        def measure() -> dict[str, Any]:
            halves, facts = self._on_halves(self.model, None)
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

    def _trained(self, mask: Mask) -> Any:
        return self.recipe.train(self.model.train_.keep_rows(mask))

    def _on_halves(self, model: Any, mask: Mask | None) -> tuple[FloatArray, dict[str, Any]]:
        """Σ_u V[u, s] at a model, trained on what a mask leaves, and what is to be known of it."""
        whole = self.yardstick.asked_of(model)
        rng = np.random.default_rng([self.seed, HALF, 1])
        question, shares = in_halves(whole, rng)
        if isinstance(self.influence, Replay):
            halves = replayed_halves(self.influence, model, question, shares) * len(whole)
            if mask is None:
                return self.by_row(halves), {"runs": self.influence.runs}
            # What is withheld was no part of this training: its worth is that of all the data.
            values = self._halves.copy()
            rows, offsets = model.examples_.rows(np.arange(halves.shape[1]))
            values[:, np.flatnonzero(mask)[rows[offsets[1:] - 1]]] = halves
            return values, {}
        here = None
        if mask is not None:
            # The examples are those of all rows, as what is withheld has a worth, too.
            here = self.influence.work_on(self.model, None, question=question).objective
            here = here.weighted(mask[self.example_rows[0]].astype(np.float64))
            here = here.at(objective_of(model).theta)
        work = self.influence.work_on(self.model, None, objective=here, question=question)
        return self.by_row(work.means(shares) * len(whole)), work.facts
