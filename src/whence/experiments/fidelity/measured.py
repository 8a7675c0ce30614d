"""What was measured by retraining, and what methods predicted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.experiments.fidelity.removals import NOTHING, Removal, key_of
from whence.experiments.fidelity.scores import mean_and_interval, metasmoothness

FloatArray = npt.NDArray[np.float64]


@dataclass
class Measured:
    """Outcomes of retraining.

    Attributes
    ----------
    removals : list of Removal
    seeds : list of int
        That of this run first, then those of further starts.
    pairs : list
        A mask, another without what both have, and both together.
    known : dict
        Outcomes [1 + K], the larger the better, and processor seconds, by key.
    is_loss : bool
    """

    removals: list[Removal]
    seeds: list[int]
    pairs: list[tuple[Removal, Removal, Removal]]
    known: dict[str, FloatArray]
    is_loss: bool

    def outcomes(self, seed: int, removal: Removal) -> FloatArray:
        """Outcomes, the mean first, float64 [1 + K]."""
        return self.known[key_of(seed, removal.units)][:-1]

    def losses(self, seed: int) -> FloatArray:
        """What each outcome loses by each removal, float64 [removals, 1 + K]."""
        whole = self.outcomes(seed, NOTHING)
        without = np.array([self.outcomes(seed, one) for one in self.removals])
        return np.asarray(whole - without)

    def expected(self) -> FloatArray:
        """The same, in the mean over the further starts."""
        return np.asarray(np.mean([self.losses(seed) for seed in self.seeds[1:]], axis=0))

    @property
    def seconds(self) -> float:
        """Of the processor, for one retraining."""
        return float(np.mean([values[-1] for values in self.known.values()]))

    def smoothness(self) -> dict[str, Any]:
        """Metasmoothness over pairs of masks, with its interval."""
        seed = self.seeds[0]
        whole = self.outcomes(seed, NOTHING)
        values = np.array([
            metasmoothness(
                (whole - self.outcomes(seed, one))[1:],
                (self.outcomes(seed, other) - self.outcomes(seed, both))[1:],
            )
            for one, other, both in self.pairs
        ])  # fmt: skip
        if not len(values):
            return {}
        mean, low, high = mean_and_interval(values)
        return {"mean": mean, "low": low, "high": high, "n_pairs": len(values)}


@dataclass
class Predicted:
    """What a method says, by run.

    Attributes
    ----------
    method : str
    is_control : bool
        Whether its values do not depend on the query, and are of one run.
    total : list of float64 [removals]
    single : list of float64 [removals, K]
    seconds, seconds_single : list of float
    strongest : int64 [queries, n] or None
        Proponents of the first queries, in the first run.
    gone : list of Removal
        What is left out for them.
    why : str
        Why there is nothing.
    note : str
        Why there is nothing of single queries.
    """

    method: str
    is_control: bool = False
    total: list[FloatArray] = field(default_factory=list)
    single: list[FloatArray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    seconds_single: list[float] = field(default_factory=list)
    strongest: Any = None
    gone: list[Removal] = field(default_factory=list)
    why: str = ""
    note: str = ""

    def add(self, state: Mapping[str, Any]) -> None:
        """Add a run."""
        self.total.append(np.asarray(state["total"]))
        self.seconds.append(state["seconds"])
        self.note = state["why"]
        if state["single"] is not None:
            self.single.append(np.asarray(state["single"]))
            self.seconds_single.append(state["seconds_single"])
        if state["strongest"] is not None and self.strongest is None:
            self.strongest = np.asarray(state["strongest"])

    def changes(self, runs: int, n_outcomes: int) -> FloatArray | None:
        """Mean over the first runs, float64 [removals, 1 + K]; of unknown ones NaN."""
        if self.why or len(self.total) < runs:
            return None
        total = np.mean(self.total[:runs], axis=0)
        single = np.full((len(total), n_outcomes - 1), np.nan)
        if self.single:
            single = np.mean(self.single[:runs], axis=0)
        return np.column_stack([total, single])
