"""What an influence function computes: gradients, solves, and products with examples."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from whence import engines
from whence.engines import Checkpoints, Job, Run, identity_of, reporter
from whence.errors import DataWarning, UnsupportedError
from whence.influence.credit import credited
from whence.influence.functions.conjugate import Solution, Steps
from whence.influence.functions.factors import FactorObjective
from whence.influence.functions.kronecker import factors_of
from whence.influence.functions.module_blocks import block_influence, training_arrays
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import Arrays, FloatArray, IntArray, Objective
from whence.influence.functions.optimum import relative_gradient
from whence.influence.functions.outcomes import Question
from whence.influence.functions.solvers import Settings, solve
from whence.influence.functions.terms import Terms

_PER_SOLVE = 32
_MUCH = 1.0
_HALVES = 0x2A
"""Stream of random numbers that the halves of the queries are drawn from."""


@dataclass
class Problem:
    """One question to one model.

    Attributes
    ----------
    model : DifferentiableRecommender
    objective : Objective
    question : Question
    settings : Settings
    run : Run
    facts : dict
        What is to be known of the result: gradient, residual and so on.
    started : float
    """

    model: Any
    objective: Objective
    question: Question
    settings: Settings
    run: Run = field(default_factory=Run)
    facts: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers."""
        question, train = self.question, getattr(self.model, "train_", None)
        asked = [*question.arrays.values(), question.relevant, question.starts, *question.closed]
        return {
            "parameters": vars(self.settings),
            "training data": getattr(train, "fingerprint", None),
            "model": [identity_of(self.objective.theta), identity_of(self.objective.weights)],
            "queries": identity_of([question.outcome, *map(identity_of, asked)]),
        }

    def mean(self, kept: Checkpoints | None = None) -> FloatArray:
        """Influence of each example on the mean outcome, float64 [E]; by one solve."""
        everyone = np.full((1, len(self.question)), 1.0 / len(self.question))
        one: FloatArray = self.means(everyone, kept)[0]
        return one

    def means(self, shares: FloatArray, kept: Checkpoints | None = None) -> FloatArray:
        """Influence of each example on sums of the outcomes, float64 [R, E].

        Parameters
        ----------
        shares : float64 [R, Q]
            Of each query in each sum; those of one sum are equal or zero.
        kept : Checkpoints, optional
        """
        objective, question = self.objective, self.question
        if self.settings.solver == "block":
            self.facts.update(diagnose(objective, self.settings, None))
            rows = [
                self._blocks(np.flatnonzero(row), together=True)[0] * row.max() for row in shares
            ]
            return np.array(rows)
        gradients = question.sums_of_gradients(objective, shares)
        with reporter(self.run.progress) as report:
            steps = None if kept is None else Steps(kept, report)
            solution = solve(objective, gradients, self.settings, steps)
        self.facts.update(diagnose(objective, self.settings, solution))
        scores: FloatArray = -objective.slopes(solution.x) / objective.n_terms
        return scores

    def halves(self) -> FloatArray:
        """Shares in the means of two halves of the queries, drawn by the seed; float64 [2, Q].

        Of a single query there is one row.
        """
        count = len(self.question)
        if count < 2:
            return np.ones((1, count))
        place = np.random.default_rng([self.settings.seed, _HALVES]).permutation(count)
        shares = np.array([place % 2, 1 - place % 2], dtype=np.float64)
        means: FloatArray = shares / shares.sum(axis=1, keepdims=True)
        return means

    def matrix(self, by: str, kept: Checkpoints | None = None) -> FloatArray:
        """Influence of each source on the outcome of each query, float64 [Q, S]."""
        return self._of_blocks(_Matrix(self, by), len(self.question), kept)

    def of_queries(self, queries: IntArray) -> FloatArray:
        """Influence of each example on the outcome of some queries, float64 [n, E]."""
        if self.settings.solver == "block":
            return self._blocks(queries)
        solution = self._solve(self.question.gradients(self.objective, queries))
        scores: FloatArray = -self.objective.slopes(solution.x) / self.objective.n_terms
        return scores

    def own(self, kept: Checkpoints | None = None) -> FloatArray:
        """Influence of each example on its own user's outcome, float64 [E]; else 0."""
        if self.settings.solver == "block":
            everyone = np.arange(len(self.question))
            row: FloatArray = self._blocks(everyone, together=True, only_own=True)[0]
            return row
        owners = self.model.examples_.sources(np.arange(self.objective.n_examples))
        return self._of_blocks(_Own(self, owners), len(self.question), kept)

    def effects(self, removals: list[IntArray], kept: Checkpoints | None = None) -> FloatArray:
        """Predicted change of each outcome without some examples, float64 [Q, R]."""
        if self.settings.solver == "block":
            return self._of_blocks(_EffectsOfRows(self, removals), len(self.question), kept)
        return self._of_blocks(_Effects(self, removals), len(removals), kept)

    def effects_of(self, removals: list[IntArray]) -> FloatArray:
        """As `effects`, by one solve for some removals."""
        rows = np.array([sum_of_gradients(self.objective, gone) for gone in removals])
        scaled: FloatArray = self._along(self._solve(rows).x) / self.objective.n_terms
        return scaled

    def _of_blocks(
        self, job: Job[IntArray, Any, FloatArray], count: int, kept: Checkpoints | None
    ) -> FloatArray:
        starts = range(0, count, _PER_SOLVE)
        blocks = [np.arange(a, min(a + _PER_SOLVE, count)) for a in starts]
        return engines.run(job, blocks, self.run, message="solving", kept=kept, stage="blocks")

    def _along(self, rows: FloatArray) -> FloatArray:
        """∇Y of each query times each row, float64 [Q, R]."""
        parts = []
        for first in range(0, len(self.question), _PER_SOLVE):
            some = np.arange(first, min(first + _PER_SOLVE, len(self.question)))
            parts.append(self.question.gradients(self.objective, some) @ rows.T)
        return np.concatenate(parts)

    def _blocks(
        self, queries: IntArray, *, together: bool = False, only_own: bool = False
    ) -> FloatArray:
        """As `of_queries` by Fast Influence Analysis; added up in one row if `together`."""
        if self.question.outcome != "loss":
            raise UnsupportedError(
                "solver='block' looks at single predictions, so that it needs outcome='loss'; for "
                "a metric choose solver='cg'."
            )
        if isinstance(self.objective, FactorObjective):
            terms, slope, query = self.question.terms(self.objective, queries)
            row = np.zeros_like(query) if together else query
            count = 1 if together else len(queries)
            return self.objective.block_influence(
                terms, slope, row, count, damping=self.settings.damping, only_own=only_own
            )
        rows = np.zeros((1 if together else len(queries), self.objective.n_examples))
        for place, query in enumerate(queries):
            rows[0 if together else place] += self._module_block(int(query), only_own)
        return rows

    def _module_block(self, query: int, only_own: bool) -> FloatArray:
        """Influence on the outcome of one query by its block, float64 [E]."""
        question, objective = self.question, _as_module(self.objective)
        training = self._training
        window = slice(question.starts[query], question.starts[query + 1])
        items = [question.arrays[n][window].ravel() for n in ("item", "negatives") if n in training]
        user = int(question.arrays["user"][window][0])
        gradient = question.gradients(objective, np.array([query]))[0]
        scores = block_influence(
            objective, gradient, user, np.concatenate(items), self.settings, training
        )
        return np.where(training["user"] == user, scores, 0.0) if only_own else scores

    @cached_property
    def _training(self) -> Arrays:
        return training_arrays(_as_module(self.objective))

    def _solve(self, rows: FloatArray) -> Solution:
        return solve(self.objective, rows, self.settings)


