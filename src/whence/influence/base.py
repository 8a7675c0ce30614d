"""What the methods of influence share: their settings, a call resolved, and its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from whence.attribution import Attributor, describe_run
from whence.data import Interactions
from whence.engines import Checkpoints, Run, identity_of, kept_memory
from whence.errors import ParameterError
from whence.influence.alone import check_alone
from whence.influence.checkpoints import check_model, check_trainable, resolve_states, weigh
from whence.influence.comparison import Comparison, typed
from whence.influence.credit import BY_PLACE, By, check_credit, credited
from whence.influence.describe import Describer
from whence.influence.queries import query_examples
from whence.influence.result import Influence, TermsOf
from whence.influence.selection import selected_names
from whence.influence.strategies import Strategy
from whence.models.training.loop import torch_threads
from whence.parameters import PositiveInt

FloatArray = npt.NDArray[np.float64]
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


@dataclass
class Problem:
    """One call, resolved."""

    model: Any
    train: Interactions | None
    examples: Any
    queries: Any
    comparison: Comparison
    names: list[str]
    n_parameters: int
    data: Any
    run: Run
    started: float
    weighting: str

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers, besides the method's own settings."""
        comparison = self.comparison
        return {
            "training data": [getattr(self.train, "fingerprint", None), comparison.n],
            "queries": getattr(self.queries, "fingerprint", comparison.n_queries),
            "layers": self.names,
            "chunks": comparison.chunk,
            "weighting": self.weighting,
            "checkpoints": [
                [state.rate, state.epoch]
                + [identity_of(p.numpy(force=True)) for p in state.module.parameters()]
                for state in comparison.states
            ],
        }


class InfluenceMethod(Attributor):
    """Base of the methods that compare gradients at checkpoints.

    Parameters
    ----------
    checkpoints, until, layers, by, batch_size, precision, threads
        As in `TracIn`.
    """

    checkpoints: Any = None
    until: Literal["best", "last"] = "best"
    layers: Any = "all"
    by: By = "example"
    batch_size: PositiveInt | None = None
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    threads: PositiveInt | None = None

    def check_model(self, model: Any) -> None:
        """Refuse a model that is not trained by gradients; see `Attributor.check_model`."""
        check_trainable(model)

    def _strategy(self, names: list[str], dtype: torch.dtype, seed: int) -> Strategy:
        raise NotImplementedError

    def _resolve(
        self,
        model: Any,
        data: Any,
        run: Run,
        *,
        learning_rate: Any = None,
        weighting: str | None = "sgd",
        cosine: bool = False,
    ) -> Problem:
        """Check the arguments, load the checkpoints and make the queries; None: no queries."""
        started = time.perf_counter()
        self._check_params()
        check_model(model)
        dtype = DTYPES[self.precision]
        states, checkpoints = resolve_states(
            model, self.checkpoints, learning_rate, dtype, self.until
        )
        asked = data
        if data is not None and not hasattr(data, "batch"):
            asked = query_examples(model, data)
        examples = model.examples_
        train = getattr(model, "train_", None)
        train = train if isinstance(train, Interactions) else None
        check_credit(train, examples, self.by)
        named = model.module_.named_parameters()
        trainable = [name for name, p in named if p.requires_grad and p.numel()]
        few = typed(examples.batch(np.arange(min(3, len(examples))), states[0].epoch), dtype)
        check_alone(states[0].model, few)
        names = selected_names(states[0], trainable, self.layers, few)
        weighting = weigh(states, checkpoints, names, weighting)
        assert run.seed is not None
        strategy = self._strategy(names, dtype, run.seed)
        some = few
        if asked is not None:
            some = typed(asked.batch(np.arange(min(3, len(asked)))), dtype)
        strategy.prepare(states[0], few, some)
        comparison = Comparison(
            states=states,
            strategy=strategy,
            examples=examples,
            n=len(examples),
            queries=asked,
            n_queries=0 if asked is None else len(asked),
            cosine=cosine,
            half=self.precision == "bfloat16",
            batch_size=self.batch_size,
        )
        return Problem(
            model=model,
            train=train,
            examples=examples,
            queries=asked,
            comparison=comparison,
            names=names,
            n_parameters=sum(model.module_.get_parameter(name).numel() for name in names),
            data=data,
            run=run,
            started=started,
            weighting=weighting,
        )

    @contextmanager
    def _working(self, what: str, *problems: Problem) -> Iterator[Checkpoints]:
        """One thread for torch in each worker, and what has been done in the folder of the run."""
        skipped = ("threads", "by", "checkpoints", "layers")
        settings = {name: value for name, value in self.params.items() if name not in skipped}
        run = problems[0].run
        identities = [problem.identity for problem in problems]
        identity = {
            "method": f"{self.name}: {what}",
            "parameters": {**settings, "seed": run.seed},
            **{name: [one[name] for one in identities] for name in identities[0]},
        }
        with torch_threads(1), kept_memory(), Checkpoints(run, identity) as kept:
            yield kept

    def _answer(
        self,
        problem: Problem,
        scores: FloatArray,
        *,
        state: dict[str, npt.NDArray[Any]] | None = None,
        method: str | None = None,
        title: str | None = None,
        scores_of: Callable[[int], FloatArray] | None = None,
        terms: FloatArray | None = None,
        terms_of: TermsOf | None = None,
        **facts: Any,
    ) -> Influence:
        """Wrap scores of training examples, and of their terms, into the result type."""
        column, source, table = credited(problem.train, problem.examples, scores, self.by, terms)
        comparison, strategy = problem.comparison, problem.comparison.strategy
        skipped = ("checkpoints", "by", "threads")
        params = {name: value for name, value in self.params.items() if name not in skipped}
        if "seed" in params:
            params["seed"] = problem.run.seed
        metadata = describe_run(
            method or self.name,
            title=title or self.title,
            by=self.by,
            source=column,
            model=problem.model,
            params=params,
            seed=params.get("seed"),
            train=problem.train,
            validation=problem.data if isinstance(problem.data, Interactions) else None,
            elapsed_seconds=time.perf_counter() - problem.started,
            n_queries=comparison.n_queries or None,
            parameters=problem.names,
            n_parameters=problem.n_parameters,
            n_examples=comparison.n,
            learning_rates=[s.rate for s in comparison.states],
            epochs=[s.epoch + 1 for s in comparison.states],
            weighting=problem.weighting,
            n_left_out=getattr(problem.queries, "n_left_out", None),
            **self._facts(problem),
            **facts,
        )

        if strategy.alone:
            metadata["by_autograd"] = strategy.alone

        def recompute(query: int) -> Influence:
            if scores_of is None:
                raise ParameterError("These values are not about queries.")
            scores, terms = scores_of(query), None
            if terms_of is not None and self.by in BY_PLACE:
                terms = terms_of(query, np.arange(comparison.n))
            _, source, table = credited(problem.train, problem.examples, scores, self.by, terms)
            one = {**metadata, "n_queries": 1, "query": query}
            return Influence(table, source=source, metadata=one, backend=backend)

        backend = "polars" if problem.train is None else problem.train.backend
        about = None
        if problem.train is not None and hasattr(problem.queries, "ids"):
            about = Describer(problem.train, problem.examples, problem.queries)
        return Influence(
            table,
            source=source,
            metadata=metadata,
            backend=backend,
            state=state,
            recompute=None if scores_of is None else recompute,
            scores_of=scores_of,
            terms_of=terms_of,
            about=about,
        )

    def _facts(self, problem: Problem) -> dict[str, Any]:
        """More to be kept in the metadata."""
        return {}
