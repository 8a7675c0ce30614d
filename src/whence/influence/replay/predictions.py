"""Outcomes made of scores: of one prediction, of a difference of two, of the mean over a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from whence.errors import DataError


class Scored:
    """A sum of scores with factors, as an outcome of `whence.Replay`."""

    def parts(self) -> list[tuple[float, Prediction]]:
        """Factors, and what they are of."""
        raise NotImplementedError

    def __call__(self, model: Any, parameters: Any) -> Tensor:
        """The outcome of a model, Tensor []."""
        values = [factor * one.score(model) for factor, one in self.parts()]
        total: Tensor = sum(values[1:], start=values[0])
        return total

    def __add__(self, other: Scored) -> Scored:
        return _Sum([*self.parts(), *other.parts()])

    def __sub__(self, other: Scored) -> Scored:
        return self + -1.0 * other

    def __rmul__(self, factor: float) -> Scored:
        return _Sum([(factor * own, one) for own, one in self.parts()])

    def __repr__(self) -> str:
        return " + ".join(
            repr(one) if factor == 1.0 else f"{factor:g} * {one!r}" for factor, one in self.parts()
        )


@dataclass(frozen=True, repr=False)
class Prediction(Scored):
    """The score of an item: an outcome of `whence.Replay`.

    Two are subtracted, added and multiplied by numbers: ``Prediction("a", 42) - Prediction("b",
    42)`` is what puts one item before another.

    Parameters
    ----------
    item : id
    queries : as in `whence.Recommender.recommend`
        Whom, or after which history, it is scored for: a user or a history; or a list of them, of
        which the mean counts.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=120, seed=1)
    >>> small = whence.GRU4Rec(embedding_dim=8, hidden_dim=8, dropout=0.0, epochs=2)
    >>> model = whence.smooth(small).fit(data.train)
    >>> first, second, third = data.train.item_ids[:3]
    >>> outcome = whence.Prediction(second, [first]) - whence.Prediction(third, [first])
    >>> values = whence.Replay(outcome=outcome, by="session").attribute(model)
    >>> values.metadata["n_queries"]
    1
    """

    item: Any
    queries: Any

    def parts(self) -> list[tuple[float, Prediction]]:
        """See `Scored.parts`."""
        return [(1.0, self)]

    def score(self, model: Any) -> Tensor:
        """Mean score over the queries, Tensor [].

        Raises
        ------
        DataError
            If the model does not know the item, or somebody who is asked for.
        """
        code = int(model.vocabulary.item_codes([self.item])[0])
        if code < 0:
            raise DataError(
                f"The item {self.item!r} is unknown to the model; give one of its training data."
            )
        queries, _ = model._as_queries(self.queries)
        empty = queries.users < 0 if model.asks == "users" else queries.is_empty
        if empty.any():
            raise DataError(
                "Nothing is known of a history whose prediction is wanted; give items of the "
                "training data, and to models of users a user."
            )
        mean: Tensor = model._score_batch(queries)[:, code].mean()
        return mean

    def __repr__(self) -> str:
        return f"Prediction({self.item!r}, {self.queries!r})"


class _Sum(Scored):
    def __init__(self, parts: list[tuple[float, Prediction]]) -> None:
        self._parts = parts

    def parts(self) -> list[tuple[float, Prediction]]:
        return self._parts
