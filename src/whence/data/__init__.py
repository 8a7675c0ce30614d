"""Interactions: reading, checking, numbering, splitting and generating them."""

from whence.data.interactions import Columns, Interactions, Sequences, Vocabulary
from whence.data.readers import read_interactions, read_table, write_interactions
from whence.data.splits import split_last, split_random, split_temporal
from whence.data.synthetic import Synthetic, make_baskets, make_sessions

__all__ = [
    "Columns",
    "Interactions",
    "Sequences",
    "Synthetic",
    "Vocabulary",
    "make_baskets",
    "make_sessions",
    "read_interactions",
    "read_table",
    "split_last",
    "split_random",
    "split_temporal",
    "write_interactions",
]
