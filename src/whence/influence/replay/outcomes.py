"""Outcomes of training: numbers that a model has, as functions of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.errors import DataError, ParameterError, check_choice
from whence.evaluation import Queries, make_queries
from whence.influence.functions.outcomes import OUTCOMES, ranked_items, soft_metric
from whence.influence.queries import query_examples
from whence.influence.replay import soft_lists
from whence.influence.replay.outcome import Outcome as Outcome
from whence.influence.replay.training import TrainingMap, replaying

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Losses(Outcome):
    """Minus the losses of queries.

    Parameters
    ----------
    model : fitted model
    data : Interactions, data frame, Queries or QueryExamples
        See `query_examples`.
    """

    name = "loss"
    together = 4096

    def __init__(self, model: Any, data: Any) -> None:
        self.data = data
        self._queries = data if hasattr(data, "batch") else query_examples(model, data)
        self.described = self._queries if hasattr(self._queries, "ids") else None
        self.identity = getattr(self._queries, "fingerprint", len(self._queries))
        self.n_left_out = getattr(self._queries, "n_left_out", None)

    def __len__(self) -> int:
        return len(self._queries)

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        batch: Any = self._queries.batch(np.arange(start, stop))
        return -training.losses(parameters, training.model._to_device(batch))


class Rankings(Outcome):
    """Ranking metrics of queries, with soft ranks.

    Parameters
    ----------
    model : fitted model
    data : Interactions, data frame or Queries
    metric : {"ndcg", "mrr"}
    temperature : float
        See `soft_metric`.

    Raises
    ------
    DataError
        If no query can be answered and has an item to be found.
    """

    together = 64

    def __init__(self, model: Any, data: Any, metric: str, temperature: float) -> None:
        self.name, self.data, self.temperature = metric, data, temperature
        by_user = model.asks == "users"
        queries = data
        if not isinstance(data, Queries):
            asking: Any = {"protocol": "users"} if by_user else {}
            queries = make_queries(model, data, unknown="drop", **asking)
        windows = zip(queries.target_start, queries.target_end)
        relevant = [np.unique(queries.target_items[a:b]) for a, b in windows]
        self._relevant = [items[items >= 0].astype(np.int64) for items in relevant]
        known = queries.users >= 0 if by_user else queries.history_end > queries.history_start
        asked = [int(q) for q in np.flatnonzero(known) if len(self._relevant[q])]
        self.n_left_out = len(queries) - len(asked)
        if not asked:
            raise DataError(
                f"None of the {len(queries)} queries is known to the model and has a known item "
                "to be found; check that the data have the ids of the training data."
            )
        self._queries, self._asked = queries, asked
        self._closes = model._leaves_out_seen(queries)
        self.identity = [metric, temperature, [items.tolist() for items in self._relevant]]

    def __len__(self) -> int:
        return len(self._asked)

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        asked = self._asked[start:stop]
        block = self._queries.block(asked[0], asked[-1] + 1)
        scores = training.evaluated(parameters, training.model._score_batch, block)
        rows = [self._soft(scores[query - asked[0]], query) for query in asked]
        return torch.stack(rows)

    def _soft(self, scores: Tensor, query: int) -> Tensor:
        queries, relevant = self._queries, self._relevant[query]
        window = slice(queries.history_start[query], queries.history_end[query])
        history = np.unique(queries.history_items[window]).astype(np.int64)
        closed = history if self._closes else history[:0]
        plain = scores.detach().double().numpy(force=True)
        candidates = ranked_items(len(plain), relevant, closed)
        value, slope = soft_metric(plain, relevant, candidates, self.name, self.temperature)
        # Its value, and its slope as that of a linear function.
        line = scores @ torch.from_numpy(slope).to(scores)
        return value + line - line.detach()


class Custom(Outcome):
    """What a function gives, one number or several.

    Parameters
    ----------
    function : callable
        ``function(model, parameters)``: a Tensor [] or [n]. The module of the model has the
        parameters while it is called.
    data : Any
        What the caller says that it is asked on.
    """

    def __init__(self, function: Callable[[Any, Any], Any], data: Any = None) -> None:
        self._function, self.data, self._n = function, data, 1
        self.name = getattr(function, "__name__", None) or repr(function)

    def __len__(self) -> int:
        return self._n

    @property
    def together(self) -> int:  # type: ignore[override]
        """All: a function is called once."""
        return self._n

    def prepare(self, training: TrainingMap, parameters: Tensor) -> None:
        """Call the function once.

        Raises
        ------
        ParameterError
            If it gives no numbers, or they do not depend on the parameters.
        """
        parameters = parameters.detach().requires_grad_()
        with replaying(training.model), torch.enable_grad():
            found = self._called(training, parameters)
        if not isinstance(found, Tensor) or found.dim() > 1 or not found.numel():
            given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ParameterError(
                f"The outcome {self.name} must return a tensor of one number, or of several in a "
                f"row, but returned {given}."
            )
        if not found.requires_grad:
            raise ParameterError(
                f"What the outcome {self.name} returns does not depend on the parameters; compute "
                "it with model.module_ or model.example_loss, without detach, item or no_grad."
            )
        self._n = found.numel()
        self.identity = [self.name, found.tolist()]

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        values: Tensor = self._called(training, parameters).reshape(-1)[start:stop]
        return values

    def _called(self, training: TrainingMap, parameters: Tensor) -> Any:
        named = training.named(parameters)
        return training.evaluated(parameters, self._function, training.model, named)


class Several(Outcome):
    """The means of several outcomes, each a single one.

    Parameters
    ----------
    outcomes : sequence of Outcome
    """

    name = "several"

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes

    def __len__(self) -> int:
        return len(self.outcomes)

    def prepare(self, training: TrainingMap, parameters: Tensor) -> None:
        """See `Outcome.prepare`."""
        for one in self.outcomes:
            one.prepare(training, parameters)
        self.identity = [one.identity for one in self.outcomes]

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        means = [
            one.values(training, parameters, 0, len(one)).mean()
            for one in self.outcomes[start:stop]
        ]
        return torch.stack(means)

    def slopes(
        self, training: TrainingMap, parameters: Tensor, start: int, stop: int
    ) -> list[Tensor]:
        """See `Outcome.slopes`."""
        return [one.slope(training, parameters) for one in self.outcomes[start:stop]]


def outcome_of(model: Any, data: Any, wanted: Any, temperature: float) -> Outcome:
    """Make an outcome.

    Parameters
    ----------
    model : fitted model
    data : Any
        What it is asked on; or an outcome, which is taken as it is.
    wanted : {"loss", "ndcg", "mrr", "coverage", "averagepopularity", "novelty"} or callable
    temperature : float
        Of soft ranks and soft lists.

    Raises
    ------
    ParameterError
        If there is no such outcome, or no data for it.
    DataError
        If nothing is left to ask.
    """
    if isinstance(data, Outcome):
        return data
    if callable(wanted):
        return Custom(wanted, data)
    check_choice("outcome", wanted, (*OUTCOMES, *soft_lists.NAMES))
    if data is None:
        raise ParameterError(
            f"outcome={wanted!r} is asked on data; give validation or test data, or queries."
        )
    if wanted == "loss":
        return Losses(model, data)
    if wanted == "coverage":
        return soft_lists.SoftCoverage(model, data, temperature)
    kind = soft_lists.SoftLists if wanted in soft_lists.NAMES else Rankings
    return kind(model, data, wanted, temperature)
