"""Outcomes of what is recommended, wanted or not, with soft lists: coverage, popularity, novelty.

To each query, one item is drawn by the softmax of its scores over what may be recommended to it.
With p[q, i] the probability that it is item i, of n items, c_i the training interactions of item i
and C their sum:

====================== =========================================================================
``coverage``           share of the catalogue that is drawn for at least one query, on average:
                       Σ_i (1 - Π_q (1 - p[q, i])) / n
``averagepopularity``  mean over the queries of Σ_i p[q, i] c_i
``novelty``            mean over the queries of Σ_i p[q, i] log2(C / c_i), the self-information in
                       bits; an item without interactions counts as one with one
====================== =========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.errors import DataError
from whence.evaluation import Queries, make_queries
from whence.influence.replay.outcome import Outcome
from whence.influence.replay.training import TrainingMap, replaying

FloatArray = npt.NDArray[np.float64]

NAMES = ("coverage", "averagepopularity", "novelty")
_MOST_LIKELY = 1.0 - 1e-6  # beyond, an item is as good as drawn, and the logarithm has no slope


class SoftLists(Outcome):
    """Popularity or novelty of one item drawn for each query.

    Parameters
    ----------
    model : fitted model
    data : Interactions, data frame or Queries
        Who asks; what they wanted does not matter.
    name : {"averagepopularity", "novelty"}
    temperature : float
        Of the softmax, in units of scores; lists become those of the model as it tends to 0.

    Raises
    ------
    DataError
        If no query can be answered.
    """

    together = 64

    def __init__(self, model: Any, data: Any, name: str, temperature: float) -> None:
        self.name, self.data, self.temperature = name, data, temperature
        by_user = model.asks == "users"
        queries = data
        if not isinstance(data, Queries):
            asking: Any = {"protocol": "users"} if by_user else {}
            queries = make_queries(model, data, unknown="drop", **asking)
        known = queries.users >= 0 if by_user else queries.history_end > queries.history_start
        self._asked = np.flatnonzero(known).tolist()
        self.n_left_out = len(queries) - len(self._asked)
        if not self._asked:
            raise DataError(
                f"None of the {len(queries)} queries is known to the model; check that the data "
                "have the ids of the training data."
            )
        self._queries, self._closes = queries, model._leaves_out_seen(queries)
        counts = np.bincount(model.train_.item_codes, minlength=model.n_items).astype(np.float64)
        bits = np.log2(counts.sum() / np.maximum(counts, 1.0))
        self._weights = torch.from_numpy(bits if name == "novelty" else counts)
        history = [queries.history_items[self._window(query)].tolist() for query in self._asked]
        self.identity = [name, temperature, queries.users[self._asked].tolist(), history]

    def __len__(self) -> int:
        return len(self._asked)

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        drawn = self.drawn(training, parameters, start, stop)
        return drawn @ self._weights.to(drawn)

    def drawn(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """Probability of each item for some of the queries, Tensor [stop - start, n_items]."""
        asked = self._asked[start:stop]
        block = self._queries.block(asked[0], asked[-1] + 1)
        scores = training.evaluated(parameters, training.model._score_batch, block)
        scores = scores[torch.tensor(asked, device=scores.device) - asked[0]]
        if self._closes:
            closed = torch.zeros_like(scores, dtype=torch.bool)
            for row, query in enumerate(asked):
                closed[row, self._queries.history_items[self._window(query)].astype(np.int64)] = (
                    True
                )
            scores = scores.masked_fill(closed, -torch.inf)
        return torch.softmax(scores / self.temperature, dim=1)

    def _window(self, query: int) -> slice:
        return slice(self._queries.history_start[query], self._queries.history_end[query])


class SoftCoverage(SoftLists):
    """Share of the catalogue that is drawn for at least one query: one outcome of all queries.

    Parameters
    ----------
    model, data, temperature
        As of `SoftLists`.
    """

    def __init__(self, model: Any, data: Any, temperature: float) -> None:
        super().__init__(model, data, "coverage", temperature)

    def __len__(self) -> int:
        return 1

    def values(self, training: TrainingMap, parameters: Tensor, start: int, stop: int) -> Tensor:
        """See `Outcome.values`."""
        missed = sum(self._missed(training, parameters))
        return (1.0 - torch.exp(missed)).mean().reshape(1)  # type: ignore[arg-type]

    def slope(self, training: TrainingMap, parameters: Tensor) -> Tensor:
        """See `Outcome.slope`; in two passes over blocks of queries, so that one is held."""
        parameters = parameters.detach().requires_grad_()
        with replaying(training.model), torch.no_grad():
            missed = sum(self._missed(training, parameters))
            weights = -torch.exp(missed) / len(missed)  # type: ignore[arg-type]
        total = torch.zeros_like(parameters)
        with replaying(training.model), torch.enable_grad():
            for part in self._missed(training, parameters):
                total += torch.autograd.grad(part @ weights, parameters)[0]
        return total

    def slopes(
        self, training: TrainingMap, parameters: Tensor, start: int, stop: int
    ) -> list[Tensor]:
        """See `Outcome.slopes`."""
        return [self.slope(training, parameters)]

    def changes(
        self, training: TrainingMap, parameters: Tensor, directions: Sequence[Tensor]
    ) -> FloatArray:
        """See `Outcome.changes`."""
        slope = self.slope(training, parameters)
        return np.array([[float(slope @ direction)] for direction in directions])

    def _missed(self, training: TrainingMap, parameters: Tensor) -> Iterator[Tensor]:
        """Logarithm of the probability that an item is not drawn, by block, Tensors [n_items]."""
        n = len(self._asked)
        for start in range(0, n, self.together):
            drawn = self.drawn(training, parameters, start, min(start + self.together, n))
            yield torch.log1p(-drawn.clamp(max=_MOST_LIKELY)).sum(dim=0)
