"""Test examples: the model's own loss at what should have been predicted."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from whence._native import padded_windows, sample_negatives
from whence.data import Interactions
from whence.data.vocabulary import number_by_first_appearance
from whence.errors import DataError, DataWarning, UnsupportedError, check_choice
from whence.evaluation import Queries, make_queries
from whence.evaluation.queries import id_name_of, positions_of_windows
from whence.influence.checkpoints import check_model
from whence.models.training import Batch, PairExamples, RatingExamples, WindowExamples
from whence.models.training.examples import FlatRows

IntArray = npt.NDArray[np.int64]
FeatureArray = npt.NDArray[np.float32]
_QUERY_STREAM = np.uint64(0x51)
"""In place of an epoch: negatives of queries are none that training draws."""


@dataclass(frozen=True)
class QueryExamples:
    """Queries with a known target, as examples of a model.

    Attributes
    ----------
    ids : polars.DataFrame
        One row per query: the validation session and position in it, or the user, and ``target``,
        the external id of the item to be predicted.
    arrays : dict of str to ndarray
        What a batch is made of, one row per query.
    targets : ndarray of int64 [Q]
        Number of the item.
    items, starts, ends : ndarray
        Histories: windows into `items`.
    n_left_out : int
        Queries without a known target, history or user.
    """

    ids: pl.DataFrame
    arrays: dict[str, npt.NDArray[Any]]
    targets: IntArray
    items: npt.NDArray[np.int32]
    starts: IntArray
    ends: IntArray
    n_left_out: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, numbers: IntArray) -> Batch:
        """Tensors of some queries, as the model's loss takes them."""
        return {name: torch.from_numpy(array[numbers]) for name, array in self.arrays.items()}

    def take(self, numbers: npt.ArrayLike) -> QueryExamples:
        """Return some of the queries, in the order given.

        Parameters
        ----------
        numbers : array_like of int
        """
        chosen = np.asarray(numbers, dtype=np.int64)
        return replace(
            self,
            ids=self.ids[chosen],
            arrays={name: array[chosen] for name, array in self.arrays.items()},
            targets=self.targets[chosen],
            starts=self.starts[chosen],
            ends=self.ends[chosen],
        )

    def history(self, query: int) -> npt.NDArray[np.int32]:
        """Numbers of the items that are known of a query, oldest first."""
        return self.items[self.starts[query] : self.ends[query]]

    @property
    def fingerprint(self) -> str:
        """Hash of what batches are made of."""
        digest = hashlib.sha256()
        for name in sorted(self.arrays):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.arrays[name]).tobytes())
        return digest.hexdigest()[:16]


def query_examples(
    model: Any,
    data: Any,
    *,
    target: str = "each",
    history: Any = None,
    unknown: str = "ignore",
) -> QueryExamples:
    """Turn validation or test data into examples of a model, in the numbers of its training data.

    Sequential models: the latest items before the target, and the target. Models of users and
    items: the user and the target. Rating models: the user, the item and its rating. Where the
    model's loss has negatives, they depend on (seed, query) alone, and are none of the items that
    the user, or the session, has in the training data or in these.

    Parameters
    ----------
    model : fitted differentiable model
    data : Interactions, data frame or Queries
        As for `whence.make_queries`.
    target : {"next", "each"}, optional
        "each", the default: of users every item is an example, the earlier ones being history,
        so that every row counts; of sessions each prefix is a query already, and its next item is
        the target. "next": one example per query, the first of the items to be found.
    history : Interactions or data frame, optional
        Rows that are known besides the training data; see `whence.make_queries`.
    unknown : {"ignore", "drop"}
        See `whence.make_queries`.

    Returns
    -------
    QueryExamples
        Of the queries that the model can be asked; a `DataWarning` says how many it cannot.

    Raises
    ------
    DataError
        If none is left.
    UnsupportedError
        If the model's examples are of a kind unknown here.
    """
    check_model(model)
    examples = model.examples_
    if not isinstance(examples, (WindowExamples, PairExamples)):
        raise UnsupportedError(
            f"How a query becomes an example of {type(model).__name__} is not known here; give an "
            "object with batch(numbers) and a length instead of data."
        )
    chosen = check_choice("target", target, ("next", "each"))
    table = None if isinstance(data, Queries) else Interactions.from_frame(data)
    queries = (
        data
        if isinstance(data, Queries)
        else make_queries(
            model,
            table,
            unknown=unknown,  # type: ignore[arg-type]
            target="next" if chosen == "next" else "rest",
            history=history,
        )
    )
    if hasattr(model, "check_queries"):
        model.check_queries(queries)
    each = chosen == "each" and queries.kind == "users"
    asked = _Asked.of(queries, _target_rows(model, queries, table) if each else None, each=each)
    if isinstance(examples, WindowExamples):
        return _windows(model, examples, queries, asked)
    return _pairs(model, examples, queries, asked, table)


