"""What deleting single rows, or all rows with an item, makes of the sessions and users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from whence.models import TIFUKNN, VMISKNN
from whence.models.knn.vmis import SessionIndex

IntArray = npt.NDArray[np.int64]

# Most rows of regrouped users held at once.
_MOST_CELLS = 4_000_000


class Clicks(NamedTuple):
    """A fitted VMISKNN and its rows, sessions by position (0: most recent).

    A *key* orders sessions by recency, smaller for the more recent, as they are or as they would
    be without their last click.

    Attributes
    ----------
    train : SessionIndex
    use_idf : bool
    k, m : int
    keys : ndarray of int64, shape (positions,)
        Ascending.
    row_offsets : ndarray of int64, shape (positions + 1,)
    row_items : ndarray of int32, shape (n_rows,)
        Item of each click, by session.
    row_numbers : ndarray of int64, shape (n_rows,)
        Row of the table.
    row_repeated : ndarray of bool, shape (n_rows,)
        Whether the session has the item in another click, too.
    row_keys : ndarray of int64, shape (n_rows,)
        Key of the session without the click.
    time_items : ndarray of int32, shape (positions,)
        The item that all the last clicks of a session are of, if it has others before; or -1.
    time_keys : ndarray of int64, shape (positions,)
        Key of the session without that item.
    """

    train: SessionIndex
    use_idf: bool
    k: int
    m: int
    keys: IntArray
    row_offsets: IntArray
    row_items: npt.NDArray[np.int32]
    row_numbers: IntArray
    row_repeated: npt.NDArray[np.bool_]
    row_keys: IntArray
    time_items: npt.NDArray[np.int32]
    time_keys: IntArray


class Variants(NamedTuple):
    """What becomes of users by deletions.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n_users + 1,)
        Variants of each user.
    credited : ndarray of int64, shape (V,)
        Row or item that is deleted.
    entry_offsets : ndarray of int64, shape (V + 1,)
    entries : ndarray of int64
        Entries of the vectors that have another value.
    values : ndarray of float64
    own, neighbour : ndarray of int64
        What they are then; see `UserVectors`.
    gone : ndarray of int64, shape (V,)
        Entry whose item the user no longer has, among the entries, with value 0; or -1.
    norms : ndarray of float64, shape (V,)
        Squared norms.
    """

    offsets: IntArray
    credited: IntArray
    entry_offsets: IntArray
    entries: IntArray
    values: npt.NDArray[np.float64]
    own: IntArray
    neighbour: IntArray
    gone: IntArray
    norms: npt.NDArray[np.float64]


def clicks_of(model: VMISKNN) -> Clicks:
    """The rows of a VMISKNN by session, and where a session stands without one of them.

    Sessions are ordered by (last timestamp, session number), as `Interactions.recency` says.
    """
    train, index = model.train_, model.index_
    n_sessions = len(index.source_of)
    position_of = np.full(train.n_sources, -1, dtype=np.int64)
    position_of[index.source_of] = np.arange(n_sessions)
    positions = position_of[train.source_codes]
    # Rows by session, each in order of time.
    order = np.argsort(positions, kind="stable")
    positions, items, moments = positions[order], train.item_codes[order], train.moments[order]
    sizes = np.bincount(positions, minlength=n_sessions)
    offsets = _offsets(sizes)
    last = moments[offsets[1:] - 1]
    is_last = moments == last[positions]

    # The later a session ends, and the larger its number, the more recent it is.
    def keys(moments: IntArray, at: IntArray) -> IntArray:
        return np.asarray(-(moments[at] * train.n_sources + index.source_of[at]))

    # A single last click takes the time of the session with it.
    before = moments[np.maximum(offsets[1:] - 2, 0)]
    moved = is_last & (np.bincount(positions[is_last], minlength=n_sessions)[positions] == 1)
    row_keys = keys(last, positions)
    row_keys[moved] = keys(before, positions[moved])

    # So does an item that all the last clicks are of.
    last_item = items[offsets[1:] - 1]
    other = items != last_item[positions]
    mixed = np.zeros(n_sessions, dtype=bool)
    mixed[positions[is_last & other]] = True
    without = np.full(n_sessions, -1, dtype=np.int64)
    without[positions[other]] = moments[other]  # in order of time, so the largest stays
    moving = np.flatnonzero(~mixed & (without >= 0))
    time_items = np.full(n_sessions, -1, dtype=np.int32)
    time_items[moving] = last_item[moving]

    pairs = positions * train.n_items + items
    _, number, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    return Clicks(
        index,
        model.idf,
        *model.limits,
        keys(last, np.arange(n_sessions)),
        offsets,
        items,
        train.rows[order],
        counts[number] > 1,
        row_keys,
        time_items,
        keys(without, np.arange(n_sessions)),
    )


class _Cells:
    """Which user has which item in which basket: distinct triples in this order.

    A vector's entry is a run of cells, and a user's vector a run of entries.
    """

    def __init__(self, model: TIFUKNN) -> None:
        sequences = model.train_.sequences
        assert sequences.baskets is not None
        n_items = model.n_items
        owner = np.repeat(np.arange(model.train_.n_sources), np.diff(sequences.offsets))
        longest = int(sequences.baskets.max(initial=0)) + 1
        keys = (owner * n_items + sequences.items) * longest + sequences.baskets
        keys, self.of_row, counts = np.unique(keys, return_inverse=True, return_counts=True)
        self.repeated = counts > 1
        pairs, self.baskets = np.divmod(keys, longest)
        self.pairs, first, self.entry = np.unique(pairs, return_index=True, return_inverse=True)
        self.owner, self.items = np.divmod(pairs, n_items)
        self.entry_start = np.append(first, len(keys))
        self.user_start = np.searchsorted(self.owner, np.arange(model.train_.n_sources + 1))
        n_baskets = np.zeros(model.train_.n_sources, dtype=np.int64)
        np.maximum.at(n_baskets, self.owner, self.baskets + 1)
        self.n_baskets = n_baskets
        in_basket = self.owner * longest + self.baskets
        _, number, sizes = np.unique(in_basket, return_inverse=True, return_counts=True)
        self.alone = sizes[number] == 1
        """Whether a cell is all there is in its basket."""


def variants_without_rows(model: TIFUKNN) -> Variants:
    """Every user without each of their rows, in the order of ``train_.sequences``."""
    cells = _Cells(model)
    sequences = model.train_.sequences
    cell = cells.of_row
    # One of several equal rows can go without a trace.
    end = np.where(cells.repeated[cell], cell, cell + 1)
    return _variants(model, cells, sequences.offsets, sequences.rows, cell, end)


def variants_without_items(model: TIFUKNN) -> Variants:
    """Every user without each of their items, in the order of the entries of the vectors."""
    cells, vectors = _Cells(model), model.index_.vectors
    start = cells.entry_start
    return _variants(
        model, cells, vectors.offsets, vectors.items.astype(np.int64), start[:-1], start[1:]
    )


def _variants(
    model: TIFUKNN,
    cells: _Cells,
    offsets: IntArray,
    credited: IntArray,
    start: IntArray,
    end: IntArray,
) -> Variants:
    """Variants of users without cells ``start`` to ``end``, which are of one entry each.

    Where no basket is left empty, that entry alone changes. Else the user's baskets are grouped
    anew, and every entry may change.
    """
    vectors = model.index_.vectors
    n = len(start)
    entry = cells.entry[start]
    left = np.diff(cells.entry_start)[entry] - (end - start)
    changes = end > start
    gone = np.where(changes & (left == 0), entry, -1)
    alone_before = _offsets(cells.alone)
    regrouped = changes & (alone_before[end] > alone_before[start])

    # One entry without some of its baskets; nothing is left of it where it is gone.
    simple = np.flatnonzero(changes & ~regrouped)
    values = np.zeros(len(simple))
    some = np.flatnonzero(left[simple] > 0)
    kept, owners = _expand(cells.entry_start[entry], left + (end - start), start, end, simple[some])
    if len(kept):
        weights = model._basket_weights(cells.n_baskets[cells.owner[kept]], cells.baskets[kept])
        values[some] = np.add.reduceat(weights, np.searchsorted(owners, np.arange(len(some))))
    rounded = model._rounded(values)
    parts = [(simple, entry[simple], rounded["values"], rounded["own"], rounded["neighbour"])]

    lost = np.flatnonzero(gone >= 0)
    lost = lost[regrouped[lost]]
    nothing = np.zeros(len(lost), dtype=np.int64)
    parts.append((lost, entry[lost], nothing.astype(np.float64), nothing, nothing))
    user = cells.owner[start]
    lengths = np.diff(cells.user_start)[user]
    for some in _blocks(np.flatnonzero(regrouped), lengths):
        kept, owners = _expand(cells.user_start[user], lengths, start, end, some)
        again = model._vectors(
            owners, _renumber(owners, cells.baskets[kept]), cells.items[kept], len(some)
        )
        variant = np.repeat(some, np.diff(again.offsets))
        pairs = user[variant] * model.n_items + again.items
        entries = np.searchsorted(cells.pairs, pairs)
        parts.append((variant, entries, again.values, again.own, again.neighbour))

    variant, entries, values, own, neighbour = (np.concatenate(part) for part in zip(*parts))
    order = np.lexsort((entries, variant))
    variant, entries, values = variant[order], entries[order], values[order]
    step = values**2 - vectors.values[entries] ** 2
    return Variants(
        offsets,
        credited,
        _offsets(np.bincount(variant, minlength=n)),
        entries,
        values,
        own[order],
        neighbour[order],
        gone,
        model.index_.squared_norms[user] + np.bincount(variant, step, minlength=n),
    )


def _expand(
    first: IntArray, lengths: IntArray, start: IntArray, end: IntArray, chosen: IntArray
) -> tuple[IntArray, IntArray]:
    """Runs of cells without the part from ``start`` to ``end`` of each.

    Returns
    -------
    cells : ndarray of int64
    owners : ndarray of int64
        The place in `chosen` that each belongs to.
    """
    cut = (end - start)[chosen]
    counts = lengths[chosen] - cut
    owners = np.repeat(np.arange(len(chosen)), counts)
    inside = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    cells = first[chosen][owners] + inside
    return cells + np.where(cells >= start[chosen][owners], cut[owners], 0), owners


def _renumber(owners: IntArray, baskets: IntArray) -> IntArray:
    """Number each owner's baskets 0, 1, … in order, whichever are left."""
    longest = int(baskets.max(initial=0)) + 1
    left, number = np.unique(owners * longest + baskets, return_inverse=True)
    first = np.searchsorted(left, owners * longest)
    return np.asarray(number - first)


def _blocks(variants: IntArray, lengths: IntArray) -> list[IntArray]:
    """Cut variants into blocks of a bounded number of cells."""
    block = np.cumsum(lengths[variants]) // _MOST_CELLS
    return np.split(variants, np.flatnonzero(np.diff(block)) + 1) if len(variants) else []


def _offsets(counts: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> IntArray:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
