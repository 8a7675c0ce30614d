"""The recommendation lists of one query for any coalitions of its candidates, from scratch."""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.knn._kernels import keep_best

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


@njit(**_OPTIONS)
def coalition_lists(present, by_age, m, k, offsets, items, values, own, numbers, lists):
    """Write the list that the model gives where only some of the candidates are there.

    Of those present, the m most recent are the pool, and the k best of the pool the neighbours.
    The score of an item is the sum of their values, plus the own value times their number (at
    least once).

    Parameters
    ----------
    present : bool (B, n), by rank in the order of preference
    by_age : int64 (n,), ranks of the candidates from the most recent on
    offsets : int64 (n + 1,); items : int64 (E,), local; values : int64 (E,)
    own : int64 (L,); numbers : int32 (L,), number of each local item
    lists : int32 (B, K), filled with -1, written
    """
    n, n_local, length = len(by_age), len(numbers), lists.shape[1]
    pool = np.empty(n, np.uint8)
    scores = np.empty(n_local, np.int64)
    best_items = np.empty(length, np.int32)
    best_scores = np.empty(length, np.int64)
    for row in range(len(present)):
        pool[:] = 0
        room = m
        for place in range(n):
            if room > 0 and present[row, by_age[place]]:
                pool[by_age[place]] = 1
                room -= 1
        scores[:] = 0
        n_neighbours = 0
        for candidate in range(n):
            if pool[candidate] and n_neighbours < k:
                n_neighbours += 1
                for e in range(offsets[candidate], offsets[candidate + 1]):
                    scores[items[e]] += values[e]
        n_best = 0
        for i in range(n_local):
            score = scores[i] + max(n_neighbours, 1) * own[i]
            if score > 0:
                n_best = keep_best(numbers[i], score, n_best, best_items, best_scores)
        lists[row, :n_best] = best_items[:n_best]
