"""Influence functions: what a fitted model owes to each training interaction."""

from __future__ import annotations

import inspect
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from whence.attribution import Attribution, describe_run
from whence.data import Interactions
from whence.engines import map_ordered
from whence.errors import (
    DataError,
    DataWarning,
    ParameterError,
    UnsupportedError,
    check_choice,
    check_float,
    check_int,
)
from whence.influence.credit import BY, credited
from whence.influence.functions.conjugate import Solution
from whence.influence.functions.factors import FactorObjective
from whence.influence.functions.objective import FloatArray, IntArray, Objective
from whence.influence.functions.optimum import relative_gradient
from whence.influence.functions.outcomes import OUTCOMES, Question, ask
from whence.influence.functions.reading import objective_of
from whence.influence.functions.solvers import SOLVERS, Settings, solve
from whence.influence.functions.terms import Terms
from whence.influence.result import Influence

_QUERIES_PER_SOLVE = 32
_MUCH = 1.0


class InfluenceFunction:
    """Influence of training interactions by the inverse Hessian of the training objective.

    With ``F(θ, o) = (1/Z) Σ_s o_s l_s(θ) + ½ρ‖θ‖²`` and θ its minimum at o = 1, the influence of
    the training example s on an outcome Y(θ) is ``-(1/Z) ∇Yᵀ (H + damping I)⁻¹ ∇l_s``: what Y
    gains, to first order, because s is trained on. Above zero: a proponent. For a loss, Y is minus
    the loss. Z, the number of loss terms, does not change when an example goes; its sampled
    negatives go with it, and stay what they are in the epoch `epoch`.

    Parameters
    ----------
    solver : {"cg", "exact", "block", "lissa", "dot"}
        How the inverse of the Hessian is applied. "cg": conjugate gradients with products, users
        eliminated exactly where the model is a factor model; "exact": Cholesky factorisation, up
        to some thousand parameters, the same result; "block": Fast Influence Analysis, only
        the parameters of the user and item of each prediction, over the training rows that touch
        them; "lissa": Neumann series; "dot": no Hessian at all, as a control.
    outcome : {"loss", "ndcg", "mrr"}
        "loss": per user (or session) the mean of the model's own loss over the validation
        examples. "ndcg", "mrr": the metric with soft ranks, over all items that the user does not
        have in the training data.
    by : {"interaction", "user", "session", "item", "example"}
        Who is credited; the influences of several examples add up.
    damping : float
        Added to the diagonal of the Hessian.
    layers : {"all", "last"} or list of str
        Parameters that count, for neural models: all, those of the last layer, or by name.
    tolerance, max_iterations
        "cg" and "lissa": stop when the residual relative to the right-hand side is this.
    scale : float, optional
        "lissa": what the Hessian is divided by; its largest eigenvalue by default.
    batch_size : int, optional
        "lissa": examples drawn for each term of the series; all by default.
    temperature : float
        "ndcg" and "mrr": of the soft ranks, in units of scores.
    epoch : int
        Whose negatives are kept.
    seed : int
        Of the draws of "lissa".
    threads : int
        Threads over queries, where each has its own equations. The result does not depend on it.

    Notes
    -----
    Influence is defined at an optimum: call `to_optimum` first. The metadata of the result say how
    large the gradient is where the model stands, what residual the solver left and the smallest
    curvature it saw, and a `DataWarning` is given where one of them makes the values doubtful.

    References
    ----------
    -  Koh and Liang. Understanding black-box predictions via influence functions. ICML 2017.
    -  Cheng, Shen, Zhu, Kuang and Tang. Incorporating interpretability into latent factor
       models via fast influence analysis. KDD 2019.
    -  Agarwal, Bullins and Hazan. Second-order stochastic optimization for machine learning in
       linear time. JMLR 18, 2017.

    Examples
    --------
    >>> import polars as pl
    >>> from whence.models.matrix.mf import BiasedMF
    >>> ratings = pl.DataFrame(
    ...     {"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "b", "a"], "rating": [5, 1, 5, 1, 4]}
    ... )
    >>> model = to_optimum(BiasedMF(embedding_dim=1, weight_decay=0.1).fit(ratings))
    >>> asked = pl.DataFrame({"user": [3], "item": ["b"], "rating": [1]})
    >>> InfluenceFunction("exact").attribute(model, asked).top(1)["item"].to_list()
    ['b']
    """

    def __init__(
        self,
        solver: str = "cg",
        *,
        outcome: str = "loss",
        by: str = "interaction",
        damping: float = 0.0,
        layers: Any = "all",
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
        scale: float | None = None,
        batch_size: int | None = None,
        temperature: float = 1.0,
        epoch: int = 0,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.solver = solver
        self.outcome = outcome
        self.by = by
        self.damping = damping
        self.layers = layers
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.scale = scale
        self.batch_size = batch_size
        self.temperature = temperature
        self.epoch = epoch
        self.seed = seed
        self.threads = threads

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of the constructor, as plain values."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def attribute(self, model: Any, validation: Any) -> Influence:
        """Influence of all training data on the mean outcome of the queries, by one solve.

        Parameters
        ----------
        model : fitted differentiable model
            At its optimum; see `to_optimum`.
        validation : Interactions or data frame
            One query per user, or per session.

        Returns
        -------
        Influence
            ``score``: what the mean outcome over the queries gains by the source.
            ``for_query(q)``, ``proponents(q)`` and ``opponents(q)`` solve for one query.

        Raises
        ------
        UnsupportedError
            If the model has no loss per training example, or the combination is not defined.
        DataError
            If the Hessian is singular, or no query is left.
        """
        work = self._resolve(model, validation)
        scores = self.mean_of(work)
        return self._answer(work, scores)

    def matrix(self, model: Any, validation: Any) -> FloatArray:
        """Influence of each source on the outcome of each query, V[u, s].

        Parameters
        ----------
        model, validation
            As in `attribute`.

        Returns
        -------
        float64 [Q, S]
            Queries in order of first appearance in the validation data, sources as in the table of
            `attribute`. Its mean over the queries are the scores of `attribute`.
        """
        work = self._resolve(model, validation)
        rows: list[FloatArray] = []
        for numbers, scores in self._by_query(work):
            tables = (self._credit(work, scores[i])[1] for i in range(len(numbers)))
            rows += [table["score"].to_numpy() for table in tables]
        return np.array(rows)

    def own(self, model: Any, validation: Any) -> FloatArray:
        """Influence of each interaction on its own user: V[u(s), s], float64 [n_rows].

        0 for rows of users who have nothing in the validation data. See `matrix`.
        """
        own = self.own_of(self._resolve(model, validation))
        table = credited(model.train_, model.examples_, own, "interaction")[1]
        return table["score"].to_numpy()

    def effects(self, model: Any, validation: Any, removals: list[IntArray]) -> FloatArray:
        """Predicted change of each query's outcome when examples are removed from training.

        One solve per removal, whatever the number of queries.

        Parameters
        ----------
        model, validation
            As in `attribute`.
        removals : list of int64 arrays
            Numbers of the training examples that are removed together.

        Returns
        -------
        float64 [Q, number of removals]
            Above zero where the outcome gets better.
        """
        return self.effects_of(self._resolve(model, validation), removals)

    def explain_prediction(
        self, model: Any, user: Any, item: Any, *, own: bool = True
    ) -> Attribution:
        """Which past interactions led to the score of an item for a user.

        Parameters
        ----------
        model : fitted model of users and items
            At its optimum; see `to_optimum`.
        user, item : ids
        own : bool
            Only the user's own interactions; else those of everybody.

        Returns
        -------
        Attribution
            ``score``: what the predicted score (the rating, for a rating model) gains because the
            row is trained on.

        Raises
        ------
        DataError
            If the user or the item is not in the training data.
        """
        started = time.perf_counter()
        objective = self._objective(model)
        train: Interactions = model.train_
        codes = train.vocabulary.source_codes([user]), train.vocabulary.item_codes([item])
        for name, value, code in zip(("user", "item"), (user, item), codes):
            if code[0] < 0:
                raise DataError(
                    f"The {name} {value!r} is not in the training data, so that no prediction can "
                    "be explained; give ids of the training data."
                )
        who, what = int(codes[0][0]), int(codes[1][0])
        weights = np.zeros(train.n_items)
        weights[what] = 1.0
        facts: dict[str, Any] = {}
        if self.solver == "block":
            terms = Terms.single(who, what)
            scores = _factors(objective).block_influence(
                terms, np.ones(1), np.zeros(1, dtype=np.int64), 1, damping=self.damping
            )[0]
        else:
            solution = self._solve(objective, objective.score_gradient(who, weights)[None])
            scores = -objective.slopes(solution.x)[0] / objective.n_terms
            facts = self._diagnose(objective, solution)
        source, table = credited(train, model.examples_, scores, "interaction")
        if own:
            table = table.filter(table[train.columns.source] == train.source_ids[who])
        metadata = describe_run(
            "influence-function", by="interaction", source=source, metric="predicted score",
            model=model, params=self._settings(), train=train,
            elapsed_seconds=time.perf_counter() - started,
            prediction=float(objective.item_scores(np.array([who]))[0, what]),
            user=user, item=item, **facts,
        )  # fmt: skip
        return Attribution(table, source=source, metadata=metadata, backend=train.backend)

    # How

    def _objective(self, model: Any) -> Objective:
        check_choice("solver", self.solver, SOLVERS)
        check_choice("outcome", self.outcome, OUTCOMES)
        check_choice("by", self.by, BY)
        check_float("damping", self.damping, minimum=0.0)
        check_float("tolerance", self.tolerance, minimum=0.0)
        check_int("max_iterations", self.max_iterations, minimum=1)
        check_int("threads", self.threads, minimum=1)
        check_int("epoch", self.epoch, minimum=0)
        check_int("seed", self.seed, minimum=0)
        if check_float("temperature", self.temperature, minimum=0.0) == 0.0:
            raise ParameterError("temperature must be above 0; the ranks have no gradient at 0.")
        if self.scale is not None and check_float("scale", self.scale, minimum=0.0) == 0.0:
            raise ParameterError("scale must be above 0; leave it out to have it estimated.")
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size, minimum=1)
        return objective_of(model, epoch=self.epoch, layers=self.layers)

    def _resolve(self, model: Any, validation: Any) -> Work:
        started = time.perf_counter()
        objective = self._objective(model)
        question = ask(model, validation, outcome=self.outcome, temperature=self.temperature)
        return Work(model, validation, objective, question, started)

    def _settings(self) -> dict[str, Any]:
        skipped = ("by", "threads", "outcome")
        return {name: value for name, value in self.params.items() if name not in skipped}

    def _solve(self, objective: Objective, rows: FloatArray) -> Solution:
        settings = Settings(
            self.solver, self.damping, self.tolerance, self.max_iterations, self.scale,
            self.batch_size, self.seed,
        )  # fmt: skip
        return solve(objective, rows, settings)

    def mean_of(self, work: Work) -> FloatArray:
        """As the scores of `attribute` by example, float64 [E], of a call that is resolved."""
        objective, question = work.objective, work.question
        if self.solver == "block":
            everyone = np.arange(len(question))
            return self._blocks(work, everyone, together=True)[0] / len(question)
        solution = self._solve(objective, question.mean_gradient(objective)[None])
        work.facts.update(self._diagnose(objective, solution))
        return -objective.slopes(solution.x)[0] / objective.n_terms

    def _by_query(self, work: Work) -> Any:
        """Numbers of queries and their influences [n, E], block after block."""
        count = len(work.question)
        starts = range(0, count, _QUERIES_PER_SOLVE)
        blocks = [np.arange(a, min(a + _QUERIES_PER_SOLVE, count)) for a in starts]
        return map_ordered(lambda n: (n, self._of_queries(work, n)), blocks, self.threads)

    def _of_queries(self, work: Work, queries: IntArray) -> FloatArray:
        """Influence of each example on the outcome of some queries, float64 [n, E]."""
        objective, question = work.objective, work.question
        if self.solver == "block":
            return self._blocks(work, queries)
        solution = self._solve(objective, question.gradients(objective, queries))
        self._worst(work, solution)
        return -objective.slopes(solution.x) / objective.n_terms

    def _blocks(
        self, work: Work, queries: IntArray, *, together: bool = False, only_own: bool = False
    ) -> FloatArray:
        """As `_of_queries` by Fast Influence Analysis; added up in one row if `together`."""
        question = work.question
        objective = _factors(work.objective)
        if question.outcome != "loss":
            raise UnsupportedError(
                "solver='block' looks at single predictions, so that it needs outcome='loss'; for "
                "a metric choose solver='cg'."
            )
        terms, slope, query = question.terms(objective, queries)
        row = np.zeros_like(query) if together else query
        count = 1 if together else len(queries)
        return objective.block_influence(
            terms, slope, row, count, damping=self.damping, only_own=only_own
        )

    def own_of(self, work: Work) -> FloatArray:
        """As `own` by example, float64 [E], of a call that is resolved."""
        examples = work.model.examples_
        numbers = np.arange(work.objective.n_examples)
        owner = examples.sources(numbers)
        own = np.zeros(len(numbers))
        if self.solver == "block":
            own = self._blocks(work, np.arange(len(work.question)), together=True, only_own=True)[0]
        else:
            for queries, scores in self._by_query(work):
                for i, query in enumerate(queries):
                    mine = np.flatnonzero(owner == work.question.sources[query])
                    own[mine] = scores[i, mine]
        return own

    def effects_of(self, work: Work, removals: list[IntArray]) -> FloatArray:
        """As `effects`, of a call that is resolved."""
        objective, question = work.objective, work.question
        if self.solver == "block":
            rows = (self._of_queries(work, np.array([q])) for q in range(len(question)))
            return np.array([[-row[0, gone].sum() for gone in removals] for row in rows])
        out = np.empty((len(question), len(removals)))
        for first in range(0, len(removals), _QUERIES_PER_SOLVE):
            some = removals[first : first + _QUERIES_PER_SOLVE]
            rows = np.array([_sum_of_gradients(objective, gone) for gone in some])
            solution = self._solve(objective, rows)
            self._worst(work, solution)
            out[:, first : first + len(some)] = self._along(work, solution.x)
        return out / objective.n_terms

    def _along(self, work: Work, rows: FloatArray) -> FloatArray:
        """∇Y of each query times each row, float64 [Q, R]."""
        question, parts = work.question, []
        for first in range(0, len(question), _QUERIES_PER_SOLVE):
            some = np.arange(first, min(first + _QUERIES_PER_SOLVE, len(question)))
            parts.append(question.gradients(work.objective, some) @ rows.T)
        return np.concatenate(parts)

    def _worst(self, work: Work, solution: Solution) -> None:
        work.residual = max(work.residual, solution.residual)

    def _diagnose(self, objective: Objective, solution: Solution) -> dict[str, Any]:
        """What is to be known of the result, and warnings where it is doubtful."""
        gradient = relative_gradient(objective)
        if gradient > _MUCH and self.solver != "dot":
            warnings.warn(
                f"The model is not at an optimum: its gradient is that of {gradient:.3g} training "
                "examples, so that what one of them does is not what these values say; call "
                "to_optimum(model) first.",
                DataWarning,
                stacklevel=4,
            )
        if not solution.converged:
            warnings.warn(
                f"The solver {self.solver!r} stopped after {solution.iterations} steps with a "
                f"residual of {solution.residual:.2g}, above the tolerance {self.tolerance:g}; "
                "give more max_iterations or some damping.",
                DataWarning,
                stacklevel=4,
            )
        if solution.smallest_curvature < -1e-3 * (objective.ridge + self.damping) - 1e-14:
            warnings.warn(
                "The Hessian is indefinite (smallest curvature "
                f"{solution.smallest_curvature:.2g}): the model is at no minimum; call "
                "to_optimum(model), train with a larger weight_decay, or give damping.",
                DataWarning,
                stacklevel=4,
            )
        return {
            "gradient": gradient,
            "residual": solution.residual,
            "iterations": solution.iterations,
            "smallest_curvature": solution.smallest_curvature,
            "n_parameters": len(objective.theta),
            "n_terms": objective.n_terms,
            "ridge": objective.ridge,
        }

    def _credit(self, work: Work, scores: FloatArray) -> tuple[str, pl.DataFrame]:
        return credited(work.model.train_, work.model.examples_, scores, self.by)

    def _answer(self, work: Work, scores: FloatArray) -> Influence:
        def scores_of(query: int) -> FloatArray:
            return self._of_queries(work, np.array([query]))[0]

        def recompute(query: int) -> Attribution:
            one = Work(work.model, None, work.objective, work.question, time.perf_counter())
            return self._wrap(one, scores_of(query), query=work.question.ids.row(query, named=True))

        return self._wrap(work, scores, recompute=recompute, scores_of=scores_of)

    def _wrap(
        self, work: Work, scores: FloatArray, *, recompute: Any = None, scores_of: Any = None,
        **more: Any,
    ) -> Influence:  # fmt: skip
        source, table = self._credit(work, scores)
        validation, train = work.validation, work.model.train_
        metadata = describe_run(
            "influence-function", by=self.by, source=source, metric=self.outcome,
            model=work.model, params=self._settings(), seed=self.seed, train=train,
            validation=validation if isinstance(validation, Interactions) else None,
            elapsed_seconds=time.perf_counter() - work.started,
            n_queries=len(work.question),
            value_all=float(work.question.values(work.objective).mean()),
            **work.facts, **more,
        )  # fmt: skip
        return Influence(
            table, source=source, metadata=metadata, backend=train.backend,
            recompute=recompute, scores_of=scores_of, about=About(work.model, work.question),
        )  # fmt: skip


