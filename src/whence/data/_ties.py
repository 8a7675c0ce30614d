"""Rows of equal time: how many there are, and whether their order gives away the items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._numbering import ROWS_AT_A_TIME
from whence.data._warning import warn
from whence.data.vocabulary import family
from whence.errors import check_choice, check_int

if TYPE_CHECKING:
    from whence.data.interactions import Interactions

TIES = ("order", "random")
_STANDARD_DEVIATIONS = 4.0
_SHARE = 0.7


def tie_seed(ties: str, seed: int) -> int | None:
    """Return the seed of a random order of ties, None where they are in the order of the table.

    Raises
    ------
    ParameterError
        `ties` or `seed` makes no sense.
    """
    check_int("seed", seed, minimum=0)
    return seed if check_choice("ties", ties, TIES) == "random" else None


def count_ties(interactions: Interactions) -> int:
    """Return how many rows have another of the same source at the same time."""
    if interactions.columns.time is None or interactions.n_rows == 0:
        return 0
    order = _by_source(interactions)
    same = _neighbours(interactions, order)
    if interactions.basket_codes is not None:
        basket = interactions.basket_codes[order]
        # Of the rows of one basket, all or none are tied with those of another.
        tied = same & (basket[1:] != basket[:-1])
        found = np.unique(np.concatenate([basket[1:][tied], basket[:-1][tied]]))
        return int(np.isin(basket, found).sum())
    tied = np.zeros(interactions.n_rows, dtype=np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    return int(tied.sum())


def warn_of_order(interactions: Interactions) -> None:
    """Warn where rows that no time tells apart are in the order of their items' ids.

    Of neighbours in a random order about half ascend; the number that does is compared with half
    by its standard deviation, which for permutations is smaller than that of coins.
    """
    if interactions.kind == "baskets" or interactions.n_rows < 2:
        return
    timed, moments = interactions.columns.time is not None, interactions.moments
    if timed and 100 * np.count_nonzero(moments[1:] == moments[:-1]) < interactions.n_rows:
        return
    order = _by_source(interactions)
    same = _neighbours(interactions, order)
    n_pairs = int(same.sum())
    if n_pairs < _STANDARD_DEVIATIONS**2 or (timed and 100 * n_pairs < interactions.n_rows):
        return
    items = interactions.item_codes[order]
    for rank in _ranks(interactions.vocabulary.items):
        rise = np.diff(rank[items])[same]
        up, down = int((rise > 0).sum()), int((rise < 0).sum())
        n, most = up + down, max(up, down)
        if most < _SHARE * n or 2 * most - n < _STANDARD_DEVIATIONS * np.sqrt(n):
            continue
        how = "ascending" if up > down else "descending"
        what = interactions.columns.item
        if timed:
            n_ties = interactions.n_ties
            warn(
                f"{n_ties:,} of {interactions.n_rows:,} rows have the same time as another of "
                f"their {interactions.columns.source}, and are in {how} order of {what} "
                f"({most:,} of {n:,} neighbours): a model of sequences learns "
                "this order, and is credited for it. Put them in a random order with "
                "ties='random'.",
            )
        else:
            warn(
                f"There is no time column, so the order of the rows is taken for that in time, and "
                f"the rows of a {interactions.columns.source} are in {how} order of {what} "
                f"({most:,} of {n:,} neighbours), which a model of sequences "
                "learns. Name a time column, or put them in a random order with ties='random'.",
            )
        return


def _by_source(interactions: Interactions) -> NDArray[np.int64]:
    """Return places in the canonical order, grouped by source, in order within a source."""
    order: NDArray[np.int64] = np.argsort(interactions.source_codes, kind="stable")
    return order


def _neighbours(interactions: Interactions, order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each place but the first whether the one before has its source and its time."""
    same = np.empty(len(order) - 1, dtype=np.bool_)
    for start in range(0, len(same), ROWS_AT_A_TIME):
        part = order[start : start + ROWS_AT_A_TIME + 1]
        source, moment = interactions.source_codes[part], interactions.moments[part]
        tied = source[1:] == source[:-1]
        if interactions.columns.time is not None:
            tied &= moment[1:] == moment[:-1]
        same[start : start + len(tied)] = tied
    return same


def _ranks(ids: pl.Series) -> list[NDArray[np.int64]]:
    """Return the rank of each id among all: of numbers by size, and of all as text."""
    text = ids.cast(pl.String, strict=False)
    ranks = [text.rank("dense").cast(pl.Int64).to_numpy()]
    numbers = text.cast(pl.Int64, strict=False) if family(ids.dtype) == "text" else ids
    if numbers.dtype.is_numeric() and numbers.null_count() == 0:
        ranks.insert(0, numbers.rank("dense").cast(pl.Int64).to_numpy())
    return ranks
