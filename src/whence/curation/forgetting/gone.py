"""What is to be forgotten: rows of the training data, checked before work begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions, Sequences
from whence.data.columns import Columns
from whence.data.vocabulary import as_ids
from whence.errors import DataError, ParameterError, check_list

Mask = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Gone:
    """Rows of training data that are taken away.

    Attributes
    ----------
    train : Interactions
        Before.
    mask : bool array [n_rows]
        The rows that go, over ``train.frame``.
    """

    train: Interactions
    mask: Mask

    @property
    def n_rows(self) -> int:
        """How many rows go."""
        return int(self.mask.sum())

    @cached_property
    def left(self) -> Interactions:
        """What is left, with the numbers of items and sources as they were."""
        return self.train.keep_rows(~self.mask)

    @cached_property
    def canonical(self) -> Mask:
        """The rows that go, in canonical order."""
        return self.mask[self.train.rows]

    @cached_property
    def sources(self) -> CodeArray:
        """Numbers of the sources that lose rows, ascending."""
        return np.unique(self.train.source_codes[self.canonical])

    @cached_property
    def is_touched(self) -> Mask:
        """Which sources lose rows, bool [n_sources]."""
        return listed(self.sources, self.train.n_sources)

    @cached_property
    def emptied(self) -> CodeArray:
        """Numbers of the sources that nothing is left of, ascending."""
        have = listed(self.left.source_codes, self.train.n_sources)
        return self.sources[~have[self.sources]]

    def rest(self) -> tuple[CodeArray, Sequences]:
        """The sources that lose rows and keep others, and what they keep, grouped by them."""
        return _of_sources(self.left, np.setdiff1d(self.sources, self.emptied))

    def before(self) -> tuple[CodeArray, Sequences]:
        """The sources that lose rows, and what they had, grouped by them."""
        return _of_sources(self.train, self.sources)


def _of_sources(data: Interactions, sources: CodeArray) -> tuple[CodeArray, Sequences]:
    """Rows of some sources, grouped by them: number j here is source ``sources[j]``."""
    from whence.data._sequences import group_by_source

    if not len(sources):
        nothing = np.empty(0, dtype=np.int64)
        baskets = None if data.basket_codes is None else nothing.astype(np.int32)
        none = Sequences(np.zeros(1, dtype=np.int64), nothing.astype(np.int32), nothing, baskets)
        return sources, none
    place = np.full(data.n_sources, -1, dtype=np.int32)
    place[sources] = np.arange(len(sources), dtype=np.int32)
    own = place[data.source_codes]
    at = np.flatnonzero(own >= 0)
    baskets = None if data.basket_codes is None else data.basket_codes[at]
    grouped = group_by_source(own[at], data.item_codes[at], data.rows[at], baskets, len(sources))
    return sources, grouped


def asked_for(model: Any, rows: Any = None, users: Any = None, sessions: Any = None) -> Gone:
    """Find the rows that are to be forgotten.

    Parameters
    ----------
    model : fitted recommender
    rows, users, sessions
        See `whence.forget`.

    Raises
    ------
    ParameterError
        If not exactly one of the three is given, or row numbers are out of range.
    DataError
        If an id or a row is not in the training data (any more), or nothing would be left.
    """
    given = [one for one in (rows, users, sessions) if one is not None]
    if len(given) != 1:
        raise ParameterError(
            "Say what is to be forgotten in one way: rows=..., users=[id, ...] or "
            "sessions=[id, ...]."
        )
    train: Interactions = model.train_
    columns = train.columns
    if users is not None:
        if columns.user is None:
            raise DataError(
                "The training data have sessions and do not say whose they are; name sessions."
            )
        mask = _rows_of(train, columns.user, users, "user")
    elif sessions is not None:
        if train.kind != "sessions" or columns.source == columns.user:
            raise DataError("The training data have users and no sessions; name users.")
        mask = _rows_of(train, columns.source, sessions, "session")
    else:
        mask = _given_rows(train, rows)
    if not mask.any():
        raise DataError("There is nothing to forget; give at least one row, user or session.")
    if mask.all():
        raise DataError(
            "Nothing of the training data would be left, and a model of nothing recommends "
            "nothing; forget fewer rows, or delete the model."
        )
    return Gone(train, mask)


def _rows_of(train: Interactions, column: str, ids: Any, what: str) -> Mask:
    """Rows whose id in a column is one of those given, bool [n_rows]."""
    wanted = ids if isinstance(ids, pl.Series) else check_list(f"{what}s", ids, "ids")
    wanted = as_ids(wanted)
    if column == train.columns.source:
        codes = train.vocabulary.source_codes(wanted)
        has_rows = np.bincount(train.source_codes, minlength=train.n_sources) > 0
        unknown, empty = codes < 0, (codes >= 0) & ~has_rows[codes]
        for found, why in ((unknown, "is not in"), (empty, "has no rows left in")):
            if found.any():
                raise _missing(what, wanted[int(np.flatnonzero(found)[0])], why)
        mask = np.empty(train.n_rows, dtype=np.bool_)
        mask[train.rows] = listed(codes, train.n_sources)[train.source_codes]
        return mask
    known = train.frame[column]
    wanted = wanted.cast(known.dtype, strict=False)
    strange = wanted.filter(~wanted.is_in(known.unique().implode()))
    if len(strange):
        raise _missing(what, strange[0], "is not in")
    return known.is_in(wanted.implode()).to_numpy()


def _missing(what: str, name: Any, why: str) -> DataError:
    return DataError(
        f"The {what} {name!r} {why} the training data of this model; give ids that they have."
    )


def _given_rows(train: Interactions, rows: Any) -> Mask:
    """Rows by mask, by number, or by the ids that a table has of them, bool [n_rows]."""
    if isinstance(rows, Interactions) or hasattr(rows, "columns"):
        return _rows_like(train, rows)
    array = np.asarray(rows if isinstance(rows, np.ndarray) else list(_iterable(rows)))
    if array.dtype == np.bool_ and array.shape == (train.n_rows,):
        return array
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ParameterError(
            f"rows must be numbers of rows of the training data, one truth value for each of the "
            f"{train.n_rows:,} rows, or a table of rows, not {array.dtype} of shape {array.shape}."
        )
    if len(array) and not (array.min() >= 0 and array.max() < train.n_rows):
        wrong = array[(array < 0) | (array >= train.n_rows)][0]
        raise ParameterError(
            f"There is no row {wrong} in the training data; rows are numbered from 0 to "
            f"{train.n_rows - 1}."
        )
    return listed(array.astype(np.int64), train.n_rows)


def _iterable(rows: Any) -> Iterable[Any]:
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise ParameterError(f"rows must be a list of numbers of rows, not {rows!r}.")
    return rows


def _rows_like(train: Interactions, table: Any) -> Mask:
    """Rows that agree with one of a table in all of source, item, basket and time it has."""
    columns: Columns = train.columns
    frame = table.frame if isinstance(table, Interactions) else _polars(table)
    roles = (columns.source, columns.item, columns.basket, columns.time)
    shared = [name for name in roles if name is not None and name in frame.columns]
    if columns.source not in shared or columns.item not in shared:
        raise DataError(
            f"A table of rows to forget needs the columns {columns.source!r} and "
            f"{columns.item!r}, as the training data have them."
        )
    schema = {name: train.frame.schema[name] for name in shared}
    wanted = frame.select(pl.col(n).cast(kind, strict=False) for n, kind in schema.items()).unique(
        maintain_order=True
    )
    own = train.frame.select(shared).with_row_index("_row")
    if wanted.join(own, on=shared, how="anti").height:
        first = wanted.join(own, on=shared, how="anti", maintain_order="left").row(0, named=True)
        shown = ", ".join(f"{name} {value!r}" for name, value in first.items())
        raise DataError(f"The training data have no row with {shown}; give rows that they have.")
    return listed(own.join(wanted, on=shared, how="semi")["_row"].to_numpy(), train.n_rows)


def _polars(table: Any) -> pl.DataFrame:
    from whence.data._frames import to_polars

    return to_polars(table)[0]


def listed(numbers: npt.NDArray[np.integer[Any]], n: int) -> Mask:
    """Which of the numbers 0 to n - 1 are listed, bool [n]."""
    mask = np.zeros(n, dtype=np.bool_)
    mask[numbers] = True
    return mask


def spliced(kept: npt.NDArray[Any], new: npt.NDArray[Any], is_new: Mask) -> npt.NDArray[Any]:
    """One array of what is kept and what is new, each in its order, as `is_new` says."""
    out = np.empty(len(is_new), dtype=kept.dtype)
    out[~is_new] = kept
    out[is_new] = new
    return out


def spread(n: int, most: int) -> Mask:
    """At most so many of n, evenly spread, bool [n]."""
    chosen = np.zeros(n, dtype=np.bool_)
    chosen[np.linspace(0, n - 1, min(most, n)).astype(np.int64)] = True
    return chosen
