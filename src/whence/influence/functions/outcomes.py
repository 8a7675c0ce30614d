"""What is influenced: for each query one number, better when it is larger, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from whence.data import Interactions
from whence.errors import DataError, UnsupportedError, check_choice
from whence.evaluation import make_queries
from whence.evaluation.queries import id_name_of, positions_of_windows
from whence.influence.functions.factors import FactorObjective
from whence.influence.functions.objective import Arrays, FloatArray, IntArray, Objective
from whence.influence.functions.terms import Terms
from whence.influence.queries import QueryExamples, query_examples

OUTCOMES = ("loss", "ndcg", "mrr")


@dataclass(frozen=True)
class Question:
    """Queries, and what is wanted of them.

    Attributes
    ----------
    ids : polars.DataFrame
        One row per query: the user, or the session, of the validation data.
    sources : int64 [Q]
        Number of the user (or session) in the training data, -1 where there is none.
    outcome : {"loss", "ndcg", "mrr"}
    arrays : dict of str to ndarray
        Loss: validation examples, those of a query side by side.
    starts : int64 [Q + 1]
        Windows of the queries in `arrays`, or in `relevant`.
    relevant : int64
        Metrics: items to be found.
    closed : list of int64 arrays
        Metrics: items that are not ranked, by query: those of the history.
    temperature : float
        Metrics: of the soft ranks, in units of scores.
    """

    ids: pl.DataFrame
    sources: IntArray
    outcome: str
    arrays: Arrays
    starts: IntArray
    relevant: IntArray
    closed: list[IntArray]
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.sources)

    def weights(self) -> FloatArray:
        """Loss: share of each example in its query, float64 [N]."""
        sizes = np.diff(self.starts)
        return np.repeat(1.0 / sizes, sizes)

    def values(self, objective: Objective) -> FloatArray:
        """Outcome of each query, float64 [Q]."""
        if self.outcome == "loss":
            losses = objective.example_losses(self.arrays) * self.weights()
            return -np.add.reduceat(losses, self.starts[:-1])
        return np.array([self._soft(objective, q)[0] for q in range(len(self))])

    def gradients(self, objective: Objective, queries: IntArray) -> FloatArray:
        """Gradients of the outcomes of some queries, float64 [n, P]."""
        out = np.empty((len(queries), len(objective.theta)))
        weights = self.weights() if self.outcome == "loss" else None
        for row, query in enumerate(queries):
            window = slice(self.starts[query], self.starts[query + 1])
            if weights is not None:
                arrays = {name: array[window] for name, array in self.arrays.items()}
                out[row] = -objective.loss_gradient(arrays, weights[window])
            else:
                user, slope = int(self.sources[query]), self._soft(objective, int(query))[1]
                out[row] = objective.score_gradient(user, slope)
        return out

    def terms(
        self, objective: FactorObjective, queries: IntArray
    ) -> tuple[Terms, FloatArray, IntArray]:
        """Loss of a factor model: terms, the outcomes' derivatives by x, place of the query."""
        sizes = np.diff(self.starts)[queries]
        numbers = positions_of_windows(self.starts[queries], sizes)
        arrays = {name: array[numbers] for name, array in self.arrays.items()}
        terms, slope = objective.outcome_terms(arrays, -self.weights()[numbers])
        return terms, slope, np.repeat(np.arange(len(queries)), sizes)[terms.example]

    def sums_of_gradients(self, objective: Objective, shares: FloatArray) -> FloatArray:
        """Gradients of sums of the outcomes, float64 [R, P].

        Parameters
        ----------
        objective : Objective
        shares : float64 [R, Q]
            Of each query in each sum.
        """
        out = np.zeros((len(shares), len(objective.theta)))
        if self.outcome == "loss":
            owner, weights = np.repeat(np.arange(len(self)), np.diff(self.starts)), self.weights()
            for row, share in enumerate(shares):
                numbers = np.flatnonzero(share[owner])
                arrays = {name: array[numbers] for name, array in self.arrays.items()}
                each = share[owner[numbers]] * weights[numbers]
                out[row] = -objective.loss_gradient(arrays, each)
            return out
        for query in range(len(self)):
            gradient = self.gradients(objective, np.array([query]))[0]
            out += shares[:, query, None] * gradient
        return out

    def _soft(self, objective: Objective, query: int) -> tuple[float, FloatArray]:
        user, window = self.sources[query], slice(self.starts[query], self.starts[query + 1])
        scores = objective.item_scores(np.array([user]))[0]
        relevant, closed = self.relevant[window], self.closed[query]
        candidates = ranked_items(len(scores), relevant, closed)
        return soft_metric(scores, relevant, candidates, self.outcome, self.temperature)


