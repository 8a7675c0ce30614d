"""What the methods of influence share: their settings, a call resolved, and its answer."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from whence.attribution import describe_run
from whence.data import Interactions
from whence.engines import kept_memory
from whence.errors import ParameterError, check_choice, check_int
from whence.influence.checkpoints import check_model, resolve_states, weigh
from whence.influence.credit import BY, credited
from whence.influence.describe import Describer
from whence.influence.engine import Engine, typed
from whence.influence.progress import reporter
from whence.influence.queries import query_examples
from whence.influence.result import Influence
from whence.influence.selection import selected_names
from whence.influence.state import Progressed
from whence.influence.strategies import Strategy
from whence.influence.weights import WEIGHTINGS
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


@dataclass
class Work:
    """One call, resolved."""

    model: Any
    train: Interactions | None
    examples: Any
    queries: Any
    engine: Engine
    names: list[str]
    n_parameters: int
    validation: Any
    started: float

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers, besides the method's own settings."""
        states = self.engine.states
        return {
            "train": getattr(self.train, "fingerprint", None),
            "n": self.engine.n,
            "queries": getattr(self.queries, "fingerprint", self.engine.n_queries),
            "names": self.names,
            "chunk": self.engine.chunk,
            "states": [
                [
                    state.rate,
                    state.epoch,
                    [float(p.double().sum()) for p in state.module.parameters()],
                    [float(p.double().square().sum()) for p in state.module.parameters()],
                ]
                for state in states
            ],
        }


class InfluenceMethod:
    """Base of the methods that compare gradients at checkpoints.

    Subclasses set the attributes below in their constructors.
    """

    name: ClassVar[str]

    checkpoints: Any
    layers: Any
    by: str
    normalise: str | None
    weighting: str
    learning_rate: Any
    batch_size: int | None
    precision: str
    threads: int
    progress: bool | Callable[[float, float, str], None]
    folder: str | Path | None

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of the constructor, as plain values."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def _check_params(self) -> None:
        check_choice("by", self.by, BY)
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_choice("precision", self.precision, DTYPES)
        check_int("threads", self.threads, minimum=1)
        if self.normalise is not None:
            check_choice("normalise", self.normalise, ("cosine",))
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size, minimum=1)

    def _strategy(self, names: list[str], dtype: torch.dtype) -> Strategy:
        raise NotImplementedError

    def _resolve(self, model: Any, queries: Any) -> Work:
        """Check the arguments, load the checkpoints and make the queries; None: no queries."""
        started = time.perf_counter()
        self._check_params()
        check_model(model)
        dtype = DTYPES[self.precision]
        states, checkpoints = resolve_states(model, self.checkpoints, self.learning_rate, dtype)
        asked = queries
        if queries is not None and not hasattr(queries, "batch"):
            asked = query_examples(model, queries)
        examples = model.examples_
        named = model.module_.named_parameters()
        trainable = [name for name, p in named if p.requires_grad and p.numel()]
        few = typed(examples.batch(np.arange(min(3, len(examples))), states[0].epoch), dtype)
        names = selected_names(states[0], trainable, self.layers, few)
        weigh(states, checkpoints, names, self.weighting)
        strategy = self._strategy(names, dtype)
        some = few
        if asked is not None:
            some = typed(asked.batch(np.arange(min(3, len(asked)))), dtype)
        strategy.prepare(states[0], few, some)
        engine = Engine(
            states=states,
            strategy=strategy,
            examples=examples,
            n=len(examples),
            queries=asked,
            n_queries=0 if asked is None else len(asked),
            cosine=self.normalise == "cosine",
            half=self.precision == "bfloat16",
            batch_size=self.batch_size,
            threads=self.threads,
        )
        train = getattr(model, "train_", None)
        return Work(
            model=model,
            train=train if isinstance(train, Interactions) else None,
            examples=examples,
            queries=asked,
            engine=engine,
            names=names,
            n_parameters=sum(model.module_.get_parameter(name).numel() for name in names),
            validation=queries,
            started=started,
        )

    def _kept(
        self,
        work: Work,
        what: str,
        arrays: dict[str, npt.NDArray[Any]],
        *,
        in_file: bool = True,
    ) -> Progressed:
        """The state of a pass, taken up where it was broken off if it is `in_file`."""
        skipped = ("folder", "progress", "threads", "by", "checkpoints")
        settings = {name: value for name, value in self.params.items() if name not in skipped}
        identity = {"pass": what, "settings": settings, **work.identity}
        return Progressed(self.folder if in_file else None, identity, arrays)

    @contextmanager
    def _running(self, kept: Progressed) -> Iterator[Any]:
        """One thread for torch in each worker; the state is saved when the pass is broken off."""
        with torch_threads(1), kept_memory(), reporter(self.progress) as report:
            try:
                yield report
            except BaseException:
                if not kept.busy:
                    kept.save()
                raise

    def _answer(
        self,
        work: Work,
        scores: FloatArray,
        *,
        state: dict[str, npt.NDArray[Any]] | None = None,
        method: str | None = None,
        scores_of: Callable[[int], FloatArray] | None = None,
        **facts: Any,
    ) -> Influence:
        """Wrap scores of training examples into the result type."""
        name = method or self._title
        source, table = credited(work.train, work.examples, scores, self.by)
        params = {
            key: value
            for key, value in self.params.items()
            if key not in ("checkpoints", "by", "threads", "progress", "folder")
        }
        validation = work.validation if isinstance(work.validation, Interactions) else None
        metadata = describe_run(
            name,
            by=self.by,
            source=source,
            model=work.model,
            params=params,
            seed=getattr(self, "seed", None),
            train=work.train,
            validation=validation,
            elapsed_seconds=time.perf_counter() - work.started,
            n_queries=work.engine.n_queries or None,
            parameters=work.names,
            n_parameters=work.n_parameters,
            n_examples=work.engine.n,
            learning_rates=[s.rate for s in work.engine.states],
            epochs=[s.epoch + 1 for s in work.engine.states],
            n_left_out=getattr(work.queries, "n_left_out", None),
            **self._facts(work),
            **facts,
        )

        def recompute(query: int) -> Influence:
            if scores_of is None:
                raise ParameterError("These values are not about queries.")
            source, table = credited(work.train, work.examples, scores_of(query), self.by)
            one = {**metadata, "n_queries": 1, "query": query}
            return Influence(table, source=source, metadata=one, backend=backend)

        backend = "polars" if work.train is None else work.train.backend
        about = None
        if work.train is not None and hasattr(work.queries, "ids"):
            about = Describer(work.train, work.examples, work.queries)
        return Influence(
            table,
            source=source,
            metadata=metadata,
            backend=backend,
            state=state,
            recompute=None if scores_of is None else recompute,
            scores_of=scores_of,
            about=about,
        )

    def _facts(self, work: Work) -> dict[str, Any]:
        """More to be kept in the metadata."""
        return {}

    @property
    def _title(self) -> str:
        """The method, as the metadata name it."""
        return self.name
