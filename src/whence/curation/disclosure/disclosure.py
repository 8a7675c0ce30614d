"""Which interactions users should disclose: quality of recommendations against willingness."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from whence.curation.disclosure.comparison import Comparison
from whence.curation.disclosure.plan import DisclosurePlan
from whence.curation.disclosure.problem import DisclosureProblem
from whence.curation.disclosure.quality import Outcome
from whence.curation.disclosure.strategies import (
    Strategy,
    Within,
    check_size,
    check_within,
)
from whence.curation.disclosure.willingness import violations
from whence.engines import Checkpoints, Run, keeping, settled
from whence.influence.functions import InfluenceFunction
from whence.influence.replay import Replay
from whence.models.base import require
from whence.models.identity import data_identity, model_identity, told_apart
from whence.parameters import Configurable, Count, NonNegative, PositiveInt, Seed, Share


class Disclosure(Configurable):
    """Chooses which interactions are disclosed, that is, trained on (IFRQE).

    User u gets ``z_u(o) = -L_u(θ(o)) - λ Σ_{s of u} o_s β_s`` from a strategy o: the quality of
    what the model trained on o predicts for them, less λ times the willingness violation β of what
    they disclose. Influence functions say what each interaction does for the quality,
    ``V[u, s]``, without retraining.

    Factor models are looked at and retrained at their optimum; see `whence.to_optimum`. Networks
    are as their training leaves them, and what is chosen keeps the mix of items, which they learn
    popularity from: see `within`.

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
        λ, of at least 0, in units of the quality per violation; by default
        `DisclosureProblem.lam_ref`, where quality and willingness are about as important.
    n, wv : int, float, optional
        Number of interactions, or violation in all; one of them, for the strategies that have
        a size.
    start, delta, rounds
        "trust_region": a plan or strategy, the share of the interactions that the first step
        may change, and steps tried.
    anchors, rounds, rate
        "mirror": strategies trained for (everything, and random ones), steps (50 for each of
        `rounds`), and the step size.
    influence : InfluenceFunction or Replay, optional
        How V is computed where all users count together; by default by an influence function with
        "cg" for factor models and "ggn" for networks. A model whose training is replayed is
        retrained by it, and not to the optimum, factor models too; so many runs as `Replay` has.
    own_influence : InfluenceFunction, optional
        How V is computed where each user looks at themselves; by default with "block", as "cg"
        solves one system per user.
    runs : int
        Networks: trainings from as many starts, the model's own first, whose mean influence and
        quality on the validation data strategies look at.
    outcome : {"loss", "ndcg"}
        What quality is: minus the model's own loss, or nDCG with soft ranks, for models of users
        and items; `DisclosureProblem.quality_in_words` says it in a sentence.
    within : {"auto", "item", "all"}
        "item": rows are ranked within each item, and disclosed while what one more row is worth,
        which falls with the share of the item's rows that is disclosed, exceeds what it costs;
        "budget", "random", "threshold" and "influence_only" take the same share of each item.
        "all": rows compete with all others. "auto": "item" for "social", "budget" and
        "trust_region" on networks, else "all".
    calibrate : bool
        Where all users count together, take for V what is to be expected of an influence that was
        measured on a sample: of factor models by two dozen retrainings (see `Calibration`), of
        networks by how far two halves of the validation data agree (see `Reliability`), and one
        retraining with a random half. False: V to the letter.
    tolerance : float
        Of retraining; see `whence.to_optimum`.
    seed : int
        Of random choices, equal candidates included.

    References
    ----------
    -  Wang, Chen, Dong and Dai. Would you like your data to be trained? A user controllable
       recommendation framework. AAAI 2024.
    """

    strategy: Strategy = "social"
    lam: NonNegative | None = None
    n: Count | None = None
    wv: NonNegative | None = None
    start: Any = "social"
    delta: Share = 0.1
    rounds: PositiveInt = 12
    anchors: PositiveInt = 4
    rate: NonNegative = 0.5
    influence: InfluenceFunction | Replay | None = None
    own_influence: InfluenceFunction | None = None
    runs: PositiveInt = 1
    outcome: Outcome = "loss"
    within: Within = "auto"
    calibrate: bool = True
    tolerance: NonNegative = 1e-4
    seed: Seed = 42

    def _check_params(self) -> None:
        super()._check_params()
        check_size(self.strategy, self.n, self.wv)
        check_within(self.strategy, self.within)

    def solve(
        self, model: Any, data: Any, *, willingness: Any, run: Run | None = None
    ) -> DisclosurePlan:
        """Choose what is disclosed.

        Parameters
        ----------
        model, data, willingness
            As in `pose`.
        run : Run, optional
            How the work is done. With a folder, what was measured and trained is kept there.

        Returns
        -------
        DisclosurePlan

        Raises
        ------
        ParameterError
            If a parameter is out of its range or does not belong to the strategy.
        UnsupportedError, ColumnError, DataError
            As in `pose`.

        Warns
        -----
        DataWarning
            If λ is so large that willingness decides alone, or users disclose nothing.
        """
        run = settled(run, self)
        with keeping(run, self._identity(model, data, willingness)) as kept:
            problem = self.pose(model, data, willingness=willingness, run=run, kept=kept)
            return problem.solve()

    def compare(
        self,
        model: Any,
        data: Any,
        strategies: Sequence[str] = ("social", "trust_region", "all", "none"),
        *,
        willingness: Any,
        test: Any,
        run: Run | None = None,
        **options: Any,
    ) -> Comparison:
        """Retrain for every strategy on the data that is left, and measure on test data.

        Parameters
        ----------
        model, data, willingness
            As in `pose`.
        strategies, test, run, **options
            As in `DisclosureProblem.compare`.

        Returns
        -------
        Comparison
        """
        run = settled(run, self)
        more = {"strategies": list(strategies), "test": data_identity(test), **told_apart(options)}
        with keeping(run, self._identity(model, data, willingness, **more)) as kept:
            problem = self.pose(model, data, willingness=willingness, run=run, kept=kept)
            return problem.compare(strategies, test=test, **options)

    def pose(
        self,
        model: Any,
        data: Any,
        *,
        willingness: Any,
        run: Run | None = None,
        kept: Checkpoints | None = None,
        stage: str = "",
    ) -> DisclosureProblem:
        """Put the question to a model and data; what is measured once serves all strategies.

        Parameters
        ----------
        model : fitted differentiable model
            Trained on everything, at its optimum; see `whence.to_optimum`.
        data : Interactions or data frame
            Validation data: L_u is the mean loss of the user's rows here. Users without any count
            in the violation only.
        willingness : str, or numbers [n_rows]
            Violations β from 0 (use it) to 1 (do not): a column of the training data, or numbers
            in the order of its rows; see `willingness_by_category` and `simulate_willingness`.
        run : Run, optional
            How the work is done.
        kept : Checkpoints, optional
            Where what is measured is kept, under stages that begin with `stage`.
        stage : str

        Returns
        -------
        DisclosureProblem

        Raises
        ------
        UnsupportedError
            If the model has no loss per interaction.
        ColumnError, DataError
            If there are no such violations, or they are not from 0 to 1.
        """
        self._check_params()
        require(model, "differentiable", "Disclosure")
        model._check_fitted()
        run = settled(run, self)
        settings = copy.copy(self)  # which later changes to the parameters do not reach
        settings.seed = run.seed  # type: ignore[assignment]
        beta = violations(model.train_, willingness)
        return DisclosureProblem(settings, model, data, beta, run, kept=kept, stage=stage)

    def _identity(self, model: Any, data: Any, willingness: Any, **more: Any) -> dict[str, Any]:
        """What decides the result, for work that is taken up again."""
        return {
            "work": "disclosure",
            **told_apart(self.params),
            "model": model_identity(model),
            "data": data_identity(data),
            "willingness": told_apart(willingness),
            **more,
        }
