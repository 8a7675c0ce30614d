"""What every valuation of training data shares: its question, and the form of its answer."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import Attribution, describe_run
from whence.data import Interactions
from whence.errors import MetricError, NotFittedError, ParameterError, check_choice, check_int
from whence.evaluation import Metric, Queries, make_queries, parse_metric
from whence.valuation.sources import Sources, resolve_sources

FloatArray = npt.NDArray[np.float64]
Progress: TypeAlias = "bool | Callable[[float, float, str], None]"


@dataclass
class Question:
    """One call of `attribute`, resolved: the model, the queries, the metric, the sources."""

    model: Any
    train: Interactions
    validation: Any
    queries: Queries
    metric: Metric
    sources: Sources
    started: float


class Valuation(ABC):
    """Base of the methods that value training data by a metric over an evaluation set.

    Parameters
    ----------
    metric : str, Metric or callable
        What a recommendation list is worth, such as "mrr@20"; see `whence.evaluation.parse_metric`.
    by : str, optional
        Who is credited: "session" or "user" (as the training data has them, the default), "item",
        "interaction", or a column of the training data that groups whole sessions or users.
    sustainable_items : iterable of ids, optional
        For the metrics that count sustainable items.
    sustainability_weight : float
        Their weight in ``sustainablemrr`` and ``sustainablendcg``.
    relevant : {"next", "any"}, optional
        What ``mrr`` and ``hitrate`` look for.
    unknown, target : str
        How queries are formed; see `whence.evaluation.make_queries`.
    threads : int, optional
        Number of threads; every core by default. Results do not depend on it.
    """

    method: ClassVar[str]
    fine: ClassVar[bool] = False
    """Whether items and single interactions can be valued."""

    metric: Any
    by: str | None
    sustainable_items: Any
    sustainability_weight: float
    relevant: str | None
    unknown: str
    target: str
    threads: int | None

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of the constructor, as plain values."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def _check_params(self) -> None:
        check_choice("unknown", self.unknown, ("ignore", "drop"))
        check_choice("target", self.target, ("rest", "next"))
        if self.threads is not None:
            check_int("threads", self.threads, minimum=1)

    @abstractmethod
    def attribute(self, model: Any, validation: Any) -> Attribution:
        """Value the training data of a fitted model by what it does on a validation set."""

    def _ask(self, model: Any, validation: Any, train: Interactions | None = None) -> Question:
        """Check and resolve the arguments of `attribute`; `train` is the model's own by default."""
        started = time.perf_counter()
        self._check_params()
        train = getattr(model, "train_", None) if train is None else train
        if not isinstance(train, Interactions):
            raise NotFittedError(
                f"{type(self).__name__} values the training data of a fitted model, but this "
                f"{type(model).__name__} has none; call model.fit(train) first."
            )
        metric = parse_metric(
            self.metric,
            sustainable_items=self.sustainable_items,
            sustainability_weight=self.sustainability_weight,
            relevant=self.relevant,
        )
        if not metric.of_lists:
            raise MetricError(
                f"Metric {metric.name} is not a mean over the lists of queries, so it cannot be "
                "shared out; choose one such as mrr@20, ndcg@10 or recall@10."
            )
        if metric.k > train.n_items:
            raise ParameterError(
                f"Metric {metric.name} looks at {metric.k} items but the catalogue has "
                f"{train.n_items}; choose a K of at most {train.n_items}."
            )
        sources = resolve_sources(train, self.by, fine=self.fine)
        if isinstance(validation, Queries):
            queries = validation
        else:
            validation = Interactions.from_frame(validation, kind=train.kind)
            queries = make_queries(
                train,
                validation,
                protocol=getattr(model, "protocol", None),
                unknown=self.unknown,  # type: ignore[arg-type]
                target=self.target,  # type: ignore[arg-type]
            )
        return Question(model, train, validation, queries, metric, sources, started)

    def _answer(
        self,
        question: Question,
        columns: dict[str, Any],
        *,
        state: dict[str, npt.NDArray[Any]] | None = None,
        recompute: Callable[[int], Attribution] | None = None,
        **facts: Any,
    ) -> Attribution:
        """Wrap values, by number of the source, into the result type."""
        sources, queries = question.sources, question.queries
        table = pl.DataFrame({sources.name: sources.ids, **columns})
        validation = question.validation
        params = {
            name: value
            for name, value in self.params.items()
            if name not in ("metric", "by", "threads", "sustainable_items", "progress", "sources")
        }
        metadata = describe_run(
            self.method,
            by=sources.by,
            source=sources.name,
            metric=question.metric.name,
            model=question.model,
            params=params,
            seed=getattr(self, "seed", None),
            train=question.train,
            validation=validation if isinstance(validation, Interactions) else None,
            elapsed_seconds=time.perf_counter() - question.started,
            n_queries=len(queries),
            n_empty_queries=queries.n_empty,
            n_unknown_rows=queries.n_unknown_rows,
            **facts,
        )
        return Attribution(
            table,
            source=sources.name,
            metadata=metadata,
            backend=question.train.backend,
            state=state,
            recompute=recompute,
        )
