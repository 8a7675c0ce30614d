"""Forgetting exactly: models of neighbours, whose index loses what it holds of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whence.curation.forgetting.gone import CodeArray, Gone, IntArray, Mask, listed, spliced
from whence.evaluation.queries import positions_of_windows
from whence.models.knn.tifu import TIFUKNN, UserIndex, UserVectors
from whence.models.knn.vmis import VMISKNN, SessionIndex, idf_of, offsets_of

_FEW = 16
"""Sessions that are taken out one by one."""


def forget_sessions(model: VMISKNN, gone: Gone) -> None:
    """Take sessions, or items of theirs, out of the index of `VMISKNN`.

    The sessions that lose nothing keep their order; one that loses only some of its rows is put
    where its last row now belongs. Nothing is sorted anew, and where few sessions change, arrays
    are copied without their entries.
    """
    train, old = gone.train, model.index_
    is_touched = gone.is_touched[old.source_of]  # by old position
    again, sequences = gone.rest()
    source_of = _in_order(old.source_of[~is_touched], again, gone)
    position_of = np.full(train.n_sources, -1, dtype=np.int64)
    position_of[source_of] = np.arange(len(source_of))
    owner = np.repeat(position_of[again], np.diff(sequences.offsets))
    positions, items = np.divmod(np.unique(owner * train.n_items + sequences.items), train.n_items)
    removed = np.flatnonzero(is_touched)
    replace = _few_replaced if len(removed) <= _FEW else _many_replaced
    sizes, session_items, frequency, postings = replace(
        old, removed, position_of, positions, items.astype(np.int32)
    )
    model.index_ = SessionIndex(
        source_of=source_of,
        session_offsets=offsets_of(sizes),
        session_items=session_items,
        posting_offsets=offsets_of(frequency),
        postings=postings,
        idf=idf_of(frequency, len(source_of)),
    )


Replaced = tuple[IntArray, CodeArray, IntArray, CodeArray]


def _few_replaced(
    old: SessionIndex,
    removed: IntArray,
    position_of: IntArray,
    positions: IntArray,
    items: CodeArray,
) -> Replaced:
    """Sessions and lists without some positions, and with items of sessions at new ones.

    Parameters
    ----------
    old : SessionIndex
    removed : int64 [n]
        Old positions, ascending.
    position_of : int64 [n_sources]
        New position of each session.
    positions, items : integers [m]
        Of the entries that are added, by new position and then by item.

    Returns
    -------
    sizes, session_items
        Number of items of each session, and these.
    frequency, postings
        Number of sessions of each item, and their positions.
    """
    starts, ends = old.session_offsets[removed], old.session_offsets[removed + 1]
    entries = positions_of_windows(starts, ends - starts)
    lost, owner = old.session_items[entries], np.repeat(removed, ends - starts)
    sizes = np.delete(np.diff(old.session_offsets), removed)
    session_items = np.delete(old.session_items, entries)
    places = [
        first + np.searchsorted(old.postings[first:last], position)
        for first, last, position in zip(
            old.posting_offsets[lost], old.posting_offsets[lost + 1], owner
        )
    ]
    postings = np.delete(old.postings, np.array(places, dtype=np.int64))
    for position in removed[::-1]:
        postings -= postings > position
    frequency = np.diff(old.posting_offsets) - np.bincount(lost, minlength=old.n_items)
    if len(items):
        new, counts = np.unique(positions, return_counts=True)
        before = new - np.arange(len(new))
        session_items = np.insert(
            session_items, np.repeat(offsets_of(sizes)[before], counts), items
        )
        sizes = np.insert(sizes, before, counts)
        for position in new:
            postings += postings >= position
        offsets = offsets_of(frequency)
        by_item = np.lexsort((positions, items))
        places = [
            offsets[item] + np.searchsorted(postings[offsets[item] : offsets[item + 1]], position)
            for item, position in zip(items[by_item], positions[by_item])
        ]
        postings = np.insert(postings, places, positions[by_item])
        frequency = frequency + np.bincount(items, minlength=old.n_items)
    return sizes, session_items, frequency, postings


def _many_replaced(
    old: SessionIndex,
    removed: IntArray,
    position_of: IntArray,
    positions: IntArray,
    items: CodeArray,
) -> Replaced:
    """As `_few_replaced`, in one pass over all entries."""
    is_removed = listed(removed, len(old.source_of))
    moved = position_of[old.source_of]
    moved[is_removed] = -1
    n_sessions = int(position_of.max(initial=-1)) + 1
    counts = np.diff(old.session_offsets)
    sizes = np.bincount(positions, minlength=n_sessions)
    sizes[moved[~is_removed]] = counts[~is_removed]
    kept = old.session_items[np.repeat(~is_removed, counts)]
    is_new = np.repeat(listed(positions, n_sessions), sizes)
    offsets, postings, _, _ = _replaced(
        old.posting_offsets, old.postings, moved, items, positions, n_sessions
    )
    return sizes, spliced(kept, items, is_new), np.diff(offsets), postings


def _in_order(kept: CodeArray, again: CodeArray, gone: Gone) -> CodeArray:
    """Sessions, the most recent first: `kept` are in order, `again` have another last row now."""
    if not len(again):
        return kept
    left = gone.left
    last = np.full(left.n_sources, -1, dtype=np.int64)
    last[left.source_codes] = left.moments  # in canonical order: the last assignment stays
    key = last * left.n_sources + np.arange(left.n_sources)
    oldest_first = kept[::-1]
    again = again[np.argsort(key[again])]
    places = np.searchsorted(key[oldest_first], key[again])
    return np.ascontiguousarray(np.insert(oldest_first, places, again)[::-1])


def forget_baskets(model: TIFUKNN, gone: Gone) -> None:
    """Take baskets, or items of theirs, out of the users' vectors and the index of `TIFUKNN`."""
    old = model.index_
    again, sequences = gone.rest()
    assert sequences.baskets is not None
    owner = np.repeat(np.arange(len(again)), np.diff(sequences.offsets))
    new = model._vectors(owner, sequences.baskets, sequences.items, len(again))
    touched = gone.is_touched
    sizes = np.diff(old.vectors.offsets)
    kept = np.repeat(~touched, sizes)
    sizes[touched] = 0
    sizes[again] = np.diff(new.offsets)
    offsets = offsets_of(sizes)
    is_new = np.repeat(touched, sizes)
    arrays = {
        name: spliced(getattr(old.vectors, name)[kept], getattr(new, name), is_new)
        for name in ("items", "values", "own", "neighbour")
    }
    norms = old.squared_norms.copy()
    norms[touched] = 0.0
    rows = np.repeat(np.arange(len(again)), np.diff(new.offsets))
    norms[again] = np.bincount(rows, new.values**2, minlength=len(again))

    moved = np.where(touched, -1, np.arange(len(touched)))
    posting_offsets, postings, stays, places = _replaced(
        old.posting_offsets, old.postings, moved, new.items, again[rows], len(touched)
    )
    # Entries of a user who loses nothing move as the beginning of their vector does.
    shift = offsets[:-1] - old.vectors.offsets[:-1]
    order = np.lexsort((again[rows], new.items))
    entries = old.entries[stays] + shift[old.postings[stays]]
    entries = np.insert(entries, places, np.flatnonzero(is_new)[order])
    model.index_ = UserIndex(
        vectors=UserVectors(offsets=offsets, **arrays),
        squared_norms=norms,
        posting_offsets=posting_offsets,
        postings=postings,
        entries=entries,
    )