def ask(
    model: Any, validation: Any, *, outcome: str = "loss", temperature: float = 1.0
) -> Question:
    """Turn validation data into queries: one per user, or per session.

    Parameters
    ----------
    model : fitted differentiable model
    validation : Interactions, data frame, or QueryExamples
    outcome, temperature
        As of `InfluenceFunction`.

    Raises
    ------
    DataError
        If nothing is left to ask.
    UnsupportedError
        If the outcome is not defined for the model.
    """
    check_choice("outcome", outcome, OUTCOMES)
    if outcome == "loss":
        return _losses(model, validation)
    from whence.models.training.pairs import UserItemRecommender

    if not isinstance(model, UserItemRecommender):
        raise UnsupportedError(
            f"outcome={outcome!r} needs a model of users and items, such as BiasedMF, BPRMF or "
            f"NeuMF, not {type(model).__name__}; take outcome='loss'."
        )
    queries = make_queries(model, validation, unknown="drop", protocol="users")
    asked = np.flatnonzero(queries.users >= 0)
    if not len(asked):
        raise DataError(
            "None of the users of the validation data occurs in the training data; check that "
            "both use the same ids."
        )
    windows = [(queries.target_start[q], queries.target_end[q]) for q in asked]
    relevant = [np.unique(queries.target_items[a:b]).astype(np.int64) for a, b in windows]
    closed = [
        np.unique(queries.history_items[a:b]).astype(np.int64)
        for a, b in zip(queries.history_start[asked], queries.history_end[asked])
    ]
    return Question(
        queries.ids[asked],
        queries.users[asked].astype(np.int64),
        outcome,
        {},
        np.cumsum([0, *map(len, relevant)]),
        np.concatenate(relevant),
        closed,
        temperature,
    )


def _losses(model: Any, validation: Any) -> Question:
    known = isinstance(validation, QueryExamples)
    examples = validation if known else query_examples(model, validation)
    train: Interactions = model.train_
    name = next(
        n for n in (id_name_of(train), examples.ids.columns[0]) if n in examples.ids.columns
    )
    owners = examples.ids.get_column(name)
    queries = owners.unique(maintain_order=True)
    numbers = pl.DataFrame({"id": owners}).join(
        pl.DataFrame({"id": queries}).with_row_index("number"), on="id", how="left",
        maintain_order="left",
    )["number"].to_numpy().astype(np.int64)  # fmt: skip
    order = np.argsort(numbers, kind="stable")
    return Question(
        pl.DataFrame({name: queries}),
        train.vocabulary.source_codes(queries).astype(np.int64),
        "loss",
        {key: array[order] for key, array in examples.arrays.items()},
        np.searchsorted(numbers[order], np.arange(len(queries) + 1)),
        np.empty(0, dtype=np.int64),
        [],
    )


def ranked_items(n: int, relevant: IntArray, closed: IntArray) -> IntArray:
    """Items of n that are ranked: those to be found, and all but the closed ones."""
    opened = np.ones(n, dtype=np.bool_)
    opened[closed] = False
    opened[relevant] = True
    return np.flatnonzero(opened)


def soft_metric(
    scores: FloatArray, relevant: IntArray, candidates: IntArray, metric: str, temperature: float
) -> tuple[float, FloatArray]:
    """A ranking metric with soft ranks, and its gradient by the scores.

    The rank of an item is ``1 + Σ_j σ((s_j - s_i) / temperature)`` over the other candidates,
    which tends to its rank as the temperature tends to 0.

    Parameters
    ----------
    scores : float64 [n_items]
    relevant : int64 [R]
        Items to be found, among the candidates.
    candidates : int64 [C]
        Items that are ranked.
    metric : {"ndcg", "mrr"}
        "ndcg": gain 1/log2(1 + rank) of each relevant item, over that of the best order. "mrr":
        mean of 1/rank of the relevant items.
    temperature : float

    Returns
    -------
    value : float
    gradient : float64 [n_items]

    References
    ----------
    -  Qin, Liu and Li. A general approximation framework for direct optimization of
       information retrieval measures. Information Retrieval 13, 2010.
    """
    ahead = (scores[candidates][None] - scores[relevant][:, None]) / temperature
    small = np.exp(-np.abs(ahead))
    soft = np.where(ahead > 0, 1.0, small) / (1.0 + small)
    itself = candidates[None] == relevant[:, None]
    soft[itself] = 0.0
    ranks = 1.0 + soft.sum(axis=1)
    slopes = small / (1.0 + small) ** 2 / temperature
    slopes[itself] = 0.0
    if metric == "ndcg":
        best = float((1.0 / np.log2(np.arange(2, len(relevant) + 2))).sum())
        value = float((1.0 / np.log2(1.0 + ranks)).sum()) / best
        by_rank = -np.log(2.0) / (np.log(1.0 + ranks) ** 2 * (1.0 + ranks)) / best
    else:
        value = float((1.0 / ranks).mean())
        by_rank = -1.0 / ranks**2 / len(relevant)
    gradient = np.zeros(len(scores))
    gradient[candidates] = by_rank @ slopes
    gradient[relevant] -= by_rank * slopes.sum(axis=1)
    return value, gradient
