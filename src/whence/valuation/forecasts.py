"""What a valuation will take: said after each round, from what the rounds before took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from whence.engines.progress import Report
from whence.valuation.rounds import SAMPLED, Estimate


@dataclass
class Pace:
    """Report progress, and note how long the work takes.

    The first part of a round also pays for what is made once, and is not counted.

    Attributes
    ----------
    report : callable
        What is called in turn; see `whence.engines.progress.Report`.
    work : float
        Done before.
    """

    report: Report
    work: float = 0.0
    _first: tuple[float, float] | None = None
    _last: tuple[float, float] = (0.0, 0.0)
    _worked: float = 0.0
    _took: float = 0.0

    def __call__(self, done: float, total: float, message: str) -> None:
        """Tell, and note when."""
        share = done / total if total else 0.0
        self._last = time.monotonic(), share
        if self._first is None and share > 0:
            self._first = self._last
        self.report(done, total, message)

    def end_of_round(self, work: float) -> None:
        """Note that a round is over.

        Parameters
        ----------
        work : float
            Done in all rounds.
        """
        round_work, self.work = work - self.work, work
        if self._first is not None and self._last[1] > self._first[1]:
            self._worked += round_work * (self._last[1] - self._first[1])
            self._took += self._last[0] - self._first[0]
        self._first = None

    @property
    def seconds_per_work(self) -> float:
        """NaN as long as there is nothing to go by."""
        return self._took / self._worked if self._worked > 0 else float("nan")


@dataclass(frozen=True)
class Forecast:
    """When a valuation will stop, and how precise it will be.

    Attributes
    ----------
    seconds : float
        Left; NaN if unknown.
    relative_error : float
        Then.
    stopped : {"tolerance", "max_permutations"}
        Why.
    """

    seconds: float
    relative_error: float
    stopped: str

    def __str__(self) -> str:
        """Say it in a few words, such as "about 4 minutes to 10%"."""
        text = f"{_duration(self.seconds)} to {100 * self.relative_error:.2g}%"
        if self.stopped == "max_permutations":
            text += ", which is what the permutations allowed will give"
        return text


def forecast(
    estimate: Estimate, pace: Pace, budget: float, tolerance: float, by_variance: bool
) -> Forecast:
    """Say when a valuation will stop.

    With replicates in proportion to the root of variance over cost, the squared error of all the
    work W is (sum of roots of variance times cost)**2 / W; of as many replicates for every query
    (sum of variances) * (sum of costs) / W. What the error was measured to be, with the replicates
    of the rounds so far, says how much of the mean standard error that is.

    Parameters
    ----------
    estimate : Estimate
    pace : Pace
    budget : float
        Work allowed in all.
    tolerance : float
        The relative error wanted.
    by_variance : bool
        How the replicates are shared out; see `whence.valuation.rounds.next_units`.
    """
    sampled = estimate.status == SAMPLED
    spread, cost = estimate.unit_spread[sampled], estimate.unit_work[sampled]
    spent, error = float(estimate.work.sum()), estimate.relative_error
    now = float((spread / np.maximum(estimate.drawn[sampled], 1)).sum())
    best = float(np.sqrt(spread * cost).sum()) ** 2
    if not by_variance:
        best = float(spread.sum() * cost.sum())
    # Squared error times work.
    price = error**2 * best / now if now > 0 else 0.0
    needed = price / tolerance**2 if tolerance > 0 else float("inf")
    left = max(min(needed, budget) - spent, 0.0)
    reached = tolerance if needed <= budget else min(error, float(np.sqrt(price / budget)))
    stopped = "tolerance" if needed <= budget else "max_permutations"
    return Forecast(left * pace.seconds_per_work, reached, stopped)


def record_of(estimate: Estimate, ahead: Forecast) -> dict[str, Any]:
    """A round, for callbacks."""
    return {
        "round": len(estimate.units),
        "relative_error": estimate.relative_error,
        "forecast": {
            "seconds": None if np.isnan(ahead.seconds) else ahead.seconds,
            "relative_error": ahead.relative_error,
            "stopped": ahead.stopped,
        },
    }


def _duration(seconds: float) -> str:
    """Seconds in words, in a unit of which there are a few."""
    if np.isnan(seconds):
        return "unknown time"
    if seconds < 1:
        return "less than a second"
    units = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
    length, name = next((one for one in units if seconds >= 1.5 * one[0]), units[-1])
    n = round(seconds / length)
    return f"about {n} {name}{'' if n == 1 else 's'}"
