"""Influence functions: what a fitted model owes to each training interaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from whence.attribution import OWN_COLUMNS, Attribution, Attributor, describe_run
from whence.data import Interactions
from whence.engines import Checkpoints, Run, identity_of, kept_memory, settled
from whence.errors import DataError, UnsupportedError
from whence.influence.credit import credited, row_table
from whence.influence.functions.closed import als_prediction, ease_influence
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import FloatArray, IntArray, Objective
from whence.influence.functions.outcomes import Question, ask
from whence.influence.functions.passes import Problem, of_prediction
from whence.influence.functions.reading import objective_of
from whence.influence.functions.solvers import Settings
from whence.influence.reliability import reliability
from whence.influence.result import Influence
from whence.models.base import require
from whence.models.matrix.als import ALS
from whence.models.matrix.ease import EASE
from whence.parameters import Count, NonNegative, Positive, PositiveInt, Seed


class InfluenceFunction(
    Attributor, name="influence-function", title="Influence functions", aliases=("influence",)
):
    """Influence of training interactions by the inverse Hessian of the training objective.

    With ``F(θ, o) = (1/Z) Σ_s o_s l_s(θ) + ½ρ‖θ‖²`` and θ its minimum at o = 1, the influence of
    the training example s on an outcome Y(θ) is ``-(1/Z) ∇Yᵀ (H + damping I)⁻¹ ∇l_s``: what Y
    gains, to first order, because s is trained on. Above zero: a proponent. For a loss, Y is minus
    the loss. Z, the number of loss terms, does not change when an example goes; its sampled
    negatives go with it, and stay what they are in the epoch `epoch`.

    Parameters
    ----------
    solver : {"auto", "ggn", "ekfac", "cg", "exact", "block", "lissa", "dot"}
        How the inverse of the Hessian is applied. "auto": "cg" for factor models, "ggn" for
        networks, "ekfac" for those whose loss is no convex function of scores. "ggn": the
        Gauss-Newton matrix in place of the Hessian, by a few steps of conjugate gradients; it needs
        no optimum. "ekfac": the Fisher matrix, layer by layer, by its factors; neither does it.
        "cg": conjugate gradients with products, users eliminated exactly where the model is a
        factor model; "exact": Cholesky factorisation, up to some thousand parameters, the same
        result; "block": Fast Influence Analysis, only the embeddings and biases of the user and
        items of each prediction, over the training rows that touch them; "lissa": Neumann series;
        "dot": no Hessian at all, as a control.
    outcome : {"loss", "ndcg", "mrr"}
        "loss": per user (or session) the mean of the model's own loss over the validation
        examples. "ndcg", "mrr": the metric with soft ranks, over all items that the user does not
        have in the training data.
    by : {"interaction", "user", "session", "item", "example"}
        Who is credited; the influences of several examples add up.
    damping : float, optional
        Added to the diagonal of the Hessian; by default 1e-4 for "ggn" and "ekfac", 0
        for the others.
    layers : {"all", "last"} or list of str
        Parameters that count, for neural models: all, those of the last layer, or by name.
    tolerance, max_iterations
        "ggn", "cg" and "lissa": stop when the residual relative to the right-hand side is this, or
        after so many steps; by default 1e-3 and 15 for "ggn", 1e-6 and 1000 for the others.
    scale : float, optional
        "lissa": what the Hessian is divided by; its largest eigenvalue by default.
    batch_size : int, optional
        "lissa": examples drawn for each term of the series; all by default.
    temperature : float
        "ndcg" and "mrr": of the soft ranks, in units of scores.
    epoch : int
        Whose negatives are kept.
    precision : {"float32", "float64"}, optional
        What networks compute in; sums over examples, and factor models, are in float64 anyway. By
        default float32 for "ggn" and "ekfac", whose other errors are larger, else float64.
    seed : int
        Of the draws of "lissa", of the labels of "ekfac", and of the halves of the queries.
    threads : int, optional
        Threads over queries, where each has its own equations; every core by default. The result
        does not depend on it.

    Notes
    -----
    The Hessian is of use at an optimum: call `to_optimum` first. The metadata of the result say how
    large the gradient is where the model stands, what residual the solver left and the smallest
    curvature it saw, and a `DataWarning` is given where one of them makes the values doubtful.

    Networks are best where their training stopped, not at an optimum of the training loss, and
    their Hessian has negative curvature there. The Gauss-Newton matrix ``(1/Z) Σ Jᵀ C J``, with J
    the derivatives of the scores and C the second derivatives of the loss by the scores, has none.
    Its influence says what one step from here towards the optimum of the loss without the example,
    the scores taken as linear in the parameters, does to the outcome.

    Values come from two halves of the queries, of users or sessions drawn by the seed: see
    ``halves`` of the result. The metadata's ``reliability`` is how far the values would agree with
    those of as many other queries.

    References
    ----------
    -  Koh and Liang. Understanding black-box predictions via influence functions. ICML 2017.
    -  Martens. New insights and perspectives on the natural gradient method. JMLR 21, 2020.
    -  Grosse et al. Studying large language model generalization with influence functions. 2023.
    -  Cheng, Shen, Zhu, Kuang and Tang. Incorporating interpretability into latent factor
       models via fast influence analysis. KDD 2019.
    -  Agarwal, Bullins and Hazan. Second-order stochastic optimization for machine learning in
       linear time. JMLR 18, 2017.

    Examples
    --------
    >>> import polars as pl
    >>> from whence import BiasedMF, InfluenceFunction, to_optimum
    >>> ratings = pl.DataFrame(
    ...     {"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "b", "a"], "rating": [5, 1, 5, 1, 4]}
    ... )
    >>> model = to_optimum(BiasedMF(embedding_dim=1, weight_decay=0.1).fit(ratings))
    >>> asked = pl.DataFrame({"user": [3], "item": ["b"], "rating": [1]})
    >>> InfluenceFunction(solver="exact").attribute(model, asked).top(1)["item"].to_list()
    ['b']
    """

    solver: Literal["auto", "ggn", "ekfac", "cg", "exact", "block", "lissa", "dot"] = "auto"
    outcome: Literal["loss", "ndcg", "mrr"] = "loss"
    by: Literal["interaction", "user", "session", "item", "example"] = "interaction"
    damping: NonNegative | None = None
    layers: Any = "all"
    tolerance: NonNegative | None = None
    max_iterations: PositiveInt | None = None
    scale: Positive | None = None
    batch_size: PositiveInt | None = None
    temperature: Positive = 1.0
    epoch: Count = 0
    precision: Literal["float32", "float64"] | None = None
    seed: Seed = 42
    threads: PositiveInt | None = None

    def check_model(self, model: Any) -> None:
        """Refuse a model without a loss for each example; see `Attributor.check_model`."""
        if not isinstance(model, EASE):
            require(model, "differentiable", "An influence function")

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Influence:
        """Influence of all training data on the mean outcome of the queries, by two solves.

        EASE is answered exactly and by user, by a formula for its refitting; see
        `whence.influence.functions.closed.ease_influence`.

        Parameters
        ----------
        model : fitted differentiable model
            At its optimum, unless the solver is "ggn" or "ekfac"; see `to_optimum`.
        data : Interactions or data frame
            Validation data: one query per user, or per session.
        run : Run, optional
            How the work is done. In its folder are kept the steps of the solver.

        Returns
        -------
        Influence
            ``score``: what the mean outcome over the queries gains by the source. ``halves``: the
            same for each half of the queries.
            ``for_query(q)``, ``proponents(q)`` and ``opponents(q)`` solve for one query.

        Raises
        ------
        UnsupportedError
            If the model has no loss per training example, or the combination is not defined.
        DataError
            If the Hessian is singular, or no query is left.
        """
        run = settled(run, self)
        if isinstance(model, EASE):
            self._check_params()
            return self._ease(model, data)
        problem = self.work_on(model, data, run=run)
        shares = problem.halves()
        with _keeping(problem, "attribute by halves") as kept:
            halves = problem.means(shares, kept)
        return self._answer(problem, halves, np.count_nonzero(shares, axis=1), data)

    def matrix(self, model: Any, data: Any, *, run: Run | None = None) -> FloatArray:
        """Influence of each source on the outcome of each query, V[u, s].

        Parameters
        ----------
        model, data, run
            As in `attribute`.

        Returns
        -------
        float64 [Q, S]
            Queries in order of first appearance in the validation data, sources as in the table of
            `attribute`. Its mean over the queries are the scores of `attribute`.
        """
        problem = self.work_on(model, data, run=run)
        with _keeping(problem, f"matrix by {self.by}") as kept:
            return problem.matrix(self.by, kept)

    def own(self, model: Any, data: Any, *, run: Run | None = None) -> FloatArray:
        """Influence of each interaction on its own user: V[u(s), s], float64 [n_rows].

        0 for rows of users who have nothing in the validation data. See `matrix`.
        """
        problem = self.work_on(model, data, run=run)
        with _keeping(problem, "own") as kept:
            own = problem.own(kept)
        return credited(model.train_, model.examples_, own, "interaction")[2]["score"].to_numpy()

    def effects(
        self, model: Any, data: Any, removals: list[IntArray], *, run: Run | None = None
    ) -> FloatArray:
        """Predicted change of each query's outcome when examples are removed from training.

        One solve per removal, whatever the number of queries.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        removals : list of int64 arrays
            Numbers of the training examples that are removed together.

        Returns
        -------
        float64 [Q, number of removals]
            Above zero where the outcome gets better.
        """
        problem = self.work_on(model, data, run=run)
        what = identity_of([gone.tolist() for gone in removals])
        with _keeping(problem, f"effects of {what}") as kept:
            return problem.effects(removals, kept)

    def explain_prediction(
        self, model: Any, user: Any, item: Any, *, own: bool = True, run: Run | None = None
    ) -> Attribution:
        """Which past interactions led to the score of an item for a user.

        For ALS exactly what the user's factors would be without each row, the items' held fixed.

        Parameters
        ----------
        model : fitted model of users and items
            At its optimum; see `to_optimum`.
        user, item : ids
        own : bool
            Only the user's own interactions; else those of everybody.
        run : Run, optional
            How the work is done.

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
        started, run = time.perf_counter(), settled(run, self)
        exact = isinstance(model, ALS)
        objective = None if exact else self._objective(model)
        model._check_fitted()
        train: Interactions = model.train_
        codes = train.vocabulary.source_codes([user]), train.vocabulary.item_codes([item])
        for name, value, code in zip(("user", "item"), (user, item), codes):
            if code[0] < 0:
                raise DataError(
                    f"The {name} {value!r} is not in the training data, so that no prediction can "
                    "be explained; give ids of the training data."
                )
        who, what = int(codes[0][0]), int(codes[1][0])
        facts: dict[str, Any] = {}
        params = self._described(run)
        if objective is None:
            shares, prediction = als_prediction(model, who, what)
            table = row_table(train, shares)
        else:
            prediction = float(objective.item_scores(np.array([who]))[0, what])
            settings = self._settings(run, objective)
            params = {**params, **_chosen(settings)}
            scores, facts = of_prediction(objective, settings, who, what)
            table = credited(train, model.examples_, scores, "interaction")[2]
        if own:
            table = table.filter(train.frame[train.columns.source] == train.source_ids[who])
        metadata = describe_run(
            self.name,
            title=self.title,
            by="interaction",
            source="row",
            metric="predicted score",
            model=model,
            params=params,
            train=train,
            elapsed_seconds=time.perf_counter() - started,
            prediction=prediction,
            user=user,
            item=item,
            **facts,
        )
        return Attribution(table, source="row", metadata=metadata, backend=train.backend)

    def work_on(
        self,
        model: Any,
        data: Any,
        *,
        objective: Objective | None = None,
        question: Question | None = None,
        run: Run | None = None,
    ) -> Problem:
        """Resolve a question to a model; behind the other methods.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        objective : Objective, optional
            Another point, or other weights, than the model's.
        question : Question, optional
            Made of the validation data before.
        """
        run = settled(run, self)
        here = self._objective(model) if objective is None else objective
        if question is None:
            question = ask(model, data, outcome=self.outcome, temperature=self.temperature)
        return Problem(model, here, question, self._settings(run, here), run)

    def _settings(self, run: Run, objective: Objective) -> Settings:
        """How the inverse Hessian is applied."""
        return Settings.of(
            self._solver(objective),
            damping=self.damping,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            scale=self.scale,
            batch_size=self.batch_size,
            seed=run.seed,
        )

    def _objective(self, model: Any) -> Objective:
        self._check_params()
        quick = self.solver in ("auto", "ggn", "ekfac")
        precision = self.precision or ("float32" if quick else "float64")
        return objective_of(
            model,
            epoch=self.epoch,
            layers=self.layers,
            precision=precision,
            by_layers=self.solver == "ekfac",
        )

    def _solver(self, objective: Objective) -> str:
        if self.solver != "auto":
            return self.solver
        if not isinstance(objective, ModuleObjective):
            return "cg"
        return "ggn" if objective.not_convex is None else "ekfac"

    def _ease(self, model: EASE, data: Any) -> Influence:
        started = time.perf_counter()
        model._check_fitted()
        train = model.train_
        kind = "user" if train.by_user or train.kind == "baskets" else "session"
        if self.by not in ("interaction", kind) or self.outcome != "loss":
            raise UnsupportedError(
                f"The influence on EASE is known exactly by {kind} and for outcome='loss'; leave "
                f"by out, or give by={kind!r}."
            )
        scores, facts = ease_influence(model, data)
        metadata = describe_run(
            self.name,
            title=self.title,
            by=kind,
            source=train.columns.source,
            metric="loss",
            model=model,
            params={"solver": "closed form"},
            train=train,
            elapsed_seconds=time.perf_counter() - started,
            **facts,
        )
        ids = train.source_ids
        name = train.columns.beside(ids.name, OWN_COLUMNS)
        table = pl.DataFrame({name: ids, "score": scores})
        return Influence(table, source=name, metadata=metadata, backend=train.backend)

    def _described(self, run: Run) -> dict[str, Any]:
        skipped = ("by", "threads", "outcome")
        said = {name: value for name, value in self.params.items() if name not in skipped}
        return {**said, "seed": run.seed}

    def _answer(
        self, problem: Problem, halves: FloatArray, counts: IntArray, data: Any
    ) -> Influence:
        """Wrap values of examples by half of the queries, float64 [2, E], of so many queries."""

        def scores_of(query: int) -> FloatArray:
            row: FloatArray = problem.of_queries(np.array([query]))[0]
            return row

        def recompute(query: int) -> Attribution:
            started, row = time.perf_counter(), problem.question.ids.row(query, named=True)
            return self._wrap(problem, scores_of(query), None, started, query=row)

        train, examples = problem.model.train_, problem.model.examples_
        by_half = np.array([
            credited(train, examples, half, self.by)[2]["score"].to_numpy() for half in halves
        ])  # fmt: skip
        return self._wrap(
            problem,
            counts @ halves / counts.sum(),
            data,
            problem.started,
            recompute=recompute,
            scores_of=scores_of,
            halves=by_half,
            reliability=reliability(by_half),
        )

    def _wrap(
        self,
        problem: Problem,
        scores: FloatArray,
        data: Any,
        started: float,
        *,
        recompute: Any = None,
        scores_of: Any = None,
        halves: FloatArray | None = None,
        **more: Any,
    ) -> Influence:
        train = problem.model.train_
        column, source, table = credited(train, problem.model.examples_, scores, self.by)
        metadata = describe_run(
            self.name,
            title=self.title,
            by=self.by,
            source=column,
            metric=self.outcome,
            model=problem.model,
            params={**self._described(problem.run), **_chosen(problem.settings)},
            seed=problem.run.seed,
            train=train,
            validation=data if isinstance(data, Interactions) else None,
            elapsed_seconds=time.perf_counter() - started,
            n_queries=len(problem.question),
            value_all=float(problem.question.values(problem.objective).mean()),
            **problem.facts,
            **more,
        )
        return Influence(
            table,
            source=source,
            metadata=metadata,
            backend=train.backend,
            recompute=recompute,
            scores_of=scores_of,
            about=About(problem.model, problem.question),
            halves=halves,
        )


def _chosen(settings: Settings) -> dict[str, Any]:
    """What was left to the solver."""
    names = ("solver", "damping", "tolerance", "max_iterations")
    return {name: getattr(settings, name) for name in names}


@contextmanager
def _keeping(problem: Problem, what: str) -> Iterator[Checkpoints]:
    identity = {"method": f"influence-function: {what}", **problem.identity}
    with kept_memory(), Checkpoints(problem.run, identity) as kept:
        yield kept


@dataclass(frozen=True)
class About:
    """Describes examples and queries for the tables of an `Influence`."""

    model: Any
    question: Question

    def examples(self, numbers: IntArray, *terms: Any) -> dict[str, Any]:
        """Columns about training examples: whose they are, and their last item."""
        train: Interactions = self.model.train_
        rows, offsets = self.model.examples_.rows(numbers)
        last = rows[offsets[1:] - 1]
        ids = train.ids_beside((*OWN_COLUMNS, "example"))
        return {name: column[last] for name, column in ids.items()}

    def queries(self) -> pl.DataFrame:
        """One row per query: its number, the user or session, and how many items are asked."""
        counts = np.diff(self.question.starts)
        return self.question.ids.with_row_index("query").with_columns(n_asked=pl.Series(counts))
