"""What every recommender offers: fit, score, recommend, save and load."""

from __future__ import annotations

import inspect
import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.data.files import read_parquet_with_metadata, write_parquet_with_metadata
from whence.errors import DataError, FileFormatError, NotFittedError, ParameterError, check_int
from whence.evaluation.queries import Queries

FloatArray = npt.NDArray[np.float64]
CodeArray = npt.NDArray[np.int32]
Self = TypeVar("Self", bound="Recommender")

_FORMAT = "whence-model-1"


class Recommender(ABC):
    """Base of the recommenders of Whence.

    The constructor stores its arguments; `fit` learns and sets attributes that end in ``_``.
    Everywhere lists are ordered by score, then by item number (order of first appearance in the
    training data), and hold only items with a score above 0.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sessions", "baskets")

    train_: Interactions

    @abstractmethod
    def _fit(self, train: Interactions) -> None:
        """Learn from interactions of a kind in `kinds`."""

    @abstractmethod
    def score_codes(self, queries: Queries, *, threads: int | None = None) -> FloatArray:
        """Score every item for every query.

        Returns
        -------
        ndarray of float64, shape (Q, n_items)
            Score of item number i in column i; items that must not be recommended have 0.
        """

    def _check_params(self) -> None:  # noqa: B027 (most models have nothing to check)
        """Raise ParameterError where a constructor argument is out of its range."""

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def fit(self: Self, train: Any, **columns: Any) -> Self:
        """Learn from training data.

        Parameters
        ----------
        train : Interactions or data frame
            Sessions or baskets.
        **columns : str
            Names of columns, as in `Interactions.from_frame`, where they are not recognised.

        Raises
        ------
        ParameterError
            If an argument of the constructor is out of its range.
        DataError
            If the data is not of a kind that this model learns from.
        """
        self._check_params()
        wanted = self.kinds[0] if len(self.kinds) == 1 else None
        if not isinstance(train, Interactions):
            train = Interactions.from_frame(train, kind=wanted, **columns)
        if train.kind not in self.kinds:
            raise DataError(
                f"{type(self).__name__} learns from {' or '.join(self.kinds)}, but the data holds "
                f"{train.kind}; choose a model for {train.kind}"
                + (", for instance TIFUKNN." if train.kind == "baskets" else ", such as VMISKNN.")
            )
        self.train_ = train
        self._fit(train)
        return self

    @property
    def vocabulary(self) -> Vocabulary:
        """Items and sources known since `fit`, in number order."""
        self._check_fitted()
        return self.train_.vocabulary

    @property
    def n_items(self) -> int:
        """Number of items that can be recommended."""
        return len(self.vocabulary.items)

    def recommend_codes(
        self, queries: Queries, k: int, *, threads: int | None = None
    ) -> tuple[CodeArray, FloatArray]:
        """Recommend item numbers.

        Returns
        -------
        items : ndarray of int32, shape (Q, k)
            Item numbers, best first, padded with -1.
        scores : ndarray of float64, shape (Q, k)
            Their scores, padded with 0.
        """
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.zeros((len(queries), k))
        for start in range(0, len(queries), 1024):
            block = self.score_codes(slice_queries(queries, start, start + 1024), threads=threads)
            # A stable sort keeps items of equal score in number order.
            order = np.argsort(-block, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(block, order, axis=1)
            rows = slice(start, start + len(block))
            lists[rows, : order.shape[1]] = np.where(best > 0, order, -1)
            scores[rows, : order.shape[1]] = np.where(best > 0, best, 0.0)
        return lists, scores

    def recommend(
        self, queries: Any, k: int = 20
    ) -> tuple[npt.NDArray[Any], FloatArray] | tuple[list[npt.NDArray[Any]], list[FloatArray]]:
        """Recommend items, in the caller's own ids.

        Parameters
        ----------
        queries : one history, a list of histories, or Queries
            Sessions: a history is the list of item ids so far, oldest first. Baskets: the id of a
            user seen in training; for a user never seen, see `fold_in`.
        k : int
            Length of the lists.

        Returns
        -------
        items, scores
            Item ids and scores, best first, of one history; or two lists of such arrays.

        Raises
        ------
        ParameterError
            If k is below 1 or above the number of items.
        """
        self._check_fitted()
        check_int("k", k, minimum=1)
        if k > self.n_items:
            raise ParameterError(
                f"k is {k} but the catalogue has {self.n_items} items; ask for at most "
                f"{self.n_items}."
            )
        asked, single = self._as_queries(queries)
        codes, scores = self.recommend_codes(asked, k)
        ids = self.vocabulary.items.to_numpy()
        lists = [ids[row[row >= 0]] for row in codes]
        values = [row[codes[i] >= 0] for i, row in enumerate(scores)]
        return (lists[0], values[0]) if single else (lists, values)

    def score(self, queries: Any, items: Sequence[Any] | None = None) -> FloatArray:
        """Score items for queries.

        Parameters
        ----------
        queries : as in `recommend`
            What is asked.
        items : sequence of ids, optional
            The items to score; all, in number order, by default.

        Returns
        -------
        ndarray of float64, shape (Q, number of items), or (number of items,) for one history
            Scores; 0 where an item would not be recommended.

        Raises
        ------
        DataError
            If an item is unknown to the model.
        """
        self._check_fitted()
        asked, single = self._as_queries(queries)
        scores = self.score_codes(asked)
        if items is not None:
            wanted = pl.Series(list(items))
            codes = self.vocabulary.item_codes(wanted)
            if (codes < 0).any():
                first = wanted[int(np.flatnonzero(codes < 0)[0])]
                raise DataError(
                    f"Item {first!r} is unknown to the model; score only items of its training "
                    "data (model.vocabulary.items)."
                )
            scores = scores[:, codes]
        return scores[0] if single else scores

    def fold_in(self, histories: Sequence[Any]) -> Queries:
        """Turn histories never seen in training into queries, without refitting.

        Parameters
        ----------
        histories : list
            Sessions: one list of item ids per session, oldest first. Baskets: one list of baskets
            per user, each basket a list of item ids, oldest first.

        Returns
        -------
        Queries
            For `recommend` and `score`. Items unknown to the model are left out and counted in
            ``n_unknown_rows``.
        """
        self._check_fitted()
        if self.train_.kind == "sessions":
            flat = [list(history) for history in histories]
            return self._encode(flat, None)
        flat = [[item for basket in history for item in basket] for history in histories]
        baskets = [
            number for history in histories for number, basket in enumerate(history) for _ in basket
        ]
        return self._encode(flat, np.asarray(baskets, dtype=np.int32))

    def _encode(self, histories: list[list[Any]], baskets: CodeArray | None) -> Queries:
        lengths = np.asarray([len(history) for history in histories], dtype=np.int64)
        flat = [item for history in histories for item in history]
        codes = np.empty(0, dtype=np.int32)
        if flat:
            codes = self.vocabulary.item_codes(pl.Series(flat, strict=False)).astype(np.int32)
        known = codes >= 0
        before = np.concatenate(([0], np.cumsum(known))).astype(np.int64)
        ends = np.cumsum(lengths)
        empty = np.zeros(len(histories), dtype=np.int64)
        start, end = before[ends - lengths], before[ends]
        return Queries(
            kind=self.train_.kind,
            history_items=codes[known],
            history_start=start,
            history_end=end,
            target_items=np.empty(0, dtype=np.int32),
            target_start=empty,
            target_end=empty,
            users=np.full(len(histories), -1, dtype=np.int32),
            ids=pl.DataFrame({"query": np.arange(len(histories))}),
            n_unknown_rows=int((~known).sum()),
            n_empty=int((start == end).sum()),
            history_baskets=None if baskets is None else baskets[known],
        )

    def _as_queries(self, queries: Any) -> tuple[Queries, bool]:
        if isinstance(queries, Queries):
            return queries, False
        if self.train_.kind == "baskets":
            single = not _is_sequence(queries)
            users = pl.Series([queries] if single else list(queries), strict=False)
            return self._user_queries(users), single
        single = not any(_is_sequence(history) for history in queries)
        return self.fold_in([queries] if single else queries), single

    def _user_queries(self, users: pl.Series) -> Queries:
        codes = self.vocabulary.source_codes(users).astype(np.int32)
        if (codes < 0).any():
            first = users[int(np.flatnonzero(codes < 0)[0])]
            raise DataError(
                f"User {first!r} is unknown to the model; ask for users of the training data, or "
                "fold new ones in with model.fold_in([baskets])."
            )
        empty = np.zeros(len(users), dtype=np.int64)
        return Queries(
            kind="baskets",
            history_items=np.empty(0, dtype=np.int32),
            history_start=empty,
            history_end=empty,
            target_items=np.empty(0, dtype=np.int32),
            target_start=empty,
            target_end=empty,
            users=codes,
            ids=pl.DataFrame({self.train_.columns.source: users}),
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, "train_"):
            raise NotFittedError(
                f"This {type(self).__name__} has not been fitted; call fit(train) first."
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save the fitted model as one Parquet file: the training rows, and the parameters.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is not set.
        """
        self._check_fitted()
        from whence import __version__

        metadata = {
            "format": _FORMAT,
            "model": type(self).__name__,
            "params": self.params,
            "kind": self.train_.kind,
            "columns": self.train_.columns.as_arguments(),
            "versions": {"whence": __version__, "python": platform.python_version()},
        }
        return write_parquet_with_metadata(
            self.train_.frame, path, {"whence": json.dumps(metadata)}, overwrite=overwrite
        )

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """Load a model saved by `save`.

        Raises
        ------
        FileFormatError
            If the file is not a saved model of this class, is truncated, or unreadable.
        """
        model = load_model(path)
        if not isinstance(model, cls):
            raise FileFormatError(
                f"{path} holds a {type(model).__name__}, not a {cls.__name__}; load it with "
                "whence.load_model."
            )
        return model


