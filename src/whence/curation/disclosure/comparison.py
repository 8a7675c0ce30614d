"""Strategies compared: retrained on what is left, over seeds, at equal number and violation."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.curation.disclosure.retraining import Yardstick
from whence.curation.disclosure.strategies import SIZED, STRATEGIES
from whence.data.files import write_parquet_with_metadata
from whence.errors import DataWarning, ParameterError, check_choice, check_int

if TYPE_CHECKING:
    from whence.curation.disclosure.disclosure import Disclosure
    from whence.curation.disclosure.plan import DisclosurePlan

_KEYS = ("strategy", "matched")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What strategies are worth, each retrained on the data it leaves.

    Attributes
    ----------
    runs : polars.DataFrame
        One row per seed, strategy and what it is matched with: ``quality`` (minus the test loss,
        mean over users), ``wv`` (violation per user), ``reward`` (quality less λ times wv), ``n``,
        ``share``, and the metrics. ``matched``: "" for a strategy of its own size, "number" or
        "violation" for a control as large as the first strategy.
    lam : float
    lam_ref : float or None
    plans : dict
        Plans of the first seed, by (strategy, matched).
    """

    runs: pl.DataFrame
    lam: float
    lam_ref: float | None
    plans: dict[tuple[str, str], DisclosurePlan] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Comparison at lam={self.lam:g}>\n{self.table()}"

    def table(self) -> pl.DataFrame:
        """Mean over the seeds of each measure, and half the width of its 95% interval (``±``)."""
        measures = [c for c in self.runs.columns if c not in (*_KEYS, "seed")]
        rows = []
        for key, part in self.runs.group_by(_KEYS, maintain_order=True):
            row: dict[str, Any] = dict(zip(_KEYS, key))
            for name in measures:
                values = part[name].cast(pl.Float64).drop_nulls().to_numpy()
                row[name] = float(values.mean()) if len(values) else None
                if name in ("quality", "reward"):
                    row[f"{name} ±"] = half_width(values)
            rows.append(row)
        return pl.DataFrame(rows)

    def differences(self, measure: str = "reward") -> pl.DataFrame:
        """How much better the strategies that are not matched are than each other row, by seed.

        Returns
        -------
        polars.DataFrame
            ``strategy``, ``than``, ``matched``, ``difference`` (mean over the seeds of the paired
            differences), ``±`` (half its 95% interval) and ``better`` ("yes", "no", or "unclear"
            where the interval holds 0).
        """
        by = {
            key: dict(zip(part["seed"].to_list(), part[measure].to_list()))
            for key, part in self.runs.group_by(_KEYS, maintain_order=True)
        }
        rows = []
        for first in (key for key in by if not key[1]):
            for other in by:
                if other == first:
                    continue
                gaps = np.array([by[first][seed] - by[other][seed] for seed in by[first]])
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
        return pl.DataFrame(rows)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the runs to a Parquet file, λ in its metadata."""
        facts = json.dumps({"lam": self.lam, "lam_ref": self.lam_ref})
        target = Path(path)
        return write_parquet_with_metadata(
            self.runs, target, {"whence": facts}, overwrite=overwrite
        )


def compare_strategies(
    disclosure: Disclosure,
    strategies: Sequence[str],
    *,
    test: Any,
    seeds: Sequence[int] = (0, 1, 2),
    controls: Sequence[str] = ("threshold", "random", "influence_only"),
    metrics: Sequence[str] = ("hitrate@10", "ndcg@10"),
) -> Comparison:
    """Choose on validation data, retrain, measure on test data; everything anew for each seed.

    Parameters
    ----------
    disclosure : Disclosure
    strategies : sequence of str
        Without a size of their own; see `Disclosure.solve`.
    test : Interactions or data frame
    seeds : sequence of int
        Of the initial parameters, and of what is drawn.
    controls : sequence of str
        Strategies that take a size: they are given the number, and then the violation, of the
        first of `strategies`.
    metrics : sequence of str
        Ranking metrics, measured beside the loss.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If an argument is out of its range.
    """
    if not strategies or not len(seeds):
        raise ParameterError("Give at least one strategy and one seed.")
    for strategy in strategies:
        check_choice("strategies", strategy, [s for s in STRATEGIES if s not in SIZED])
    for control in controls:
        check_choice("controls", control, SIZED)
    rows: list[dict[str, Any]] = []
    plans: dict[tuple[str, str], DisclosurePlan] = {}
    for seed in seeds:
        own = disclosure.reseeded(check_int("seeds", seed, minimum=0))
        yardstick = Yardstick.of(own.model, test)
        for key, plan in _plans(own, strategies, controls).items():
            plans.setdefault(key, plan)
            worth = _worth(own, plan, yardstick, seed, tuple(metrics))
            rows.append({**dict(zip(_KEYS, key)), "seed": seed, **worth})
    return Comparison(
        pl.DataFrame(rows, infer_schema_length=None), disclosure.lam, disclosure.lam_ref, plans
    )


def _plans(
    disclosure: Disclosure, strategies: Sequence[str], controls: Sequence[str]
) -> dict[tuple[str, str], DisclosurePlan]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        plans = {(name, ""): disclosure.solve(name) for name in strategies}
        first = plans[strategies[0], ""]
        for name in controls:
            plans[name, "number"] = disclosure.solve(name, n=first.n_disclosed)
            plans[name, "violation"] = disclosure.solve(name, wv=first.violation)
    return plans


def _worth(
    disclosure: Disclosure,
    plan: DisclosurePlan,
    yardstick: Yardstick,
    seed: int,
    metrics: tuple[str, ...],
) -> dict[str, Any]:
    """Quality, violation and reward of a plan: retrained with the seed on what it leaves."""
    model = disclosure.retrained(plan, seed)
    by_user = yardstick.by_user(model)
    quality, violation = float(by_user.mean()), plan.violation / len(by_user)
    scores: dict[str, float | None] = dict.fromkeys(metrics)
    if plan.n_disclosed:
        scores.update(yardstick.metrics(model, metrics))
    return {
        "quality": quality,
        "wv": violation,
        "reward": reward(quality, violation, disclosure.lam),
        "n": plan.n_disclosed,
        "share": plan.share,
        **scores,
    }


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