@dataclass
class Work:
    """One call, resolved."""

    model: Any
    validation: Any
    objective: Objective
    question: Question
    started: float
    residual: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class About:
    """Describes examples and queries for the tables of an `Influence`."""

    model: Any
    question: Question

    def examples(self, numbers: IntArray) -> dict[str, Any]:
        """Columns about training examples: whose they are, and their last item."""
        train: Interactions = self.model.train_
        rows, offsets = self.model.examples_.rows(numbers)
        last = rows[offsets[1:] - 1]
        columns = {train.columns.source: train.frame[train.columns.source][last]}
        columns[train.columns.item] = train.frame[train.columns.item][last]
        return columns

    def queries(self) -> pl.DataFrame:
        """One row per query: its number, the user or session, and how many items are asked."""
        counts = np.diff(self.question.starts)
        return self.question.ids.with_row_index("query").with_columns(n_asked=pl.Series(counts))


def _sum_of_gradients(objective: Objective, numbers: IntArray) -> FloatArray:
    """Σ ∇l_s over some examples, float64 [P]."""
    one = np.zeros(objective.n_examples)
    one[numbers] = 1.0
    total: FloatArray = objective.weighted(one).gradient() - objective.ridge * objective.theta
    return total * objective.n_terms


def _factors(objective: Objective) -> FactorObjective:
    if not isinstance(objective, FactorObjective):
        raise UnsupportedError(
            "solver='block' needs a factor model (BiasedMF, BPRMF), whose predictions depend on "
            "the parameters of one user and one item; choose solver='cg' or 'lissa'."
        )
    return objective