@dataclass(frozen=True)
class _OfProblem(Job[IntArray, tuple[Any, FloatArray], FloatArray]):
    """Something of a problem; a shard is a block of queries, or of removals."""

    lasting = ("problem",)

    problem: Problem

    @property
    def alone(self) -> bool:
        """Whether it is a module, of which there is one, and torch has threads of its own."""
        return not isinstance(self.problem.objective, FactorObjective)

    def add(self, total: FloatArray, part: tuple[Any, FloatArray]) -> FloatArray:
        where, values = part
        total[where] = values
        return total

    def work(self, shard: IntArray) -> float:
        return len(shard)


@dataclass(frozen=True)
class _Matrix(_OfProblem):
    by: str

    def run(self, shard: IntArray) -> tuple[Any, FloatArray]:
        return shard, np.array([self._credit(row) for row in self.problem.of_queries(shard)])

    def start(self) -> FloatArray:
        width = len(self._credit(np.zeros(self.problem.objective.n_examples)))
        return np.zeros((len(self.problem.question), width))

    def _credit(self, scores: FloatArray) -> FloatArray:
        model = self.problem.model
        table = credited(model.train_, model.examples_, scores, self.by)[2]
        return table["score"].to_numpy()


@dataclass(frozen=True)
class _Own(_OfProblem):
    owners: IntArray

    def run(self, shard: IntArray) -> tuple[Any, FloatArray]:
        scores, sources = self.problem.of_queries(shard), self.problem.question.sources
        mine = [np.flatnonzero(self.owners == sources[query]) for query in shard]
        return np.concatenate(mine), np.concatenate([row[m] for row, m in zip(scores, mine)])

    def start(self) -> FloatArray:
        return np.zeros(len(self.owners))


