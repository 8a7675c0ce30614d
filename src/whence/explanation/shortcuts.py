"""Explanations in one call, over `whence.Explainer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whence.engines import Run
from whence.errors import check_list
from whence.explanation.explainer import SEVERAL, Explainer
from whence.explanation.many import Explanations
from whence.explanation.result import Explanation


def explain(
    model: Any,
    history: Any,
    *,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> Explanation:
    """Explain what a model recommends after a history by the events of that history.

    Parameters
    ----------
    model, history, run, items, titles
        As in `whence.Explainer.attribute`, of one history.
    **settings
        Parameters of `whence.Explainer`: k, target, level, groups, cells, masking, method, budget,
        tolerance, prune, order, n_steps, seed and threads.

    Returns
    -------
    Explanation

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> history = data.train.item_ids.to_list()[:3]
    >>> explanation = whence.explain(model, history, k=5)
    >>> gap = explanation.value_all - explanation.value_nothing
    >>> abs(float(explanation.scores.sum()) - gap) < 1e-6
    True
    """
    found: Explanation = Explainer(**settings).attribute(
        model, history, run=run, items=items, titles=titles
    )
    return found


def explain_many(
    model: Any,
    histories: Iterable[Any] | Mapping[Any, Any],
    *,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> Explanations:
    """Explain many histories; see `whence.explain`.

    Recommendations are frozen in batches, and histories explained side by side. The result does not
    depend on the number of threads: each history has its own stream of random numbers.

    Parameters
    ----------
    model, run, items, titles, **settings
        As in `whence.explain`.
    histories : iterable of histories, mapping from names to histories, Interactions or Queries

    Returns
    -------
    Explanations
    """
    several: Any = histories
    if not isinstance(histories, SEVERAL):
        several = dict(enumerate(check_list("histories", histories, "histories")))
    found: Explanations = Explainer(**settings).attribute(
        model, several, run=run, items=items, titles=titles
    )
    return found
