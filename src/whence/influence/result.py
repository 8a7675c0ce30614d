"""What influence gives: an attribution that can also say who taught a single prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._words import counted
from whence.attribution import Attribution, as_backend
from whence.attribution.result import State
from whence.errors import (
    FileFormatError,
    ParameterError,
    UnsupportedError,
    check_choice,
    check_int,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TermsOf = Callable[[int, npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""From a query and numbers of examples to the scores of the terms of their losses, one by one."""


class Influence(Attribution):
    """How much each part of the training data pushed a model towards its test examples.

    All that an `Attribution` is, with the tables of `proponents` and `opponents` of single
    queries. Those come from lists made by ``per_query``, or are computed when they are asked for,
    by a pass over the training examples for that query alone, and kept.

    Parameters
    ----------
    table, source, metadata, backend, state, recompute
        As in `Attribution`; the state holds the lists of ``per_query``.
    scores_of : callable, optional
        ``scores_of(query)`` gives the scores of all training examples, float64 [n].
    about : object, optional
        Describes examples and queries; see `whence.influence.describe.Describer`.
    halves : float64 [2, S], optional
        Scores in the order of the table, for each half of the queries.

    Attributes
    ----------
    halves : float64 [2, S] or None
        Scores in the order of the table, for each half of the queries by itself: what both say is
        no noise. None where they were not computed.
    terms_of : callable, optional
        ``terms_of(query, examples)`` gives the scores of the terms of some examples' losses, which
        have several targets each: float64 [terms].
    """

    def __init__(
        self,
        table: pl.DataFrame,
        *,
        source: str,
        metadata: Mapping[str, Any],
        backend: str = "polars",
        state: State | None = None,
        recompute: Callable[[int], Attribution] | None = None,
        scores_of: Callable[[int], npt.NDArray[np.float64]] | None = None,
        about: Any = None,
        halves: npt.NDArray[np.float64] | None = None,
        terms_of: TermsOf | None = None,
    ) -> None:
        if halves is not None:
            state = {**(state or {}), "halves": halves}
        super().__init__(
            table,
            source=source,
            metadata=metadata,
            backend=backend,
            state=state,
            recompute=recompute,
        )
        self._scores_of = scores_of
        self._about = about
        self._terms_of = terms_of
        self._kept: dict[int, npt.NDArray[np.float64]] = {}

    @property
    def halves(self) -> npt.NDArray[np.float64] | None:
        """Scores for each half of the queries, float64 [2, S]; see the class."""
        return (self.state or {}).get("halves")

    def __repr__(self) -> str:
        n_queries = self.metadata.get("n_queries")
        about = f" on {counted(n_queries, 'queries')}" if n_queries else ""
        return f"<Influence: {self.title} of {counted(len(self), self.noun)}{about}>"

    def proponents(self, query: int, n: int = 10) -> Any:
        """The training examples that did most for a prediction.

        Parameters
        ----------
        query : int
            Number of the query, from 0.
        n : int
            How many, at most as many as `per_query` kept.

        Returns
        -------
        data frame
            ``rank``, ``score``, ``example`` (number of the training example), the session or user
            it is of, ``target`` (what it taught) and ``sequence`` (the items before), titles in
            place of ids where there are any. Of examples with several targets these are of the
            place that did most; ``place`` is its number in the example's window, from 1, and
            ``place_score`` its share of the score.
        """
        return self._table(query, n, sign=1)

    def opponents(self, query: int, n: int = 10) -> Any:
        """The training examples that worked most against a prediction; see `proponents`."""
        return self._table(query, n, sign=-1)

    def plot(self, ax: Axes | None = None, kind: str = "distribution", **options: Any) -> Axes:
        """Draw the values, or who taught a prediction.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"distribution", "ranked", "query"}
            As of `Attribution`; "query": the strongest proponents and opponents of one prediction,
            with titles where there are any.
        **options
            With "query": ``query``, its number (0 by default), ``n`` examples of each side (10),
            and what `whence.plots.influence.examples` takes.

        Returns
        -------
        matplotlib Axes
        """
        if kind != "query":
            check_choice("kind", kind, ("distribution", "ranked", "query"))
            return super().plot(ax, kind, **options)
        from whence.plots.influence import examples

        query, n = options.pop("query", 0), check_int("n", options.pop("n", 10), minimum=1)
        best, worst = (
            self._table_of(query, n, sign).filter(sign * pl.col("score") > 0) for sign in (1, -1)
        )
        both = pl.concat([best, worst.reverse()])
        if not both.height:
            both = self._table_of(query, n, 1)
        if self._about is not None and getattr(self._about, "of_queries", None) is not None:
            asked = self._about.queries()["target"][self._checked(query)]
            options.setdefault("asked", str(asked))
        options.setdefault("label", f"influence ({self.title})")
        return examples(both, ax=ax, **options)

    def queries(self) -> Any:
        """The queries: ids, ``target``, and the ``sequence`` before it."""
        if self._about is None:
            raise UnsupportedError(_NOT_AT_HAND)
        return as_backend(self._about.queries(), self.backend)

    def scores_for(self, query: int) -> npt.NDArray[np.float64]:
        """Scores of all training examples for one query, float64 [n]."""
        query = self._checked(query)
        if self._scores_of is None:
            raise UnsupportedError(_NOT_AT_HAND)
        if query not in self._kept:
            self._kept[query] = self._scores_of(query)
        return self._kept[query]

    def prune(self, interactions: Any, **how: Any) -> Any:
        """As of `Attribution`; single examples are no rows, so ask for them by another source."""
        if self.source == "example":
            raise UnsupportedError(
                "Training examples are windows of rows, not rows that can be taken out of a "
                "table; ask for values with by='interaction', 'session', 'user' or 'item'."
            )
        return super().prune(interactions, **how)

    @classmethod
    def load(cls, path: str | Path) -> Influence:
        """Read what `save` wrote: the table and the lists, without the model behind them."""
        plain = Attribution.load(path)
        _check_lists(plain, path)
        return cls(
            plain.frame,
            source=plain.source,
            metadata=plain.metadata,
            backend=plain.backend,
            state=plain.state,
        )

    def _table(self, query: int, n: int, sign: int) -> Any:
        return as_backend(self._table_of(query, n, sign), self.backend)

    def _table_of(self, query: int, n: int, sign: int) -> pl.DataFrame:
        query, n = self._checked(query), check_int("n", n, minimum=1)
        examples, scores = self._listed(query, n, sign)
        columns: dict[str, Any] = {
            "rank": np.arange(1, len(examples) + 1),
            "score": scores,
            "example": examples,
        }
        if self._about is not None:
            terms = None if self._terms_of is None else self._terms_of(query, examples)
            columns.update(self._about.examples(examples, terms, sign))
        return pl.DataFrame(columns)

    def _listed(
        self, query: int, n: int, sign: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Examples and scores, the strongest first."""
        side = "top" if sign > 0 else "bottom"
        state = self.state or {}
        if f"{side}_examples" in state:
            kept = state[f"{side}_examples"][query]
            if n <= len(kept):
                return kept[:n], state[f"{side}_scores"][query][:n]
            if self._scores_of is None:
                raise ParameterError(
                    f"Only {len(kept)} were kept for each query; ask per_query for n={n}."
                )
        scores = self.scores_for(query)
        order = np.argsort(-sign * scores, kind="stable")[:n]
        return order, scores[order]

    def _checked(self, query: int) -> int:
        last = int(self.metadata.get("n_queries") or 0) - 1
        if last < 0:
            raise UnsupportedError("These values are not about queries.")
        return check_int("query", query, 0, last)


def _check_lists(found: Attribution, path: str | Path) -> None:
    """Refuse lists of strongest examples that cannot be.

    Raises
    ------
    FileFormatError
        If one is missing, or they are not of all queries.
    """
    state = found.state or {}
    n_queries = found.metadata.get("n_queries") or 0
    halves = state.get("halves")
    if halves is not None and (halves.dtype.kind != "f" or halves.shape[1:] != (len(found),)):
        raise FileFormatError(
            f"{path} is damaged: its values by half of the queries are not those of "
            f"{len(found):,} sources; attribute again."
        )
    for side in ("top", "bottom") if state.keys() - {"halves"} else ():
        lists = [state.get(f"{side}_{what}") for what in ("examples", "scores")]
        shapes = {None if array is None else array.shape for array in lists}
        numbers = all(array is not None and array.dtype.kind in "iuf" for array in lists)
        shape = shapes.pop() or ()
        if shapes or not numbers or len(shape) != 2 or shape[0] != n_queries:
            raise FileFormatError(
                f"{path} is damaged: its lists of the strongest examples are not those of "
                f"{n_queries:,} queries; trace again."
            )


_NOT_AT_HAND = (
    "The model and the queries are not at hand, because these values were loaded from a file or "
    "are not about queries; call attribute(model, queries) again and use its result."
)
