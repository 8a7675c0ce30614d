"""What a target is ranked against where it is not the whole catalogue.

Ranking against few items is quick and common in publications, but orders models differently than
the whole catalogue does (Krichene and Rendle, *On sampled metrics for item recommendation*, KDD
2020): compare such values only with values of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence import _native as kernels
from whence.data import Interactions, Vocabulary
from whence.data._numbering import sorted_distinct
from whence.errors import DataError, ParameterError
from whence.evaluation.queries import Queries, positions_of_windows

CodeArray = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]
Windows = tuple[CodeArray, IntArray, IntArray]


@dataclass(frozen=True)
class DrawnNegatives:
    """Items drawn for each target, uniformly and without replacement.

    They are drawn from the items that are neither in the history of the query nor among its
    targets, by a random stream of their own for each target: the same whatever the model, the
    number of threads and the size of blocks.

    Attributes
    ----------
    n : int
        How many for each target.
    n_items : int
        Size of the catalogue.
    excluded : int32 [m]
        Items not to be drawn, flat.
    start, end : int64 [Q]
        Windows of `excluded`.
    counts : int64 [Q]
        Number of targets of each query.
    stream : uint64
    """

    n: int
    n_items: int
    excluded: CodeArray
    start: IntArray
    end: IntArray
    counts: IntArray
    stream: np.uint64

    @classmethod
    def for_queries(
        cls, queries: Queries, n: int, n_items: int, seed: int, train: Interactions | None
    ) -> DrawnNegatives:
        """Prepare to draw.

        Parameters
        ----------
        queries : Queries
        n : int
            Number of negatives of each target.
        n_items : int
        seed : int
        train : Interactions or None
            Of baskets: has the histories of the users.

        Raises
        ------
        DataError
            If fewer than `n` items are left for a query.
        """
        counts = queries.target_end - queries.target_start
        parts = [
            (queries.history_items, queries.history_start, queries.history_end),
            (queries.target_items, queries.target_start, queries.target_end),
        ]
        if queries.kind == "baskets" and train is not None:
            offsets, users = train.sequences.offsets, queries.users
            own = np.where(users >= 0, offsets[users], 0)
            parts.append((train.sequences.items, own, np.where(users >= 0, offsets[users + 1], 0)))
        excluded, start, end = _joined(parts)
        left = kernels.count_drawable(excluded, start, end, n_items)
        short = np.flatnonzero((left < n) & (counts > 0))
        if len(short):
            least = int(left[short].min())
            raise DataError(
                f"negatives={n} is more than there are: of the {n_items} items of the catalogue "
                f"only {least} are neither in the history nor among the targets of a query; ask "
                f"for at most {least}."
            )
        stream = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        return cls(n, n_items, excluded, start, end, counts, stream)

    def of_targets(self, first: int, stop: int) -> Windows:
        """Negatives of the targets of the queries `first` to `stop`.

        Returns
        -------
        items : int32
        start, end : int64
            Those of a target are ``items[start:end]``.
        """
        rows = slice(first, stop)
        number = int(self.counts[:first].sum())
        drawn = kernels.draw_negatives(
            self.excluded,
            self.start[rows],
            self.end[rows],
            self.counts[rows],
            number,
            self.n_items,
            self.n,
            self.stream,
        )
        ends = self.n * np.arange(1, len(drawn) + 1)
        return drawn.ravel(), ends - self.n, ends


@dataclass(frozen=True)
class GivenNegatives:
    """Lists of items that come with the validation data, one for each row.

    Items unknown to the training data are left out, which is as if they were ranked last, and so
    is the item of the row itself.

    Attributes
    ----------
    items : int32 [m]
        Flat.
    start, end : int64 [n]
        Windows of `items`, for each target of all queries, one query after the other.
    before : int64 [Q + 1]
        Number of targets before each query.
    """

    items: CodeArray
    start: IntArray
    end: IntArray
    before: IntArray

    @classmethod
    def of_data(
        cls, data: Interactions, queries: Queries, vocabulary: Vocabulary
    ) -> GivenNegatives:
        """Read the lists.

        Parameters
        ----------
        data : Interactions
            With a column of negatives.
        queries : Queries
            Made of `data`.
        vocabulary : Vocabulary
            Of the training data.

        Raises
        ------
        DataError
            If there is no such column, or a list of it is missing, empty or of ids of another
            type.
        """
        name = data.columns.negatives
        if name is None:
            raise DataError(
                "negatives='given' needs a column with a list of item ids for each row, which the "
                "validation data does not have; give a number, such as negatives=99, to draw them."
            )
        table = pl.DataFrame({"row": np.arange(data.n_rows), "item": data.frame[name]}).explode(
            "item"
        )
        table = table.drop_nulls()
        counts = queries.target_end - queries.target_start
        assert queries.target_rows is not None
        rows = queries.target_rows[positions_of_windows(queries.target_start, counts)]
        without = ~np.isin(rows, table["row"].to_numpy())
        if without.any():
            raise DataError(
                f"Column {name!r} has no negatives in row {int(rows[without][0])}; give a list of "
                "item ids in each row."
            )
        items, offsets = _distinct(table, data, vocabulary)
        before = np.concatenate(([0], np.cumsum(counts)))
        return cls(items, offsets[rows], offsets[rows + 1], before)

    def of_targets(self, first: int, stop: int) -> Windows:
        """As :meth:`DrawnNegatives.of_targets`."""
        rows = slice(self.before[first], self.before[stop])
        return self.items, self.start[rows], self.end[rows]


def resolve_negatives(
    negatives: Any,
    data: Any,
    queries: Queries,
    vocabulary: Vocabulary,
    train: Interactions | None,
    seed: int,
) -> DrawnNegatives | GivenNegatives:
    """Negatives as `evaluate` takes them: a number, or ``"given"``.

    Raises
    ------
    ParameterError
        If it is neither.
    DataError
        If the data does not have them.
    """
    if isinstance(negatives, str) and negatives == "given":
        if not isinstance(data, Interactions):
            raise DataError(
                "negatives='given' are in the validation data, not in Queries: pass the data."
            )
        return GivenNegatives.of_data(data, queries, vocabulary)
    if isinstance(negatives, (bool, str)) or not isinstance(negatives, (int, np.integer)):
        raise ParameterError(
            f"negatives must be a number of items, such as 99, 'given' or None, not {negatives!r}."
        )
    if negatives < 1:
        raise ParameterError(
            f"negatives must be at least 1, not {negatives}; leave it out to rank all items."
        )
    return DrawnNegatives.for_queries(queries, int(negatives), len(vocabulary.items), seed, train)


def _joined(parts: list[Windows]) -> Windows:
    """One window per query with the items of its windows in all parts."""
    lengths = [end - start for _, start, end in parts]
    ends = np.cumsum(np.sum(lengths, axis=0))
    starts = ends - np.sum(lengths, axis=0)
    joined = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int32)
    place = starts
    for (items, start, _), length in zip(parts, lengths):
        joined[positions_of_windows(place, length)] = items[positions_of_windows(start, length)]
        place = place + length
    return joined, starts, ends


def _distinct(
    table: pl.DataFrame, data: Interactions, vocabulary: Vocabulary
) -> tuple[CodeArray, IntArray]:
    """Known, distinct negatives by row without the row's own item, and where each row begins."""
    codes = vocabulary.item_codes(table["item"])
    own = np.empty(data.n_rows, dtype=np.int64)
    own[data.rows] = vocabulary.item_codes(data.vocabulary.items)[data.item_codes]
    rows = table["row"].to_numpy()
    kept = (codes >= 0) & (codes != own[rows])
    width = max(len(vocabulary.items), 1)
    pairs = sorted_distinct(rows[kept] * width + codes[kept])
    counts = np.bincount(pairs // width, minlength=data.n_rows)
    return (pairs % width).astype(np.int32), np.concatenate(([0], np.cumsum(counts)))
