"""Rankings of the catalogue, or of each target among its negatives, by a model's scores.

A list holds the items with the best scores above the model's ``floor``. Where scores tie, an item
that is no target comes before one that is, and then the lower item number first, so that a tie is
never in the model's favour. Models with a ``floor`` of 0 (neighbours, popularity) order the ties of
their lists by item number alone, which belongs to their definition; among negatives they are
ranked as all others.

``auc`` of a query is the share of pairs of a target and another item that may be recommended in
which the target has the higher score; a tie counts half. A target that may not be recommended, or
is unknown to the model, loses all its pairs, and a query without a known item has the value 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence import _native as kernels
from whence.data import Vocabulary
from whence.engines.threads import map_ordered
from whence.errors import DataError, UnsupportedError
from whence.evaluation.negatives import DrawnNegatives, GivenNegatives
from whence.evaluation.queries import Queries, positions_of_windows

CodeArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

BLOCK_BYTES = 1 << 26
"""Memory for the scores of a block of queries."""

_CHUNK = 256  # queries that a thread ranks at once


@dataclass(frozen=True)
class Ranking:
    """Lists of recommendations, and what they are lists for.

    Attributes
    ----------
    queries : Queries
        Those asked; with negatives, one for each target.
    lists : int32 [Q, K]
        Item numbers, best first, padded with -1.
    auc : float64 [Q] or None
        Area under the ROC curve, where it was asked for.
    """

    queries: Queries
    lists: CodeArray
    auc: FloatArray | None = None


def rank_catalogue(
    model: Any,
    queries: Queries,
    k: int,
    *,
    auc: bool = False,
    eligible: npt.NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> Ranking:
    """Rank all items for each query.

    Parameters
    ----------
    model : fitted recommender
    queries : Queries
    k : int
        Length of the lists; 0 if none are wanted.
    auc : bool
        Whether the area under the ROC curve is wanted, which is of all items.
    eligible : bool [n_items], optional
        The items that may be recommended.
    threads : int, optional
        Number of threads; the result does not depend on it.
    """
    floor = float(getattr(model, "floor", 0.0))
    # Such models say themselves how ties are broken: by the number of the item.
    own_order = floor > -np.inf
    own_lists = k > 0 and own_order and eligible is None
    lists = np.full((len(queries), k), -1, dtype=np.int32)
    if own_lists:
        lists, _ = model.recommend_codes(queries, k, threads=threads)
    areas = np.zeros(len(queries)) if auc else None
    history, targets = queries.arrays.history_items, queries.arrays.target_items

    def rank(part: _Part) -> None:
        rows, asked = slice(part.first, part.first + len(part.scores)), part.queries
        windows = asked.target_start, asked.target_end
        if k > 0 and not own_lists:
            scores, wanted = part.scores, windows
            if eligible is not None:
                scores = np.where(eligible, scores, scores.dtype.type(floor))
                wanted = (windows[0], windows[0]) if own_order else windows
            lists[rows] = kernels.best_lists(scores, targets, *wanted, floor, k)
        if areas is not None:
            known = history, asked.history_start, asked.history_end
            areas[rows] = kernels.areas_under_curve(part.scores, targets, *windows, *known, floor)

    if areas is not None or (k > 0 and not own_lists):
        for _ in _over_parts(rank, model, queries, threads):
            pass
    if areas is not None:
        areas[queries.is_empty] = 0.0
    return Ranking(queries, lists, areas)


def rank_negatives(
    model: Any,
    queries: Queries,
    negatives: DrawnNegatives | GivenNegatives,
    k: int,
    *,
    vocabulary: Vocabulary,
    threads: int | None = None,
) -> Ranking:
    """Rank each target among its negatives.

    Parameters
    ----------
    model : fitted recommender
    queries : Queries
    negatives : DrawnNegatives or GivenNegatives
    k : int
        Length of the lists.
    vocabulary : Vocabulary
        Of the training data.
    threads : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    Ranking
        Its queries are the targets, in the order of the queries and of their targets.
    """
    floor = float(getattr(model, "floor", 0.0))
    alone = one_query_per_target(queries, vocabulary)
    counts = queries.target_end - queries.target_start
    before = np.concatenate(([0], np.cumsum(counts)))
    lists = np.full((len(alone), k), -1, dtype=np.int32)
    above = np.zeros(len(alone))
    target = np.ascontiguousarray(alone.target_items[alone.target_start], dtype=np.int32)

    def rank(part: _Part) -> None:
        stop = part.first + len(part.scores)
        first, last = before[part.first], before[stop]
        owner = np.repeat(np.arange(len(part.scores)), counts[part.first : stop])
        items, start, end = negatives.of_targets(part.first, stop)
        lists[first:last], above[first:last] = kernels.best_candidates(
            part.scores, owner, target[first:last], items, start, end, floor, k
        )

    for _ in _over_parts(rank, model, queries, threads):
        pass
    above[alone.is_empty] = 0.0
    return Ranking(alone, lists, above)


def one_query_per_target(queries: Queries, vocabulary: Vocabulary) -> Queries:
    """The same histories with one target each, which ``ids`` has in a column ``target``."""
    counts = queries.target_end - queries.target_start
    owner = np.repeat(np.arange(len(queries)), counts)
    positions = positions_of_windows(queries.target_start, counts)
    ids = _ids_of_items(queries.target_items[positions], queries, vocabulary)
    alone = replace(
        queries,
        history_start=queries.history_start[owner],
        history_end=queries.history_end[owner],
        target_start=positions,
        target_end=positions + 1,
        users=queries.users[owner],
        ids=queries.ids[owner].with_columns(ids.alias("target")),
    )
    return replace(alone, n_empty=int(alone.is_empty.sum()))


def _ids_of_items(codes: CodeArray, queries: Queries, vocabulary: Vocabulary) -> pl.Series:
    """External ids; null for an unknown item whose id was not kept."""
    known = vocabulary.items
    unknown = queries.unknown_items
    if unknown is None or not len(unknown):
        unknown = pl.Series([None], dtype=known.dtype)
    if known.dtype != unknown.dtype:
        shared = pl.String if isinstance(known.dtype, (pl.Categorical, pl.Enum)) else known.dtype
        known, unknown = known.cast(shared), unknown.cast(shared, strict=False)
    strangers = len(known) + np.minimum(-1 - codes, len(unknown) - 1)
    return pl.concat([known, unknown]).gather(np.where(codes >= 0, codes, strangers))


@dataclass(frozen=True)
class _Part:
    """Scores of the queries from `first` on."""

    first: int
    queries: Queries
    scores: npt.NDArray[Any]


def _over_parts(rank: Any, model: Any, queries: Queries, threads: int | None) -> Iterator[None]:
    """Score block by block and rank the parts of each in threads."""
    for block in _blocks(model, queries, threads):
        parts = [
            _Part(
                block.first + start,
                block.queries.block(start, start + _CHUNK),
                block.scores[start : start + _CHUNK],
            )
            for start in range(0, len(block.scores), _CHUNK)
        ]
        yield from map_ordered(rank, parts, threads)


def _blocks(model: Any, queries: Queries, threads: int | None) -> Iterator[_Part]:
    name = type(model).__name__
    if not callable(getattr(model, "score_codes", None)):
        raise UnsupportedError(
            f"{name} gives lists without the scores of all items, which auc and negatives need; "
            "give it a method score_codes(queries), or evaluate metrics of lists."
        )
    n_items = len(model.vocabulary.items)
    size = max(1, BLOCK_BYTES // (8 * max(n_items, 1)))
    for start in range(0, len(queries), size):
        asked = queries.block(start, start + size)
        scores = np.asarray(model.score_codes(asked, threads=threads))
        if scores.shape != (len(asked), n_items):
            raise UnsupportedError(
                f"{name}.score_codes gave an array of shape {scores.shape}; it must have one row "
                f"for each of {len(asked)} queries and one column for each of {n_items} items."
            )
        if scores.dtype not in (np.float32, np.float64):
            scores = scores.astype(np.float64)
        if np.isnan(scores).any():
            raise DataError(
                f"{name} gave a score that is not a number (NaN); fit it again, with a lower "
                "learning rate if it has one."
            )
        yield _Part(start, asked, np.ascontiguousarray(scores))
