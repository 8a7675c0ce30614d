"""Next-basket data in JSON: the baskets of each user."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from whence.errors import FileFormatError


def parse_baskets(text: str, path: Path) -> pl.DataFrame:
    """Return ``{user: [[item, ...], ...]}`` as user_id, basket_id (0, 1, ...) and item_id."""
    try:
        users = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise FileFormatError(
            f"{path} is not valid JSON{where}; it may be truncated, fetch it again."
        ) from error
    if not isinstance(users, dict):
        raise FileFormatError(_wrong_baskets(path))
    baskets_of = list(users.values())
    if not all(isinstance(baskets, list) for baskets in baskets_of):
        raise FileFormatError(_wrong_baskets(path))
    baskets = list(chain.from_iterable(baskets_of))
    if not all(isinstance(basket, list) for basket in baskets):
        raise FileFormatError(_wrong_baskets(path))
    items = list(chain.from_iterable(baskets))
    sizes = np.fromiter(map(len, baskets), dtype=np.int64, count=len(baskets))
    n_baskets = np.fromiter(map(len, baskets_of), dtype=np.int64, count=len(baskets_of))
    owner = np.repeat(np.arange(len(baskets_of)), n_baskets)
    first = np.cumsum(n_baskets) - n_baskets
    try:
        item_ids = pl.Series(items, dtype=None if items else pl.Int64, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise FileFormatError(
            f"{path} has items of mixed types; make them all integers or all text."
        ) from error
    if item_ids.dtype.is_nested() or isinstance(item_ids.dtype, pl.Object):
        raise FileFormatError(_wrong_baskets(path))
    return pl.DataFrame(
        {
            "user_id": pl.Series(list(users), dtype=pl.String).gather(np.repeat(owner, sizes)),
            "basket_id": np.repeat(np.arange(len(baskets)) - first[owner], sizes),
            "item_id": item_ids,
        }
    )


def _wrong_baskets(path: Path) -> str:
    return (
        f"{path} is JSON, but not baskets of users; it should be "
        '{"user": [["item", ...], ...], ...}.'
    )
