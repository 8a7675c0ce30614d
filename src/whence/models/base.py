"""What every recommender offers: fit, score, recommend, save and load."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from typing_extensions import Self

from whence import _native as kernels
from whence.data import Interactions, Vocabulary
from whence.engines import Run, settled
from whence.errors import (
    DataError,
    DataWarning,
    NotFittedError,
    ParameterError,
    UnsupportedError,
    check_int,
    check_list,
    did_you_mean,
    within_memory,
)
from whence.evaluation.queries import Queries
from whence.models._registered import MODELS as MODELS
from whence.parameters import Configurable, field

FloatArray = npt.NDArray[np.float64]
ScoreArray = npt.NDArray[np.floating[Any]]
CodeArray = npt.NDArray[np.int32]

LEVELS = {
    "score": "scores items",
    "refit": "can be fitted again on other data",
    "rating": "predicts ratings",
    "structured": "explains a score by neighbours or factors",
    "differentiable": "has a loss with a gradient for each training example",
}
_BLOCK_BYTES = 1 << 26


class Recommender(Configurable, ABC):
    """Base of the recommenders of Whence.

    A model is one class that declares its parameters as fields (see `whence.parameters`) and is
    registered under a short name: ``class Last(Recommender, name="last")``. The constructor
    stores its arguments; `fit` learns and sets attributes that end in ``_``.
    Everywhere lists are ordered by score, then by item number (order of first appearance in the
    training data), and hold only items with a score above `floor`.

    Whether what is in the history may be recommended again is one rule for all models that have
    a parameter ``exclude_seen``. Left at None, it follows from the data, so that models that are
    asked the same can be compared: not where rows belong to users (`Interactions.by_user`), and
    in sessions and baskets, which come back to the same items. True and False say so for all.

    Attributes
    ----------
    kinds : tuple of str
        What the model learns from: ``"sessions"`` (or users) of items, ``"baskets"`` of users.
    floor : float
        Items with a score of this or below are never recommended: 0 for models that count
        neighbours or clicks, minus infinity for models whose scores have no natural zero.
    asks : {"histories", "users"}
        What `recommend` is asked with: lists of items, or users of the training data.
    protocol : str or None
        How validation data become queries, where the model has only one way; see
        `whence.make_queries`.
    levels : frozenset of str
        What the model offers to methods: "score", "refit", "rating", "structured",
        "differentiable".
    """

    kinds: ClassVar[tuple[str, ...]] = ("sessions", "baskets")
    floor: ClassVar[float] = 0.0
    asks: ClassVar[Literal["histories", "users"]] = "histories"
    protocol: ClassVar[str | None] = None
    levels: ClassVar[frozenset[str]] = frozenset({"score", "refit"})

    train_: Interactions = field(init=False)

    def __init_subclass__(
        cls,
        name: str | None = None,
        aliases: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        if name is not None:
            MODELS.add(name, cls, aliases, by_class=cls.__name__)

    @abstractmethod
    def _fit(self, train: Interactions, run: Run) -> None:
        """Learn from interactions of a kind in `kinds`.

        Parameters
        ----------
        train : Interactions
        run : Run
            With seed and threads, the model's own where `fit` was not told.
        """

    @abstractmethod
    def score_codes(self, queries: Queries, *, threads: int | None = None) -> ScoreArray:
        """Score every item for every query.

        Returns
        -------
        ndarray of float64 or float32, shape (Q, n_items)
            Score of item number i in column i; items that must not be recommended have `floor`.
        """

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned; empty where it follows from the data without chance."""
        return {}

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `_state` gave; `train_` is there. Without a state, learn again."""
        self._fit(self.train_, settled(None, self))

    def _saved_params(self) -> dict[str, Any]:
        """Parameters as the file of the model has them, JSON-able."""
        return self.params

    def _record(self) -> dict[str, Any]:
        """How learning went, JSON-able: kept in the file of the model beside its state."""
        return {}

    def _take_record(self, record: Mapping[str, Any]) -> None:
        """Take back what `_record` gave; nothing of files that have none.

        Raises
        ------
        ValueError
            If it cannot be that of this model.
        """

    def __repr__(self) -> str:
        if not hasattr(self, "train_"):
            return super().__repr__()
        return f"<{super().__repr__()} fitted on {str(self.train_).strip('<>')}>"

    def fit(
        self,
        train: Any,
        *,
        validation: Any = None,
        run: Run | None = None,
        **columns: Any,
    ) -> Self:
        """Learn from training data.

        Parameters
        ----------
        train : Interactions or data frame
            Sessions or baskets.
        validation : Interactions or data frame, optional
            Looked at by models that are trained in epochs; others have no use for it.
        run : Run, optional
            How the work is done. A seed in it becomes that of the model, so that `params` say
            what the model was fitted with.
        **columns : str
            Names of columns, as in `Interactions.from_frame`, where they are not recognised.

        Raises
        ------
        ParameterError
            If a parameter is out of its range.
        DataError
            If the data is not of a kind that this model learns from.
        """
        run = self._settled(run)
        self.train_ = self._taken(train, columns)
        with within_memory():
            self._fit(self.train_, run)
        return self

    def _settled(self, run: Run | None) -> Run:
        """Check the parameters; take the seed of the run, and give it the model's threads."""
        how = settled(run, self)
        if run is not None and run.seed is not None and "seed" in self.parameter_types():
            self.set_params(seed=run.seed)
        self._check_params()
        return how

    def _taken(self, train: Any, columns: Mapping[str, Any]) -> Interactions:
        """Training data of a kind that the model learns from."""
        wanted = self.kinds[0] if len(self.kinds) == 1 else None
        _check_columns(type(self), columns)
        data: Interactions = (
            train
            if isinstance(train, Interactions)
            else Interactions.from_frame(train, kind=wanted, **columns)
        )
        if data.kind not in self.kinds:
            raise DataError(
                f"{type(self).__name__} learns from {' or '.join(self.kinds)}, but the data holds "
                f"{data.kind}; choose a model for {data.kind}"
                + (", for instance TIFUKNN." if data.kind == "baskets" else ", such as VMISKNN.")
            )
        return data

    def _numbered(self, train: Interactions) -> Interactions:
        """Training data in the numbers that the model will have of items and sources."""
        return train

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
        return self._best_of_scores(queries, k, threads=threads)

    def _best_of_scores(
        self,
        queries: Queries,
        k: int,
        *,
        eligible: npt.NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[CodeArray, FloatArray]:
        """As `recommend_codes`, from the scores of all items, or of those that are eligible."""
        lists = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.zeros((len(queries), k))
        size = max(1, _BLOCK_BYTES // (8 * max(self.n_items, 1)))
        for start in range(0, len(queries), size):
            part = queries.block(start, start + size)
            block = self.score_codes(part, threads=threads)
            if np.isnan(block).any():
                raise DataError(
                    f"{type(self).__name__} gave a score that is not a number (NaN); fit it again "
                    "with a lower learning rate or check the training data."
                )
            if eligible is not None:
                block = np.where(eligible, block, block.dtype.type(self.floor))
            block = np.asarray(block, np.result_type(block, np.float32), order="C")
            rows = slice(start, start + len(block))
            lists[rows], scores[rows] = kernels.top_of_scores(block, self.floor, k)
        return lists, scores

    def recommend(
        self, queries: Any, k: int = 20, *, items: Any = None
    ) -> tuple[npt.NDArray[Any], FloatArray] | tuple[list[npt.NDArray[Any]], list[FloatArray]]:
        """Recommend items, in the caller's own ids.

        Parameters
        ----------
        queries : one history, a list of histories, or Queries
            A history is the list of item ids so far, oldest first. Models that ask for users
            (`asks`), and models of baskets, take the id of a user seen in training, or a list of
            ids; for a user never seen, see `fold_in`.
        k : int
            Length of the lists; they are shorter where there are fewer items, with a warning where
            the whole catalogue has fewer.
        items : sequence of ids, optional
            Only these may be recommended, such as those in stock; ids unknown to the model are
            left out.

        Returns
        -------
        items, scores
            Item ids and scores, best first, of one history; or two lists of such arrays.

        Raises
        ------
        ParameterError
            If k is below 1.
        DataError
            If the queries are no lists of ids, a user is unknown, or all of `items` are.
        """
        self._check_fitted()
        k = shortened(check_int("k", k, minimum=1), self.n_items)
        asked, single = self._as_queries(queries)
        if items is None:
            codes, scores = self.recommend_codes(asked, k)
        else:
            eligible = self.vocabulary.item_mask(items)
            codes, scores = self._best_of_scores(asked, k, eligible=eligible)
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
            Scores; `floor` where an item would not be recommended.

        Raises
        ------
        DataError
            If an item is unknown to the model.
        """
        self._check_fitted()
        asked, single = self._as_queries(queries)
        scores = self.score_codes(asked).astype(np.float64, copy=False)
        if items is not None:
            scores = scores[:, self._known_items(items)]
        return scores[0] if single else scores

    def predict_codes(
        self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]
    ) -> FloatArray:
        """Predict ratings, float64 [N], of pairs of numbers; -1 stands for one never seen.

        Raises
        ------
        UnsupportedError
            If the model does not predict ratings.
        """
        require(self, "rating", "A predicted rating")
        raise NotImplementedError

    def predict(self, users: Sequence[Any], items: Sequence[Any]) -> FloatArray:
        """Predict the rating that each user gives to each item, pair by pair.

        Parameters
        ----------
        users, items : sequences of ids, of equal length N
            Those never seen in training get what is known without them.

        Returns
        -------
        float64 [N]

        Raises
        ------
        UnsupportedError
            If the model does not predict ratings.
        ParameterError
            If the lengths differ.
        """
        self._check_fitted()
        users, items = (check_list(n, v, "ids") for n, v in (("users", users), ("items", items)))
        if len(users) != len(items):
            raise ParameterError(
                f"There are {len(users)} users and {len(items)} items; give pairs of equal number."
            )
        who = self.vocabulary.source_codes(pl.Series(users, strict=False))
        what = self.vocabulary.item_codes(pl.Series(items, strict=False))
        return self.predict_codes(who.astype(np.int32), what.astype(np.int32))

    def _known_items(self, items: Sequence[Any]) -> npt.NDArray[np.int64]:
        wanted = pl.Series(check_list("items", items, "ids"), strict=False)
        codes = self.vocabulary.item_codes(wanted)
        if (codes < 0).any():
            first = wanted[int(np.flatnonzero(codes < 0)[0])]
            raise DataError(
                f"Item {first!r} is unknown to the model; score only items of its training "
                "data (model.vocabulary.items)."
            )
        return codes

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
        given = [_events_of(history) for history in check_list("histories", histories, "histories")]
        if self.train_.kind == "sessions":
            return self._encode(given, None)
        split = [[_events_of(basket) for basket in history] for history in given]
        flat = [[item for basket in history for item in basket] for history in split]
        baskets = [
            number for history in split for number, basket in enumerate(history) for _ in basket
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
            kind="users" if self.train_.by_user else self.train_.kind,
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
        if self.train_.kind == "baskets" or (self.asks == "users" and not _are_histories(queries)):
            single = not _is_sequence(queries)
            return self.user_queries([queries] if single else queries), single
        several = _events_of(queries)
        single = not any(_is_sequence(history) for history in several)
        return self.fold_in([several] if single else several), single

    def user_queries(self, users: Any) -> Queries:
        """Queries of users (or sessions) of the training data, each with all of its history.

        Parameters
        ----------
        users : sequence of ids

        Returns
        -------
        Queries
            For `recommend` and `score`.

        Raises
        ------
        DataError
            If a user is not in the training data.
        """
        self._check_fitted()
        ids = pl.Series(check_list("users", users, "ids"), strict=False)
        codes = self.vocabulary.source_codes(ids).astype(np.int32)
        if (codes < 0).any():
            first = ids[int(np.flatnonzero(codes < 0)[0])]
            raise DataError(
                f"User {first!r} is unknown to the model; ask for users of the training data, or "
                "for a new one through model.fold_in([history])."
            )
        baskets = self.train_.kind == "baskets"
        empty = np.zeros(len(ids), dtype=np.int64)
        sequences = self.train_.sequences
        return Queries(
            kind="users" if self.train_.by_user and not baskets else self.train_.kind,
            history_items=np.empty(0, dtype=np.int32) if baskets else sequences.items,
            history_start=empty if baskets else sequences.offsets[codes],
            history_end=empty if baskets else sequences.offsets[codes + 1],
            target_items=np.empty(0, dtype=np.int32),
            target_start=empty,
            target_end=empty,
            users=codes,
            ids=pl.DataFrame({self.train_.columns.source: ids}),
            history_features=self._training_features(),
        )

    def _training_features(self) -> npt.NDArray[np.float32] | None:
        """What the model knows of the events of all sequences beside their items, if anything."""
        return None

    def _leaves_out_seen(self, queries: Queries) -> bool:
        """Whether items of the history are never recommended: as said, else for users alone."""
        wanted: bool | None = getattr(self, "exclude_seen", False)
        of_users = queries.kind != "baskets" and self.train_.by_user
        return of_users if wanted is None else bool(wanted)

    def _check_fitted(self) -> None:
        if not hasattr(self, "train_"):
            raise NotFittedError(
                f"This {type(self).__name__} has not been fitted; call fit(train) first."
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save the fitted model as one file: its parameters, its data and what it learned.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is not set.
        """
        self._check_fitted()
        from whence.models.files import write_model

        return write_model(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path, **arguments: Any) -> Self:
        """Load a model saved by `save`.

        Parameters
        ----------
        path : path
        **arguments
            As in `whence.load_model`.

        Raises
        ------
        FileFormatError
            If the file is not a saved model of this class, is truncated, or unreadable.
        """
        from whence.models.files import read_model

        model: Self = read_model(path, cls, arguments)
        return model


def require(model: Any, level: str, method: str) -> None:
    """Raise UnsupportedError if a model lacks a level that a method needs.

    Parameters
    ----------
    model : object
    level : str
        One of `LEVELS`.
    method : str
        What needs it, as the subject of a sentence.
    """
    if level not in getattr(model, "levels", frozenset({"score"})):
        why = getattr(model, "lacking", {}).get(level)
        raise UnsupportedError(
            f"{method} needs a model that {LEVELS[level]}, which {type(model).__name__} does not"
            f"{f' here: {why}' if why else ''}; choose another model"
            f"{', such as BiasedMF or NeuMF,' if level == 'differentiable' else ''} or method."
        )


def restored(
    state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return an array of a saved state.

    Parameters
    ----------
    state : mapping
    name : str
    shape : tuple
        What it must have; None where any length will do.

    Raises
    ------
    ValueError
        If it has another shape, or holds no numbers.
    """
    array = state[name]
    same = len(array.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape)
    )
    if not same or array.dtype.kind != "f":
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {shape}")
    return array


def shortened(k: int, n_items: int) -> int:
    """Length of lists, at most all items, with a warning where fewer are there than wanted."""
    if k > n_items:
        warnings.warn(
            f"k is {k} but the catalogue has {n_items} items, so that lists are shorter.",
            DataWarning,
            stacklevel=3,
        )
    return min(k, n_items)


def _check_columns(owner: type[Any], columns: Mapping[str, Any]) -> None:
    """Raise ParameterError where a word that `fit` was given is no column's role."""
    roles = [name for name in signature(Interactions.from_frame).parameters if name != "frame"]
    for name in columns:
        if name in Run.__dataclass_fields__:
            raise ParameterError(
                f"{name} says how the work is done; write fit(train, run=whence.Run({name}=...))."
            )
        if name not in roles:
            known = [*list(signature(owner.fit).parameters)[1:-1], *roles]
            raise ParameterError(f"fit has no argument {name!r}.{did_you_mean(name, known)}")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray, pl.Series)) or hasattr(value, "to_list")


def _events_of(history: Any) -> list[Any]:
    """A history, or several, as a list."""
    try:
        return check_list("history", history, "item ids")
    except ParameterError as error:
        raise DataError(
            f"A history is a list of item ids, oldest first, not {history!r}; give [item, ...], or "
            "ask for users of the training data with model.user_queries([id])."
        ) from error


def _are_histories(queries: Any) -> bool:
    return _is_sequence(queries) and len(queries) > 0 and all(map(_is_sequence, queries))