def load_model(path: str | Path) -> Recommender:
    """Load any model saved by `Recommender.save`.

    Raises
    ------
    FileFormatError
        If the file is not a saved model, is truncated, or unreadable.
    """
    import whence.models as models

    frame, entries = read_parquet_with_metadata(path)
    try:
        metadata = json.loads(entries.get("whence", "null"))
        wrong = metadata is None or metadata.get("format") != _FORMAT
    except (json.JSONDecodeError, AttributeError):
        wrong = True
    if wrong:
        raise FileFormatError(
            f"{path} is not a model saved by Whence; give a file written by model.save."
        )
    model_class = getattr(models, metadata["model"], None)
    if model_class is None:
        raise FileFormatError(
            f"{path} holds a model {metadata['model']!r} that this version of Whence does not "
            "know; update Whence."
        )
    train = Interactions.from_frame(frame, kind=metadata["kind"], **metadata["columns"])
    fitted: Recommender = model_class(**metadata["params"]).fit(train)
    return fitted


def slice_queries(queries: Queries, start: int, stop: int) -> Queries:
    """Return queries `start` to `stop`; the flat arrays are shared."""
    from dataclasses import replace

    window = slice(start, stop)
    return replace(
        queries,
        history_start=queries.history_start[window],
        history_end=queries.history_end[window],
        target_start=queries.target_start[window],
        target_end=queries.target_end[window],
        users=queries.users[window],
        ids=queries.ids[window],
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray, pl.Series)) or hasattr(value, "to_list")
