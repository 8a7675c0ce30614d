"""Strategies compared: retrained on what is left, over seeds, at equal number and violation."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl

from whence._html import ShownAsTable
from whence.curation.disclosure.retraining import LESS_WITHHELD, Yardstick
from whence.curation.disclosure.strategies import CONTROLS, SIZED, STRATEGIES, named
from whence.data.files import write_parquet_with_metadata
from whence.engines import ListJob, identity_of, keeping
from whence.engines import run as run_job
from whence.errors import DataWarning, ParameterError, check_choice, check_int, check_path
from whence.models.identity import data_identity, told_apart

if TYPE_CHECKING:
    from whence.curation.disclosure.plan import DisclosurePlan
    from whence.curation.disclosure.problem import DisclosureProblem

KEYS = ("strategy", "matched", "to")
FREE = ("all", "none")
Key = tuple[str, str, str]
Start = Literal["other", "same"]
_OTHER = 1000
"""What is added to the seed of a model for another start."""


@dataclass(frozen=True, eq=False)
class Comparison(ShownAsTable):
    """What strategies are worth, each retrained on the data it leaves.

    Attributes
    ----------
    runs : polars.DataFrame
        One row per seed, start, strategy and what it is matched with: ``quality`` (on test data,
        mean over users), ``wv`` (violation per user), ``reward`` (quality less λ times wv), ``n``,
        ``share``, and the metrics. ``matched``: "" for a strategy of its own size, "number" or
        "violation" for a control that is as large as the strategy ``to``. ``start``: "other" where
        models are retrained from other initial parameters than those of the model that influence
        was measured on, "same" from the same.
    lam : float
    lam_ref : float or None
    quality : str
        What is called quality, in words.
    """

    runs: pl.DataFrame
    lam: float
    lam_ref: float | None
    quality: str = ""

    def __repr__(self) -> str:
        return f"<Comparison at lam={self.lam:g}>\n{self.table()}"

    def _shown(self) -> pl.DataFrame:
        return self.table()

    def table(self) -> pl.DataFrame:
        """Mean over the seeds of each measure, and half the width of its 95% interval (``±``)."""
        names = ("start", *KEYS)
        measures = [c for c in self.runs.columns if c not in (*names, "seed")]
        rows = []
        for key, part in self.runs.group_by(names, maintain_order=True):
            row: dict[str, Any] = dict(zip(names, key))
            for name in measures:
                values = part[name].cast(pl.Float64).drop_nulls().to_numpy()
                row[name] = float(values.mean()) if len(values) else None
                if name in ("quality", "reward"):
                    row[f"{name} ±"] = half_width(values)
            rows.append(row)
        return pl.DataFrame(rows)

    def differences(self, measure: str = "reward") -> pl.DataFrame:
        """How much better strategies are than each other and than the controls of their size.

        Parameters
        ----------
        measure : str
            "reward", "quality" or another column of `runs`.

        Returns
        -------
        polars.DataFrame
            As `paired_differences` gives it.
        """
        return differences_by(self.runs, ["start"], measure)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the runs to a Parquet file, λ in its metadata."""
        facts = json.dumps({"lam": self.lam, "lam_ref": self.lam_ref, "quality": self.quality})
        target = check_path("path", path)
        return write_parquet_with_metadata(
            self.runs, target, {"whence": facts}, overwrite=overwrite
        )


class Arm(NamedTuple):
    """What is retrained and measured once.

    Attributes
    ----------
    seed : int
    key : (strategy, matched, to)
    share : float, optional
        λ over lam_ref; None: that of the question.
    start : {"other", "same"}
        Whether it is retrained from the initial parameters of the model that was measured.
    """

    seed: int
    key: Key
    share: float | None = None
    start: Start = "other"


Posed = tuple["DisclosureProblem", Yardstick]


