"""What every valuation of training data shares: its question, and the form of its answer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import Attribution, Attributor, describe_run
from whence.data import Interactions
from whence.engines import Run, identity_of, settled
from whence.errors import DataWarning, MetricError, NotFittedError
from whence.evaluation import Metric, Queries, parse_metric, queries_for
from whence.evaluation.cautions import check_answerable, warn_of_dominance
from whence.evaluation.metrics import DEFAULT_SUSTAINABILITY_WEIGHT
from whence.parameters import PositiveInt, field
from whence.valuation.sources import Sources, resolve_sources

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Popularity:
    """Mean number of training interactions of the items of a list, by their ids."""

    counts: Mapping[Any, int]

    def __call__(self, recommended: Sequence[Any], targets: Sequence[Any]) -> float:
        return sum(self.counts[item] for item in recommended) / max(len(recommended), 1)


def _of_popularity(metric: Metric, train: Interactions) -> Metric:
    """``averagepopularity`` as a function of single lists; popular is what all the data say."""
    counts = np.bincount(train.item_codes, minlength=train.n_items)
    by_id = dict(zip(train.vocabulary.items.to_list(), counts.tolist()))
    return Metric.custom(_Popularity(by_id), metric.k, metric.name)


def _not_shared_out(metric: Metric) -> MetricError:
    if metric.per_query:
        return MetricError(
            f"Metric {metric.name} is not a mean over the lists of queries, so it cannot be "
            "shared out; choose one such as mrr@20, ndcg@10 or recall@10."
        )
    return MetricError(
        f"Metric {metric.name} is of the lists of all queries together, not a mean over them; it "
        "is shared out by refitting, with the methods retraining-shapley (RetrainingShapley) or "
        "retraining-leave-one-out (RetrainingLeaveOneOut)."
    )


@dataclass
class Question:
    """One call of `attribute`, resolved: the model, the queries, the metric, the sources."""

    run: Run

    model: Any
    train: Interactions
    data: Any
    queries: Queries
    metric: Metric
    sources: Sources
    started: float


class Valuation(Attributor):
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

    adds_up_over_queries = True
    fine: ClassVar[bool] = False
    """Whether items and single interactions can be valued."""
    of_all_lists: ClassVar[bool] = False
    """Whether ``coverage`` and ``gini`` can be shared out, which are of all lists together."""

    metric: Any = field(default="mrr@20", kw_only=False)
    by: str | None = None
    sustainable_items: Any = None
    sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT
    relevant: Literal["next", "any"] | None = None
    unknown: Literal["ignore", "drop"] = "ignore"
    target: Literal["rest", "next"] = "rest"
    threads: PositiveInt | None = None

    def attribute_parts(
        self, model: Any, parts: Mapping[str, Any], *, run: Run | None = None
    ) -> Attribution:
        """Value training data by an evaluation set in parts, such as days.

        Each part is valued by itself, with random numbers of its own, and to the precision that
        the method asks for; a value is the mean over the queries of all. `Attribution.update`
        adds parts later, and takes out others.

        Parameters
        ----------
        model : recommender
            As in `attribute`.
        parts : mapping of str to Interactions, data frame or Queries
            Evaluation sets by name.
        run : Run, optional
            How the work is done. In its folder are kept the parts that are done.

        Returns
        -------
        Attribution
            With ``metadata["parts"]``: the queries of each part, what they are worth, and how
            precise its values are.

        Raises
        ------
        ParameterError
            If there is no part.
        """
        from whence.attribution.parts import attribute_parts

        return attribute_parts(self, model, parts, run)

    def _ask(
        self, model: Any, data: Any, run: Run | None, train: Interactions | None = None
    ) -> Question:
        """Check and resolve the arguments of `attribute`; `train` is the model's own by default."""
        started = time.perf_counter()
        self._check_params()
        run = settled(run, self)
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
        if metric.gain == "rating":
            raise MetricError(
                f"Metric {metric.name} with gain='rating' is of ratings, which are not shared out; "
                "leave gain out."
            )
        if metric.mode == "averagepopularity":
            metric = _of_popularity(metric, train)
        if not metric.of_lists and not (self.of_all_lists and not metric.per_query):
            raise _not_shared_out(metric)
        if metric.k > train.n_items:
            warnings.warn(
                f"{metric.name} looks at {metric.k} items but the catalogue has {train.n_items}, "
                f"so that no list is that long; choose a K of at most {train.n_items}.",
                DataWarning,
                stacklevel=3,
            )
        sources = resolve_sources(train, self.by, fine=self.fine)
        if isinstance(data, Queries):
            queries = data
            check_answerable(queries, train.vocabulary)
        else:
            data = Interactions.from_frame(data, kind=train.kind)
            queries = queries_for(
                model,
                train,
                data,
                protocol=getattr(model, "protocol", None),
                unknown=self.unknown,
                target=self.target,
            )
        warn_of_dominance(queries, "max_prefixes= of make_queries limits it")
        return Question(run, model, train, data, queries, metric, sources, started)

    def _identity(self, question: Question) -> dict[str, Any]:
        """What decides the values: unfinished work of something else is not gone on with."""
        queries = question.queries
        asked = (queries.history_items, queries.history_start, queries.target_items, queries.users)
        skipped = ("metric", "by", "threads", "seed")
        params = {name: value for name, value in self.params.items() if name not in skipped}
        return {
            "method": self.name,
            "metric": question.metric.name,
            "by": question.sources.by,
            "parameters": {name: _told_apart(value) for name, value in params.items()},
            "seed": question.run.seed,
            "model": [type(question.model).__name__, getattr(question.model, "params", None)],
            "training data": question.train.fingerprint,
            "queries": identity_of([identity_of(array) for array in asked]),
        }

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
        data = question.data
        skipped = ("metric", "by", "threads", "sustainable_items", "sources")
        params = {name: value for name, value in self.params.items() if name not in skipped}
        if "seed" in params:
            params["seed"] = question.run.seed
        metadata = describe_run(
            self.name,
            title=self.title,
            by=sources.by,
            source=sources.column,
            metric=question.metric.name,
            model=question.model,
            params=params,
            seed=params.get("seed"),
            train=question.train,
            validation=data if isinstance(data, Interactions) else None,
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
            origin=(self, question.model),
        )


def _told_apart(value: Any) -> Any:
    """What stands for an argument: numbers and words for themselves, lists by all they hold."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return identity_of([str(one) for one in value])
    return value if isinstance(value, (str, int, float, bool)) else type(value).__name__