def _replaced(
    offsets: IntArray,
    owners: CodeArray,
    moved: npt.NDArray[np.int64],
    items: npt.NDArray[np.integer[Any]],
    new_owners: npt.NDArray[np.integer[Any]],
    n_owners: int,
) -> tuple[IntArray, CodeArray, Mask, IntArray]:
    """Lists of owners by item, without some owners, the others renumbered, and with new entries.

    Parameters
    ----------
    offsets, owners
        Owners of each item, ascending.
    moved : int64 [old owners]
        New number of each owner, in the same order; -1 for one that goes.
    items, new_owners : integers [n]
        Entries that are added.
    n_owners : int
        Of the new numbers.

    Returns
    -------
    offsets, owners
        Of the new lists.
    stays : bool
        Which old entries are kept.
    places : int64 [n]
        Where the added entries, by (item, owner), are inserted among those kept.
    """
    n_items = len(offsets) - 1
    renumbered = moved[owners]
    stays = renumbered >= 0
    item = np.repeat(np.arange(n_items), np.diff(offsets))[stays]
    kept = renumbered[stays]
    counts = np.bincount(item, minlength=n_items) + np.bincount(items, minlength=n_items)
    added = np.sort(items.astype(np.int64) * n_owners + new_owners)
    places = np.zeros(0, dtype=np.int64)
    if len(added):
        places = np.searchsorted(item * n_owners + kept, added)
        kept = np.insert(kept, places, added % n_owners)
    return offsets_of(counts), kept.astype(np.int32), stays, places
