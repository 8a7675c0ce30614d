"""Sources that look recorded twice, or not made by people: duplicates and bots.

Both look at the data alone, take time in proportion to them, and say why. A source that is named
here need not do harm; whether it does is what values tell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import as_backend
from whence.data import Interactions
from whence.errors import check_float, check_int

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_HASHES, _BAND = 64, 4
_SEED = 7
_LONG = 5.0
"""Robust standard deviations of the logarithm of the length above the median."""
_MANY = 10
"""Rows that a pattern in time or a repetition is told from."""
_SAME = 0.4
_FASTER = 20.0
_EVEN = 0.02
_TIED, _USUAL = 0.1, 0.1


def find_duplicates(data: Any, *, similarity: float = 0.7, at_least: int = 4) -> Any:
    """List the sources whose items are nearly those of an earlier one.

    Parameters
    ----------
    data : Interactions or table
        Sessions or users with their items.
    similarity : float
        Least Jaccard index of the sets of items, from above 0 to 1, with the earliest of the group:
        those that are linked by such pairs.
    at_least : int
        Number of different items from which a source is looked at; short ones are alike by chance.

    Returns
    -------
    data frame of the caller's kind
        One row per source that is no more than a copy: its id, ``copy_of`` (the earliest source of
        the group), ``similarity`` to that one, ``n_alike`` (sources in the group) and ``why``.

    Notes
    -----
    Pairs are found by MinHash signatures of 64 hashes in bands of 4, and then counted exactly: of
    pairs with a Jaccard index of 0.6 one in ten is missed, of 0.7 one in eighty.

    References
    ----------
    Broder. On the resemblance and containment of documents. Compression and Complexity of
    Sequences, 1997.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.
    """
    interactions = Interactions.from_frame(data)
    found = duplicates(interactions, similarity, at_least)
    return as_backend(found, interactions.backend)


def duplicates(
    interactions: Interactions, similarity: float = 0.7, at_least: int = 4
) -> pl.DataFrame:
    """The table of `find_duplicates`."""
    similarity = check_float("similarity", similarity, maximum=1.0, above=0.0)
    check_int("at_least", at_least, minimum=1)
    first, alike, size = _groups(interactions, similarity, at_least)
    copies = np.flatnonzero((first != np.arange(len(first))) & (alike >= similarity))
    ids = interactions.source_ids
    name = interactions.columns.beside(
        interactions.columns.source, ("copy_of", "similarity", "n_alike", "why")
    )
    originals = ids.gather(first[copies])
    return pl.DataFrame(
        {
            name: ids.gather(copies),
            "copy_of": originals,
            "similarity": alike[copies],
            "n_alike": size[copies],
            "why": [
                f"{share:.0%} of its items are those of {one}, as of {n} in all"
                for share, one, n in zip(alike[copies], originals, size[copies])
            ],
        },
        schema_overrides={"why": pl.String},
    )


def find_bots(data: Any) -> Any:
    """List the sources that do not look as if people had made them.

    Said of a source are: a length far above all others; one item again and again; rows that follow
    each other many times as fast as usual, or at even intervals. The last two need times that are
    mostly not tied.

    Parameters
    ----------
    data : Interactions or table
        Sessions or users with their items.

    Returns
    -------
    data frame of the caller's kind
        One row per such source: its id, ``n_rows`` and ``why``, the longest first.
    """
    interactions = Interactions.from_frame(data)
    return as_backend(bots(interactions), interactions.backend)


def bots(interactions: Interactions) -> pl.DataFrame:
    """The table of `find_bots`."""
    sequences = interactions.sequences
    lengths = np.diff(sequences.offsets)
    reasons: list[list[str]] = [[] for _ in lengths]
    usual = float(np.median(lengths[lengths > 0])) if lengths.any() else 0.0
    for source in np.flatnonzero(_outlying(lengths)):
        reasons[source].append(
            f"{lengths[source]:,} rows, {lengths[source] / usual:,.0f} times the usual number"
        )
    if sequences.baskets is None:
        share = _largest_share(interactions, lengths)
        for source in np.flatnonzero((lengths >= _MANY) & (share >= _SAME)):
            reasons[source].append(f"the same item in {share[source]:.0%} of its rows")
    _by_time(interactions, lengths, reasons)
    found = np.array([n for n, why in enumerate(reasons) if why], dtype=np.int64)
    found = found[np.argsort(-lengths[found], kind="stable")]
    name = interactions.columns.beside(interactions.columns.source, ("n_rows", "why"))
    return pl.DataFrame(
        {
            name: interactions.source_ids.gather(found),
            "n_rows": lengths[found],
            "why": ["; ".join(reasons[n]) for n in found],
        },
        schema_overrides={"why": pl.String},
    )


def _groups(
    data: Interactions, similarity: float, at_least: int
) -> tuple[IntArray, FloatArray, IntArray]:
    """The earliest source of each one's group, the similarity to it, and the size of the group."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    n = data.n_sources
    pairs = np.unique(
        data.source_codes.astype(np.int64) * data.n_items + data.item_codes
    )  # each item of a source once
    sources, items = np.divmod(pairs, data.n_items)
    counts = np.bincount(sources, minlength=n)
    has = sparse.csr_array((np.ones(len(pairs)), (sources, items)), shape=(n, data.n_items))
    one, other = _candidates(sources, items, counts, data.n_items, at_least)
    index = _jaccard(has, counts, one, other)
    one, other = one[index >= similarity], other[index >= similarity]
    links = sparse.coo_array((np.ones(len(one)), (one, other)), shape=(n, n))
    _, group = connected_components(links, directed=False)
    earliest = np.full(group.max(initial=-1) + 1, n)
    np.minimum.at(earliest, group, np.arange(n))
    first = earliest[group]
    return first, _jaccard(has, counts, first, np.arange(n)), np.bincount(group)[group]


