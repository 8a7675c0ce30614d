"""A short hash of interaction data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray


def fingerprint(
    kind: str, arrays: Iterable[NDArray[Any] | None], series: Iterable[pl.Series]
) -> str:
    """Return 16 hexadecimal digits of SHA-256 over arrays of codes and series of ids and times."""
    digest = hashlib.sha256(kind.encode())
    for array in arrays:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    for values in series:
        digest.update(_content(values))
    return digest.hexdigest()[:16]


def _content(series: pl.Series) -> bytes:
    """Return the bytes of a series, the same for every width or unit of its type."""
    dtype = series.dtype
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        text = series.cast(pl.String)
        lengths = text.str.len_bytes().cast(pl.Int64).to_numpy().tobytes()
        return lengths + "".join(text.to_list()).encode()
    if isinstance(dtype, pl.Datetime):
        return series.dt.timestamp("us").to_numpy().tobytes()
    if dtype.is_temporal():
        return series.to_physical().cast(pl.Int64).to_numpy().tobytes()
    if dtype.is_float():
        return series.cast(pl.Float64).to_numpy().tobytes()
    if dtype.is_integer():
        narrow = series.cast(pl.Int64, strict=False)
        if not narrow.has_nulls():
            return narrow.to_numpy().tobytes()
    return repr(series.to_list()).encode()
