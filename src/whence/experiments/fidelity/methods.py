"""Methods by name, and their values of what can be left out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import yaml

from whence.attribution import METHODS, Attributor
from whence.engines import Run
from whence.errors import ParameterError, UnsupportedError, did_you_mean
from whence.experiments.fidelity.retraining import ByRefitting, ByTraining, Subject
from whence.influence import InfluenceFunction, Replay, TracIn
from whence.influence.base import InfluenceMethod
from whence.influence.losses import example_losses
from whence.models.identity import told_apart

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONTROLS = ("random", "loss", "self-influence")
_STREAM = 0xC0

Method = str | Attributor


@dataclass
class Values:
    """Values of what can be left out.

    Attributes
    ----------
    total : float64 [n_units]
        For the mean over all queries.
    single : float64 [n_units, K] or None
        For each of the queries that are looked at.
    seconds : float
        Of the processor, for the values of `total`.
    seconds_single : float or None
        For those of `single`.
    why : str
        Why there are none of single queries.
    """

    total: FloatArray
    single: FloatArray | None
    seconds: float
    seconds_single: float | None = None
    why: str = ""


def resolved(methods: Sequence[Method] | Mapping[str, Method]) -> dict[str, Method]:
    """Methods by the names that tables have, each a control's name or a method.

    Parameters
    ----------
    methods : sequence or mapping
        Of controls, of methods, and of names of methods, with parameters behind a colon:
        ``"tracin"``, ``"influence-function:solver=ggn,damping=0.01"``. A mapping has the names that
        tables show.

    Raises
    ------
    ParameterError
        If there is none, a name is unknown, or a parameter is.
    """
    if isinstance(methods, (str, Attributor)):
        raise ParameterError("methods is a list; write methods=[...] with one method at least.")
    pairs = methods.items() if isinstance(methods, Mapping) else ((_shown(m), m) for m in methods)
    found = {name: _made(method) for name, method in pairs}
    if not found:
        raise ParameterError("methods is empty; name at least one, such as 'tracin'.")
    return found


def _shown(method: Any) -> str:
    return method if isinstance(method, str) else repr(method)


def _made(method: Any) -> Method:
    if isinstance(method, Attributor):
        method._check_params()
        return method
    if not isinstance(method, str):
        raise ParameterError(
            f"A method is a name or an object such as whence.TracIn(), not {method!r}."
        )
    if method in CONTROLS:
        return method
    name, _, rest = method.partition(":")
    kind = METHODS.find(name)
    if kind is None:
        hint = did_you_mean(name, [*CONTROLS, *METHODS.names()])
        raise ParameterError(
            f"There is no method {name!r}.{hint} There are {', '.join(CONTROLS)}, and "
            f"{', '.join(METHODS.names())}."
        )
    if not kind.of_training:
        raise ParameterError(
            f"{name} shares a prediction out among the events of a history, not among training "
            "data; choose a method such as tracin."
        )
    made = kind(**dict(map(_parameter, filter(None, rest.split(",")))))
    made._check_params()
    return made


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(
            f"{text!r} is no parameter of a method; write method:name=value,name=value."
        )
    return name.strip(), yaml.safe_load(value)


def identity_of_method(method: Method) -> Any:
    """What decides the values of a method."""
    return method if isinstance(method, str) else told_apart([type(method), method.params])


def values_of(method: Method, subject: Subject, seed: int, run: Run) -> Values:
    """Values of what can be left out, of the model of a seed.

    Raises
    ------
    WhenceError
        If the method cannot say anything of the model.
    """
    model = subject.fitted(seed)
    if isinstance(method, str):
        return _control(method, subject, model, seed, run)
    if isinstance(subject, ByTraining) and "by" in method.params:
        asked = type(method)(**{**method.params, "by": _finest(method)})
        return _of_examples(asked, subject, model, run)
    return _of_sources(method, subject, model, run)


def _finest(method: Attributor) -> Any:
    """Examples, where a method knows them; else its own sources."""
    kinds = (InfluenceMethod, Replay, InfluenceFunction)
    return "example" if isinstance(method, kinds) else method.params["by"]


def _of_examples(method: Attributor, subject: ByTraining, model: Any, run: Run) -> Values:
    """Values of a method that knows single examples, or of another by its sources."""
    if method.params["by"] != "example":
        return _of_sources(method, subject, model, run)
    asked = subject.asked
    few = asked.take(subject.chosen)
    if isinstance(method, InfluenceFunction):  # which takes the mean of each user otherwise
        asked, few = _each_alone(asked), _each_alone(few)
    began = time.process_time()
    found = method.attribute(model, asked, run=run)
    n_examples = len(model.examples_)
    total = np.zeros(n_examples)
    total[np.asarray(found.ids)] = found.scores
    if isinstance(method, InfluenceMethod):  # a sum over the queries
        total /= len(asked)
    seconds, began = time.process_time() - began, time.process_time()
    if isinstance(method, InfluenceFunction):
        single = np.asarray(method.matrix(model, few, run=run)).T
    elif hasattr(method, "matrix"):
        single = np.asarray(method.matrix(model, few, run=run), dtype=np.float64)
    else:
        single = np.stack([found.scores_for(int(query)) for query in subject.chosen], axis=1)
    seconds_single = time.process_time() - began
    total, single = _summed(subject, total), _summed(subject, single)
    return Values(total, single, seconds, seconds_single)


def _summed(subject: Subject, values: FloatArray) -> FloatArray:
    """Values of units, of those of examples."""
    if subject.by == "example":
        return values
    examples = subject.base.examples_
    found = np.zeros((subject.train.n_sources, *values.shape[1:]))
    np.add.at(found, examples.sources(np.arange(len(examples))), values)
    return found


def _each_alone(asked: Any) -> Any:
    """The same queries, each of its own user."""
    return replace(asked, ids=pl.DataFrame({"query": np.arange(len(asked))}))


def _of_sources(method: Attributor, subject: Subject, model: Any, run: Run) -> Values:
    """Values of sessions or users."""
    if subject.by == "example":
        raise UnsupportedError(
            f"{type(method).__name__} values sessions and users, not training examples; leave out "
            "by session or user."
        )
    data = subject.asked if isinstance(subject, ByRefitting) else subject.validation
    began = time.process_time()
    found = method.attribute(model, data, run=run)
    total = _by_number(found, subject)
    seconds, began = time.process_time() - began, time.process_time()
    if not isinstance(subject, ByRefitting):
        return Values(total, None, seconds, None, "its queries are others than the losses'")
    try:
        single = np.stack(
            [_by_number(found.for_query(int(q)), subject) for q in subject.chosen], axis=1
        )
    except UnsupportedError as error:
        return Values(total, None, seconds, None, str(error))
    return Values(total, single, seconds, time.process_time() - began)


def _by_number(found: Any, subject: Subject) -> FloatArray:
    """Values by the number of the session or user."""
    if found.column != subject.train.columns.source:
        raise UnsupportedError(
            f"The values are of {found.noun}, and what is left out are "
            f"{subject.train.columns.source}s; choose another by."
        )
    values = np.zeros(subject.train.n_sources)
    values[subject.train.vocabulary.source_codes(found.ids)] = found.totals
    return values


def _control(name: str, subject: Subject, model: Any, seed: int, run: Run) -> Values:
    """Values that do not look at the queries."""
    began = time.process_time()
    n_queries = len(subject.chosen)
    if name == "random":
        rng = np.random.default_rng([seed, _STREAM])
        drawn = rng.normal(size=(subject.n_units, 1 + n_queries))
        return Values(drawn[:, 0], drawn[:, 1:], time.process_time() - began, 0.0)
    if not isinstance(subject, ByTraining):
        raise UnsupportedError(
            f"The control {name!r} needs a loss of each example, which this model does not have."
        )
    if name == "loss":
        scores = -example_losses(model, model.examples_)
    else:
        found = TracIn().self_influence(model, run=run)
        scores = np.zeros(len(found))
        scores[np.asarray(found.ids)] = found.scores
    total = _summed(subject, scores)
    single = np.repeat(total[:, None], n_queries, axis=1)
    return Values(total, single, time.process_time() - began, 0.0)


def strongest(values: Values, n_queries: int, share: float) -> IntArray | None:
    """Units of the largest values for each of the first queries, int64 [n_queries, n].

    Parameters
    ----------
    values : Values
    n_queries : int
    share : float
        Of all units.
    """
    if not n_queries or values.single is None:
        return None
    few = values.single[:, :n_queries]
    n = max(1, round(share * len(few)))
    order = np.argsort(-few, axis=0, kind="stable")[:n]
    return np.ascontiguousarray(np.sort(order, axis=0).T)
