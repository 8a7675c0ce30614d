"""A question of disclosure put to a model and data: what strategies share, measured once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.curation.disclosure.calibration import Calibration
from whence.curation.disclosure.comparison import Comparison, Start, compare_strategies
from whence.curation.disclosure.frontier import frontier
from whence.curation.disclosure.measuring import Measured, check_examples
from whence.curation.disclosure.networks import MeasuredNetwork
from whence.curation.disclosure.optimum import MeasuredAtOptimum
from whence.curation.disclosure.plan import DisclosurePlan, made_plan
from whence.curation.disclosure.quality import quality_in_words
from whence.curation.disclosure.reliability import Reliability
from whence.curation.disclosure.retraining import Recipe, Yardstick, nothing_known
from whence.curation.disclosure.search import Anchor, Found, mirror, trust_region
from whence.curation.disclosure.strategies import (
    CONTROLS,
    GROUPED,
    STRATEGIES,
    FloatArray,
    Mask,
    by_order,
    descending,
    named,
    with_the_mix,
    within_violation,
    worthwhile,
    worthwhile_within,
)
from whence.engines import Checkpoints, Run
from whence.errors import DataWarning, ParameterError, check_int
from whence.influence.functions import InfluenceFunction, factor_loss
from whence.influence.replay import Replay

if TYPE_CHECKING:
    from whence.curation.disclosure.disclosure import Disclosure
    from whence.data import Interactions

_STREAM = 0xD15C
_FAR = 10.0
_UNRELIABLE = 0.05
_ROUNDS = 50
OF_STRATEGIES = (
    "strategy", "lam", "n", "wv", "within", "start", "delta", "rounds", "anchors", "rate",
)  # fmt: skip
"""Parameters of `Disclosure` that say what is chosen; the others say how it is measured."""


class DisclosureProblem:
    """A model, validation data and violations, and what was measured of them.

    Made by `Disclosure.pose`. Influences are computed when they are first needed, once for all
    strategies.

    Parameters
    ----------
    settings : Disclosure
    model : fitted differentiable model
    validation : Interactions or data frame
    beta : float64 [n_rows]
    run : Run
    kept : Checkpoints, optional
        Where what is measured is kept.
    stage : str
        With which the names of its stages begin.

    Attributes
    ----------
    beta : float64 [n_rows]
    """

    def __init__(
        self,
        settings: Disclosure,
        model: Any,
        validation: Any,
        beta: FloatArray,
        run: Run,
        *,
        kept: Checkpoints | None = None,
        stage: str = "",
    ) -> None:
        check_examples(model)
        self.settings = settings
        self.model = model
        self.train: Interactions = model.train_
        self.validation = validation
        self.beta = beta
        self.run = run
        self.kept = kept
        self.measured = measured(settings, model, validation, beta, run, kept, stage)
        self._reseeded: dict[int, DisclosureProblem] = {}

    def __repr__(self) -> str:
        return (
            f"<DisclosureProblem: {len(self.beta):,} interactions, violations of "
            f"{self.beta.sum():,.1f} in all, {self.settings!r}>"
        )

    @property
    def calibration(self) -> Calibration | None:
        """How influences on a factor model become expected worth; else None."""
        found: Calibration | None = getattr(self.measured, "calibration", None)
        return found

    @property
    def reliability(self) -> Reliability | None:
        """How far influences on a network would be the same on other data; else None."""
        return self.measured.reliability

    @property
    def quality_in_words(self) -> str:
        """What is called quality here: what is good, and in which unit."""
        return quality_in_words(self.model, self.settings.outcome)

    @property
    def influences(self) -> FloatArray:
        """Σ_u V[u, s] at full disclosure, by row of the training table, float64 [n_rows]."""
        return self.measured.influences

    @property
    def values(self) -> FloatArray:
        """What strategies compare with λβ: `influences`, calibrated if that is wanted."""
        return self.measured.values

    @cached_property
    def own_values(self) -> FloatArray:
        """V[u(s), s] at full disclosure, by row of the training table, float64 [n_rows]."""
        measured, method = self.measured, self.settings.own_influence
        if method is None:
            quick = factor_loss(self.model) is not None
            method = InfluenceFunction(solver="block" if quick else "ggn")
        work = method.work_on(
            self.model, None, objective=measured.objective, question=measured.yardstick.question
        )
        return measured.by_row(work.own())

    @property
    def lam_ref(self) -> float | None:
        """λ where quality and willingness are about as important; None without violations.

        For networks that are calibrated, what is lost without a random half of the rows, over the
        violation of that half: there all of the data and half of them are worth the same.
        Otherwise the median absolute value over the median of β.
        """
        if self.reliability is not None:
            mean = float(self.beta.mean())
            return self.measured.worth / mean if mean > 0 else None
        usual = float(np.median(self.beta)) or float(self.beta.mean())
        return float(np.median(np.abs(self.values))) / usual if usual > 0 else None

    @property
    def lam(self) -> float:
        """λ that was asked for, else `lam_ref`; 0 where there is no violation."""
        lam = self.settings.lam
        return (self.lam_ref or 0.0) if lam is None else float(lam)

    @property
    def n_users(self) -> int:
        """Users of the validation data."""
        return len(self.measured.yardstick.question)

    def plan(self, name: str, **changes: Any) -> DisclosurePlan:
        """As `solve`, by a name such as "social" or "threshold within item"."""
        strategy, within = named("strategy", name, STRATEGIES)
        return self.solve(strategy, within=within, **changes)

    def solve(self, strategy: str | None = None, **changes: Any) -> DisclosurePlan:
        """Choose what is disclosed.

        Parameters
        ----------
        strategy : str, optional
            Instead of that of the settings.
        **changes
            Other parameters of `Disclosure` that belong to strategies: lam, n, wv, within, start,
            delta, rounds, anchors and rate.

        Returns
        -------
        DisclosurePlan

        Raises
        ------
        ParameterError
            If a parameter is out of its range or does not belong to the strategy.
        """
        settings = self._changed(strategy, changes)
        lam = self.lam if settings.lam is None else float(settings.lam)
        if settings.n is not None:
            check_int("n", settings.n, 0, len(self.beta))
        rng = np.random.default_rng([settings.seed, _STREAM])
        values, found = self.values, None
        if settings.strategy == "selfish":
            values = self.own_values
            mask = worthwhile(values, self.beta, lam)
        elif settings.strategy in ("trust_region", "mirror"):
            found = self._search(settings, lam, rng)
            mask, values = found.anchor.mask, found.anchor.values
        else:
            mask = self._direct(settings, lam, rng)
        self._warn(mask, lam)
        return made_plan(
            self.model, mask, values, self.beta, strategy=settings.strategy, lam=lam,
            lam_ref=self.lam_ref, seed=settings.seed, size={"n": settings.n, "wv": settings.wv},
            path=None if found is None else found.path, within=self._within(settings),
            quality=self.quality_in_words, **self.measured.facts,
        )  # fmt: skip

    def compare(
        self,
        strategies: Sequence[str] = ("social", "trust_region", "all", "none"),
        *,
        test: Any,
        seeds: Sequence[int] = (0, 1, 2),
        controls: Sequence[str] = CONTROLS,
        metrics: Sequence[str] = ("hitrate@10", "ndcg@10"),
        starts: Sequence[Start] = ("other",),
    ) -> Comparison:
        """Retrain for every strategy on the data that is left, and measure on test data.

        See `whence.curation.disclosure.comparison.compare_strategies`, which this calls.

        Returns
        -------
        Comparison
        """
        return compare_strategies(
            self, strategies, test=test, seeds=seeds, controls=controls, metrics=metrics,
            starts=starts,
        )  # fmt: skip

    def frontier(
        self,
        lams: Sequence[float],
        *,
        strategies: Sequence[str] = ("social", "selfish"),
        controls: Sequence[str] = (),
        test: Any = None,
    ) -> pl.DataFrame:
        """Return what strategies choose over λ; see `whence.curation.disclosure.frontier`."""
        return frontier(self, lams, strategies=strategies, controls=controls, test=test)

    def retrained(self, plan: DisclosurePlan, seed: int | None = None) -> Any:
        """Return a model trained on what a plan discloses, and on nothing else; see `Recipe`."""
        if not plan.n_disclosed:
            return nothing_known(self.model)
        return self.measured.recipe.train(plan.apply(self.train), seed)

    def quality(self, model: Any, data: Any) -> FloatArray:
        """Return the quality of a model for each user of some data, [Q]; see `quality_in_words`.

        Whatever the model was trained on, it is asked for the same, so that models compare.
        """
        return self.yardstick(data).by_user(model)

    def yardstick(self, data: Any) -> Yardstick:
        """What the quality on some data is measured with."""
        return Yardstick.of(self.model, data, self.settings.outcome)

    def at(self, lam: float) -> DisclosureProblem:
        """Return the same question with another λ; what was measured is shared."""
        other = copy.copy(self)
        other.settings = self._changed(None, {"lam": lam})
        return other

    def reseeded(self, seed: int) -> DisclosureProblem:
        """Return the question of the model trained on everything from another start; kept."""
        if seed not in self._reseeded:
            model = self.measured.recipe.train(self.train, seed)
            settings = copy.copy(self.settings)
            settings.seed = seed
            self._reseeded[seed] = DisclosureProblem(
                settings, model, self.validation, self.beta, self.run.changed(progress=False),
                kept=self.kept, stage=f"seed {seed} ",
            )  # fmt: skip
        return self._reseeded[seed].at(self.lam)

    def identity(self, work: str, **more: Any) -> dict[str, Any]:
        """Return what decides the result of some work with this problem."""
        found = self.settings._identity(self.model, self.validation, self.beta, **more)
        return {**found, "work": work}

    # How

    def _changed(self, strategy: str | None, changes: dict[str, Any]) -> Disclosure:
        """The settings with others for a strategy, checked."""
        if strategy is not None:
            changes = {**changes, "strategy": strategy}
        settings = copy.copy(self.settings)
        if "strategy" in changes:
            settings.set_params(n=None, wv=None, within="auto")  # those of one strategy
        settings.set_params(**changes)
        for name in changes:
            if name not in OF_STRATEGIES:
                raise ParameterError(
                    f"{name} decides what is measured, which all strategies share; give it to "
                    "Disclosure and pose the question anew."
                )
        settings._check_params()
        return settings

    def _search(self, settings: Disclosure, lam: float, rng: np.random.Generator) -> Found:
        anchored, beta = self.measured.anchored, self.beta
        if self._within(settings) == "item":
            anchored = self._anchored_within
        if settings.strategy == "mirror":
            return mirror(
                anchored, beta, lam, anchors=settings.anchors, rounds=_ROUNDS * settings.rounds,
                rate=settings.rate, rng=rng,
            )  # fmt: skip
        start = settings.start
        within = settings.within if start in GROUPED else "auto"
        plan = self.solve(start, lam=lam, within=within) if isinstance(start, str) else start
        return trust_region(
            plan.disclosed, anchored, beta, lam, delta=settings.delta, rounds=settings.rounds
        )

    def _anchored_within(self, mask: Mask) -> Anchor:
        """An anchor whose values keep the mix of items."""
        found, items = self.measured.anchored(mask), self.measured.codes[1]
        values = with_the_mix(found.values, mask, items, self.measured.worth)
        return replace(found, values=values)

    def _direct(self, settings: Disclosure, lam: float, rng: np.random.Generator) -> Mask:
        """Strategies that follow from one set of influences."""
        strategy, n, wv = settings.strategy, settings.n, settings.wv
        values, beta, count = self.values, self.beta, len(self.beta)
        groups = self.measured.codes[1] if self._within(settings) == "item" else None
        if strategy == "social" and groups is not None:
            return worthwhile_within(values, beta, lam, groups, self.measured.worth, rng)
        if strategy == "social":
            return worthwhile(values, beta, lam)
        if strategy in ("all", "none"):
            return np.full(count, strategy == "all")
        if strategy == "budget" and wv is not None:
            return within_violation(values, beta, wv, rng, groups)
        ranked = {
            "budget": values - lam * beta,
            "threshold": -beta,
            "influence_only": values,
            "random": np.zeros(count),
        }
        return by_order(descending(ranked[strategy], rng, groups), beta, n=n, wv=wv)

    def _within(self, settings: Disclosure) -> str:
        """What a strategy chooses within: "item" or "all"."""
        if settings.within != "auto":
            return settings.within
        mixed = settings.strategy in ("social", "budget", "trust_region")
        return "item" if mixed and isinstance(self.measured, MeasuredNetwork) else "all"

    def _warn(self, mask: Mask, lam: float) -> None:
        usual = self.lam_ref
        if usual is not None and lam > _FAR * usual:
            warnings.warn(
                f"lam={lam:g} is far above lam_ref={usual:.3g}: willingness decides alone, and the "
                "best strategy tends to disclose nothing; compare a range of lam with frontier().",
                DataWarning,
                stacklevel=3,
            )
        found = self.reliability
        if found is not None and max(found.item, found.user, found.rest) < _UNRELIABLE:
            warnings.warn(
                "Influences on two halves of the validation data do not agree, so that what is "
                "chosen by them is chance; give more validation data, or more runs.",
                DataWarning,
                stacklevel=3,
            )
        codes = self.train.source_codes
        left = np.bincount(codes, weights=mask[self.train.rows], minlength=self.train.n_sources)
        rows = np.bincount(codes, minlength=self.train.n_sources)
        silent = int(((left == 0) & (rows > 0)).sum())
        if silent and mask.any():
            warnings.warn(
                f"{silent} of {int((rows > 0).sum())} {self.train.columns.source} values disclose "
                "nothing, so that their predictions come from what others disclose alone.",
                DataWarning,
                stacklevel=3,
            )


def measured(
    settings: Disclosure,
    model: Any,
    validation: Any,
    beta: FloatArray,
    run: Run,
    kept: Checkpoints | None,
    stage: str,
) -> Measured:
    """How a question is measured: factor models at their optimum, others as trained."""
    influence = settings.influence
    network = factor_loss(model) is None or isinstance(influence, Replay)
    if influence is None:
        influence = InfluenceFunction(solver="ggn" if network else "cg")
    recipe = Recipe(model, settings.tolerance, to_optimum=not network)
    how = (
        model, validation, beta, influence, settings.calibrate, settings.outcome, recipe,
        settings.seed, run, kept, stage,
    )  # fmt: skip
    if not network:
        return MeasuredAtOptimum(*how)
    runs = max(settings.runs, getattr(influence, "runs", 1))
    return MeasuredNetwork(*how, runs=runs)
