"""Which games a model's queries are: of its family, and of the kind of the metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whence.errors import UnsupportedError
from whence.evaluation import Metric, Queries
from whence.models import TIFUKNN, VMISKNN, Recommender
from whence.valuation.custom import CUSTOM_FAMILIES
from whence.valuation.games import Games, SessionGames, UserGames

FAMILIES: dict[type[Recommender], type[Games]] = {VMISKNN: SessionGames, TIFUKNN: UserGames}


def check_games(model: Any, method: str) -> None:
    """Raise UnsupportedError if Whence knows no games for a kind of model, fitted or not."""
    if not isinstance(model, tuple(FAMILIES)):
        known = " and ".join(family.__name__ for family in FAMILIES)
        raise UnsupportedError(
            f"{method} knows how the lists of {known} depend on their training data, but not those "
            f"of {type(model).__name__}; use RetrainingShapley or RetrainingLeaveOneOut, which "
            "refit."
        )


def make_games(
    model: Recommender, queries: Queries, metric: Metric, candidates: str, method: str
) -> Games:
    """Return the games of a model's queries; slower ones where the metric is a Python function.

    Raises
    ------
    UnsupportedError
        If Whence knows no games for this kind of model.
    """
    check_games(model, method)
    families: Mapping[type[Recommender], type[Games]] = FAMILIES
    if metric.function is not None:
        families = CUSTOM_FAMILIES
    games = next(games for family, games in families.items() if isinstance(model, family))
    return games(model, queries, metric, candidates)
