"""From validation data to queries: sessions, users or baskets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, ParameterError, check_choice, check_int
from whence.evaluation.cautions import check_answerable, warn_of_other_protocol
from whence.evaluation.queries import (
    CodeArray,
    IntArray,
    Protocol,
    Queries,
    Target,
    Unknown,
    id_name_of,
    positions_of_windows,
    user_queries,
)

FeatureArray = npt.NDArray[np.float32]


def make_queries(
    model: Any,
    validation: Any,
    *,
    unknown: Unknown = "ignore",
    target: Target = "rest",
    protocol: Protocol | None = None,
    history: Any = None,
    max_prefixes: int | None = None,
) -> Queries:
    """Build the queries that a validation set asks of a model.

    Sessions: a session of length L yields L-1 queries, every beginning of it, with the rest as
    target (protocol ``"prefixes"``). Users: one query per user, with the user's training rows as
    history and all their validation items as target; of a user whom the training data does not
    know, the last validation row is the target and those before it are the history (protocol
    ``"users"``). Baskets: one query per user, with the user's first validation basket as target.

    Parameters
    ----------
    model : fitted recommender, Interactions or Vocabulary
        Says which items and users are known.
    validation : Interactions or data frame
        What is asked.
    unknown : {"ignore", "drop"}
        Items unknown to the training data are taken out of the history and stay in the target as
        items that cannot be found ("ignore"), or their rows are removed first ("drop").
    target : {"rest", "next"}
        Sessions and users: all of the target is to be found, or the first item of it only.
    protocol : {"prefixes", "users"}, optional
        For data without baskets. Default: what the model asks for (its attribute ``protocol``);
        else ``"users"`` where the rows of training and validation data belong to users and at
        least one user is in both; else ``"prefixes"``.
    history : Interactions or data frame, optional
        Users: what is known when asking beyond the training data (when testing, the validation
        data). Its rows, of users never seen in training too, follow the training rows.
    max_prefixes : int, optional
        Of a longer session only so many beginnings are asked, evenly spread over it, the longest
        among them.

    Raises
    ------
    DataError
        If validation is of another kind than the training data, its ids are of another type, or
        no query is left that could be answered, as when the two share no item.
    ParameterError
        If `protocol`, `history` or `max_prefixes` does not apply to the data.
    """
    how: Any = {
        "unknown": unknown, "target": target, "protocol": protocol, "history": history,
        "max_prefixes": max_prefixes,
    }  # fmt: skip
    return _made(model, validation, getattr(model, "event_rows", _no_rows), **how)


def queries_for(model: Any, train: Interactions, validation: Any, **how: Any) -> Queries:
    """As `make_queries`, of a model that will be fitted on `train`; `how` as there."""
    rows_of = getattr(model, "event_rows", None)
    return _made(train, validation, partial(rows_of, train=train) if rows_of else _no_rows, **how)


def _made(
    model: Any,
    validation: Any,
    rows_of: Callable[[Interactions], FeatureArray | None],
    *,
    unknown: Unknown = "ignore",
    target: Target = "rest",
    protocol: Protocol | None = None,
    history: Any = None,
    max_prefixes: int | None = None,
) -> Queries:
    if max_prefixes is not None:
        check_int("max_prefixes", max_prefixes, minimum=1)
    check_choice("unknown", unknown, ("ignore", "drop"))
    check_choice("target", target, ("rest", "next"))
    if protocol is not None:
        check_choice("protocol", protocol, ("prefixes", "users"))
    vocabulary, train = _known(model)
    kind = None if train is None else train.kind
    data = Interactions.from_frame(validation, kind=kind)
    if kind is not None and data.kind != kind:
        raise DataError(
            f"The model was fitted on {kind} but the validation data holds {data.kind}; give "
            "validation data with the same columns as the training data."
        )
    chosen = _protocol(model, vocabulary, train, data, protocol)
    if history is not None and chosen != "users":
        raise ParameterError(
            "history= is what is known of users beyond the training data: it goes with "
            "protocol='users' and data without sessions or baskets."
        )
    if max_prefixes is not None and chosen != "prefixes":
        raise ParameterError(
            "max_prefixes= is how many beginnings of a session are asked, and these queries are "
            f"{chosen}: leave it out, or ask with protocol='prefixes'."
        )
    numbers = _item_numbers(vocabulary, data)
    if chosen == "baskets":
        queries = _basket_queries(vocabulary, data, numbers, unknown)
    elif chosen == "prefixes":
        queries = _session_queries(data, numbers, unknown, target, max_prefixes, rows_of(data))
    else:
        assert train is not None
        queries = _queries_of_users(train, data, numbers, unknown, target, history, rows_of)
    check_answerable(queries, vocabulary, data.vocabulary)
    warn_of_other_protocol(queries, train, data)
    return queries


def _no_rows(data: Interactions) -> None:
    """What most models know of events beside their items."""


def _known(model: Any) -> tuple[Vocabulary, Interactions | None]:
    if isinstance(model, Vocabulary):
        return model, None
    train = model if isinstance(model, Interactions) else getattr(model, "train_", None)
    if not isinstance(train, Interactions):
        raise ParameterError(
            f"Queries need a fitted Whence model or its training data, not {type(model).__name__}; "
            "pass the training Interactions."
        )
    return train.vocabulary, train


def _protocol(
    model: Any,
    vocabulary: Vocabulary,
    train: Interactions | None,
    data: Interactions,
    protocol: str | None,
) -> str:
    """``"baskets"``, ``"prefixes"`` or ``"users"``."""
    if data.kind == "baskets":
        if protocol == "prefixes":
            raise ParameterError(
                "Baskets are asked by user: leave protocol out, or give data without baskets for "
                "protocol='prefixes'."
            )
        return "baskets"
    chosen = protocol or getattr(model, "protocol", None)
    of_users = train is not None and train.by_user and data.by_user
    if chosen is None:
        shared = of_users and (vocabulary.source_codes(data.vocabulary.sources) >= 0).any()
        return "users" if shared else "prefixes"
    if chosen == "users" and not of_users:
        raise ParameterError(
            "protocol='users' needs training and validation data whose rows belong to users, "
            "without a session column: name the column with user=…, or ask with "
            "protocol='prefixes'."
        )
    return str(chosen)


def _item_numbers(vocabulary: Vocabulary, data: Interactions) -> CodeArray:
    """Training number of each validation item; -1 - j for the j-th one that is unknown."""
    numbers = vocabulary.item_codes(data.vocabulary.items).astype(np.int32)
    missing = np.flatnonzero(numbers < 0)
    numbers[missing] = -1 - np.arange(len(missing), dtype=np.int32)
    return numbers


def _unknown_items(data: Interactions, numbers: CodeArray) -> pl.Series:
    return data.vocabulary.items.gather(np.flatnonzero(numbers < 0))


def _session_queries(
    data: Interactions,
    numbers: CodeArray,
    unknown: Unknown,
    target: Target,
    max_prefixes: int | None,
    features: FeatureArray | None,
) -> Queries:
    sequences = data.sequences
    items, rows = numbers[sequences.items], sequences.rows
    lengths = np.diff(sequences.offsets)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    is_known = items >= 0
    n_unknown_rows = int(len(items) - is_known.sum())
    if unknown == "drop":
        items, rows, owner = items[is_known], rows[is_known], owner[is_known]
        lengths = np.bincount(owner, minlength=len(lengths))
        is_known = np.ones(len(items), dtype=bool)
    starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]

    most = np.maximum(lengths - 1, 0)
    n_queries = most if max_prefixes is None else np.minimum(most, max_prefixes)
    session = np.repeat(np.arange(len(lengths)), n_queries)
    if not len(session):
        raise DataError(
            "The validation data leaves no query: every session has fewer than two "
            f"{'known ' if unknown == 'drop' else ''}items; give longer sessions."
        )
    first = np.repeat(np.concatenate(([0], np.cumsum(n_queries)))[:-1], n_queries)
    position = np.arange(len(session)) - first + 1
    if max_prefixes is not None:
        position = -(-position * most[session] // n_queries[session])  # evenly spread, rounded up

    known_before = np.concatenate(([0], np.cumsum(is_known)))
    split = starts[session] + position
    history_start = known_before[starts[session]]
    history_end = known_before[split]
    session_end = starts[session] + lengths[session]
    id_name = id_name_of(data)
    return Queries(
        kind="sessions",
        history_items=np.ascontiguousarray(items[is_known], dtype=np.int32),
        history_start=history_start.astype(np.int64),
        history_end=history_end.astype(np.int64),
        target_items=np.ascontiguousarray(items, dtype=np.int32),
        target_start=split.astype(np.int64),
        target_end=(split + 1 if target == "next" else session_end).astype(np.int64),
        users=np.full(len(session), -1, dtype=np.int32),
        ids=pl.DataFrame({id_name: data.vocabulary.sources.gather(session), "position": position}),
        n_unknown_rows=n_unknown_rows,
        n_empty=int((history_start == history_end).sum()),
        unknown_items=_unknown_items(data, numbers),
        target_rows=rows,
        history_features=None if features is None else features[rows[is_known]],
    )


def _queries_of_users(
    train: Interactions,
    data: Interactions,
    numbers: CodeArray,
    unknown: Unknown,
    target: Target,
    history: Any,
    rows_of: Callable[[Interactions], FeatureArray | None],
) -> Queries:
    sequences = data.sequences
    items, rows = numbers[sequences.items], sequences.rows
    owner = np.repeat(np.arange(data.n_sources), np.diff(sequences.offsets))
    n_unknown_rows = int((items < 0).sum())
    if unknown == "drop":
        kept = items >= 0
        items, rows, owner = items[kept], rows[kept], owner[kept]
    sizes = np.bincount(owner, minlength=data.n_sources)
    asked = np.flatnonzero(sizes)
    if not len(asked):
        raise DataError(
            "The validation data leaves no query: none of its items is known to the training "
            "data; check that both use the same ids."
        )
    ends = np.cumsum(sizes[asked])
    starts = ends - sizes[asked]
    names = data.vocabulary.sources.gather(asked)
    codes = train.vocabulary.source_codes(names)
    found = codes[codes >= 0]
    if not len(found) and history is None and sizes.max() < 2:
        raise DataError(
            f"None of the {len(asked)} users of the validation data occurs in the training data, "
            "so that nothing is known of them; check that both use the same ids, or ask with "
            "protocol='prefixes'."
        )
    queries = user_queries(train, codes, pl.DataFrame({id_name_of(data): names}), rows_of(train))
    if history is not None:
        queries = _with_later_rows(queries, train, history, names, rows_of)
    last = starts.copy()
    new = (codes < 0) & queries.is_empty & (sizes[asked] > 1)
    last[new] = ends[new] - 1
    more = None
    if queries.history_features is not None and new.any():
        more = rows_of(data)
        more = None if more is None else more[rows]
    queries = _with_more(queries, items, starts, last - starts, more)
    has_rows = np.diff(train.sequences.offsets) > 0
    return replace(
        queries,
        target_items=items,
        target_start=last,
        target_end=last + 1 if target == "next" else ends,
        n_unknown_rows=n_unknown_rows,
        n_without_targets=int(has_rows.sum() - has_rows[found].sum()),
        n_new_users=int(new.sum()),
        unknown_items=_unknown_items(data, numbers),
        target_rows=rows,
    )


def _with_later_rows(
    queries: Queries,
    train: Interactions,
    history: Any,
    names: pl.Series,
    rows_of: Callable[[Interactions], FeatureArray | None],
) -> Queries:
    """The same queries with each user's known items of `history` after their training rows."""
    later = Interactions.from_frame(history, kind="sessions")
    if not later.by_user:
        raise DataError(
            "history= must have rows that belong to users, as the training data; name its column "
            "of users with Interactions.from_frame(table, user=…)."
        )
    items = train.vocabulary.item_codes(later.vocabulary.items)[later.sequences.items]
    codes = later.vocabulary.source_codes(names)
    offsets = later.sequences.offsets
    first = np.where(codes >= 0, offsets[codes], 0)
    lengths = np.where(codes >= 0, offsets[codes + 1], 0) - first
    features = rows_of(later)
    more = None if features is None else features[later.sequences.rows]
    return _with_more(queries, items, first, lengths, more)


