"""What a disclosure looks at, whatever the model: data, retrained qualities, worth of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.curation.disclosure.quality import Outcome
from whence.curation.disclosure.reliability import Reliability
from whence.curation.disclosure.retraining import Recipe, Yardstick
from whence.curation.disclosure.search import Anchor
from whence.curation.disclosure.strategies import FloatArray, Mask
from whence.engines import Checkpoints, Run
from whence.errors import UnsupportedError
from whence.influence.functions import Objective, objective_of
from whence.models.training import PairExamples, WindowExamples

HALF = 0x4A1F
"""Stream of random numbers that halves of rows are drawn from."""


@dataclass(frozen=True)
class Measured(ABC):
    """A model, the validation data it is measured on, and how.

    Attributes
    ----------
    model : DifferentiableRecommender
        Trained on everything.
    validation : Interactions or data frame
    beta : float64 [n_rows]
    influence : InfluenceFunction
    calibrate : bool
    outcome : {"loss", "ndcg"}
    recipe : Recipe
        How models are trained.
    seed : int
    run : Run
        How the work is done.
    kept : Checkpoints, optional
        Where what was measured is kept, under stages that begin with `stage`.
    stage : str
    facts : dict
        What is to be known of `influences`: the gradient left, the solver's residual and so on.
    """

    model: Any
    validation: Any
    beta: FloatArray
    influence: Any
    calibrate: bool
    outcome: Outcome
    recipe: Recipe
    seed: int
    run: Run
    kept: Checkpoints | None = None
    stage: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def influences(self) -> FloatArray:
        """Σ_u V[u, s] at full disclosure, float64 [n_rows]."""

    @property
    @abstractmethod
    def values(self) -> FloatArray:
        """What is to be expected of `influences`; they themselves if nothing is calibrated."""

    @property
    def reliability(self) -> Reliability | None:
        """How far `influences` would be the same on other data; None where it is not measured."""
        return None

    @property
    @abstractmethod
    def quality_of_all(self) -> float:
        """Sum over the users of the quality with all rows."""

    @abstractmethod
    def trained_quality(self, mask: Mask) -> float:
        """Sum over the users of the quality after retraining."""

    @abstractmethod
    def anchored(self, mask: Mask) -> Anchor:
        """Train for a strategy, and see what each interaction is worth there."""

    @cached_property
    def objective(self) -> Objective:
        """Of the model."""
        return objective_of(self.model)

    @cached_property
    def yardstick(self) -> Yardstick:
        """The quality on the validation data."""
        return Yardstick.of(self.model, self.validation, self.outcome)

    @cached_property
    def worth(self) -> float:
        """What a row is worth on average, of the second half of all rows.

        The quality with all rows less that with a random half, retrained, over the number of the
        others; 0 where the half is as good.
        """

        def measure() -> float:
            half = np.random.default_rng([self.seed, HALF]).permutation(len(self.beta)) % 2 == 0
            lost = self.quality_of_all - self.trained_quality(half)
            return max(lost, 0.0) / max(int((~half).sum()), 1)

        return float(self.recall("worth", measure))

    @cached_property
    def example_rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row of each training example, int64 [E], and each row's example, -1 for none."""
        numbers = np.arange(len(self.model.examples_))
        rows, offsets = self.model.examples_.rows(numbers)
        row = rows[offsets[1:] - 1]
        example = np.full(len(self.beta), -1, dtype=np.int64)
        example[row] = numbers
        return row, example

    @cached_property
    def codes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Number of the user and of the item of each row of the table, int64 [n_rows] each."""
        train = self.model.train_
        users, items = (np.empty(train.n_rows, dtype=np.int64) for _ in range(2))
        users[train.rows], items[train.rows] = train.source_codes, train.item_codes
        return users, items

    def by_row(self, scores: FloatArray) -> FloatArray:
        """Scores of examples as scores of rows, along the last axis; 0 for rows of no example."""
        example = self.example_rows[1]
        rows: FloatArray = np.where(example >= 0, scores[..., np.maximum(example, 0)], 0.0)
        return rows

    def recall(self, name: str, compute: Callable[[], Any]) -> Any:
        """What was computed and kept before, or is now."""
        return compute() if self.kept is None else self.kept.recall(f"{self.stage}{name}", compute)


def check_examples(model: Any) -> None:
    """Raise UnsupportedError if single interactions cannot be taken out of a model's loss."""
    examples, name = model.examples_, type(model).__name__
    if isinstance(examples, WindowExamples) and examples.positions != "last":
        raise UnsupportedError(
            f"{name} learns from whole windows at once, so that single interactions cannot be "
            "taken out of its loss; train it with positions='last'."
        )
    if not isinstance(examples, (PairExamples, WindowExamples)):
        raise UnsupportedError(
            f"{name} learns from whole histories, so that single interactions cannot be taken "
            "out of its loss; choose a model whose examples are interactions, such as BiasedMF."
        )