def _candidates(
    sources: IntArray, items: IntArray, counts: IntArray, n_items: int, at_least: int
) -> tuple[IntArray, IntArray]:
    """Pairs of sources of which some band of the signature is the same."""
    looked_at = np.flatnonzero(counts >= at_least)
    mask = counts[sources] >= at_least
    starts = np.concatenate(([0], np.cumsum(counts[looked_at])))[:-1]
    if not len(looked_at):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    own = items[mask]
    generator = np.random.Generator(np.random.PCG64(_SEED))
    signature = np.stack(
        [np.minimum.reduceat(generator.permutation(n_items)[own], starts) for _ in range(_HASHES)],
        axis=1,
    )
    found = []
    for band in range(0, _HASHES, _BAND):
        part = signature[:, band : band + _BAND]
        order = np.lexsort(part.T[::-1])
        same = np.flatnonzero((part[order[1:]] == part[order[:-1]]).all(axis=1))
        found.append(np.stack([order[same], order[same + 1]]))
    pairs = np.unique(np.sort(np.concatenate(found, axis=1), axis=0), axis=1)
    return looked_at[pairs[0]], looked_at[pairs[1]]


def _jaccard(has: Any, counts: IntArray, one: IntArray, other: IntArray) -> FloatArray:
    """Jaccard index of the items of pairs of sources."""
    both = np.asarray(has[one].multiply(has[other]).sum(axis=1)).ravel()
    index: FloatArray = both / np.maximum(counts[one] + counts[other] - both, 1)
    return index


def _outlying(lengths: IntArray) -> npt.NDArray[np.bool_]:
    """Whether a length is far above the others, by median and median absolute deviation."""
    logs = np.log(np.maximum(lengths, 1))
    middle = np.median(logs[lengths > 0]) if lengths.any() else 0.0
    spread = 1.4826 * np.median(np.abs(logs - middle)[lengths > 0]) if lengths.any() else 0.0
    # At least as where half of the lengths are within a third of the median.
    far: npt.NDArray[np.bool_] = logs - middle > _LONG * max(float(spread), 0.45)
    return far


def _largest_share(data: Interactions, lengths: IntArray) -> FloatArray:
    """Share of the most frequent item among the rows of each source."""
    pairs = data.source_codes.astype(np.int64) * data.n_items + data.item_codes
    unique, times = np.unique(pairs, return_counts=True)
    most = np.zeros(data.n_sources)
    np.maximum.at(most, unique // data.n_items, times)
    share: FloatArray = most / np.maximum(lengths, 1)
    return share


def _by_time(data: Interactions, lengths: IntArray, reasons: list[list[str]]) -> None:
    """Add what the times of the rows say."""
    if data.columns.time is None or data.n_rows < 2:
        return
    times = data.frame[data.columns.time]
    if not times.dtype.is_numeric():  # dates and times, in their own unit
        times = times.to_physical()
    if not times.dtype.is_numeric():
        return
    rows, offsets = data.sequences.rows, data.sequences.offsets
    owner = np.repeat(np.arange(data.n_sources), np.diff(offsets))
    within = owner[1:] == owner[:-1]
    gaps = np.diff(times.to_numpy().astype(np.float64)[rows])[within]
    owner = owner[1:][within]
    if not len(gaps) or (gaps == 0).mean() > _TIED:
        return
    enough = np.flatnonzero(lengths >= _MANY)
    starts = np.searchsorted(owner, enough)
    ends = np.searchsorted(owner, enough, side="right")
    usual = float(np.median(gaps))
    said: dict[int, str] = {}
    for source, start, end in zip(enough.tolist(), starts, ends):
        own = gaps[start:end]
        middle, mean = float(np.median(own)), float(own.mean())
        if middle * _FASTER <= usual:
            faster = f"{usual / middle:,.0f} times" if middle else "many times"
            said[source] = f"rows follow each other {faster} as fast as usual"
        elif own.std() <= _EVEN * mean:
            said[source] = "rows at even intervals"
    if len(said) <= _USUAL * len(enough):  # what many have is how the data were recorded
        for source, why in said.items():
            reasons[source].append(why)
