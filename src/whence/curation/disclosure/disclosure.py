"""Which interactions users should disclose: quality of recommendations against willingness."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from whence.curation.disclosure.calibration import Calibration
from whence.curation.disclosure.comparison import Comparison, Progress, compare_strategies
from whence.curation.disclosure.measuring import Measured, check_examples
from whence.curation.disclosure.plan import DisclosurePlan, made_plan
from whence.curation.disclosure.retraining import Yardstick, nothing_known
from whence.curation.disclosure.search import Anchor, Found, mirror, trust_region
from whence.curation.disclosure.strategies import (
    SIZED,
    STRATEGIES,
    FloatArray,
    Mask,
    by_order,
    check_size,
    descending,
    within_violation,
    worthwhile,
)
from whence.curation.disclosure.willingness import violations
from whence.data import Interactions
from whence.errors import DataWarning, check_choice, check_float, check_int
from whence.influence.functions import InfluenceFunction, factor_loss
from whence.models.base import require

_STREAM = 0xD15C
_FAR = 10.0
_ROUNDS = 50


class Disclosure:
    """Chooses which interactions are disclosed, that is, trained on (IFRQE).

    User u gets ``z_u(o) = -L_u(θ(o)) - λ Σ_{s of u} o_s β_s`` from a strategy o: the quality of
    what the model trained on o predicts for them, less λ times the willingness violation of what
    they disclose. Influence functions say what each interaction does for the quality,
    ``V[u, s]``, without retraining.

    Parameters
    ----------
    model : fitted differentiable model
        Trained on everything, at its optimum; see `whence.to_optimum`.
    willingness : str, or numbers [n_rows]
        Violations β from 0 (use it) to 1 (do not): a column of the training data, or numbers in
        the order of its rows; see `willingness_by_category` and `simulate_willingness`.
    validation : Interactions or data frame
        L_u is the mean loss of the user's rows here. Users without any count in the violation
        only.
    lam : float
        λ, of at least 0; compare `lam_ref`.
    influence : InfluenceFunction, optional
        How V is computed where all users count together; by default with "cg".
    own_influence : InfluenceFunction, optional
        How V is computed where each user looks at themselves; by default with "block", as "cg"
        solves one system per user.
    calibrate : bool
        Where all users count together, take for V what is to be expected of an influence that was
        measured on a sample (see `Calibration`), at the price of a dozen retrainings. False: V to
        the letter.
    tolerance : float
        Of retraining; see `whence.to_optimum`.
    seed : int
        Of random choices, equal candidates included.

    Attributes
    ----------
    beta : float64 [n_rows]
    calibration : Calibration or None
    lam_ref : float or None
        ``median |V| / median β``, where quality and willingness are about as important.

    References
    ----------
    -  Wang, Chen, Dong and Dai. Would you like your data to be trained? A user controllable
       recommendation framework. AAAI 2024.
    """

    def __init__(
        self,
        model: Any,
        willingness: Any,
        validation: Any,
        *,
        lam: float = 1.0,
        influence: InfluenceFunction | None = None,
        own_influence: InfluenceFunction | None = None,
        calibrate: bool = True,
        tolerance: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.lam = check_float("lam", lam, minimum=0.0)
        self.tolerance = check_float("tolerance", tolerance, minimum=0.0)
        self.seed = check_int("seed", seed, minimum=0)
        self.calibrate = bool(calibrate)
        require(model, "differentiable", "Disclosure")
        model._check_fitted()
        check_examples(model)
        self.model = model
        self.train: Interactions = model.train_
        self.beta = violations(self.train, willingness)
        self.validation = validation
        self.influence = influence or InfluenceFunction(solver="cg")
        self.own_influence = own_influence or InfluenceFunction(
            solver="block" if factor_loss(model) is not None else "cg"
        )
        self.measured = Measured(
            model, validation, self.beta, self.influence, self.calibrate, self.tolerance, self.seed
        )
        self._users = len(self.measured.yardstick.question)
        self._reseeded: dict[int, Disclosure] = {}

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
        measured = self.measured
        work = self.own_influence.work_on(
            self.model, None, objective=measured.objective, question=measured.yardstick.question
        )
        return measured.by_row(work.own())

    @property
    def lam_ref(self) -> float | None:
        """λ where quality and willingness are about as important; None without violations."""
        usual = float(np.median(self.beta)) or float(self.beta.mean())
        return float(np.median(np.abs(self.values))) / usual if usual > 0 else None

    def solve(
        self,
        strategy: str = "social",
        *,
        lam: float | None = None,
        n: int | None = None,
        wv: float | None = None,
        start: DisclosurePlan | str = "social",
        delta: float = 0.1,
        rounds: int = 12,
        anchors: int = 4,
        rate: float = 0.5,
    ) -> DisclosurePlan:
        """Choose what is disclosed.

        Parameters
        ----------
        strategy : str
            "selfish": what is worth more than its violation to its own user, V[u(s), s] > λβ_s.
            "social": to all users together, Σ_u V[u, s] > λβ_s. "budget": the `n` interactions
            with the largest Σ_u V[u, s] - λβ_s, or violations of at most `wv` in all, by value
            per violation. "trust_region": from `start` on, changes that retraining confirms.
            "mirror": mirror descent over several anchors. Controls: "all", "none", and with `n` or
            `wv` "random", "threshold" (the smallest β first) and "influence_only" (the largest
            Σ_u V[u, s] first, whatever β).
        lam : float, optional
            Instead of that of the constructor.
        n, wv : int, float, optional
            Number of interactions, or violation in all; one of them, for the strategies that have
            a size.
        start, delta, rounds
            "trust_region": a plan or strategy, the share of the interactions that the first step
            may change, and steps tried.
        anchors, rounds, rate
            "mirror": strategies trained for (everything, and random ones), steps (50 for each of
            `rounds`), and the step size.

        Returns
        -------
        DisclosurePlan

        Raises
        ------
        ParameterError
            If an argument is out of its range or does not belong to the strategy.
        """
        check_choice("strategy", strategy, STRATEGIES)
        lam = self.lam if lam is None else check_float("lam", lam, minimum=0.0)
        check_size(strategy, n, wv, len(self.beta))
        rng = np.random.default_rng([self.seed, _STREAM])
        values, found = self.values, None
        if strategy == "selfish":
            values = self.own_values
            mask = worthwhile(values, self.beta, lam)
        elif strategy in ("trust_region", "mirror"):
            found = self._search(strategy, lam, start, delta, rounds, anchors, rate, rng)
            mask, values = found.anchor.mask, found.anchor.values
        else:
            mask = self._direct(strategy, lam, n, wv, rng)
        self._warn(mask, lam)
        return made_plan(
            self.model, mask, values, self.beta, strategy=strategy, lam=lam, lam_ref=self.lam_ref,
            seed=self.seed, size={"n": n, "wv": wv}, path=None if found is None else found.path,
            **self.measured.facts,
        )  # fmt: skip

    def frontier(
        self,
        lams: Sequence[float],
        *,
        strategies: Sequence[str] = ("social", "selfish"),
        controls: Sequence[str] = (),
        test: Any = None,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """What strategies choose over λ, all from the influence at full disclosure.

        Parameters
        ----------
        lams : sequence of float
        strategies : sequence of {"social", "selfish", "all", "none"}
        controls : sequence of {"threshold", "random", "influence_only", "budget"}
            At the violation of the first of `strategies`.
        test : Interactions or data frame, optional
            Retrain for each, and measure here.
        progress : callable, optional
            ``progress(done, total, message)``.

        Returns
        -------
        polars.DataFrame
            ``lam``, ``strategy``, ``n``, ``share``, ``wv`` (per user of the validation data),
            ``predicted_quality`` and ``predicted_reward`` (of the linear surrogate, per user), and
            with `test` ``quality`` and ``reward``.
        """
        for strategy in strategies:
            check_choice("strategies", strategy, ("social", "selfish", "all", "none"))
        for control in controls:
            check_choice("controls", control, SIZED)
        measured = self.measured
        quality = measured.yardstick.of_objective(measured.objective)
        anchor = Anchor(np.ones(len(self.beta), dtype=np.bool_), quality, self.values)
        measure = None if test is None else Yardstick.of(self.model, test)
        done: dict[bytes, float] = {}
        rows = []
        for place, lam in enumerate(lams):
            if progress is not None:
                progress(place, len(lams), f"lam {lam:.3g}")
            for plan in self._plans(lam, strategies, controls):
                mask, violation = plan.disclosed, plan.violation / self._users
                guess = anchor.guess(mask, self.beta, 0.0) / self._users
                row = {
                    "lam": float(lam),
                    "strategy": plan.metadata["strategy"],
                    "n": plan.n_disclosed,
                    "share": plan.share,
                    "wv": violation,
                    "predicted_quality": guess,
                    "predicted_reward": guess - lam * violation,
                }
                if measure is not None:
                    key = np.packbits(mask).tobytes()
                    if key not in done:
                        done[key] = float(measure.by_user(self.retrained(plan)).mean())
                    row["quality"] = done[key]
                    row["reward"] = done[key] - lam * violation
                rows.append(row)
        return pl.DataFrame(rows)

    def evaluate(
        self,
        strategies: Sequence[str] = ("social", "trust_region", "all", "none"),
        *,
        test: Any,
        seeds: Sequence[int] = (0, 1, 2),
        controls: Sequence[str] = ("threshold", "random", "influence_only"),
        metrics: Sequence[str] = ("hitrate@10", "ndcg@10"),
        progress: Progress | None = None,
    ) -> Comparison:
        """Retrain for every strategy on the data that is left, and measure on test data.

        See `whence.curation.disclosure.comparison.compare_strategies`, which this calls.

        Returns
        -------
        Comparison
        """
        return compare_strategies(
            self, strategies, test=test, seeds=seeds, controls=controls, metrics=metrics,
            progress=progress,
        )  # fmt: skip

    def retrained(self, plan: DisclosurePlan, seed: int | None = None) -> Any:
        """A model trained on what a plan discloses, and on nothing else; see `Recipe`."""
        if not plan.n_disclosed:
            return nothing_known(self.model)
        return self.measured.recipe.train(plan.apply(self.train), seed)

    def quality(self, model: Any, data: Any) -> FloatArray:
        """Quality of a model for each user of some data, minus their mean loss, float64 [Q].

        Whatever the model was trained on, it is asked for the same, so that models compare.
        """
        return Yardstick.of(self.model, data).by_user(model)

    def at(self, lam: float) -> Disclosure:
        """The same question with another λ; what was measured is shared."""
        other = copy.copy(self)
        other.lam = check_float("lam", lam, minimum=0.0)
        return other

    def reseeded(self, seed: int) -> Disclosure:
        """The same question of the model trained on everything from another start; kept."""
        if seed not in self._reseeded:
            model = self.measured.recipe.train(self.train, seed)
            self._reseeded[seed] = Disclosure(
                model, self.beta, self.validation, influence=self.influence,
                own_influence=self.own_influence, calibrate=self.calibrate,
                tolerance=self.tolerance, seed=seed,
            )  # fmt: skip
        return self._reseeded[seed].at(self.lam)

    # How

    def _plans(
        self, lam: float, strategies: Sequence[str], controls: Sequence[str]
    ) -> list[DisclosurePlan]:
        """Plans at one λ, without the warnings that each of them would give."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            plans = [self.solve(strategy, lam=lam) for strategy in strategies]
            size = plans[0].violation
            return plans + [self.solve(control, lam=lam, wv=size) for control in controls]

    def _search(
        self, strategy: str, lam: float, start: DisclosurePlan | str, delta: float, rounds: int,
        anchors: int, rate: float, rng: np.random.Generator,
    ) -> Found:  # fmt: skip
        check_int("rounds", rounds, minimum=1)
        check_int("anchors", anchors, minimum=1)
        check_float("rate", rate, minimum=0.0)
        check_float("delta", delta, 0.0, 1.0)
        if strategy == "mirror":
            return mirror(
                self.measured.anchored, self.beta, lam, anchors=anchors, rounds=_ROUNDS * rounds,
                rate=rate, rng=rng,
            )  # fmt: skip
        plan = self.solve(start, lam=lam) if isinstance(start, str) else start
        return trust_region(
            plan.disclosed, self.measured.anchored, self.beta, lam, delta=delta, rounds=rounds
        )

    def _direct(
        self, strategy: str, lam: float, n: int | None, wv: float | None, rng: np.random.Generator
    ) -> Mask:
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
