"""What strategies choose over λ, all from the influence at full disclosure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.curation.disclosure.retraining import Yardstick
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import SIZED, named
from whence.engines import ListJob, identity_of, keeping
from whence.engines import run as run_job
from whence.errors import DataWarning, check_float
from whence.models.identity import data_identity

if TYPE_CHECKING:
    from whence.curation.disclosure.plan import DisclosurePlan
    from whence.curation.disclosure.problem import DisclosureProblem


def frontier(
    problem: DisclosureProblem,
    lams: Sequence[float],
    *,
    strategies: Sequence[str] = ("social", "selfish"),
    controls: Sequence[str] = (),
    test: Any = None,
) -> pl.DataFrame:
    """Return what strategies choose over λ, all from the influence at full disclosure.

    Parameters
    ----------
    problem : DisclosureProblem
    lams : sequence of float
    strategies : sequence of {"social", "selfish", "all", "none"}
    controls : sequence of {"threshold", "random", "influence_only", "budget"}
        At the violation of the first of `strategies`.
    test : Interactions or data frame, optional
        Retrain for each, and measure here.

    Returns
    -------
    polars.DataFrame
        ``lam``, ``strategy``, ``n``, ``share``, ``wv`` (per user of the validation data),
        ``predicted_quality`` and ``predicted_reward`` (of the linear surrogate, per user), and
        with `test` ``quality`` and ``reward``.

    Raises
    ------
    ParameterError
        If an argument is out of its range.
    """
    for strategy in strategies:
        named("strategies", strategy, ("social", "selfish", "all", "none"))
    for control in controls:
        named("controls", control, SIZED)
    for lam in lams:
        check_float("lam", lam, minimum=0.0)
    everything = np.ones(len(problem.beta), dtype=np.bool_)
    anchor = Anchor(everything, problem.measured.quality_of_all, problem.values)
    yardstick = None if test is None else problem.yardstick(test)
    job = Points(problem, tuple(strategies), tuple(controls), anchor, yardstick)
    shards = [float(lam) for lam in lams]
    asked = {
        "lams": shards,
        "strategies": list(strategies),
        "controls": list(controls),
        "test": None if test is None else data_identity(test),
    }
    with keeping(problem.run, problem.identity("frontier", **asked), problem.kept) as kept:
        parts = run_job(
            job, shards, problem.run, message="frontier", kept=kept,
            stage=f"frontier {identity_of(asked)}",
        )  # fmt: skip
    return pl.DataFrame([row for part in parts for row in part])


@dataclass(frozen=True)
class Points(ListJob[float, list[dict[str, Any]]]):
    """Points of the frontier; a shard is a λ, a part its rows.

    Attributes
    ----------
    problem : DisclosureProblem
    strategies, controls : tuple of str
    anchor : Anchor
        Full disclosure, from which qualities are guessed.
    yardstick : Yardstick, optional
        Retrained models are measured with it.
    """

    alone = True

    problem: DisclosureProblem
    strategies: tuple[str, ...]
    controls: tuple[str, ...]
    anchor: Anchor
    yardstick: Yardstick | None
    _measured: dict[bytes, float] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: float) -> list[dict[str, Any]]:
        """Choose at one λ."""
        names = (*self.strategies, *self.controls)
        return [self._row(shard, *one) for one in zip(names, self._plans(shard))]

    def _row(self, lam: float, name: str, plan: DisclosurePlan) -> dict[str, Any]:
        n_users = self.problem.n_users
        mask, violation = plan.disclosed, plan.violation / n_users
        guess = self.anchor.guess(mask, self.problem.beta, 0.0) / n_users
        row = {
            "lam": lam,
            "strategy": name,
            "n": plan.n_disclosed,
            "share": plan.share,
            "wv": violation,
            "predicted_quality": guess,
            "predicted_reward": guess - lam * violation,
        }
        if self.yardstick is not None:
            key = np.packbits(mask).tobytes()
            if key not in self._measured:
                model = self.problem.retrained(plan)
                self._measured[key] = float(self.yardstick.by_user(model).mean())
            row["quality"] = self._measured[key]
            row["reward"] = self._measured[key] - lam * violation
        return row

    def _plans(self, lam: float) -> list[DisclosurePlan]:
        """Plans at one λ, without the warnings that each of them would give."""
        plan = self.problem.plan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            plans = [plan(strategy, lam=lam) for strategy in self.strategies]
            size = plans[0].violation
            return plans + [plan(control, lam=lam, wv=size) for control in self.controls]
