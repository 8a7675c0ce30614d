"""Audit of a model that has forgotten: beside one that is trained without the rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
from whence.data import Interactions
from whence.engines import Run, reporter, settled
from whence.errors import DataWarning, check_int
from whence.evaluation import Queries, evaluate
from whence.evaluation.result import clustered_error

if TYPE_CHECKING:
    from whence.curation.forgetting.forgetting import Forgotten

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Retrain = Callable[[Interactions, "int | None"], Any]

_TOP = 10
_NORMAL = 1.959964
OTHER_START = 1000
"""What is added to the seed for another start."""


class Value(NamedTuple):
    """A figure with its 95% interval; None where a single source says nothing of others."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, repr=False)
class Audit(ShownAsTable):
    """What was measured of a model that has forgotten.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per measure and model, with ``value`` and its 95% interval ``low``, ``high``
        (clustered by user or session). Measures: ``distance`` and ``overlap@10`` (root mean square
        difference of scores, share of the ten best in common, both to the retrained model, over
        users that are left), ``loss, forgotten rows`` and ``loss, rows never seen`` (``rank``, the
        share of the catalogue ranked before the item, of models without losses), ``membership``
        (AUC of telling forgotten rows from rows never seen by that), the metric on test data, and
        ``seconds``. Models: "original" (has not forgotten), "forgotten", "retrained" (from the same
        start) and "another start" (retrained from another seed, where it has one).
    """

    rows: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """The rows."""
        return self.rows

    def value(self, measure: str, model: str) -> float:
        """One figure."""
        return float(self.rows.filter(measure=measure, model=model)["value"].item())

    def __repr__(self) -> str:
        return f"<Audit of {self.rows.height} figures>"


def audit(
    forgotten: Forgotten,
    test: Any = None,
    *,
    metric: Any = "ndcg@10",
    retrain: Retrain | None = None,
    max_sources: int = 500,
    run: Run | None = None,
) -> Audit:
    """Measure how near a model that has forgotten is to one that never saw the rows.

    See `Forgotten.audit`.
    """
    check_int("max_sources", max_sources, minimum=2)
    run = settled(run, forgotten.original)
    left = forgotten.model.train_
    remake = retrain or same_way(forgotten.original)
    has_seed = "seed" in type(forgotten.original).parameter_types()
    seed = getattr(forgotten.original, "seed", None)
    models: dict[str, Any] = {"original": forgotten.original, "forgotten": forgotten.model}
    with reporter(run.progress, "Auditing") as report:
        report(0, 3, "training on what is left")
        started = time.perf_counter()
        models["retrained"] = remake(left, seed)
        seconds = time.perf_counter() - started
        if has_seed:
            report(1, 3, "training from another start")
            assert seed is not None
            models["another start"] = remake(left, seed + OTHER_START)
        report(2, 3, "comparing")
        rows = _distances(models, max_sources, run)
        with warnings.catch_warnings():  # of test rows that no model can be asked for
            warnings.simplefilter("ignore", DataWarning)
            rows += _losses(forgotten, models, test, max_sources, run)
        if test is not None:
            rows += _metrics(models, test, metric, run)
    rows.append(("seconds", "forgotten", Value(forgotten.seconds)))
    rows.append(("seconds", "retrained", Value(seconds)))
    return Audit(
        pl.DataFrame(
            [{"measure": what, "model": name, **value._asdict()} for what, name, value in rows],
            schema={"measure": pl.String, "model": pl.String}
            | dict.fromkeys(Value._fields, pl.Float64),
        )
    )


Rows = list[tuple[str, str, Value]]


def same_way(original: Any) -> Retrain:
    """Fit as the model was; bring it to its optimum, if it has been."""

    def remake(train: Interactions, seed: int | None) -> Any:
        given = {} if seed is None else {"seed": seed}
        model = type(original)(**{**original.params, **given}).fit(train)
        if "differentiable" not in original.levels:
            return model
        from whence.curation.forgetting.gradients import is_optimum
        from whence.influence.functions import to_optimum

        return to_optimum(model) if is_optimum(original) else model

    return remake


