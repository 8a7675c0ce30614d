"""Models trained anew on what is disclosed, the same way whatever that is, and their worth."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.curation.disclosure.quality import Outcome
from whence.data import Interactions
from whence.errors import DataError, DataWarning
from whence.evaluation import evaluate
from whence.evaluation.queries import Queries, id_name_of
from whence.influence.functions import Objective, Question, ask, descend, objective_of
from whence.influence.functions.factors import FactorObjective
from whence.models._histories import incidence

FloatArray = npt.NDArray[np.float64]
LESS_WITHHELD = " less withheld"
"""End of the name of a metric where withheld items are not recommended."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: on any part of the data the same way.

    Either to the optimum of ``(1/Z) Σ l + ½ρ‖θ‖²`` of a factor model, from its seeded initial
    parameters, with Z that of all the data; or by its own training, in the same order of batches
    and with the same random numbers as on all the data.

    Attributes
    ----------
    model : DifferentiableRecommender
        Fitted on all the data.
    tolerance : float
        See `whence.to_optimum`.
    to_optimum : bool
    """

    model: Any
    tolerance: float
    to_optimum: bool

    def train(self, data: Interactions, seed: int | None = None) -> Any:
        """A new model of the data; it knows nothing else of the data that is left out.

        Raises
        ------
        DataError
            If there are no data.
        """
        if not data.n_rows:
            raise DataError(
                "Nothing is disclosed, so that there is nothing to train on; lower lam, or give "
                "a strategy that discloses something."
            )
        params = dict(self.model.params)
        if seed is not None:
            params["seed"] = seed
        model = type(self.model)(**params)
        if not self.to_optimum:
            return model.fit(data)
        model._check_params()
        model.train_ = data
        model._prepare(data)
        objective = objective_of(model)
        assert isinstance(objective, FactorObjective)
        objective = replace(objective, n_terms=self._n_terms)
        found, _ = descend(objective, tolerance=self.tolerance)
        found.write(model)
        model.module_.eval()
        return model

    @property
    def _n_terms(self) -> float:
        return float(len(self.model.examples_))


@dataclass(frozen=True)
class Yardstick:
    """The quality of models on evaluation data: minus the loss, mean over each user's rows.

    Attributes
    ----------
    data : Interactions
    question : Question
        Of the model of all data.
    reference : DifferentiableRecommender
        The model of all data.
    """

    data: Any
    question: Question
    reference: Any

    @classmethod
    def of(cls, model: Any, data: Any, outcome: Outcome = "loss") -> Yardstick:
        """Quality of the users of some data."""
        return cls(data, ask(model, data, outcome=outcome), model)

    @property
    def of_histories(self) -> bool:
        """Whether models are asked with histories, which are those of their own training data."""
        return self.question.outcome == "loss" and "user" not in self.question.arrays

    def asked_of(self, model: Any) -> Question:
        """What another model of the same kind is asked; see `of_histories`."""
        if not self.of_histories or model is self.reference:
            return self.question
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # of those who disclose nothing
            return ask(model, self.data)

    def by_user(self, model: Any) -> FloatArray:
        """Quality for each user, float64 [Q]; of those who disclose no history that of a guess."""
        asked = self.asked_of(model)
        values = asked.values(objective_of(model))
        if asked is self.question:
            return values
        place = dict(zip(asked.ids.to_series(0).to_list(), values))
        guess = -float(np.log(model.n_items))
        return np.array([place.get(u, guess) for u in self.question.ids.to_series(0).to_list()])

    def of_objective(self, objective: Objective) -> float:
        """Sum over the users of a factor model's quality."""
        return float(self.question.values(objective).sum())

    def metrics(self, model: Any, names: Sequence[str]) -> dict[str, float]:
        """Ranking metrics of the model, twice: by name, and as ``"… less withheld"``.

        A model does not know what was withheld from it, so that it may recommend it; the second
        is the metric where such items are not recommended, as if the platform remembered them.
        """
        if not names:
            return {}
        found = dict(evaluate(model, self.data, list(names)).scores)
        remembering = _Remembering(model, self.reference.train_)
        if not remembering.can_recommend(self.question.sources):
            raise DataError(
                "Nothing is left to recommend: every user of the evaluation data has all items in "
                "the training data; leave metrics out."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # which has been said of the first
            less = evaluate(remembering, self.data, list(names)).scores
        return found | {f"{name}{LESS_WITHHELD}": value for name, value in less.items()}


class _Remembering:
    """A model that leaves out what users have in other training data than its own.

    Parameters
    ----------
    model : fitted recommender
    whole : Interactions
        What it was trained on, and what was withheld from it.
    """

    floor = -np.inf

    def __init__(self, model: Any, whole: Interactions) -> None:
        self._model, self._owned = model, incidence(whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def can_recommend(self, users: npt.NDArray[np.int64]) -> bool:
        """Whether somebody lacks an item."""
        owned = np.diff(self._owned.indptr)[users[users >= 0]]
        return bool((owned < self._owned.shape[1]).any() or (users < 0).any())

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> Any:
        """Scores of all items, those of the whole data left out."""
        scores = np.array(self._model.score_codes(queries, threads=threads))
        ids = queries.ids.get_column(id_name_of(self._model.train_))
        users = self._model.vocabulary.source_codes(ids)
        rows, known = np.flatnonzero(users >= 0), users[users >= 0]
        owned = self._owned[known]
        scores[np.repeat(rows, np.diff(owned.indptr)), owned.indices] = self.floor
        return scores


def nothing_known(model: Any) -> Any:
    """The model that was trained on nothing: it predicts the same for everybody and everything.

    For ratings, the middle of their scale; else a score of 0, a probability of one half.
    """
    blank = copy.copy(model)
    blank.module_ = copy.deepcopy(model.module_)
    for parameter in blank.module_.parameters():
        parameter.data.zero_()
    if "mean" in dict(blank.module_.named_buffers()):
        ratings = getattr(model.examples_, "ratings", np.zeros(1))
        squared = getattr(model, "loss", "squared") == "squared"
        blank.module_.mean.fill_(0.5 * (ratings.min() + ratings.max()) if squared else 0.0)
    return blank