@dataclass(frozen=True)
class Retrained(ListJob[Arm, dict[str, Any]], ABC):
    """Rows of what strategies are worth; a shard is an `Arm`.

    Arms of one seed share its model and what is measured of it, so that shards come seed by seed.

    Attributes
    ----------
    metrics : sequence of str
        Ranking metrics beside the loss.
    """

    alone = True

    metrics: Sequence[str]
    _now: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @abstractmethod
    def pose(self, seed: int) -> Posed:
        """The question of a seed, and what worth is measured with."""

    def run(self, shard: Arm) -> dict[str, Any]:
        """Choose, retrain and measure."""
        problem, yardstick = self._posed(shard.seed)
        facts: dict[str, Any] = {"seed": shard.seed, "start": shard.start}
        if shard.share is not None:
            problem = problem.at(shard.share * (problem.lam_ref or 0.0))
            facts |= {"lam_share": float(shard.share), "lam": problem.lam}
        plan = self._plan(problem, shard)
        seed = shard.seed + (_OTHER if shard.start == "other" else 0)
        worth = worth_of(problem, plan, yardstick, seed, tuple(self.metrics))
        return {**dict(zip(KEYS, shard.key)), **facts, **worth}

    def _posed(self, seed: int) -> Posed:
        if seed not in self._now:
            self._now.clear()  # one model at a time is held
            self._now[seed] = self.pose(seed)
        found: Posed = self._now[seed]
        return found

    def _plan(self, problem: DisclosureProblem, arm: Arm) -> DisclosurePlan:
        """The plan of an arm; of a control, with the size of the strategy that it is for."""
        name, matched, to = arm.key
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            if not to:
                place = (name, arm.share)
                if place not in self._now:
                    self._now[place] = problem.plan(name)
                own: DisclosurePlan = self._now[place]
                return own
            size = self._plan(problem, arm._replace(key=(to, "", "")))
            if matched == "number":
                return problem.plan(name, n=size.n_disclosed)
            return problem.plan(name, wv=size.violation)


@dataclass(frozen=True)
class Compared(Retrained):
    """Strategies of one question, its model trained anew for each seed.

    Attributes
    ----------
    problem : DisclosureProblem
    test : Interactions or data frame
    """

    problem: DisclosureProblem = field(kw_only=True)
    test: Any = field(kw_only=True)

    def pose(self, seed: int) -> Posed:
        """The question of the model trained from another start."""
        own = self.problem.reseeded(seed)
        return own, own.yardstick(self.test)


def compare_strategies(
    problem: DisclosureProblem,
    strategies: Sequence[str],
    *,
    test: Any,
    seeds: Sequence[int] = (0, 1, 2),
    controls: Sequence[str] = CONTROLS,
    metrics: Sequence[str] = ("hitrate@10", "ndcg@10"),
    starts: Sequence[Start] = ("other",),
) -> Comparison:
    """Choose on validation data, retrain, measure on test data; everything anew for each seed.

    Parameters
    ----------
    problem : DisclosureProblem
    strategies : sequence of str
        Without a size of their own; see `Disclosure`. "social within item" is ``within="item"``.
    test : Interactions or data frame
    seeds : sequence of int
        Of the initial parameters, and of what is drawn.
    controls : sequence of str
        Strategies that take a size: they are given the number, and then the violation, of each of
        `strategies` but "all" and "none".
    metrics : sequence of str
        Ranking metrics, measured beside the quality: with withheld items among those that may be
        recommended, and, as ``"… less withheld"``, without them.
    starts : sequence of {"other", "same"}
        Whether models are retrained from other initial parameters than those of the model that
        influence was measured on, from the same, or both.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If an argument is out of its range.
    """
    if not len(seeds):
        raise ParameterError("Give at least one seed.")
    arms = [
        Arm(check_int("seeds", seed, minimum=0), key, None, start)
        for seed in seeds
        for key in compared(strategies, controls)
        for start in check_starts(starts)
    ]
    job = Compared(tuple(metrics), problem=problem, test=test)
    asked = {"arms": told_apart(arms), "test": data_identity(test), "metrics": list(metrics)}
    with keeping(problem.run, problem.identity("comparison", **asked), problem.kept) as kept:
        rows = run_job(
            job, arms, problem.run, message="retraining", kept=kept,
            stage=f"comparison {identity_of(asked)}",
        )  # fmt: skip
    runs = pl.DataFrame(rows, infer_schema_length=None)
    return Comparison(runs, problem.lam, problem.lam_ref, problem.quality_in_words)


