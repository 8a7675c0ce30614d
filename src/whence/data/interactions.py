"""The immutable table of interactions that everything else works on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence._html import ShownAsTable
from whence.data._describe import describe, one_line
from whence.data._fingerprint import fingerprint
from whence.data._frames import Native, to_polars
from whence.data._headerless import column_names
from whence.data._mapped import in_memory, mapped
from whence.data._numbering import renumber
from whence.data._objects import is_plain
from whence.data._order import canonical_order, check_times, dense
from whence.data._preparing import prepared
from whence.data._sequences import Sequences, group_by_source, rank_by_recency
from whence.data._side_tables import side_table, titles
from whence.data._ties import count_ties, tie_seed, warn_of_order
from whence.data._units import warn_of_times
from whence.data._whole import Whole
from whence.data.columns import Columns
from whence.data.vocabulary import Vocabulary, check_ids, numbered
from whence.errors import DataError, ParameterError, UnsupportedError

__all__ = ["Columns", "Interactions", "Sequences", "Vocabulary"]


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(ShownAsTable):
    """Sessions of items, or baskets of users; made by `from_frame` and never changed.

    All rows have one canonical order: a stable sort by timestamp, and without a time column the
    order of the table (baskets: by the time of the basket, then by basket id), or with
    ``ties="random"`` a random order where timestamps are equal. Items and sources are numbered by
    first appearance in it. Ids are encoded once here and never lose anything: the `vocabulary` has
    them in the caller's own dtype.

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
    item_table, user_table : polars.DataFrame or None
        What is known of items and of users, one row each, the id first and named as in `frame`;
        with rows for ids that have no interactions, perhaps. See `with_tables`.
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
    item_table: pl.DataFrame | None = None
    user_table: pl.DataFrame | None = None
    _kept_of: Whole | None = None

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
        negatives: str | None = None,
        kind: str | None = None,
        columns: str | Sequence[str] | None = None,
        time_format: str | None = None,
        ties: str = "order",
        seed: int = 42,
        vocabulary: Vocabulary | None = None,
    ) -> Interactions:
        """Make interactions of a table.

        Parameters
        ----------
        frame : table, object or Interactions
            One row per interaction: a pandas, polars (also lazy) or pyarrow table, a relation of
            DuckDB or anything else with Arrow's C stream; a list of tuples or of dicts, a dict of
            columns or of ``{user: {item: rating}}``, a NumPy array, a sparse matrix of users and
            items. Where the item column has lists, one row per list, they are taken apart,
            and with them lists of times and ratings. Interactions are returned as they are, or
            with ``ties="random"`` in that order.
        session, user, item, time, basket, rating, negatives : str or int, optional
            Names of columns. Those not given are recognised by their usual names, whatever
            their case (``session_id``, ``SessionId``, ``user``, ``item_id``, ``timestamp``, ...);
            negatives only where they are lists.
        kind : {"sessions", "baskets"}, optional
            Default: baskets where there is a basket column, else sessions. A basket (or session)
            column that is empty in half of the rows or more is not taken for one, with a warning.
        columns : str or sequence of str, optional
            Names of all columns in their order, such as ``"user item rating time"``, of what has
            none: tuples, arrays, frames whose columns are numbers. ``_`` is left out.
        time_format : str, optional
            How times in text are written, as of ``strftime``: ``"%d.%m.%Y %H:%M"``.
        ties : {"order", "random"}, default "order"
            Rows of equal time are in the order of the table, or in a random one. Where there is
            no time, all rows are of equal time.
        seed : int, default 42
            Of the random order; the same seed and table give the same order.
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
        UnsupportedError
            Ties of baskets are to be random.

        Warns
        -----
        DataWarning
            Times look as if they were not what they should be, or rows of equal time follow the
            ids of their items.

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
            if columns is not None or time_format is not None:
                raise ParameterError(
                    "columns and time_format are for tables, and these are interactions, whose "
                    "columns and times are known; leave them out."
                )
            random = tie_seed(ties, seed)
            return frame if random is None else frame._with_ties(random)
        table, native = to_polars(frame, column_names(columns))
        given = {
            "session": session,
            "user": user,
            "item": item,
            "time": time,
            "basket": basket,
            "rating": rating,
            "negatives": negatives,
        }
        return cls._read(
            table, native, given, kind, vocabulary, time_format=time_format,
            written=is_plain(frame), tie_seed=tie_seed(ties, seed),
        )  # fmt: skip

    def _with_ties(self, seed: int) -> Interactions:
        """Return the same rows, those of equal time in a random order."""
        anew = self._build(self.frame, self.kind, self.columns, self._native, None, seed)
        return replace(anew, item_table=self.item_table, user_table=self.user_table)

    @classmethod
    def _read(
        cls,
        table: pl.DataFrame,
        native: Native,
        given: Mapping[str, Any],
        kind: str | None,
        vocabulary: Vocabulary | None = None,
        *,
        tie_seed: int | None = None,
        folder: Path | None = None,
        **how: Any,
    ) -> Interactions:
        """Make interactions of a table that was given; `how` is for `prepared`.

        With `folder`, each array is mapped from there as soon as it is made.
        """
        named = {role: _as_name(name) for role, name in given.items()}
        found = prepared(table, named, kind, **how)
        if found.rows is not None:
            native = native.take(found.rows)
        data = cls._build(
            found.table, found.kind, found.columns, native, vocabulary, tie_seed, folder
        )
        warn_of_times(data)
        if tie_seed is None:
            warn_of_order(data)
        return data

    @classmethod
    def _build(
        cls,
        table: pl.DataFrame,
        kind: str,
        columns: Columns,
        native: Native,
        vocabulary: Vocabulary | None = None,
        tie_seed: int | None = None,
        folder: Path | None = None,
    ) -> Interactions:
        if tie_seed is not None and kind == "baskets":
            raise UnsupportedError(
                "ties='random' is for items in order; baskets of equal time are in the order of "
                "their ids, and the items of one have none. Leave it out."
            )
        if table.height == 0:
            raise DataError("The table has no rows; at least one interaction is needed.")
        check_ids(table[columns.source], columns.source)
        check_ids(table[columns.item], columns.item)
        if columns.basket is not None:
            check_ids(table[columns.basket], columns.basket)
        if columns.time is not None:
            check_times(table[columns.time], columns.time)
        place = in_memory if folder is None else partial(mapped, folder=folder)
        rows, moments, baskets = canonical_order(table, columns, tie_seed)
        rows, moments = place("rows", rows), place("moments", moments)
        basket_codes = None if baskets is None else place("basket_codes", baskets)
        source_ids, item_ids = table[columns.source], table[columns.item]
        if (rows[1:] < rows[:-1]).any():
            source_ids, item_ids = source_ids.gather(rows), item_ids.gather(rows)
        if vocabulary is None:
            sources, codes = numbered(source_ids)
            source_codes = place("source_codes", codes.astype(np.int32, copy=False))
            items, codes = numbered(item_ids)
            item_codes = place("item_codes", codes.astype(np.int32, copy=False))
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
            source_codes=source_codes.astype(np.int32, copy=False),
            item_codes=item_codes.astype(np.int32, copy=False),
            basket_codes=basket_codes,
            moments=moments,
            _native=native,
        )

    @property
    def backend(self) -> str:
        """The library of the caller's table: ``"pandas"``, ``"polars"`` or ``"pyarrow"``."""
        return self._native.backend

    @property
    def by_user(self) -> bool:
        """Whether these are the items of users, with neither sessions nor baskets."""
        return self.kind == "sessions" and self.columns.user == self.columns.source

    def ids_beside(self, own: Collection[str]) -> dict[str, pl.Series]:
        """Return the source and the item of each row, named as `Columns.beside` says.

        Parameters
        ----------
        own : collection of str
            Columns that the table has which they are put into.
        """
        names = (self.columns.source, self.columns.item)
        return {self.columns.beside(name, own): self.frame.get_column(name) for name in names}

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
    def item_titles(self) -> pl.Series | None:
        """Titles of the items by number, null where there is none, from the item table.

        The column is recognised by its name: ``title``, ``movie_title``, ``name``, ``item_name``
        and the like; None where there is no such column, or no item table.
        """
        if self.item_table is None:
            return None
        return titles(self.item_table, self.vocabulary.items)

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
        return rank_by_recency(self.source_codes, self.moments, self.n_sources)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, ids, times and order: 16 hexadecimal digits.

        Equal for the same data in another table library or integer width, and for rows given in
        another order as long as the canonical order is the same. What `keep_rows` kept is told
        apart by what it was kept of, since models trained on it are.
        """
        codes = [self.source_codes, self.item_codes, self.basket_codes, self.moments]
        if self._kept_of is not None:
            codes += [self._kept_of.places, self._kept_of.source_codes]
        series = [self.vocabulary.sources, self.vocabulary.items]
        if self.columns.time is not None:
            series.append(self.frame[self.columns.time].gather(self.rows))
        return fingerprint(self.kind, codes, series)

    @cached_property
    def n_ties(self) -> int:
        """Number of rows that have another of the same source at the same time.

        0 without a time column; of baskets, rows count as one with those of their basket.
        """
        return count_ties(self)

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

        A model fitted on them has the same initial parameters, order of batches and negatives as
        one that is fitted on all rows: it lacks what the other rows would have taught it, and
        differs in nothing else. For this the places of the rows in the order of all, and whose row
        each of these was, are kept (`whole`). `rebuild` makes data of their own of the rows.

        Parameters
        ----------
        mask : bool array [n_rows]
            Over the rows of `frame`.

        Returns
        -------
        Interactions
            With the same vocabulary. It may have no rows.

        Raises
        ------
        DataError
            The mask is not boolean or not as long as the table.
        """
        keep = _as_mask(mask, self.n_rows, "row")
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
            _kept_of=self._kept_of if keep.all() else self.whole.kept(canonical),
        )

    @property
    def whole(self) -> Whole:
        """What the rows were kept of by `keep_rows`; these data, where none were taken away."""
        if self._kept_of is not None:
            return self._kept_of
        return Whole(np.arange(self.n_rows), self.source_codes, self.n_sources, self.frame)

    def part_of(self, whole: Whole) -> Interactions:
        """Return these data as what was kept of others, such as those of a model in a file.

        Raises
        ------
        DataError
            If they cannot be.
        """
        places, codes = whole.places, whole.source_codes
        if not (
            len(places) == self.n_rows
            and bool((np.diff(places, prepend=-1) > 0).all())
            and (not len(places) or places[-1] < len(codes))
            and np.array_equal(codes[places], self.source_codes)
            and (not len(codes) or 0 <= codes.min() <= codes.max() < self.n_sources)
        ):
            raise DataError(
                "These rows are no part of the data that they are said to be kept of; take them "
                "with keep_rows."
            )
        return replace(self, _kept_of=whole)

    def keep_sources(self, mask: Any) -> Interactions:
        """Return the rows of the sources where `mask` (bool [n_sources]) holds; as `keep_rows`."""
        keep = _as_mask(mask, self.n_sources, "source")
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

    def with_vocabulary(self, vocabulary: Vocabulary) -> Interactions:
        """Return the same rows with items and sources numbered by another vocabulary.

        Parameters
        ----------
        vocabulary : Vocabulary
            It must know all that have rows, or had some before `keep_rows`.

        Raises
        ------
        DataError
            If it does not know one, or its ids are of another type.
        """
        known = self.vocabulary
        if known.items.equals(vocabulary.items) and known.sources.equals(vocabulary.sources):
            return self
        items = vocabulary.item_codes(known.items)
        sources = vocabulary.source_codes(known.sources)
        whole = self.whole
        for name, numbers, codes, ids in (
            (self.columns.item, items, self.item_codes, known.items),
            (self.columns.source, sources, whole.source_codes, known.sources),
        ):
            unknown = np.flatnonzero(numbers[codes] < 0)
            if len(unknown):
                raise DataError(
                    f"{name} {ids[int(codes[unknown[0]])]!r} is not in the vocabulary given."
                )
        source_codes = sources[whole.source_codes].astype(np.int32)
        return replace(
            self,
            vocabulary=vocabulary,
            source_codes=sources[self.source_codes].astype(np.int32),
            item_codes=items[self.item_codes].astype(np.int32),
            _kept_of=None
            if self._kept_of is None
            else replace(whole, source_codes=source_codes, n_sources=len(vocabulary.sources)),
        )

    def rebuild(self) -> Interactions:
        """Return the same rows with items and sources numbered anew, from these rows alone."""
        if self.kind == "baskets" or self.n_rows == 0:
            # The time of a basket is that of its first row, which may be among those gone.
            anew = self._build(self.frame, self.kind, self.columns, self._native)
            return replace(anew, item_table=self.item_table, user_table=self.user_table)
        # Rows that were in order are in order still, so it is enough to close the gaps.
        items, item_codes = renumber(self.item_codes, self.n_items)
        sources, source_codes = renumber(self.source_codes, self.n_sources)
        known = self.vocabulary
        return replace(
            self,
            vocabulary=Vocabulary(known.items.gather(items), known.sources.gather(sources)),
            source_codes=source_codes,
            item_codes=item_codes,
            moments=dense(self.moments),
            _kept_of=None,
        )

    def with_tables(self, *, items: Any = None, users: Any = None) -> Interactions:
        """Return the same interactions with what is known of items and of users beside them.

        Parameters
        ----------
        items, users : table or path, optional
            One row per item or user. The id is the column named as in the interactions, else one
            with a usual name, else the first. There may be rows for ids without interactions, and
            ids without a row. What is not given stays as it is.

        Returns
        -------
        Interactions
            Rows and numbers are the same. Filters and splits keep the tables whole.

        Raises
        ------
        DataError
            An id has two rows or is null, the ids are of another type than those of the
            interactions, or there are no users to describe.
        FileFormatError
            A file cannot be read.

        Examples
        --------
        >>> import polars as pl
        >>> clicks = pl.DataFrame({"session": ["a", "a"], "item": [7, 9]})
        >>> names = pl.DataFrame({"item": [9, 7, 8], "title": ["Cup", "Tea", "Jug"]})
        >>> Interactions.from_frame(clicks).with_tables(items=names).item_titles.to_list()
        ['Tea', 'Cup']
        """
        if users is not None and self.columns.user is None:
            raise DataError(
                "These interactions have no user column, so a table of users has nothing to "
                "belong to; name the column with user='...'."
            )
        tables = {}
        for what, given, name in (
            ("item", items, self.columns.item),
            ("user", users, self.columns.user),
        ):
            if given is not None and name is not None:
                tables[f"{what}_table"] = side_table(given, self.frame[name], what)
        return replace(self, **tables)  # type: ignore[arg-type]

    def native(self) -> Any:
        """Return the table in the caller's type (pandas, polars or pyarrow)."""
        return self._native.restore(self.frame)

    def describe(self) -> dict[str, Any]:
        """Return counts: rows, sources, items, baskets, duplicates, ties, lengths, span of time."""
        return describe(self)

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return one_line(self)


def _as_name(name: Any) -> Any:
    """Return the name of a column, of which pandas has numbers, too, as text."""
    number = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
    return str(name) if number else name


def _as_mask(mask: Any, n: int, what: str) -> NDArray[np.bool_]:
    keep = np.asarray(mask)
    if keep.dtype != np.bool_ or keep.shape != (n,):
        raise DataError(
            f"The mask must have one truth value per {what} ({n}), not shape "
            f"{keep.shape} of {keep.dtype}."
        )
    return keep