def _with_more(
    queries: Queries,
    items: npt.NDArray[Any],
    first: IntArray,
    lengths: IntArray,
    features: FeatureArray | None,
) -> Queries:
    """The same queries, each with the known ones of ``items[first : first + length]`` appended.

    `features` are what the model knows of these beside, a row for each.
    """
    if not lengths.any():
        return queries
    is_known = items >= 0
    known = np.concatenate(([0], np.cumsum(is_known)))
    items, lengths, first = items[is_known], known[first + lengths] - known[first], known[first]
    before = queries.history_end - queries.history_start
    ends = np.cumsum(before + lengths)
    starts = ends - before - lengths
    at, of = positions_of_windows(starts, before), queries.history_start
    own, later = positions_of_windows(of, before), positions_of_windows(first, lengths)
    after = positions_of_windows(starts + before, lengths)

    def joined(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        both = np.empty((int(ends[-1]), *old.shape[1:]), dtype=old.dtype)
        both[at], both[after] = old[own], new[later]
        return both

    old = queries.history_features
    return replace(
        queries,
        history_items=joined(queries.history_items, items),
        history_features=None
        if old is None or features is None
        else joined(old, features[is_known]),
        history_start=starts,
        history_end=ends,
        n_empty=int((starts == ends).sum()),
    )


def _basket_queries(
    vocabulary: Vocabulary, data: Interactions, numbers: CodeArray, unknown: Unknown
) -> Queries:
    sequences = data.sequences
    items, rows = numbers[sequences.items], sequences.rows
    baskets = sequences.baskets
    assert baskets is not None
    owner = np.repeat(np.arange(data.n_sources), np.diff(sequences.offsets))
    n_unknown_rows = int((items < 0).sum())
    if unknown == "drop":
        kept = items >= 0
        items, rows, owner, baskets = items[kept], rows[kept], owner[kept], baskets[kept]
    if not len(items):
        raise DataError(
            "The validation data leaves no query: none of its items is known to the training "
            "data; check that both use the same ids."
        )
    # Dropping rows may empty a user's first basket: the first one left is the target.
    asked, first_row = np.unique(owner, return_index=True)
    is_target = baskets == np.repeat(baskets[first_row], np.diff(np.append(first_row, len(owner))))
    sizes = np.bincount(owner[is_target], minlength=data.n_sources)[asked]
    ends = np.cumsum(sizes)
    users = vocabulary.source_codes(data.vocabulary.sources)[asked].astype(np.int32)
    zeros = np.zeros(len(asked), dtype=np.int64)
    return Queries(
        kind="baskets",
        history_items=np.empty(0, dtype=np.int32),
        history_start=zeros,
        history_end=zeros,
        target_items=np.ascontiguousarray(items[is_target], dtype=np.int32),
        target_start=(ends - sizes).astype(np.int64),
        target_end=ends.astype(np.int64),
        users=users,
        ids=pl.DataFrame({id_name_of(data): data.vocabulary.sources.gather(asked)}),
        n_unknown_rows=n_unknown_rows,
        n_empty=int((users < 0).sum()),
        unknown_items=_unknown_items(data, numbers),
        target_rows=rows[is_target],
    )
