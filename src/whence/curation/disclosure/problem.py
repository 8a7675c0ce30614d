"""A question of disclosure put to a model and data: what strategies share, measured once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.curation.disclosure.calibration import Calibration
from whence.curation.disclosure.comparison import Comparison, compare_strategies
from whence.curation.disclosure.frontier import frontier
from whence.curation.disclosure.measuring import Measured, check_examples
from whence.curation.disclosure.plan import DisclosurePlan, made_plan
from whence.curation.disclosure.retraining import Yardstick, nothing_known
from whence.curation.disclosure.search import Found, mirror, trust_region
from whence.curation.disclosure.strategies import (
    FloatArray,
    Mask,
    by_order,
    descending,
    within_violation,
    worthwhile,
)
from whence.engines import Checkpoints, Run
from whence.errors import DataWarning, ParameterError, check_int
from whence.influence.functions import InfluenceFunction, factor_loss

if TYPE_CHECKING:
    from whence.curation.disclosure.disclosure import Disclosure
    from whence.data import Interactions

_STREAM = 0xD15C
_FAR = 10.0
_ROUNDS = 50
OF_STRATEGIES = ("strategy", "lam", "n", "wv", "start", "delta", "rounds", "anchors", "rate")
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
        influence = settings.influence or InfluenceFunction(solver="cg")
        self.measured = Measured(
            model, validation, beta, influence, settings.calibrate, settings.tolerance,
            settings.seed, run, kept, stage,
        )  # fmt: skip
        self._reseeded: dict[int, DisclosureProblem] = {}

    def __repr__(self) -> str:
        return (
            f"<DisclosureProblem: {len(self.beta):,} interactions, violations of "
            f"{self.beta.sum():,.1f} in all, {self.settings!r}>"
        )

    @property
    def calibration(self) -> Calibration | None:
        """How influences become expected worth; None if they are taken to the letter."""
        return self.measured.calibration

    @property
    def influences(self) -> FloatArray:
        """Σ_u V[u, s] at full disclosure, by row of the training table, float64 [n_rows]."""
        return self.measured.influences

    @cached_property
    def values(self) -> FloatArray:
        """What strategies compare with λβ: `influences`, calibrated if that is wanted."""
        return self.measured.expected(self.influences)

    @cached_property
    def own_values(self) -> FloatArray:
        """V[u(s), s] at full disclosure, by row of the training table, float64 [n_rows]."""
        measured, method = self.measured, self.settings.own_influence
        if method is None:
            quick = factor_loss(self.model) is not None
            method = InfluenceFunction(solver="block" if quick else "cg")
        work = method.work_on(
            self.model, None, objective=measured.objective, question=measured.yardstick.question
        )
        return measured.by_row(work.own())

    @property
    def lam_ref(self) -> float | None:
        """λ where quality and willingness are about as important; None without violations."""
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

    def solve(self, strategy: str | None = None, **changes: Any) -> DisclosurePlan:
        """Choose what is disclosed.

        Parameters
        ----------
        strategy : str, optional
            Instead of that of the settings.
        **changes
            Other parameters of `Disclosure` that belong to strategies: lam, n, wv, start, delta,
            rounds, anchors and rate.

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
            path=None if found is None else found.path, **self.measured.facts,
        )  # fmt: skip

    def compare(
        self,
        strategies: Sequence[str] = ("social", "trust_region", "all", "none"),
        *,
        test: Any,
        seeds: Sequence[int] = (0, 1, 2),
        controls: Sequence[str] = ("threshold", "random", "influence_only"),
        metrics: Sequence[str] = ("hitrate@10", "ndcg@10"),
    ) -> Comparison:
        """Retrain for every strategy on the data that is left, and measure on test data.

        See `whence.curation.disclosure.comparison.compare_strategies`, which this calls.

        Returns
        -------
        Comparison
        """
        return compare_strategies(
            self, strategies, test=test, seeds=seeds, controls=controls, metrics=metrics
        )

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
        """Return the quality of a model for each user of some data: minus the mean loss, [Q].

        Whatever the model was trained on, it is asked for the same, so that models compare.
        """
        return Yardstick.of(self.model, data).by_user(model)

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
            settings.set_params(n=None, wv=None)  # sizes are those of one strategy
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
        if settings.strategy == "mirror":
            return mirror(
                anchored, beta, lam, anchors=settings.anchors, rounds=_ROUNDS * settings.rounds,
                rate=settings.rate, rng=rng,
            )  # fmt: skip
        start = settings.start
        plan = self.solve(start, lam=lam) if isinstance(start, str) else start
        return trust_region(
            plan.disclosed, anchored, beta, lam, delta=settings.delta, rounds=settings.rounds
        )

    def _direct(self, settings: Disclosure, lam: float, rng: np.random.Generator) -> Mask:
        """Strategies that follow from one set of influences."""
        strategy, n, wv = settings.strategy, settings.n, settings.wv
        beta, count = self.beta, len(self.beta)
        if strategy == "social":
            return worthwhile(self.values, beta, lam)
        if strategy in ("all", "none"):
            return np.full(count, strategy == "all")
        if strategy == "budget" and wv is not None:
            return within_violation(self.values, beta, wv, rng)
        ranked = {
            "budget": self.values - lam * beta,
            "threshold": -beta,
            "influence_only": self.values,
            "random": np.zeros(count),
        }
        return by_order(descending(ranked[strategy], rng), beta, n=n, wv=wv)

    def _warn(self, mask: Mask, lam: float) -> None:
        usual = self.lam_ref
        if usual is not None and lam > _FAR * usual:
            warnings.warn(
                f"lam={lam:g} is far above lam_ref={usual:.3g}: willingness decides alone, and the "
                "best strategy tends to disclose nothing; compare a range of lam with frontier().",
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