@dataclass(frozen=True)
class _EffectsOfRows(_OfProblem):
    removals: list[IntArray]

    def run(self, shard: IntArray) -> tuple[Any, FloatArray]:
        rows = self.problem.of_queries(shard)
        return shard, np.array([[-row[gone].sum() for gone in self.removals] for row in rows])

    def start(self) -> FloatArray:
        return np.zeros((len(self.problem.question), len(self.removals)))


@dataclass(frozen=True)
class _Effects(_EffectsOfRows):
    def run(self, shard: IntArray) -> tuple[Any, FloatArray]:
        return np.s_[:, shard], self.problem.effects_of([self.removals[r] for r in shard])


def of_prediction(
    objective: Objective, settings: Settings, user: int, item: int
) -> tuple[FloatArray, dict[str, Any]]:
    """Influence of each example on one score, float64 [E], and what is to be known of it."""
    facts = diagnose(objective, settings, None)
    if settings.solver == "block" and isinstance(objective, FactorObjective):
        scores = objective.block_influence(
            Terms.single(user, item), np.ones(1), np.zeros(1, dtype=np.int64), 1,
            damping=settings.damping,
        )[0]  # fmt: skip
        return scores, facts
    weights = np.zeros(objective.item_scores(np.array([user])).shape[1])
    weights[item] = 1.0
    gradient = objective.score_gradient(user, weights)
    if settings.solver == "block":
        module = _as_module(objective)
        pair = training_arrays(module)
        return block_influence(module, gradient, user, np.array([item]), settings, pair), facts
    solution = solve(objective, gradient[None], settings)
    facts.update(diagnose_solution(objective, settings, solution))
    return -objective.slopes(solution.x)[0] / objective.n_terms, facts


def diagnose(objective: Objective, settings: Settings, solution: Solution | None) -> dict[str, Any]:
    """What is to be known of a result, with a warning where it makes the result doubtful."""
    facts: dict[str, Any] = {
        "n_parameters": len(objective.theta),
        "n_terms": objective.n_terms,
        "ridge": objective.ridge,
    }
    if settings.needs_optimum:
        facts["gradient"] = gradient = relative_gradient(objective)
        if gradient > _MUCH:
            _warn(
                f"The model is not at an optimum: its gradient is that of {gradient:.3g} training "
                "examples, so that what one of them does is not what these values say; call "
                "to_optimum(model) first, or choose solver='ggn', which needs none."
            )
    if solution is not None:
        facts.update(diagnose_solution(objective, settings, solution))
    return facts


def diagnose_solution(
    objective: Objective, settings: Settings, solution: Solution
) -> dict[str, Any]:
    """As `diagnose`, of what a solver left."""
    if settings.solver == "ekfac":
        factors = factors_of(_as_module(objective), settings.seed)
        return {"fisher": factors.fisher, "n_layers": len(factors.blocks)}
    if not solution.converged and settings.solver != "ggn":
        _warn(
            f"The solver {settings.solver!r} stopped after {solution.iterations} steps with a "
            f"residual of {solution.residual:.2g}, above the tolerance {settings.tolerance:g}; "
            "give more max_iterations or some damping."
        )
    if solution.smallest_curvature < -1e-3 * (objective.ridge + settings.damping) - 1e-14:
        _warn(
            f"The Hessian is indefinite (smallest curvature {solution.smallest_curvature:.2g}): "
            "the model is at no minimum; call to_optimum(model), train with a larger "
            "weight_decay, or give damping."
        )
    return {
        "residual": solution.residual,
        "iterations": solution.iterations,
        "smallest_curvature": solution.smallest_curvature,
    }


def sum_of_gradients(objective: Objective, numbers: IntArray) -> FloatArray:
    """Σ ∇l_s over some examples, float64 [P]."""
    one = np.zeros(objective.n_examples)
    one[numbers] = 1.0
    total: FloatArray = objective.weighted(one).gradient() - objective.ridge * objective.theta
    return total * objective.n_terms


def _as_module(objective: Objective) -> ModuleObjective:
    assert isinstance(objective, ModuleObjective)
    return objective


def _warn(sentence: str) -> None:
    warnings.warn(sentence, DataWarning, stacklevel=5)
