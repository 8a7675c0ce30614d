"""Any object that can be fitted and asked for lists."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import DataError, UnsupportedError
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows
from whence.models.adapters._foreign import ForeignModel

FloatArray = npt.NDArray[np.float64]
CodeArray = npt.NDArray[np.int32]


class Wrapped(ForeignModel):
    """Any object with ``fit(table)`` and ``recommend(queries, k)`` that speaks the caller's ids.

    ``fit`` is given the training table, in the caller's type of data frame; what it returns, if
    that can recommend, or else the object itself is asked. ``recommend`` is asked all queries at
    once, and returns for each a list of item ids, best first, or a tuple of such lists and of
    scores. An item is worth 1/rank, so that the lists stay as they are: the object's own scores
    need not be comparable, or there at all.

    Parameters
    ----------
    model : object
        Trained or not; `fit` trains a deep copy of it.
    asks : {"histories", "users"}, default "histories"
        What ``recommend`` is asked with: lists of item ids, oldest first, or ids of users. Models
        of baskets are always asked with users.
    exclude_seen : bool or None, default False
        Leave out the items of the query's own history, by asking for longer lists. By default
        the object's lists stay as they are; None is the rule of `Recommender`.

    Examples
    --------
    >>> import whence
    >>> from whence.models.adapters import Wrapped
    >>> class Newest:
    ...     def fit(self, table):
    ...         self.items = table["item_id"].unique(maintain_order=True).to_list()[::-1]
    ...     def recommend(self, histories, k):
    ...         return [self.items[:k] for _ in histories]
    >>> data = whence.make_sessions(n_sessions=50, seed=1)
    >>> model = Wrapped(Newest()).fit(data.train)
    >>> items, scores = model.recommend(data.train.item_ids.to_list()[:2], k=2)
    >>> scores.tolist()
    [1.0, 0.5]
    """

    asks: Literal["histories", "users"] = "histories"  # type: ignore[misc]
    exclude_seen: bool | None = False

    def _check_params(self) -> None:
        super()._check_params()
        for verb in ("fit", "recommend"):
            if not callable(getattr(self.model, verb, None)):
                raise UnsupportedError(
                    f"{type(self.model).__name__} cannot be wrapped: it has no method {verb}; give "
                    "an object with fit(table) and recommend(queries, k)."
                )

    def _trained(self, train: Interactions) -> Any:
        twin = copy.deepcopy(self.model)
        fitted = twin.fit(train.native())
        return fitted if callable(getattr(fitted, "recommend", None)) else twin

    def _look_up(self, train: Interactions) -> None:
        self._present = np.bincount(train.source_codes, minlength=train.n_sources) > 0

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> FloatArray:
        """Score every item for every query by 1/rank, float64 [Q, n_items]; see `Recommender`."""
        lists, values = self.recommend_codes(queries, self.n_items)
        scores = np.zeros((len(queries), self.n_items))
        row, place = np.nonzero(lists >= 0)
        scores[row, lists[row, place]] = values[row, place]
        return scores

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[CodeArray, FloatArray]:
        """Ask the object; see `Recommender.recommend_codes`.

        Raises
        ------
        UnsupportedError
            If it is asked for users and the history is nobody's, or returns no lists.
        DataError
            If it returns an item twice, or one that is not in the training data.
        """
        self._check_fitted()
        asked, questions = self._questions(queries)
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        if not questions:
            return lists, np.zeros(lists.shape)
        history = history_rows(queries, self.train_)[asked]
        lengths = np.diff(history.indptr)
        excluded = self._leaves_out_seen(queries)
        seen = int(lengths.max(initial=0)) if excluded else 0
        length = min(k + seen, max(self.n_items, k))
        codes = self._codes(self.model_.recommend(questions, length), len(questions), length)
        allowed = codes >= 0
        if excluded:
            allowed &= np.take_along_axis(history.toarray(), np.maximum(codes, 0), axis=1) == 0.0
        place = np.cumsum(allowed, axis=1) - 1
        row, column = np.nonzero(allowed & (place < k))
        lists[asked[row], place[row, column]] = codes[row, column]
        return lists, np.where(lists >= 0, 1.0 / np.arange(1, k + 1), 0.0)

    def _questions(self, queries: Queries) -> tuple[npt.NDArray[np.int64], list[Any]]:
        """Which queries to ask, and the question of each in the caller's ids."""
        if self.train_.kind == "baskets" or self.asks == "users":
            nobody = queries.users < 0
            if (nobody & (queries.history_end > queries.history_start)).any():
                raise UnsupportedError(
                    f"{type(self.model_).__name__} is asked with users, and so not for the history "
                    "of anybody else; ask it for users of the training data, or wrap it with "
                    "asks='histories'."
                )
            asked = np.flatnonzero(~nobody & self._present[queries.users])
            return asked, self.vocabulary.sources.gather(queries.users[asked]).to_list()
        asked = np.flatnonzero(queries.history_end > queries.history_start)
        items = np.array([*self.vocabulary.items.to_list(), None], dtype=object)
        flat = items[queries.history_items]
        starts, ends = queries.history_start[asked], queries.history_end[asked]
        return asked, [flat[start:end].tolist() for start, end in zip(starts, ends)]

    def _codes(self, answer: Any, n: int, length: int) -> CodeArray:
        """Numbers of the items of lists, int32 [n, length], padded with -1."""
        name = type(self.model_).__name__
        items = answer[0] if isinstance(answer, tuple) and len(answer) == 2 else answer
        try:
            rows = [row.tolist() if hasattr(row, "tolist") else list(row) for row in items]
        except TypeError:
            rows = []
        if len(rows) != n:
            raise UnsupportedError(
                f"{name}.recommend(queries, k) must return one list of item ids for each of the "
                f"{n} queries, or a tuple (items, scores) of such lists; it returned "
                f"{type(answer).__name__}{f' of {len(rows)} lists' if rows else ''}."
            )
        lengths = np.array([min(len(row), length) for row in rows])
        flat = pl.Series("item", [item for row in rows for item in row[:length]])
        found = self.vocabulary.item_codes(flat)
        if (found < 0).any():
            raise DataError(
                f"{name} recommends {flat[int(np.argmin(found))]!r}, which is not an item of the "
                "training data; let it recommend only those."
            )
        codes = np.full((n, length), -1, dtype=np.int32)
        codes[np.arange(length) < lengths[:, None]] = found
        in_order = np.sort(codes, axis=1)
        if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)).any():
            raise DataError(f"{name} recommends an item twice in one list; let each be there once.")
        return codes
