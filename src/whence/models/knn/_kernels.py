"""Kernels of the sequential kNN recommenders.

Sessions are numbered here by *position*: 0 is the most recent session, by (last timestamp,
session number). Scratch arrays are made once per call and reused for every query, so a call
needs memory in proportion to the sessions and items, whatever the number of queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from whence.models.knn._sort_kernels import stable_argsort

# Scores are integers: (10 - p) * sum of decays, over a common denominator (see vmis.py).
RECENT_EVENTS = 9

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


class Scratch(NamedTuple):
    """Arrays by item, made once per call.

    Attributes
    ----------
    seen, touched_by : int64 (n_items,)
        Number of the query (plus 1) that last had an item, and that last gave it a score.
    scores : int64 (n_items,), all zero between queries
    touched : int32 (n_items,), the items with a score
    """

    seen: np.ndarray
    touched_by: np.ndarray
    scores: np.ndarray
    touched: np.ndarray


@njit(**_OPTIONS)
def distinct_recent(history, start, end, last_seen, stamp, items, recency):
    """Distinct items of a history with the recency of their last occurrence, most recent first.

    Parameters
    ----------
    history : int32 array, flat; the window [start, end) is read
    last_seen : int64 array (n_items,), scratch; ``stamp`` marks this query
    items, recency : int32 arrays of at least (end - start), written

    Returns
    -------
    int
        The number U of distinct items.
    """
    n = 0
    for position in range(end - 1, start - 1, -1):
        item = history[position]
        if last_seen[item] != stamp:
            last_seen[item] = stamp
            items[n] = item
            recency[n] = end - 1 - position
            n += 1
    return n


@njit(**_OPTIONS)
def gather_candidates(items, recency, length, index, limit):
    """Merge the posting lists of a query's items into its most recent sessions.

    Parameters
    ----------
    items, recency : int32 arrays (U,), the distinct items and their recency
    length : int, length of the query
    index : SessionIndex
    limit : int, number of candidates wanted

    Returns
    -------
    found : int32 (n,), positions of the candidates, ascending (most recent first)
    sims : int64 (n,), similarity times U
    weights : int64 (n,), (10 - p) * similarity times U
    """
    posting_offsets, postings = index.posting_offsets, index.postings
    n_distinct = len(items)
    heads = np.empty(n_distinct, np.int64)
    longest = 0
    for j in range(n_distinct):
        heads[j] = posting_offsets[items[j]]
        longest += posting_offsets[items[j] + 1] - heads[j]
    limit = min(limit, longest)
    found = np.empty(limit, np.int32)
    sims = np.empty(limit, np.int64)
    weights = np.empty(limit, np.int64)
    live = n_distinct
    n = 0
    end_mark = np.int32(2147483647)
    while n < limit and live > 0:
        best = end_mark
        live = 0
        for j in range(n_distinct):
            if heads[j] < posting_offsets[items[j] + 1]:
                live += 1
                if postings[heads[j]] < best:
                    best = postings[heads[j]]
        if live == 0:
            break
        similarity = 0
        newest = length
        for j in range(n_distinct):
            if heads[j] < posting_offsets[items[j] + 1] and postings[heads[j]] == best:
                similarity += length - recency[j]
                if recency[j] < newest:
                    newest = recency[j]
                heads[j] += 1
        found[n] = best
        sims[n] = similarity
        # p = newest + 1, in the last nine events: 10 - p = 9 - newest.
        weights[n] = (RECENT_EVENTS - newest) * similarity if newest < RECENT_EVENTS else 0
        n += 1
    return found[:n], sims[:n], weights[:n]


@njit(**_OPTIONS)
def rank_candidates(sims):
    """Order candidates by (similarity descending, more recent first); a strict total order.

    `sims` are given most recent first, so a stable sort by similarity suffices.

    Parameters
    ----------
    sims : int64 (n,)

    Returns
    -------
    int32 (n,)
        The candidate at each rank.
    """
    n = len(sims)
    order = np.empty(n, np.int32)
    largest = 0
    for c in range(n):
        largest = max(largest, sims[c])
    if largest <= 4096:
        counts = np.zeros(largest + 2, np.int32)
        for c in range(n):
            counts[largest - sims[c] + 1] += 1
        for value in range(1, largest + 2):
            counts[value] += counts[value - 1]
        for c in range(n):
            bucket = largest - sims[c]
            order[counts[bucket]] = c
            counts[bucket] += 1
    else:
        keys = np.empty(n, np.int64)
        for c in range(n):
            keys[c] = (largest - sims[c]) * n + c
        ranked = np.empty(n, np.int64)
        stable_argsort(keys, ranked)
        for c in range(n):
            order[c] = ranked[c]
    return order


@njit(**_OPTIONS)
def idf_shift(length, k):
    """Bits of fixed point for idf weights, so that no sum overflows 64 bits."""
    bits = 0
    bound = np.int64(RECENT_EVENTS) * length * (length + 1) // 2 * k
    while bound > 0:
        bound >>= 1
        bits += 1
    return max(8, min(30, 46 - bits))


@njit(**_OPTIONS)
def make_scratch(n_items):
    """Return fresh scratch arrays."""
    return Scratch(
        np.zeros(n_items, np.int64),
        np.zeros(n_items, np.int64),
        np.zeros(n_items, np.int64),
        np.empty(n_items, np.int32),
    )


@njit(**_OPTIONS)
def vmis_scores(query, queries, index, use_idf, m, k, scratch):
    """Integer scores of one query: sum over its k neighbours of weight, by item.

    They are left in the scratch arrays.

    Returns
    -------
    n_touched : int
    unit : float
        Score = integer * unit.
    """
    start, end = queries.history_start[query], queries.history_end[query]
    length = end - start
    items = np.empty(length, np.int32)
    recency = np.empty(length, np.int32)
    n_distinct = distinct_recent(
        queries.history_items, start, end, scratch.seen, query + 1, items, recency
    )
    if n_distinct == 0:
        return 0, 0.0
    found, sims, weights = gather_candidates(
        items[:n_distinct], recency[:n_distinct], length, index, m
    )
    order = rank_candidates(sims)
    shift = idf_shift(length, k) if use_idf else 0
    last = queries.history_items[end - 1]
    session_offsets, session_items, idf = index.session_offsets, index.session_items, index.idf
    touched_by, scores, touched = scratch.touched_by, scratch.scores, scratch.touched
    n_touched = 0
    for rank in range(min(k, len(order))):
        weight = weights[order[rank]]
        if weight == 0:
            continue
        session = found[order[rank]]
        for e in range(session_offsets[session], session_offsets[session + 1]):
            item = session_items[e]
            if item == last:
                continue
            if touched_by[item] != query + 1:
                touched_by[item] = query + 1
                touched[n_touched] = item
                n_touched += 1
            if use_idf:
                scores[item] += weight * np.int64(np.rint(idf[item] * (1 << shift)))
            else:
                scores[item] += weight
    return n_touched, 1.0 / (10.0 * n_distinct * (1 << shift))


@njit(**_OPTIONS)
def keep_best(item, score, n, items, scores):
    """Insert an item into the best so far, by (score descending, item ascending).

    Parameters
    ----------
    n : int, how many are kept so far, at most ``len(items)``
    items : int32 array (K,); scores : int64 array (K,), updated

    Returns
    -------
    int
        How many are kept now.
    """
    size = len(items)
    if n == size:
        if score < scores[n - 1] or (score == scores[n - 1] and item > items[n - 1]):
            return n
        place = n - 1
    else:
        place = n
        n += 1
    while place > 0 and (
        scores[place - 1] < score or (scores[place - 1] == score and items[place - 1] > item)
    ):
        scores[place] = scores[place - 1]
        items[place] = items[place - 1]
        place -= 1
    scores[place] = score
    items[place] = item
    return n


@njit(**_OPTIONS)
def vmis_recommend(first, last, queries, index, use_idf, m, k, out_items, out_scores):
    """Recommend for queries [first, last).

    Parameters
    ----------
    queries : QueryArrays; index : SessionIndex
    out_items : int32 array (Q, K), filled with -1; out_scores : float64 array (Q, K), zero
    """
    scratch = make_scratch(len(index.posting_offsets) - 1)
    scores, touched = scratch.scores, scratch.touched
    length = out_items.shape[1]
    best_items = np.empty(length, np.int32)
    best_scores = np.empty(length, np.int64)
    for query in range(first, last):
        n_touched, unit = vmis_scores(query, queries, index, use_idf, m, k, scratch)
        n = 0
        for t in range(n_touched):
            item = touched[t]
            if scores[item] > 0:
                n = keep_best(item, scores[item], n, best_items, best_scores)
            scores[item] = 0
        for rank in range(n):
            out_items[query, rank] = best_items[rank]
            out_scores[query, rank] = best_scores[rank] * unit


@njit(**_OPTIONS)
def vmis_score_all(first, last, queries, index, use_idf, m, k, out):
    """Score every item for queries [first, last); out : float64 array (Q, n_items), zero."""
    scratch = make_scratch(len(index.posting_offsets) - 1)
    scores, touched = scratch.scores, scratch.touched
    for query in range(first, last):
        n_touched, unit = vmis_scores(query, queries, index, use_idf, m, k, scratch)
        for t in range(n_touched):
            out[query, touched[t]] = scores[touched[t]] * unit
            scores[touched[t]] = 0
