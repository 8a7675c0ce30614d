"""Metrics from their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from whence.errors import check_choice, check_float
from whence.evaluation._names import (
    CATALOGUE_NAMES,
    GRADED_NAMES,
    METRICS,
    SUSTAINABLE_NAMES,
    WHOLE_NAMES,
    CustomFunction,
    external_ids,
    no_sustainable_items,
    split_name,
)
from whence.evaluation.metrics import (
    DEFAULT_SUSTAINABILITY_WEIGHT,
    Metric,
    with_relevant,
)


def parse_metric(
    metric: str | Metric | CustomFunction,
    *,
    sustainable_items: Any = None,
    sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
    relevant: str | None = None,
    gain: str = "binary",
) -> Metric:
    """Read a metric from its name.

    Parameters
    ----------
    metric : str, Metric or callable
        ``"name@K"`` in any case, such as ``"mrr@20"``, with a name of
        :mod:`whence.evaluation.metrics`, one of `whence.register_metric`, or another in use
        (``hit``, ``hr``, ``f1score``, ``itemcoverage``, ``giniindex``,
        ``sustainabilitycoverage``), or ``"auc"``, ``"rmse"``, ``"mae"``; a Metric, returned as it
        is apart from what it leaves open; or a function ``(recommended, targets) -> float`` over
        lists of external ids, called for each query with at most 20 recommended items (another
        number: :meth:`Metric.custom`).
    sustainable_items : iterable, series or one-column dataframe, optional
        External ids of the sustainable items; necessary for ``st``, ``sustainablemrr`` and
        ``sustainablendcg``, ignored by the others.
    sustainability_weight : float
        Weight of ``st`` in ``sustainablemrr`` and ``sustainablendcg``, in [0, 1].
    relevant : {"next", "any"}, optional
        Whether ``mrr`` and ``hitrate`` look for the next item alone or for the first relevant
        one. Default: ``"next"`` for sessions, ``"any"`` for users and baskets.
    gain : {"binary", "rating"}
        Whether hits of ``dcg`` and ``ndcg`` count alike, or by the rating in the validation data;
        the other metrics do not look at it.

    Returns
    -------
    Metric

    Raises
    ------
    MetricError
        If the name is unknown or has no ``@K``, K is below 1, or the list of sustainable items is
        missing, empty or unreadable.
    ParameterError
        If `relevant`, `gain` or `sustainability_weight` is out of range.
    """
    check_choice("gain", gain, ("binary", "rating"))
    if relevant is not None:
        check_choice("relevant", relevant, ("next", "any"))
    check_float("sustainability_weight", sustainability_weight, 0.0, 1.0)
    if isinstance(metric, Metric):
        parsed = metric
    elif callable(metric):
        parsed = Metric.custom(metric)
    else:
        parsed = _from_name(metric, sustainability_weight)
    if parsed.needs_sustainable_items and parsed.sustainable_items is None:
        if sustainable_items is None:
            raise no_sustainable_items(parsed.name)
        parsed = replace(parsed, sustainable_items=external_ids(sustainable_items))
        if not parsed.sustainable_items:
            raise no_sustainable_items(parsed.name)
    if relevant is not None and parsed.relevant is None:
        parsed = with_relevant(parsed, relevant)
    if gain == "rating" and parsed.base in GRADED_NAMES:
        parsed = replace(parsed, mode="graded")
    return parsed


def _from_name(text: str, sustainability_weight: float) -> Metric:
    base, k = split_name(text)
    name = f"{base}@{k}" if k else base
    if base in METRICS.loaded():
        return Metric.custom(METRICS[base], k, name)
    if base in CATALOGUE_NAMES + WHOLE_NAMES:
        return Metric(name, base, k, base)
    if base == "st":
        return Metric(name, base, k, "none", rank_weight=0.0, sustainability_weight=1.0)
    weight = sustainability_weight if base in SUSTAINABLE_NAMES else 0.0
    mode = {"mrr": "best", "hitrate": "best", "map": "average_precision"}.get(
        base.removeprefix("sustainable"), "additive"
    )
    return Metric(name, base, k, mode, rank_weight=1.0 - weight, sustainability_weight=weight)