@dataclass
class _Asked:
    """What is asked, before anything is left out: one row for each query, or for each target."""

    number: IntArray
    query: IntArray
    place: IntArray
    items: npt.NDArray[np.int32]
    starts: IntArray
    ends: IntArray
    targets: IntArray
    features: FeatureArray | None

    @classmethod
    def of(cls, queries: Queries, of_targets: FeatureArray | None, *, each: bool) -> _Asked:
        sizes = queries.target_end - queries.target_start
        n = sizes if each else np.minimum(sizes, 1)
        query = np.repeat(np.arange(len(queries)), n)
        nth = positions_of_windows(np.zeros(len(n), dtype=np.int64), n)
        place = queries.target_start[query] + nth
        targets = queries.target_items[place].astype(np.int64)
        if not each:
            starts, ends = queries.history_start[query], queries.history_end[query]
            number, items = np.arange(len(query)), queries.history_items
            return cls(number, query, place, items, starts, ends, targets, queries.history_features)
        # Each user's history and targets in one row, so that earlier targets are history, too.
        before = queries.history_end - queries.history_start
        known = queries.target_items >= 0
        known_before = np.concatenate(([0], np.cumsum(known)))
        n_known = known_before[queries.target_end] - known_before[queries.target_start]
        last = np.cumsum(before + n_known)
        first = last - before - n_known
        at = positions_of_windows(first, before)
        after = positions_of_windows(first + before, n_known)
        own = positions_of_windows(queries.history_start, before)
        later = positions_of_windows(queries.target_start, sizes)
        later = later[known[later]]

        def joined(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
            both = np.empty((int(last[-1]) if len(last) else 0, *old.shape[1:]), dtype=old.dtype)
            both[at], both[after] = old[own], new[later]
            return both

        items = joined(queries.history_items, queries.target_items)
        features = None
        if queries.history_features is not None and of_targets is not None:
            features = joined(queries.history_features, of_targets)
        inside = known_before[place] - known_before[queries.target_start[query]]
        ends = first[query] + before[query] + inside
        number = np.arange(len(query))
        return cls(number, query, place, items, first[query], ends, targets, features)

    def keep(self, mask: npt.NDArray[np.bool_]) -> _Asked:
        return _Asked(
            self.number[mask],
            self.query[mask],
            self.place[mask],
            self.items,
            self.starts[mask],
            self.ends[mask],
            self.targets[mask],
            self.features,
        )


def _target_rows(model: Any, queries: Queries, table: Interactions | None) -> FeatureArray | None:
    """What a model knows of what is to be found, beside its items: earlier ones are history."""
    if queries.history_features is None:
        return None
    if table is None or queries.target_rows is None:
        raise UnsupportedError(
            f"{type(model).__name__} knows more of an event than its item, and queries have that "
            "of histories alone; give interactions instead of queries, or target='next'."
        )
    found: FeatureArray = model.event_rows(table)[queries.target_rows]
    return found


def _windows(
    model: Any, examples: WindowExamples, queries: Queries, asked: _Asked
) -> QueryExamples:
    good, what = (asked.targets >= 0) & (asked.ends > asked.starts), "a known next item and history"
    n_negatives = getattr(examples, "n_negatives", 0)
    owned = _Owned.of(model, queries) if n_negatives else None
    if owned is not None:
        good, what = good & owned.lack_some(asked), f"{what}, and an item that is none of theirs"
    asked, left_out = _usable(asked, good, queries, what)
    padding = model.train_.n_items
    items, lengths = padded_windows(asked.items, asked.starts, asked.ends, examples.length, padding)
    arrays: dict[str, Any] = {"items": items, "length": lengths, "target": asked.targets}
    if asked.features is not None:
        flat = FlatRows.of(asked.features)
        arrays["features"] = flat.windows(asked.starts, asked.ends, examples.length)
    if owned is not None:
        arrays["negatives"] = owned.negatives(model, asked, n_negatives)
    return _made(model, queries, asked, arrays, left_out)


def _pairs(
    model: Any,
    examples: PairExamples,
    queries: Queries,
    asked: _Asked,
    table: Interactions | None,
) -> QueryExamples:
    users = _users(model, queries)
    good = (asked.targets >= 0) & (users[asked.query] >= 0)
    what = "a known item and a user of the training data"
    is_rated = isinstance(examples, RatingExamples)
    owned = _Owned.of(model, queries) if examples.n_negatives and not is_rated else None
    if owned is not None:
        good, what = good & owned.lack_some(asked), f"{what}, and an item that is none of theirs"
    asked, left_out = _usable(asked, good, queries, what)
    arrays: dict[str, Any] = {"user": users[asked.query], "item": asked.targets}
    if is_rated:
        arrays["rating"] = _ratings(queries, asked, table)
    elif owned is not None:
        arrays["negatives"] = owned.negatives(model, asked, examples.n_negatives)
    return _made(model, queries, asked, arrays, left_out)


def _usable(
    asked: _Asked, good: npt.NDArray[np.bool_], queries: Queries, what: str
) -> tuple[_Asked, int]:
    left_out = int(len(good) - good.sum()) + len(queries) - len(np.unique(asked.query))
    if not good.any():
        raise DataError(
            f"None of the {len(queries)} queries has {what}, so that the model's loss is defined "
            "for none; give data with items that occur in the training data."
        )
    if left_out:
        warnings.warn(
            f"{left_out} of {len(good)} queries are left out because they lack {what}.",
            DataWarning,
            stacklevel=4,
        )
    return asked.keep(good), left_out


def _users(model: Any, queries: Queries) -> IntArray:
    """Number of the user, or session, of each query in the training data, -1 for none, [Q]."""
    users, source = queries.users.astype(np.int64), id_name_of(model.train_)
    if (users < 0).all() and source in queries.ids.columns:
        users = model.train_.vocabulary.source_codes(queries.ids[source]).astype(np.int64)
    return users


@dataclass(frozen=True)
class _Owned:
    """Items that whoever asks has in the training data or in any of their queries.

    Attributes
    ----------
    asker : int64 [Q]
        Number of the user or session of each query.
    offsets : int64 [askers + 1]
        Windows in `items`.
    items : int32
        Numbers of items, ascending for each asker.
    n_items : int
        All that there are.
    """

    asker: IntArray
    offsets: IntArray
    items: npt.NDArray[np.int32]
    n_items: int

    @classmethod
    def of(cls, model: Any, queries: Queries) -> _Owned:
        train, users, name = model.train_, _users(model, queries), id_name_of(model.train_)
        askers = queries.ids[name if name in queries.ids.columns else queries.ids.columns[0]]
        asker = number_by_first_appearance(askers)[1].astype(np.int64)
        known = np.flatnonzero(users >= 0)
        starts, ends = (train.sequences.offsets[users[known] + end] for end in (0, 1))
        pairs = [
            _items_of(asker, queries.history_start, queries.history_end, queries.history_items),
            _items_of(asker, queries.target_start, queries.target_end, queries.target_items),
            _items_of(asker[known], starts, ends, train.sequences.items),
        ]
        keys = np.unique(np.concatenate([who * train.n_items + item for who, item in pairs]))
        n_askers = int(asker.max(initial=-1)) + 1
        offsets = np.searchsorted(keys, np.arange(n_askers + 1) * train.n_items)
        return cls(asker, offsets, (keys % train.n_items).astype(np.int32), train.n_items)

    def lack_some(self, asked: _Asked) -> npt.NDArray[np.bool_]:
        """Which of what is asked can have negatives."""
        return np.diff(self.offsets)[self.asker[asked.query]] < self.n_items

    def negatives(self, model: Any, asked: _Asked, n: int) -> IntArray:
        """Items that are not owned, int64 [N, n]."""
        drawn: IntArray = sample_negatives(
            np.uint64(model.seed), _QUERY_STREAM << np.uint64(32), asked.number,
            self.asker[asked.query], self.offsets, self.items, self.n_items, n,
        )  # fmt: skip
        return drawn


def _items_of(
    owner: IntArray, start: IntArray, end: IntArray, items: npt.NDArray[np.int32]
) -> tuple[IntArray, IntArray]:
    """Owners and known items of windows, an entry for each place."""
    sizes = end - start
    found = items[positions_of_windows(start, sizes)].astype(np.int64)
    return np.repeat(owner, sizes)[found >= 0], found[found >= 0]


def _ratings(queries: Queries, asked: _Asked, table: Interactions | None) -> npt.NDArray[Any]:
    if table is None or table.columns.rating is None or queries.target_rows is None:
        raise UnsupportedError(
            "The loss of a rating model needs the ratings of the queries; give interactions with "
            "a rating column instead of queries."
        )
    column = table.frame[table.columns.rating].cast(pl.Float32).to_numpy()
    values: npt.NDArray[Any] = column[queries.target_rows[asked.place]]
    if not np.isfinite(values).all():
        raise DataError("A rating of the queries is missing or infinite; drop such rows.")
    return values


def _made(
    model: Any, queries: Queries, asked: _Asked, arrays: dict[str, Any], left_out: int
) -> QueryExamples:
    ids = queries.ids[asked.query].with_columns(
        model.train_.vocabulary.items.gather(asked.targets).alias("target")
    )
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return QueryExamples(
        ids, contiguous, asked.targets, asked.items, asked.starts, asked.ends, left_out
    )