def _distances(models: dict[str, Any], most: int, run: Run) -> Rows:
    """How far scores and lists are from those of the retrained model, over users that are left."""
    retrained = models["retrained"]
    queries = _known(retrained, most)
    wanted = retrained.score_codes(queries, threads=run.threads).astype(np.float64)
    best = retrained.recommend_codes(queries, _TOP, threads=run.threads)[0]
    clusters = np.arange(len(queries))
    far: Rows = []
    common: Rows = []
    for name in ("original", "forgotten", "another start"):
        if name not in models:
            continue
        scores = models[name].score_codes(queries, threads=run.threads).astype(np.float64)
        both = np.isfinite(scores) & np.isfinite(wanted)
        gaps = np.where(both, scores, 0.0) - np.where(both, wanted, 0.0)
        squares = (gaps**2).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        found = _mean(squares, clusters)
        far.append(("distance", name, _root(found)))
        lists = models[name].recommend_codes(queries, _TOP, threads=run.threads)[0]
        shares = np.array([_overlap(a, b) for a, b in zip(lists, best)])
        common.append((f"overlap@{_TOP}", name, _mean(shares, clusters)))
    return far + common


def _known(model: Any, most: int) -> Queries:
    """Queries of users (or sessions) that have rows, at most so many, evenly spread."""
    train: Interactions = model.train_
    codes = np.unique(train.source_codes)
    chosen = codes[np.linspace(0, len(codes) - 1, min(most, len(codes))).astype(np.int64)]
    queries: Queries = model.user_queries(train.source_ids.gather(chosen))
    return queries


def _overlap(one: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> float:
    """Share of a list that is in another; 1 where both are empty."""
    one, other = one[one >= 0], other[other >= 0]
    return (
        len(np.intersect1d(one, other)) / max(len(one), len(other), 1)
        if len(one)
        else float(not len(other))
    )


def _losses(forgotten: Forgotten, models: dict[str, Any], test: Any, most: int, run: Run) -> Rows:
    """Losses of forgotten rows and of rows never seen, and how well they tell them apart."""
    original = forgotten.original
    what = "loss"
    if "differentiable" in original.levels:
        from whence.curation.forgetting.losses import forgotten_losses, unseen_losses
    elif original.train_.kind == "sessions":
        from whence.curation.forgetting.ranks import forgotten_losses, unseen_losses

        what = "rank"
    else:
        return []
    gone, unseen, told = [], [], []
    for name in ("original", "forgotten", "retrained"):
        model = models[name]
        losses, sources = forgotten_losses(model, forgotten, most, run.threads)
        if not len(losses):
            return []
        gone.append((f"{what}, forgotten rows", name, _mean(losses, sources)))
        if test is None:
            continue
        others, owners = unseen_losses(model, original, test, most, run.threads)
        if not len(others):
            continue
        unseen.append((f"{what}, rows never seen", name, _mean(others, owners)))
        told.append(("membership", name, _auc(losses, sources, others, owners)))
    return gone + unseen + told


def _metrics(models: dict[str, Any], test: Any, metric: Any, run: Run) -> Rows:
    found = []
    for name in ("original", "forgotten", "retrained"):
        result = evaluate(models[name], test, metric, threads=run.threads)
        value, error = float(result), result.std_error()
        ends = (None, None) if error is None else (value - _NORMAL * error, value + _NORMAL * error)
        found.append((result.metric_name(), name, Value(value, *ends)))
    return found


def _mean(values: FloatArray, clusters: IntArray) -> Value:
    """Mean with its interval, values being independent between clusters only."""
    value = float(values.mean())
    _, numbers = np.unique(clusters, return_inverse=True)
    error = clustered_error(values, numbers)
    if error is None:
        return Value(value)
    return Value(value, value - _NORMAL * error, value + _NORMAL * error)


def _root(squares: Value) -> Value:
    """Root of a mean of squares, with the roots of the ends of its interval."""
    if squares.low is None or squares.high is None:
        return Value(squares.value**0.5)
    return Value(squares.value**0.5, max(squares.low, 0.0) ** 0.5, squares.high**0.5)


def _auc(gone: FloatArray, sources: IntArray, unseen: FloatArray, owners: IntArray) -> Value:
    """Probability that a forgotten row has a smaller loss than a row never seen, ties as a half.

    References
    ----------
    Obuchowski. Nonparametric analysis of clustered ROC curve data. Biometrics 53(2), 1997.
    """
    before = _share_above(gone, unseen)
    after = 1.0 - _share_above(unseen, gone)
    value = float(before.mean())
    errors = [
        clustered_error(part, np.unique(of, return_inverse=True)[1])
        for part, of in ((before, sources), (after, owners))
    ]
    if errors[0] is None or errors[1] is None:
        return Value(value)
    half = _NORMAL * float(np.hypot(errors[0], errors[1]))
    return Value(value, max(value - half, 0.0), min(value + half, 1.0))


def _share_above(values: FloatArray, others: FloatArray) -> FloatArray:
    """Share of the others that are larger than each value, equal ones as a half."""
    ordered = np.sort(others)
    low, high = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    shares: FloatArray = 1.0 - (low + high) / (2.0 * len(others))
    return shares
