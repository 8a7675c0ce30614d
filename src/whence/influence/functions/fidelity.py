"""Is influence right? What it predicts of removals, against retraining without them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from whence import engines
from whence.attribution.record import plain_values
from whence.engines import Checkpoints, ListJob, Run, settled
from whence.errors import ParameterError, check_choice, check_float, check_int
from whence.influence.functions.factors import FactorObjective
from whence.influence.functions.influence import InfluenceFunction
from whence.influence.functions.objective import FloatArray, IntArray
from whence.influence.functions.optimum import descend
from whence.influence.functions.passes import Problem

CONTROLS = ("no change", "random")
OUTCOMES = ("own user", "total")
_SINGLE = ("random", "largest")
_STREAM = 0xF1DE


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Predicted and actual changes of losses when training data is removed.

    Attributes
    ----------
    table : polars.DataFrame
        One row per solver or control, kind of removal ("random" and "largest" single rows,
        "single" for both, "keep 0.9" and so on for groups) and outcome ("own user": the user whose
        row is gone, and of a group each user; "total": the sum over the users):
        ``n``, ``pearson``, ``spearman``, ``slope`` (of the actual change on the predicted one, by
        least squares through the origin) and ``error`` (norm of the difference over the norm of
        the actual change; 1 for "no change").
    changes : polars.DataFrame
        One row per removal, outcome and solver: ``removal``, ``kind``, ``outcome``, ``solver``,
        ``predicted``, ``actual``, of the outcome (minus the loss).
    noise : dict
        By outcome: standard deviation of the retrained value when nothing is removed and the
        start is disturbed, the floor under which changes cannot be told from none.
    seconds : dict
        Processor seconds by solver (all removals) and of retraining (per removal).
    metadata : dict
    """

    table: pl.DataFrame
    changes: pl.DataFrame
    noise: dict[str, float]
    seconds: dict[str, float]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Fidelity of {self.changes['removal'].n_unique()} removals>\n{self.table}"

    def to_frame(self) -> pl.DataFrame:
        """The table; see above."""
        return self.table

    def to_markdown(self) -> str:
        """The table as Markdown, "own user" first; the noise floor and the seconds below it."""
        lines = [
            "| outcome | removed | solver | n | Spearman | Pearson | slope | error |",
            "|---|---|---|---:|---:|---:|---:|---:|",
        ]
        for outcome in OUTCOMES:
            mine = self.table.filter(pl.col("outcome") == outcome)
            for kind in mine["kind"].unique(maintain_order=True):
                for row in mine.filter(pl.col("kind") == kind).iter_rows(named=True):
                    cells = [outcome, kind, row["solver"], f"{row['n']:,}"]
                    numbers = [row[name] for name in ("spearman", "pearson", "slope", "error")]
                    cells += ["" if value is None else f"{value:.3f}" for value in numbers]
                    lines.append("| " + " | ".join(cells) + " |")
        floor = ", ".join(f"{name} {value:.1e}" for name, value in self.noise.items())
        spent = ", ".join(f"{name} {value:.2f}" for name, value in self.seconds.items())
        return "\n".join([*lines, "", f"Noise floor: {floor}. Processor seconds: {spent}."])

    def plot(
        self, outcome: str = "total", *, solver: str | None = None, kind: str = "single",
        ax: Any = None,
    ) -> Any:  # fmt: skip
        """Actual changes against predicted ones, and the line on which they agree.

        Parameters
        ----------
        outcome : {"total", "own user"}
        solver : str, optional
            The first by default.
        kind : str
            Of the removals: "single" for all single ones, or as in the table.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.plots.changes import plot_changes

        solver = self.table["solver"][0] if solver is None else solver
        check_choice("outcome", outcome, OUTCOMES)
        check_choice("solver", solver, self.table["solver"].unique(maintain_order=True).to_list())
        check_choice("kind", kind, self.table["kind"].unique(maintain_order=True).to_list())
        kinds = _SINGLE if kind == "single" else (kind,)
        shown = self.changes.filter(pl.col("kind").is_in(kinds), outcome=outcome, solver=solver)
        return plot_changes(shown, f"change of the outcome ({outcome})", ax=ax)


def fidelity(
    model: Any,
    data: Any,
    *,
    solvers: Sequence[str | InfluenceFunction] = ("cg", "block", "dot"),
    removals: int = 100,
    keep: Sequence[float] = (0.9, 0.7, 0.5),
    groups: int = 10,
    repeats: int = 3,
    tolerance: float = 1e-6,
    seed: int = 42,
    run: Run | None = None,
) -> Fidelity:
    """Retrain without single interactions and random groups, and compare with the prediction.

    Every retraining starts at the model's parameters and goes to the optimum of the objective
    without the removed examples, Z unchanged.

    Parameters
    ----------
    model : fitted differentiable model
        At its optimum; see `whence.to_optimum`.
    data : Interactions or data frame
        Validation data, whose losses are looked at.
    solvers : sequence of str or InfluenceFunction
        What predicts; see `InfluenceFunction`.
    removals : int
        Single examples: half of them drawn at random, half those of the largest predicted
        influence on the total by the first solver. Those drawn are of users in the validation
        data, so that there is an own user to speak of.
    keep : sequence of float
        Shares of the examples that random groups leave.
    groups : int
        Groups of each share.
    repeats : int
        Retrainings with nothing removed from a disturbed start, for the noise floor.
    tolerance : float
        Of the retraining; see `whence.to_optimum`.
    seed : int
    run : Run, optional
        How the work is done. In its folder are kept the retrainings.

    Returns
    -------
    Fidelity

    Raises
    ------
    ParameterError
        If a number is out of its range.
    """
    check_int("removals", removals, minimum=2)
    check_int("groups", groups, minimum=0)
    check_int("repeats", repeats, minimum=1)
    check_float("tolerance", tolerance, minimum=0.0)
    for share in keep:
        check_float("keep", share, 0.0, 1.0)
    if not solvers:
        raise ParameterError("solvers is empty; name at least one, such as 'cg'.")
    run = settled(run, SimpleNamespace(seed=seed))
    assert run.seed is not None
    rng = np.random.default_rng([run.seed, _STREAM])
    methods = dict(map(_method, solvers))
    first = next(iter(methods.values()))
    problem = first.work_on(model, data, run=run)
    owners = model.examples_.sources(np.arange(problem.objective.n_examples))
    kinds, removed = _removals(problem, owners, removals, keep, groups, rng)
    before = problem.question.values(problem.objective)
    identity = {
        "method": "fidelity",
        **problem.identity,
        "parameters": [run.seed, removals, list(keep), groups, repeats, tolerance],
        "solver": first.params,
    }
    with Checkpoints(run, identity) as kept:
        retrained, noise, seconds = _retrain_all(problem, removed, repeats, tolerance, rng, kept)
    actual = (retrained - before).T
    predicted: dict[str, FloatArray] = {}
    spent: dict[str, float] = {}
    quiet = run.changed(progress=False)
    for name, method in methods.items():
        started = time.process_time()
        own = method.work_on(
            model, None, objective=problem.objective, question=problem.question, run=quiet
        )
        predicted[name] = own.effects(removed)
        spent[name] = time.process_time() - started
    predicted["no change"] = np.zeros_like(actual)
    predicted["random"] = rng.permuted(next(iter(predicted.values())), axis=1)
    queries = _own_queries(problem, owners, removed)
    changes = _changes(kinds, removed, queries, actual, predicted)
    users = np.unique(queries[queries >= 0])
    floor = noise - before
    return Fidelity(
        _summary(changes),
        changes,
        {
            "own user": float(floor[:, users].std()) if len(users) else 0.0,
            "total": float(floor.sum(axis=1).std()),
        },
        {"retraining": seconds, **spent},
        plain_values(
            {
                "model": type(model).__name__,
                "model_params": model.params,
                "solvers": {name: method.params for name, method in methods.items()},
                "tolerance": tolerance,
                "seed": run.seed,
                "n_queries": len(problem.question),
                "n_examples": problem.objective.n_examples,
                "n_parameters": len(problem.objective.theta),
            }
        ),
    )


def _method(solver: str | InfluenceFunction) -> tuple[str, InfluenceFunction]:
    if isinstance(solver, InfluenceFunction):
        return solver.solver, solver
    return solver, InfluenceFunction(solver=solver)  # type: ignore[arg-type]


def _removals(
    problem: Problem,
    owners: IntArray,
    removals: int,
    keep: Sequence[float],
    groups: int,
    rng: np.random.Generator,
) -> tuple[list[str], list[IntArray]]:
    """Kinds of the removals, and the examples of each."""
    n = problem.objective.n_examples
    asked = np.flatnonzero(np.isin(owners, problem.question.sources))
    if len(asked) < removals:
        raise ParameterError(
            f"removals is {removals}, but only {len(asked)} training examples are of users with "
            "validation data; choose fewer."
        )
    drawn = rng.choice(asked, size=removals // 2, replace=False)
    influence = problem.mean()
    rest = np.setdiff1d(asked, drawn)
    largest = rest[np.argsort(-np.abs(influence[rest]), kind="stable")[: removals - len(drawn)]]
    kinds = ["random"] * len(drawn) + ["largest"] * len(largest)
    removed = [np.array([number]) for number in (*drawn, *largest)]
    for share in keep:
        for _ in range(groups):
            kinds.append(f"keep {share:g}")
            removed.append(rng.choice(n, size=n - round(share * n), replace=False))
    return kinds, removed


@dataclass(frozen=True)
class _Retrainings(ListJob[tuple[IntArray, FloatArray], tuple[FloatArray, float]]):
    """Outcomes [Q] after retraining without some examples, from a disturbed start; seconds."""

    problem: Problem
    tolerance: float

    def run(self, shard: tuple[IntArray, FloatArray]) -> tuple[FloatArray, float]:
        removed, step = shard
        began, objective = time.thread_time(), self.problem.objective
        weights = objective.weights.copy()
        weights[removed] = 0.0
        here = objective.weighted(weights).at(objective.theta + step)
        there, _ = descend(here, tolerance=self.tolerance, warm=True)
        values = self.problem.question.values(there.weighted(objective.weights))
        return values, time.thread_time() - began


def _retrain_all(
    problem: Problem,
    removed: list[IntArray],
    repeats: int,
    tolerance: float,
    rng: np.random.Generator,
    kept: Checkpoints,
) -> tuple[FloatArray, FloatArray, float]:
    """Outcomes [n, Q] of the retrainings, and without removals; mean seconds of the former."""
    theta, run = problem.objective.theta, problem.run
    size = 0.01 * float(np.sqrt(np.mean(theta**2)))
    nobody, nowhere = np.empty(0, dtype=np.int64), np.zeros(len(theta))
    steps = size * rng.normal(size=(repeats, len(theta)))
    shards = [(gone, nowhere) for gone in removed] + [(nobody, step) for step in steps]
    if not isinstance(problem.objective, FactorObjective):
        run = run.changed(threads=1)  # objectives at several points share one module
    job = _Retrainings(problem, tolerance)
    found = engines.run(job, shards, run, message="retraining", kept=kept, stage="retrainings")
    table, count = np.array([values for values, _ in found]), len(removed)
    return table[:count], table[count:], float(np.mean([took for _, took in found[:count]]))


def _own_queries(problem: Problem, owners: IntArray, removed: list[IntArray]) -> IntArray:
    """Query of the user of each single removal, -1 for groups."""
    place = {int(source): query for query, source in enumerate(problem.question.sources)}
    single = (place.get(int(owners[r[0]]), -1) if len(r) == 1 else -1 for r in removed)
    return np.fromiter(single, dtype=np.int64, count=len(removed))


def _changes(
    kinds: list[str],
    removed: list[IntArray],
    own: IntArray,
    actual: FloatArray,
    predicted: Mapping[str, FloatArray],
) -> pl.DataFrame:
    frames = []
    # Of a single removal the user's own query; of a group, which takes from everybody, each.
    pairs = [
        (number, query)
        for number, mine in enumerate(own)
        for query in ([mine] if mine >= 0 else range(len(actual)))
        if len(removed[number]) > 1 or mine >= 0
    ]
    at = np.array([number for number, _ in pairs]), np.array([query for _, query in pairs])
    every = np.arange(len(removed))
    for solver, guess in predicted.items():
        for outcome, numbers, true, said in (
            ("own user", at[0], actual[at[1], at[0]], guess[at[1], at[0]]),
            ("total", every, actual.sum(axis=0), guess.sum(axis=0)),
        ):
            columns = {
                "removal": numbers,
                "kind": [kinds[i] for i in numbers],
                "outcome": [outcome] * len(numbers),
                "solver": [solver] * len(numbers),
                "predicted": said,
                "actual": true,
            }
            frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def _summary(changes: pl.DataFrame) -> pl.DataFrame:
    singles = changes.filter(pl.col("kind").is_in(_SINGLE))
    both = pl.concat([singles.with_columns(kind=pl.lit("single")), changes])
    keys = ["solver", "outcome", "kind"]
    rows = []
    for key, part in both.group_by(keys, maintain_order=True):
        said, true = part["predicted"].to_numpy(), part["actual"].to_numpy()
        rows.append({**dict(zip(keys, key)), "n": len(part), **agreement(said, true)})
    return pl.DataFrame(rows)


def agreement(predicted: FloatArray, actual: FloatArray) -> dict[str, float | None]:
    """How well predicted changes agree with actual ones.

    Returns
    -------
    dict
        ``pearson``, ``spearman``, ``slope`` and ``error``; see `Fidelity`. None where undefined.
    """
    from scipy import stats

    squares, size = float(predicted @ predicted), float(np.linalg.norm(actual))
    varies = len(actual) > 1 and np.ptp(predicted) > 0 and np.ptp(actual) > 0
    return {
        "pearson": float(stats.pearsonr(predicted, actual)[0]) if varies else None,
        "spearman": float(stats.spearmanr(predicted, actual)[0]) if varies else None,
        "slope": float(predicted @ actual) / squares if squares > 0 else None,
        "error": float(np.linalg.norm(predicted - actual)) / size if size > 0 else None,
    }
