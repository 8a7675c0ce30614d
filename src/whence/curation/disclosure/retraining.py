"""Models trained anew on what is disclosed, the same way whatever that is, and their worth."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data import Interactions
from whence.errors import DataError
from whence.evaluation import evaluate
from whence.influence.functions import Objective, Question, ask, descend, factor_loss, objective_of
from whence.influence.functions.factors import FactorObjective

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: on any part of the data the same way.

    Factor models go to the optimum of ``(1/Z) Σ l + ½ρ‖θ‖²`` from their seeded initial parameters,
    with Z that of all the data. Others are fitted in the same order of batches and with the same
    random numbers as on all the data.

    Attributes
    ----------
    model : DifferentiableRecommender
        Fitted on all the data.
    tolerance : float
        See `whence.to_optimum`.
    """

    model: Any
    tolerance: float = 1e-4

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
        if factor_loss(self.model) is None:
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
    def of(cls, model: Any, data: Any) -> Yardstick:
        """Losses of the users of some data."""
        return cls(data, ask(model, data), model)

    def by_user(self, model: Any) -> FloatArray:
        """Quality for each user, float64 [Q]."""
        if "user" in self.question.arrays:
            return self.question.values(objective_of(model))
        # The history that a sequence is continued from is that of the model's own training data.
        asked = ask(model, self.data)
        values = asked.values(objective_of(model))
        place = dict(zip(asked.ids.to_series(0).to_list(), values))
        guess = -float(np.log(model.n_items))
        return np.array([place.get(u, guess) for u in self.question.ids.to_series(0).to_list()])

    def of_objective(self, objective: Objective) -> float:
        """Sum over the users of a factor model's quality."""
        return float(self.question.values(objective).sum())

    def metrics(self, model: Any, names: tuple[str, ...]) -> dict[str, float]:
        """Ranking metrics of the model."""
        if not names:
            return {}
        return dict(evaluate(model, self.data, list(names)).scores)


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
