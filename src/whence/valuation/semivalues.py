"""Data Shapley and its relatives, for recommenders whose games Whence knows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from whence.attribution import Attribution
from whence.engines import Checkpoints, Run, identity_of, reporter
from whence.errors import ParameterError
from whence.parameters import NonNegative, Positive, PositiveInt, Seed
from whence.valuation.base import Question, Valuation
from whence.valuation.families import check_games, make_games
from whence.valuation.forecasts import Pace, forecast, record_of
from whence.valuation.games import Games, Plan
from whence.valuation.rounds import Estimate, Sampler, next_units
from whence.valuation.weights import PERMUTATIONS, SUBSETS, CoalitionWeights, beta_size_weights

FloatArray = npt.NDArray[np.float64]

_LOGGER = logging.getLogger("whence")

_PILOT_UNITS = 2
_SMALL_BUDGET = 8000
_ONE_ROUND = 4_000_000


class Semivalue(CoalitionWeights, Valuation):
    """Base of the semivalues that are estimated by sampling where enumeration costs too much.

    A subclass says how much coalitions of each size count (`size_weights`), and what is sampled
    (`sampling`).

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`.
    tolerance : float
        Stop when the mean standard error is at most this share of the mean absolute value.
        0: use the whole budget.
    max_permutations : int
        Budget: the cost of this many permutations of all queries, in each of which the contribution
        of every player is seen once; 16 at least, or 4 subsets. Queries with more variance get a
        larger part of it (see `allocation`).
    seed : int
        Of the random numbers. They are keyed by (seed, query, replicate), so results do not
        depend on threads.
    candidates : {"fixed", "all"}
        Players of a query: its candidates under the full data, as in KMC-Shapley; or every
        session or user that could be a candidate of some subset: the true data-Shapley game.
    own : {"given", "player"}
        Baskets: a query user's own history is always there, or the user is a player without whom
        the list is empty (column ``own_score``).
    exact : int
        Games with at most ``2**exact`` different coalitions are enumerated.
    antithetic : bool
        Draw every permutation together with its reverse, or subset with its complement.
    allocation : {"variance", "uniform"}
        Give a query replicates in proportion to the root of variance over cost, or all the same.
    """

    efficient: ClassVar[bool] = False
    """Whether the values add up to what all are worth less what nobody is worth."""

    tolerance: NonNegative = 0.1
    max_permutations: PositiveInt = 1000
    seed: Seed = 42
    candidates: Literal["fixed", "all"] = "fixed"
    own: Literal["given", "player"] = "given"
    exact: Annotated[int, Ge(0), Le(20)] = 12
    antithetic: bool = True
    allocation: Literal["variance", "uniform"] = "variance"

    def check_model(self, model: Any) -> None:
        """Refuse a model whose games are unknown; see `Attributor.check_model`."""
        check_games(model, type(self).__name__)

    def attribute(
        self,
        model: Any,
        data: Any,
        *,
        run: Run | None = None,
        previous: Attribution | None = None,
    ) -> Attribution:
        """Value the training sessions or users of a fitted model.

        Parameters
        ----------
        model : VMISKNN or TIFUKNN
            A fitted model.
        data : Interactions, data frame or Queries
            The evaluation set.
        run : Run, optional
            How the work is done. In its folder are kept the rounds.
        previous : Attribution, optional
            A result of the same question; the sampling goes on where it stopped.

        Returns
        -------
        Attribution
            Columns: id, ``score``, ``std_error``, ``n_queries`` (in how many queries the source
            is a candidate and there is something to find), and for baskets with
            ``own="player"`` ``own_score`` and ``own_std_error``. If interrupted (Ctrl-C) after
            the first round, what is known by then, with ``metadata["stopped"]`` "interrupted".

        Raises
        ------
        UnsupportedError
            If Whence does not know the games of this model.
        ParameterError
            If an argument is out of range, or `previous` answers another question.
        """
        question = self._ask(model, data, run)
        games = make_games(
            model, question.queries, question.metric, self.candidates, type(self).__name__
        )
        estimate = self._begun(question, previous)
        identity = self._identity(question)
        if previous is not None:
            identity["previous"] = [identity_of(part) for part in estimate.to_state().values()]
        with Checkpoints(question.run, identity) as kept:
            before = kept.load("estimate")
            if before is not None:
                estimate = Estimate.from_state(before, len(question.sources), len(question.queries))
            sampler = Sampler(games, games.weigh(self, self.exact), question.run, kept)
            estimate, stopped = self._sample(sampler, question, estimate)
            kept.is_finished = stopped != "interrupted"
        return self._wrap(sampler, question, estimate, stopped)

    # Sampling

    def _passes(self, games: Games) -> int:
        """How often a replicate sees a contribution of each player."""
        readings = games.readings if self.sampling == PERMUTATIONS else 1
        return readings * (2 if self.antithetic else 1)

    def _plan(self, question: Question, fresh: bool) -> Plan:
        assert question.run.seed is not None
        return Plan(
            exact_limit=2**self.exact,
            seed=question.run.seed,
            antithetic=self.antithetic,
            shared=False,
            group_of=question.sources.group_of,
            own_player=self.own == "player",
            fresh=fresh,
        )

    def _sample(
        self, sampler: Sampler, question: Question, estimate: Estimate
    ) -> tuple[Estimate, str]:
        """Draw rounds until precise enough, out of budget or interrupted; say which."""
        passes, n_queries = self._passes(sampler.games), len(question.queries)
        try:
            with reporter(sampler.run.progress) as report:
                pace = Pace(report, float(estimate.work.sum()))
                sampler = replace(sampler, run=sampler.run.changed(progress=pace))
                by_variance = self.allocation == "variance"
                if not estimate.units:
                    units = np.full(n_queries, self._pilot(n_queries, passes))
                    plan = self._plan(question, fresh=True)
                    estimate = sampler.draw(plan, estimate, units, None, "first round")
                plan = self._plan(question, fresh=False)
                while estimate.work.sum() > 0:
                    error = estimate.relative_error
                    if error <= self.tolerance:
                        return estimate, "tolerance"
                    budget = self.max_permutations / passes * float(estimate.unit_work.sum())
                    share = next_units(estimate, budget, passes, self.tolerance, by_variance)
                    if share is None:
                        return estimate, "max_permutations"
                    pace.end_of_round(float(estimate.work.sum()))
                    ahead = forecast(estimate, pace, budget, self.tolerance, by_variance)
                    message = f"standard error {error:.1%} of the mean |value|, {ahead}"
                    _LOGGER.info("%s: %s", self.title, message)
                    for callback in sampler.run.callbacks:
                        callback(record_of(estimate, ahead))
                    estimate = sampler.draw(plan, estimate, *share, message)
        except KeyboardInterrupt:
            if not estimate.units:
                raise
            return estimate, "interrupted"
        return estimate, "exact"

    def _pilot(self, n_queries: int, passes: int) -> int:
        """Replicates of the first round: more where few queries would leave variances unsure.

        Where nothing depends on what is found, there is only this one.
        """
        most = max(2, self.max_permutations // passes)
        once = self.allocation == "uniform" and self.tolerance == 0
        if once and n_queries * most * passes < _ONE_ROUND:
            return most
        enough = _SMALL_BUDGET // (n_queries * passes)
        return int(np.clip(enough, _PILOT_UNITS, min(most, 64)))

    def _begun(self, question: Question, previous: Attribution | None) -> Estimate:
        n_players, n_queries = len(question.sources), len(question.queries)
        if previous is None:
            return Estimate.nothing(n_players, n_queries)
        then = dict(previous.metadata)
        if then.get("parts") is not None:
            raise ParameterError(
                "These values are of several parts of an evaluation set, which cannot be drawn "
                "further; value the parts again with a smaller tolerance."
            )
        now = self._answer(question, {"score": np.zeros(n_players)}).metadata
        for part in ("method", "metric", "model", "model_params", "by", "seed", "fingerprint"):
            if then.get(part) != now[part]:
                raise ParameterError(
                    f"These values cannot be resumed: their {part.replace('_', ' ')} was "
                    f"{then.get(part)}, now it is {now[part]}; ask the same question again."
                )
        changed = {
            name
            for name, value in now["params"].items()
            if name not in ("tolerance", "max_permutations", "seed")
            and (then.get("params") or {}).get(name) != value
        }
        if changed or previous.state is None:
            raise ParameterError(
                "These values cannot be resumed: "
                + (
                    f"{', '.join(sorted(changed))} differ; ask the same question again."
                    if changed
                    else "the state of the sampling is not in the file; save to .parquet."
                )
            )
        return Estimate.from_state(previous.state, n_players, n_queries)

    # The answer

    def _wrap(
        self, sampler: Sampler, question: Question, estimate: Estimate, stopped: str
    ) -> Attribution:
        values, errors = estimate.values, estimate.std_errors
        columns: dict[str, Any] = {
            "score": values[:, 0],
            "std_error": errors[:, 0],
            "n_queries": estimate.appearances,
        }
        if self.own == "player" and question.queries.kind == "baskets":
            columns |= {"own_score": values[:, 1], "own_std_error": errors[:, 1]}
        passes = self._passes(sampler.games)
        n_sampled = int((estimate.status == 0).sum())
        return self._answer(
            question,
            columns,
            state=estimate.to_state(),
            recompute=lambda query: self._one_query(sampler, question, estimate, query),
            value_all=float(estimate.value_all.mean()),
            value_nothing=float(estimate.value_nothing.mean()),
            stopped=stopped,
            relative_error=estimate.relative_error,
            efficiency=self.efficient,
            n_exact_queries=int((estimate.status == 1).sum()),
            n_sampled_queries=n_sampled,
            mean_permutations=float(estimate.drawn.sum() * passes / max(n_sampled, 1)),
        )

    def _one_query(
        self, sampler: Sampler, question: Question, estimate: Estimate, query: int
    ) -> Attribution:
        """Values of one query, from the very replicates that went into the whole."""
        part = Estimate.nothing(len(question.sources), len(question.queries))
        run = sampler.run.changed(progress=False, folder=None, resume=False)
        sampler = replace(sampler, run=run, kept=None)
        for number, (drawn, weight) in enumerate(zip(estimate.units, estimate.weights)):
            units = np.zeros(len(question.queries), dtype=np.int64)
            units[query] = drawn[query]
            plan = self._plan(question, number == 0)
            part = sampler.draw(plan, part, units, weight, blocks=[(query, query + 1)])
        values = part.values * len(question.queries)
        errors = part.std_errors * len(question.queries)
        shown = np.flatnonzero(part.appearances + np.abs(values).sum(axis=1))
        columns: dict[str, Any] = {"score": values[shown, 0], "std_error": errors[shown, 0]}
        if self.own == "player" and question.queries.kind == "baskets":
            columns["own_score"] = values[shown, 1]
        return self._part(question, columns, shown, query, estimate)

    def _part(
        self,
        question: Question,
        columns: dict[str, Any],
        shown: npt.NDArray[np.int64],
        query: int,
        estimate: Estimate,
    ) -> Attribution:
        some = replace(question.sources, ids=question.sources.ids.gather(shown))
        return self._answer(
            replace(question, sources=some),
            columns,
            value_all=float(estimate.value_all[query]),
            value_nothing=float(estimate.value_nothing[query]),
            stopped="exact" if estimate.status[query] else "max_permutations",
            efficiency=self.efficient,
            query=question.queries.ids.row(query, named=True),
        )


class Shapley(Semivalue, name="shapley", title="Data Shapley values"):
    """Data Shapley values of training sessions or users.

    The game of a query: the players are its candidates, and a coalition is worth the metric of
    the list that the model gives when only the coalition is in the training data. The value of a
    source is its Shapley value, averaged over the queries; values add up to the metric with
    everyone minus the metric with nobody.

    Small games are enumerated. In the others, permutations are drawn independently for each
    query, which leaves the sums over queries far less noise than one permutation shared by all.
    At some sizes of the coalition that a permutation fills up, everybody's contribution is read
    at once, more often at small sizes, where most of the variance is: stratified sampling by
    size, with the number of draws in proportion to the standard deviation (Neyman).

    See `Semivalue` for the parameters.

    References
    ----------
    Ghorbani, Zou: Data Shapley. ICML 2019, equation 1.
    Kersbergen, Sprangers, Karlas, de Rijke, Schelter: Scalable Data Debugging for
    Neighborhood-based Recommendation with Data Shapley Values. RecSys 2025 (KMC-Shapley, with
    ``candidates="fixed"``).
    Maleki, Tran-Thanh, Hines, Rahwan, Rogers: Bounding the Estimation Error of Sampling-based
    Shapley Value Approximation. 2013 (strata by size of the coalition).

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=300, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> values = whence.Shapley(metric="mrr@20").attribute(model, data.validation)
    >>> sum_of_values = values.scores.sum()
    >>> gain = values.metadata["value_all"] - values.metadata["value_nothing"]
    >>> bool(abs(sum_of_values - gain) < 1e-9)
    True
    """

    efficient = True

    def size_weights(self, n: int) -> FloatArray:
        """Probability of each coalition of s others: s! (n - 1 - s)! / n!."""
        return beta_size_weights(1.0, 1.0, n)

    def sampling_weights(self, n: int) -> FloatArray | None:
        """None: permutations are what the values are the mean of."""
        return None


class BetaShapley(Semivalue, name="beta-shapley", title="Beta Shapley values"):
    """Beta-Shapley values: Shapley with more weight on small (or large) coalitions.

    Parameters
    ----------
    alpha, beta : float
        Of the Beta distribution, above 0; (1, 1) is Shapley, (16, 1) the authors' choice for
        finding corrupted data: it looks at small coalitions, where noise is less.
    metric, ... :
        As in `Semivalue`. The values do not add up to the metric.

    References
    ----------
    Kwon, Zou: Beta Shapley. AISTATS 2022, equation 5.
    """

    alpha: Positive = 16.0
    beta: Positive = 1.0

    def size_weights(self, n: int) -> FloatArray:
        """Probability of each coalition of s others: B(s + β, n - 1 - s + α) / B(α, β)."""
        return beta_size_weights(float(self.alpha), float(self.beta), n)

    def sampling_weights(self, n: int) -> FloatArray:
        """Size weights times n C(n - 1, s), by their quotients."""
        alpha, beta = float(self.alpha), float(self.beta)
        i, s = np.arange(n - 1), np.arange(1, n)
        first = n * np.prod((alpha + i) / (alpha + beta + i))
        steps = (s - 1 + beta) / (n - 1 - s + alpha) * (n - s) / s
        return np.asarray(np.cumprod(np.concatenate([[first], steps])))


class Banzhaf(Semivalue, name="banzhaf", title="Data Banzhaf values"):
    """Data Banzhaf values: the mean effect of joining a random subset of the others.

    In every sampled subset each player's effect is read off, so that no two different subsets
    are compared. See `Semivalue` for the parameters. The values do not add up to the metric.

    References
    ----------
    Wang, Jia: Data Banzhaf. AISTATS 2023, definition 3.
    """

    sampling = SUBSETS

    def size_weights(self, n: int) -> FloatArray:
        """Probability of each coalition of others: 2**(1 - n)."""
        return np.full(n, 2.0 ** (1 - n))

    def sampling_weights(self, n: int) -> FloatArray | None:
        """None: subsets are what the values are the mean of."""
        return None
