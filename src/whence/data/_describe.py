"""Interactions in a few figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whence._words import counted
from whence.data._numbering import n_distinct

if TYPE_CHECKING:
    from whence.data.interactions import Interactions


def describe(interactions: Interactions) -> dict[str, Any]:
    """Return counts: rows, sources, items, baskets, duplicates, ties, lengths and span of time."""
    lengths = np.bincount(interactions.source_codes, minlength=interactions.n_sources)
    lengths = lengths[lengths > 0]
    counts: dict[str, Any] = {
        "kind": interactions.kind,
        "rows": interactions.n_rows,
        _sources(interactions): len(lengths),
        "items": n_distinct(interactions.item_codes),
    }
    if interactions.basket_codes is not None:
        counts["baskets"] = len(np.unique(interactions.basket_codes))
    counts["duplicate_rows"] = interactions.n_duplicates
    if interactions.columns.time is not None:
        counts["tied_rows"] = interactions.n_ties
    if interactions.n_rows:
        counts["shortest"] = int(lengths.min())
        counts["median_length"] = float(np.median(lengths))
        counts["longest"] = int(lengths.max())
        if interactions.columns.time is not None:
            times = interactions.frame[interactions.columns.time]
            counts["first_time"], counts["last_time"] = times.min(), times.max()
    return counts


def one_line(interactions: Interactions) -> str:
    """Return how interactions show themselves."""
    baskets = ""
    if interactions.basket_codes is not None:
        baskets = f", {counted(len(np.unique(interactions.basket_codes)), 'baskets')}"
    sources = counted(n_distinct(interactions.source_codes), _sources(interactions))
    items = counted(n_distinct(interactions.item_codes), "items")
    rows = counted(interactions.n_rows, "rows")
    return f"<Interactions: {rows}, {sources}{baskets}, {items}>"


def _sources(interactions: Interactions) -> str:
    return "users" if interactions.by_user or interactions.kind == "baskets" else "sessions"
