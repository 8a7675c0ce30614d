"""Forgetting exactly: models that count, which subtract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.curation.forgetting.gone import CodeArray, Gone, IntArray, listed, spliced
from whence.models._histories import incidence
from whence.models.knn.itemknn import ItemKNN
from whence.models.knn.vmis import offsets_of
from whence.models.markov import MarkovChain, transitions_of
from whence.models.popularity import Popularity

if TYPE_CHECKING:
    from scipy import sparse

_BLOCK = 1024


def forget_popularity(model: Popularity, gone: Gone) -> None:
    """Subtract rows from the counts of `Popularity`."""
    model._count(model.counts_ - _counts(gone))


def forget_transitions(model: MarkovChain, gone: Gone) -> None:
    """Subtract the transitions of the sequences that change, and add those of what is left."""
    from scipy import sparse  # here and below: it takes long to load

    n_items = gone.train.n_items
    change = transitions_of(gone.rest()[1], n_items) - transitions_of(gone.before()[1], n_items)
    transitions = sparse.csr_array(model.transitions_ + change)
    transitions.eliminate_zeros()
    transitions.sort_indices()
    model._count(transitions, model._counts - _counts(gone))


def _counts(gone: Gone) -> IntArray:
    """How often each item is in the rows that go, int64 [n_items]."""
    items = gone.train.item_codes[gone.canonical]
    return np.bincount(items, minlength=gone.train.n_items).astype(np.int64)


def forget_similarities(model: ItemKNN, gone: Gone) -> None:
    """Count the common sources of the items that are lost anew, and of few others.

    The similarity of two items changes only if a source loses one of them. What is not in a full
    list comes after its last entry: a list is right if at least as many of its entries as it has
    places come before that, and only lists of which too many fell behind are made anew.
    """
    from scipy import sparse

    lost = _lost_items(gone)
    if not len(lost):
        return
    old, n_items = model.similarities_, gone.left.n_items
    has = incidence(gone.left)
    items = sparse.csr_array(has.T)
    model._counts = np.asarray(has.sum(axis=0), dtype=np.float64)
    similar = model._similarities(sparse.csr_array(items[lost] @ has), lost)
    columns = sparse.csr_array(similar.T)
    indptr, indices, values, is_open = kernels.merged_lists(
        *_arrays(old), *_arrays(columns), lost, listed(lost, n_items), min(model.k, n_items)
    )
    parts, numbers = [model._most_similar(similar, lost)], [lost]
    again = np.flatnonzero(is_open).astype(np.int32)
    for start in range(0, len(again), _BLOCK):
        some = again[start : start + _BLOCK]
        common = sparse.csr_array(items[some] @ has)
        parts.append(model._most_similar(model._similarities(common, some), some))
        numbers.append(some)
    order = np.argsort(np.concatenate(numbers))
    anew = sparse.csr_array(sparse.vstack(parts, format="csr")[order])
    sizes = np.diff(indptr)
    is_anew = listed(np.concatenate(numbers), n_items)
    sizes[is_anew] = np.diff(anew.indptr)
    entries = np.repeat(is_anew, sizes)
    arrays = spliced(values, anew.data, entries), spliced(indices, anew.indices, entries)
    model.similarities_ = sparse.csr_array((*arrays, offsets_of(sizes)), shape=old.shape)


def _lost_items(gone: Gone) -> CodeArray:
    """Numbers of the items that some source has no longer, ascending."""
    pairs = []
    for sources, sequences in (gone.before(), gone.rest()):
        owner = np.repeat(sources.astype(np.int64), np.diff(sequences.offsets))
        pairs.append(owner * gone.train.n_items + sequences.items)
    lost = np.setdiff1d(pairs[0], pairs[1])
    return np.unique(lost % gone.train.n_items).astype(np.int32)


def _arrays(rows: sparse.csr_array) -> tuple[IntArray, CodeArray, npt.NDArray[np.float64]]:
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data
