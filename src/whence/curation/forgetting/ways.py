"""How each kind of model forgets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from whence.curation.forgetting.certificate import Certificate
from whence.curation.forgetting.closed import forget_factors, forget_weights
from whence.curation.forgetting.counts import (
    forget_popularity,
    forget_similarities,
    forget_transitions,
)
from whence.curation.forgetting.gone import Gone
from whence.curation.forgetting.neighbours import forget_baskets, forget_sessions
from whence.engines import Run
from whence.errors import ParameterError, UnsupportedError
from whence.models.knn.itemknn import ItemKNN
from whence.models.knn.tifu import TIFUKNN
from whence.models.knn.vmis import VMISKNN
from whence.models.markov import MarkovChain
from whence.models.matrix.als import ALS
from whence.models.matrix.ease import EASE
from whence.models.popularity import Popularity

Way = Callable[[Any, Gone, Run], Certificate]
"""Changes what a shallow copy of the model has learned, never the arrays that it learned."""


def _exactly(change: Callable[[Any, Gone], None]) -> Way:
    def way(model: Any, gone: Gone, run: Run) -> Certificate:
        change(model, gone)
        return Certificate("exact")

    return way


def _downdate(model: EASE, gone: Gone, run: Run) -> Certificate:
    return Certificate("rounding", forget_weights(model, gone))


def _solve_again(model: ALS, gone: Gone, run: Run) -> Certificate:
    return Certificate("audit", forget_factors(model, gone, run.threads))


WAYS: dict[type, Way] = {
    Popularity: _exactly(forget_popularity),
    MarkovChain: _exactly(forget_transitions),
    ItemKNN: _exactly(forget_similarities),
    VMISKNN: _exactly(forget_sessions),
    TIFUKNN: _exactly(forget_baskets),
    EASE: _downdate,
    ALS: _solve_again,
}


def check_can_forget(model: Any, epochs: int) -> None:
    """Refuse a model that cannot forget, fitted or not, before work begins.

    Raises
    ------
    UnsupportedError
        If it cannot forget.
    ParameterError
        If it has no epochs to be trained on for.
    """
    name = type(model).__name__
    if not hasattr(model, "_check_fitted"):
        raise UnsupportedError(f"A model of Whence forgets, and {name} is none; fit it again.")
    if "differentiable" in model.levels:
        return
    if _way_of(model) is None:
        raise UnsupportedError(
            f"{name} cannot forget: nothing is known of how it learns; fit it again on "
            "what is left."
        )
    if epochs:
        raise ParameterError(f"{name} is not trained in epochs; leave epochs out.")


def without(model: Any, gone: Gone, epochs: int, run: Run) -> tuple[Any, Certificate]:
    """Return a copy of a model that has forgotten, and what is known of it."""
    changed = copy.copy(model)
    changed.train_ = gone.left
    if "differentiable" in model.levels:
        from whence.curation.forgetting.gradients import forget_by_gradients

        return changed, forget_by_gradients(model, changed, gone, epochs, run)
    way = _way_of(model)
    assert way is not None
    return changed, way(changed, gone, run)


def _way_of(model: Any) -> Way | None:
    """How a model of a class forgets, or of one derived from it that learns as it does."""
    for kind, way in WAYS.items():
        if isinstance(model, kind) and type(model)._fit is kind._fit:  # type: ignore[attr-defined]
            return way
    return None
