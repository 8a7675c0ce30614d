"""Interactions: reading, checking, numbering, filtering, splitting and generating them."""

from whence.data._profiles import Profile
from whence.data.filters import (
    Dropped,
    filter_core,
    filter_duplicates,
    filter_length,
    filter_ratings,
)
from whence.data.formats import FORMATS, register_format
from whence.data.generation import generate, generate_file, profile_of
from whence.data.given_splits import read_splits
from whence.data.interactions import Columns, Interactions, Sequences, Vocabulary
from whence.data.public import load
from whence.data.readers import read_interactions
from whence.data.splits import (
    k_fold,
    split_last,
    split_leave_one_out,
    split_random,
    split_rows,
    split_temporal,
    split_time,
)
from whence.data.synthetic import Synthetic, make_baskets, make_sessions
from whence.data.tables import read_table
from whence.data.writers import write_interactions

__all__ = [
    "FORMATS",
    "Columns",
    "Dropped",
    "Interactions",
    "Profile",
    "Sequences",
    "Synthetic",
    "Vocabulary",
    "filter_core",
    "filter_duplicates",
    "filter_length",
    "filter_ratings",
    "generate",
    "generate_file",
    "k_fold",
    "load",
    "make_baskets",
    "make_sessions",
    "profile_of",
    "read_interactions",
    "read_splits",
    "read_table",
    "register_format",
    "split_last",
    "split_leave_one_out",
    "split_random",
    "split_rows",
    "split_temporal",
    "split_time",
    "write_interactions",
]