def check_starts(starts: Sequence[Any]) -> list[Start]:
    """The starts that models are retrained from.

    Raises
    ------
    ParameterError
        If there is none, or one is unknown.
    """
    if not len(starts):
        raise ParameterError("Give at least one of starts, 'other' or 'same'.")
    return [check_choice("starts", start, get_args(Start)) for start in starts]  # type: ignore[misc]


def compared(strategies: Sequence[str], controls: Sequence[str]) -> list[Key]:
    """What is compared: the strategies, then the controls of the size of each of them.

    Raises
    ------
    ParameterError
        If there is no strategy, or one is unknown or of the wrong kind.
    """
    if not strategies:
        raise ParameterError("Give at least one strategy.")
    for strategy in strategies:
        named("strategies", strategy, [s for s in STRATEGIES if s not in SIZED])
    for control in controls:
        named("controls", control, SIZED)
    return [
        *((name, "", "") for name in strategies),
        *(
            (control, matched, name)
            for name in strategies
            if name not in FREE
            for control in controls
            for matched in ("number", "violation")
        ),
    ]


def worth_of(
    problem: DisclosureProblem,
    plan: DisclosurePlan,
    yardstick: Yardstick,
    seed: int,
    metrics: tuple[str, ...],
) -> dict[str, Any]:
    """Quality, violation and reward of a plan: retrained with the seed on what it leaves."""
    model = problem.retrained(plan, seed)
    by_user = yardstick.by_user(model)
    quality, violation = float(by_user.mean()), plan.violation / len(by_user)
    both = [f"{name}{end}" for end in ("", LESS_WITHHELD) for name in metrics]
    scores: dict[str, float | None] = dict.fromkeys(both)
    if plan.n_disclosed:
        scores.update(yardstick.metrics(model, metrics))
    return {
        "quality": quality,
        "wv": violation,
        "reward": reward(quality, violation, problem.lam),
        "n": plan.n_disclosed,
        "share": plan.share,
        **scores,
    }


def differences_by(runs: pl.DataFrame, by: list[str], measure: str) -> pl.DataFrame:
    """Paired differences of the runs of each group; see `paired_differences`."""
    parts = [
        paired_differences(part, measure).select(
            *(pl.lit(value).alias(name) for name, value in zip(by, key)), pl.all()
        )
        for key, part in runs.group_by(by, maintain_order=True)
    ]
    return pl.concat(parts)


def paired_differences(runs: pl.DataFrame, measure: str = "reward") -> pl.DataFrame:
    """Differences between what was measured with the same seed.

    Parameters
    ----------
    runs : polars.DataFrame
        As `Comparison.runs`.
    measure : str

    Returns
    -------
    polars.DataFrame
        For each strategy that is not matched: ``strategy``, ``than`` (another one, or a control
        of its size), ``matched``, ``difference`` (mean over the seeds of the paired differences),
        ``±`` (half its 95% interval) and ``better`` ("yes", "no", or "unclear" where the interval
        holds 0).
    """
    by = {
        key: dict(zip(part["seed"].to_list(), part[measure].to_list()))
        for key, part in runs.group_by(KEYS, maintain_order=True)
    }
    rows = []
    for first in (key for key in by if not key[1]):
        for other in by:
            if other == first or other[2] not in ("", first[0]):
                continue
            pairs = [(by[first][seed], by[other][seed]) for seed in by[first]]
            if any(value is None for pair in pairs for value in pair):
                continue  # a metric of what recommends nothing
            gaps = np.array([one - two for one, two in pairs])
            mean, half = float(gaps.mean()), half_width(gaps)
            clear = half is not None and abs(mean) > half
            rows.append(
                {
                    "strategy": first[0],
                    "than": other[0],
                    "matched": other[1],
                    "difference": mean,
                    "±": half,
                    "better": ("yes" if mean > 0 else "no") if clear else "unclear",
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def reward(quality: float, violation: float, lam: float) -> float:
    """``quality - λ violation``: quality enters with a plus."""
    return quality - lam * violation


def half_width(values: Any) -> float | None:
    """Half the width of the 95% interval of a mean, by Student's t; None for a single value."""
    from scipy import stats

    count = len(values)
    if count < 2:
        return None
    return float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
