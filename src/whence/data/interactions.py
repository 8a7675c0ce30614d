"""The immutable table of interactions that everything else works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._fingerprint import fingerprint
from whence.data._frames import Native, to_polars
from whence.data._order import canonical_order, check_times
from whence.data._sequences import Sequences, group_by_source
from whence.data.columns import Columns, resolve_columns
from whence.data.vocabulary import Vocabulary, check_ids, number_by_first_appearance
from whence.errors import DataError

__all__ = ["Columns", "Interactions", "Sequences", "Vocabulary"]


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Sessions of items, or baskets of users; made by `from_frame` and never changed.

    All rows have one canonical order: a stable sort by timestamp, and without a time column the
    order of the table (baskets: by the time of the basket, then by basket id). Items and sources
    are numbered by first appearance in it. Ids are encoded once here and never lose anything:
    the `vocabulary` has them in the caller's own dtype.

    Attributes
    ----------
    kind : {"sessions", "baskets"}
    frame : polars.DataFrame
        All columns that were given, in the caller's order of rows.
    columns : Columns
        The names of the columns and what they are.
    vocabulary : Vocabulary
        Ids of items and sources by number.
    rows : int64 array [n_rows]
        For each place in the canonical order, the row number in `frame`.
    source_codes, item_codes : int32 array [n_rows]
        Numbers, in canonical order.
    basket_codes : int32 array [n_rows] or None
        Numbers of baskets by first appearance, in canonical order; a basket belongs to one
        user, so equal basket ids of two users are two baskets. None for sessions.
    moments : int64 array [n_rows]
        Rank 0, 1, ... of the timestamp, in canonical order; equal timestamps have equal ranks.
    """

    kind: str
    frame: pl.DataFrame
    columns: Columns
    vocabulary: Vocabulary
    rows: NDArray[np.int64]
    source_codes: NDArray[np.int32]
    item_codes: NDArray[np.int32]
    basket_codes: NDArray[np.int32] | None
    moments: NDArray[np.int64]
    _native: Native

    def __post_init__(self) -> None:
        arrays = (self.rows, self.source_codes, self.item_codes, self.basket_codes, self.moments)
        for array in arrays:
            if array is not None:
                array.flags.writeable = False

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        session: str | None = None,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        basket: str | None = None,
        rating: str | None = None,
        kind: str | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> Interactions:
        """Make interactions of a table.

        Parameters
        ----------
        frame : pandas, polars or pyarrow table, polars.LazyFrame, or Interactions
            One row per interaction. Interactions are returned as they are.
        session, user, item, time, basket, rating : str, optional
            Names of columns. Those not given are recognised by their usual names, whatever
            their case (``session_id``, ``SessionId``, ``user``, ``item_id``, ``timestamp``, ...).
        kind : {"sessions", "baskets"}, optional
            Default: baskets where there is a basket column, else sessions.
        vocabulary : Vocabulary, optional
            Number ids by this vocabulary, which must know them all, not by first appearance.

        Returns
        -------
        Interactions

        Raises
        ------
        ColumnError
            A column is missing, misnamed or ambiguous.
        DataError
            The table is empty, or has null ids or timestamps, NaN or infinite timestamps, or
            columns of a type that cannot be ids or timestamps.

        Examples
        --------
        >>> import polars as pl
        >>> clicks = pl.DataFrame({"session": ["a", "a", "b"], "item": [7, 9, 7], "ts": [1, 2, 3]})
        >>> Interactions.from_frame(clicks)
        <Interactions: 3 rows, 2 sessions, 2 items>
        """
        if isinstance(frame, Interactions):
            if kind not in (None, frame.kind):
                raise DataError(
                    f"These interactions are {frame.kind}, not {kind}; "
                    f"make {kind} of their table with Interactions.from_frame(data.frame, ...)."
                )
            return frame
        table, native = to_polars(frame)
        given = {
            "session": session,
            "user": user,
            "item": item,
            "time": time,
            "basket": basket,
            "rating": rating,
        }
        kind, columns = resolve_columns(table.columns, given, kind)
        return cls._build(table, kind, columns, native, vocabulary)

    @classmethod
    def _build(
        cls,
        table: pl.DataFrame,
        kind: str,
        columns: Columns,
        native: Native,
        vocabulary: Vocabulary | None = None,
    ) -> Interactions:
        if table.height == 0:
            raise DataError("The table has no rows; at least one interaction is needed.")
        check_ids(table[columns.source], columns.source)
        check_ids(table[columns.item], columns.item)
        if columns.basket is not None:
            check_ids(table[columns.basket], columns.basket)
        if columns.time is not None:
            check_times(table[columns.time], columns.time)
        rows, moments, basket_codes = canonical_order(table, columns)
        source_ids = table[columns.source].gather(rows)
        item_ids = table[columns.item].gather(rows)
        if vocabulary is None:
            sources, source_codes = number_by_first_appearance(source_ids)
            items, item_codes = number_by_first_appearance(item_ids)
            vocabulary = Vocabulary(items.rename("item"), sources.rename("source"))
        else:
            source_codes = vocabulary.source_codes(source_ids)
            item_codes = vocabulary.item_codes(item_ids)
            for codes, ids in ((source_codes, source_ids), (item_codes, item_ids)):
                if codes.min() < 0:
                    unknown = ids[int(codes.argmin())]
                    raise DataError(
                        f"{ids.name} {unknown!r} is not in the vocabulary given; "
                        "leave the vocabulary out to number the ids anew."
                    )
        return cls(
            kind=kind,
            frame=table,
            columns=columns,
            vocabulary=vocabulary,
            rows=rows,
            source_codes=source_codes.astype(np.int32),
            item_codes=item_codes.astype(np.int32),
            basket_codes=basket_codes,
            moments=moments,
            _native=native,
        )

    @property
    def backend(self) -> str:
        """The library of the caller's table: ``"pandas"``, ``"polars"`` or ``"pyarrow"``."""
        return self._native.backend

    @property
    def n_rows(self) -> int:
        """Number of interactions."""
        return self.frame.height

    @property
    def n_sources(self) -> int:
        """Number of sources (sessions or users) in the vocabulary, with rows or without."""
        return len(self.vocabulary.sources)

    @property
    def n_items(self) -> int:
        """Number of items in the vocabulary, with rows or without."""
        return len(self.vocabulary.items)

    @property
    def source_ids(self) -> pl.Series:
        """External ids of the sources by number, named as the caller's column."""
        return self.vocabulary.sources.rename(self.columns.source)

    @property
    def item_ids(self) -> pl.Series:
        """External ids of the items by number, named as the caller's column."""
        return self.vocabulary.items.rename(self.columns.item)

    @cached_property
    def sequences(self) -> Sequences:
        """Rows grouped by source, in order of time within a source."""
        return group_by_source(
            self.source_codes, self.item_codes, self.rows, self.basket_codes, self.n_sources
        )

    @cached_property
    def recency(self) -> NDArray[np.int64]:
        """Rank of each source by (last timestamp, source number): 0 is the oldest.

        int64 [n_sources]; -1 for a source without rows.
        """
        last = np.full(self.n_sources, -1, dtype=np.int64)
        # Canonical order is by moment, so the last assignment to a source is its largest one.
        last[self.source_codes] = self.moments
        order = np.argsort(last, kind="stable")
        rank = np.empty(self.n_sources, dtype=np.int64)
        rank[order] = np.arange(self.n_sources) - np.count_nonzero(last < 0)
        rank[last < 0] = -1
        rank.flags.writeable = False
        return rank

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, ids, times and order: 16 hexadecimal digits.

        Equal for the same data in another table library or integer width, and for rows given in
        another order as long as the canonical order is the same.
        """
        codes = (self.source_codes, self.item_codes, self.basket_codes, self.moments)
        series = [self.vocabulary.sources, self.vocabulary.items]
        if self.columns.time is not None:
            series.append(self.frame[self.columns.time].gather(self.rows))
        return fingerprint(self.kind, codes, series)

    @cached_property
    def n_duplicates(self) -> int:
        """Number of rows that repeat an earlier one in source, item, time and basket.

        They are kept; without a time column, each further row of an item in a session counts.
        """
        parts = {"source": self.source_codes, "item": self.item_codes}
        if self.columns.time is not None:
            parts["time"] = self.moments  # type: ignore[assignment]
        if self.basket_codes is not None:
            parts["basket"] = self.basket_codes
        return self.n_rows - pl.DataFrame(parts).n_unique()

    def keep_rows(self, mask: Any) -> Interactions:
        """Return the rows where `mask` holds, with the numbers of items and sources unchanged.

        Parameters
        ----------
        mask : bool array [n_rows]
            Over the rows of `frame`.

        Returns
        -------
        Interactions
            With the same vocabulary; `rebuild` numbers anew. It may have no rows.

        Raises
        ------
        DataError
            The mask is not boolean or not as long as the table.
        """
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != (self.n_rows,):
            raise DataError(
                f"The mask must have one truth value per row ({self.n_rows}), not shape "
                f"{keep.shape} of {keep.dtype}."
            )
        canonical = keep[self.rows]
        new_row = np.cumsum(keep) - 1
        baskets = self.basket_codes
        if baskets is not None:
            # Baskets are numbered in canonical order, so the sorted ones left keep their order.
            baskets = np.unique(baskets[canonical], return_inverse=True)[1].astype(np.int32)
        return replace(
            self,
            frame=self.frame.filter(pl.Series(keep, dtype=pl.Boolean)),
            rows=new_row[self.rows[canonical]],
            source_codes=self.source_codes[canonical],
            item_codes=self.item_codes[canonical],
            basket_codes=baskets,
            moments=self.moments[canonical],
            _native=self._native.take(np.flatnonzero(keep)),
        )

    def keep_sources(self, mask: Any) -> Interactions:
        """Return the rows of the sources where `mask` (bool [n_sources]) holds; as `keep_rows`."""
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != (self.n_sources,):
            raise DataError(
                f"The mask must have one truth value per source ({self.n_sources}), not shape "
                f"{keep.shape} of {keep.dtype}."
            )
        rows = np.empty(self.n_rows, dtype=np.bool_)
        rows[self.rows] = keep[self.source_codes]
        return self.keep_rows(rows)

    def without(self, sources: pl.Series | Iterable[Any]) -> Interactions:
        """Return the rows of all sources but these; numbers stay, as in `keep_rows`.

        Parameters
        ----------
        sources : series or iterable
            External ids of sessions or users.

        Raises
        ------
        DataError
            An id is not in these data, or of another type.
        """
        ids = sources if isinstance(sources, pl.Series) else list(sources)
        codes = self.vocabulary.source_codes(ids)
        if len(codes) and codes.min() < 0:
            raise DataError(
                f"{self.columns.source} {ids[int(codes.argmin())]!r} is not in these data; "
                "give ids that are."
            )
        keep = np.ones(self.n_sources, dtype=np.bool_)
        keep[codes] = False
        return self.keep_sources(keep)

    def rebuild(self) -> Interactions:
        """Return the same rows with items and sources numbered anew, from these rows alone."""
        return self._build(self.frame, self.kind, self.columns, self._native)

    def native(self) -> Any:
        """Return the table in the caller's type (pandas, polars or pyarrow)."""
        return self._native.restore(self.frame)

    def describe(self) -> dict[str, Any]:
        """Return counts: rows, sources, items, baskets, duplicates, lengths and span of time."""
        lengths = np.bincount(self.source_codes, minlength=self.n_sources)
        lengths = lengths[lengths > 0]
        counts: dict[str, Any] = {
            "kind": self.kind,
            "rows": self.n_rows,
            "sessions" if self.kind == "sessions" else "users": len(lengths),
            "items": len(np.unique(self.item_codes)),
        }
        if self.basket_codes is not None:
            counts["baskets"] = len(np.unique(self.basket_codes))
        counts["duplicate_rows"] = self.n_duplicates
        if self.n_rows:
            counts["shortest"] = int(lengths.min())
            counts["median_length"] = float(np.median(lengths))
            counts["longest"] = int(lengths.max())
            if self.columns.time is not None:
                times = self.frame[self.columns.time]
                counts["first_time"], counts["last_time"] = times.min(), times.max()
        return counts

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        sources = "sessions" if self.kind == "sessions" else "users"
        baskets = ""
        if self.basket_codes is not None:
            baskets = f", {len(np.unique(self.basket_codes)):,} baskets"
        n_sources = len(np.unique(self.source_codes))
        n_items = len(np.unique(self.item_codes))
        return (
            f"<Interactions: {self.n_rows:,} rows, {n_sources:,} {sources}{baskets}, "
            f"{n_items:,} items>"
        )
